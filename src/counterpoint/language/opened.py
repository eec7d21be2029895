"""A model from the text that names it."""

import os
from collections.abc import Callable

from counterpoint.errors import UserError
from counterpoint.language.accounts import Accounts
from counterpoint.language.cache import Cache
from counterpoint.language.chat import ChatModel
from counterpoint.language.endpoint import Endpoint
from counterpoint.language.local import Local

OWN: dict[str, Callable[[], ChatModel]] = {}


def register(name: str, make: Callable[[], ChatModel]) -> None:
    """Let a program's own model be opened by a name, for this process.

    >>> class Echo:
    ...     name = "echo"
    ...     def answer(self, asked):
    ...         return [Reply(one.messages[-1].text, (-0.1,), 1, 1) for one in asked]
    >>> from counterpoint.language import Reply
    >>> register("echo", Echo)
    >>> open_model("echo")[0].name
    'echo'
    """
    OWN[name] = make


def open_model(
    name: str, cache: str | os.PathLike[str] | None = None, *, concurrency: int = 8, timeout: float = 60.0
) -> tuple[ChatModel, Accounts]:
    """The model and its accounts: "http://host:port/v1#model", "smollm2", a folder, a hub id, or a registered name.

    With `cache`, a file, answers are kept there, or in the file that COUNTERPOINT_CALLS names, which several runs may
    share; the accounts count the calls that were really made. Raises `UserError`
    for an address without a model and for a model that cannot be read.

    >>> model, accounts = open_model("http://localhost:1/v1#tiny")
    >>> model.name
    'http://localhost:1/v1#tiny'
    """
    found: ChatModel
    if name in OWN:
        found = OWN[name]()
    elif name.startswith(("http://", "https://")):
        address, _, model = name.partition("#")
        if not model:
            raise UserError(f"{name}: which model? write {address}#MODEL")
        found = Endpoint(model, address, concurrency=concurrency, timeout=timeout)
    else:
        found = Local(name)
    accounts = Accounts(found)
    cache = os.environ.get("COUNTERPOINT_CALLS") or cache
    return (accounts if cache is None else Cache(accounts, cache)), accounts
