"""`counterpoint serve`: bind, load, answer until told to stop, and finish what was accepted."""

import asyncio
import logging.config
import signal
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn

from counterpoint.errors import UserError
from counterpoint.serving.app import create_app
from counterpoint.serving.settings import LOCAL, Settings, token_of_environment
from counterpoint.serving.watch import LOG, log_config

GRACE = 0.5
"""Seconds in which clients that keep connections open learn that the server is leaving."""
PATIENCE = 30
"""Seconds that requests in flight have to finish."""
BACKLOG = 2048
OWN = ("127.0.0.1", "localhost", "::1")
"""Addresses that only this machine reaches."""


def settings(host: str, names: Sequence[str], origins: Sequence[str], rate: float, body: float) -> Settings:
    """The settings of a server on an address, `body` in MiB; the token is that of the environment.

    On an address that only this machine reaches it answers to this machine's own names and those given, so that no
    page can reach it under a name of its own; elsewhere to those given, or to any when there are none.
    """
    hosts = (*LOCAL, *names) if host in OWN or names else ("*",)
    size = int(body * 2**20)
    return Settings(token_of_environment(), hosts, tuple(origins), size, rate)


class Server(uvicorn.Server):
    """A uvicorn server that loses no accepted request when it is told to stop.

    New connections are refused at once. On open ones each answer says that the connection closes, for a moment; then
    idle ones are closed, and requests in flight are waited for.
    """

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self.ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, then say so."""
        await super().startup(sockets)
        self.ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop as described."""
        LOG.info("stopping")
        await asyncio.sleep(0)  # connections that wait to be accepted are
        for server in self.servers:
            server.close()
        self.config.app.state.leaving = True  # type: ignore[union-attr]  # not before: whoever leaves must not come back
        end = time.monotonic() + GRACE
        while self.server_state.connections and time.monotonic() < end:
            await asyncio.sleep(0.02)
        await super().shutdown(sockets)
        LOG.info("stopped")


def serve(run: Path, index: Path | None, host: str, port: int, settings: Settings, say: Any) -> None:
    """Serve until SIGTERM or Ctrl-C; port 0 takes a free one. `say` is told the address.

    Raises `UserError` when the address is taken or cannot be used, and what `create_app` raises.
    """
    listening = bind(host, port)
    with listening:
        app = create_app(run, index, settings)
        logging.config.dictConfig(log_config())
        logging.getLogger("uvicorn").setLevel("WARNING")
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            lifespan="on",
            proxy_headers=False,
            server_header=False,
            backlog=BACKLOG,
            timeout_graceful_shutdown=PATIENCE,
        )
        address = f"http://{f'[{host}]' if ':' in host else host}:{listening.getsockname()[1]}"

        def ready() -> None:
            facts = {"address": address, "run": str(run), "index": index and str(index)}
            LOG.info("listening", extra={"facts": facts})
            if settings.token is None and host not in OWN:
                LOG.warning("anybody who reaches this address can ask: no token is set")
            say(address)

        signal.signal(signal.SIGTERM, _stopped)  # uvicorn raises it again when all is done
        Server(config, ready).run(sockets=[listening])


def _stopped(number: int, frame: FrameType | None) -> None:
    """Nothing is left to do."""


def bind(host: str, port: int) -> socket.socket:
    """A socket with the address; raises `UserError` when it is taken, unknown or not allowed."""
    try:
        family, kind, proto, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, proto)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
        except OSError:
            listening.close()
            raise
    except (OSError, OverflowError) as problem:
        reason = getattr(problem, "strerror", None) or str(problem)
        raise UserError(
            f"cannot listen on {host} port {port}: {reason.lower()}; choose with --host and --port"
        ) from None
    return listening
