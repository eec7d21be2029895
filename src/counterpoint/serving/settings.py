"""How a server is set up: who may ask, how much, how often, and how requests are put together."""

import os
from dataclasses import dataclass, field

from counterpoint.errors import UserError

TOKEN = "COUNTERPOINT_TOKEN"
"""The environment variable that holds the bearer token; there is no option for it, because options are seen by all."""
LOCAL = ("127.0.0.1", "localhost", "[::1]")


@dataclass(frozen=True)
class Settings:
    """Limits and permissions of a server.

    `token`: the bearer token that requests need (None: no token); `hosts`: names the server answers to ("*": any);
    `origins`: web origins whose pages may ask (none by default); `body`: largest request in bytes; `rate`: requests
    per second from one address (0: no limit); `inputs`: most records in one request; `batch`: rows encoded together;
    `wait`: seconds a request waits for company; `waiting`: rows that may wait before requests are turned away;
    `patience`: seconds a client has to send its request.
    """

    token: str | None = field(default=None, repr=False)
    hosts: tuple[str, ...] = LOCAL
    origins: tuple[str, ...] = ()
    body: int = 4 * 2**20
    rate: float = 1000.0
    inputs: int = 2048
    batch: int = 256
    wait: float = 0.003
    waiting: int = 20_000
    patience: float = 30.0


def token_of_environment() -> str | None:
    """The bearer token that the environment gives, or None.

    Raises `UserError` when it is set but could not be sent in a header.
    """
    token = os.environ.get(TOKEN)
    if token is not None and (not token.isascii() or not token.isprintable() or " " in token or not token):
        raise UserError(f"{TOKEN} must be printable ASCII without spaces and not empty; set another, or unset it")
    return token
