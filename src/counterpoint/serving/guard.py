"""What a request must pass before anything of it is read: token, rate, size."""

import asyncio
import hmac
import math
import time
from collections import OrderedDict
from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from counterpoint.serving.problems import problem
from counterpoint.serving.settings import TOKEN, Settings

OPEN = ("/", "/health", "/docs", "/openapi.json")
"""What needs no token: they tell nothing of the run, its rows or its vectors."""
ADDRESSES = 10_000


class Rate:
    """A bucket of requests per address that fills at `rate` per second and holds one second's worth.

    >>> rate = Rate(2.0, clock=lambda: 0.0)
    >>> [rate.wait("a"), rate.wait("a"), rate.wait("a"), rate.wait("b")]
    [0.0, 0.0, 0.5, 0.0]
    """

    def __init__(self, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.rate, self.clock = rate, clock
        self.held: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, address: str) -> float:
        """Take one request; returns 0, or the seconds until one may be taken."""
        if self.rate <= 0:
            return 0.0
        now, most = self.clock(), max(1.0, self.rate)
        left, then = self.held.pop(address, (most, now))
        left = min(most, left + (now - then) * self.rate)
        allowed = left >= 1
        self.held[address] = (left - allowed, now)
        if len(self.held) > ADDRESSES:
            self.held.popitem(last=False)
        return 0.0 if allowed else (1 - left) / self.rate


class Guard:
    """Turns away who comes too often, without the token, or with too much; what passes has its body read already."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app, self.settings, self.rate = app, settings, Rate(settings.rate)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        body: bytes | Response = b"" if refusal else await self._body(scope, receive)
        if isinstance(body, Response):
            refusal = body
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        await self.app(scope, _replay(body if isinstance(body, bytes) else b"", receive), send)

    def _refusal(self, scope: Scope) -> Response | None:
        wait = self.rate.wait((scope.get("client") or ("unknown",))[0])
        if wait:
            seconds = str(math.ceil(wait))
            return problem(429, f"more than {self.settings.rate:g} requests a second", headers={"retry-after": seconds})
        if scope["path"] not in OPEN and not self._known(Headers(scope=scope).get("authorization", "")):
            asked = f"this server wants the header Authorization: Bearer TOKEN, the one its {TOKEN} holds"
            return problem(401, asked, headers={"www-authenticate": "Bearer"})
        return None

    def _known(self, authorization: str) -> bool:
        """Whether the token is the right one; the comparison takes the same time wherever they differ."""
        if self.settings.token is None:
            return True
        kind, _, token = authorization.partition(" ")
        same = hmac.compare_digest(token.strip().encode("latin-1"), self.settings.token.encode())
        return same and kind.lower() == "bearer"

    async def _body(self, scope: Scope, receive: Receive) -> bytes | Response:
        """The whole body, or the refusal of one that is too large or too slow."""
        most = self.settings.body
        announced = Headers(scope=scope).get("content-length", "0")
        too_large = problem(413, f"a request may have {most:,} bytes at most", headers={"connection": "close"})
        if not announced.isdecimal() or int(announced) > most:
            return too_large
        body = bytearray()
        try:
            async with asyncio.timeout(self.settings.patience):
                while True:
                    message = await receive()
                    body += message.get("body", b"")
                    if len(body) > most:
                        return too_large
                    if not message.get("more_body", False):
                        return bytes(body)
        except TimeoutError:
            return problem(408, "the request did not arrive in time", headers={"connection": "close"})


def _replay(body: bytes, receive: Receive) -> Receive:
    """A receive that gives the body at once, then whatever comes after it."""
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again
