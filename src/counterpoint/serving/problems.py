"""What goes wrong is told in the form of the OpenAI interface: {"error": {"message", "type", "param", "code"}}."""

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from counterpoint.errors import UserError
from counterpoint.serving.batching import BusyError

KINDS = {401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error"}


class RefusedError(Exception):
    """A request that cannot be served; the message says why and what would be."""

    def __init__(self, status: int, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.param = status, message, param


def problem(
    status: int, message: str, param: str | None = None, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """An answer that says what is wrong."""
    kind = KINDS.get(status, "invalid_request_error" if status < 500 else "server_error")
    error = {"message": message, "type": kind, "param": param, "code": None}
    return JSONResponse({"error": error}, status, dict(headers or {}))


def install(app: FastAPI) -> None:
    """Have an application tell its problems in this form."""

    async def refused(request: Request, reason: Any) -> JSONResponse:
        return problem(reason.status, reason.message, reason.param)

    async def mistaken(request: Request, reason: Any) -> JSONResponse:
        return problem(400, str(reason))

    async def busy(request: Request, reason: Any) -> JSONResponse:
        return problem(503, "too many requests wait; try again in a moment", headers={"retry-after": "1"})

    async def invalid(request: Request, reason: Any) -> JSONResponse:
        return problem(422, *_first(reason.errors()))

    async def other(request: Request, reason: Any) -> JSONResponse:
        return problem(reason.status_code, str(reason.detail), headers=reason.headers)

    handlers: dict[Any, Any] = {RefusedError: refused, UserError: mistaken, BusyError: busy}
    handlers |= {RequestValidationError: invalid, HTTPException: other}
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, handler)


def _first(errors: Sequence[Any]) -> tuple[str, str | None]:
    """What is wrong with a request, at the deepest place it was understood to; never what was sent."""
    error = max(errors, key=lambda error: len(error["loc"]))
    place = ".".join(str(part) for part in error["loc"][1:] if not _is_kind(part))
    return f"{place}: {error['msg']}" if place else str(error["msg"]), place or None


def _is_kind(part: Any) -> bool:
    """Whether a step of a place names one of several kinds a value may have, which no user wrote."""
    return isinstance(part, str) and (part in ("str", "int", "float", "bool") or "[" in part or "constrained-" in part)
