"""A model from the text that names it."""

import os

from counterpoint.errors import UserError
from counterpoint.language.accounts import Accounts
from counterpoint.language.cache import Cache
from counterpoint.language.chat import ChatModel
from counterpoint.language.endpoint import Endpoint
from counterpoint.language.local import Local


def open_model(
    name: str, cache: str | os.PathLike[str] | None = None, *, concurrency: int = 8, timeout: float = 60.0
) -> tuple[ChatModel, Accounts]:
    """The model and its accounts: "http://host:port/v1#model", "smollm2", a folder, or a hub id.

    With `cache`, a file, answers are kept there; the accounts count the calls that were really made. Raises `UserError`
    for an address without a model and for a model that cannot be read.

    >>> model, accounts = open_model("http://localhost:1/v1#tiny")
    >>> model.name
    'http://localhost:1/v1#tiny'
    """
    if name.startswith(("http://", "https://")):
        address, _, model = name.partition("#")
        if not model:
            raise UserError(f"{name}: which model? write {address}#MODEL")
        found: ChatModel = Endpoint(model, address, concurrency=concurrency, timeout=timeout)
    else:
        found = Local(name)
    accounts = Accounts(found)
    return (accounts if cache is None else Cache(accounts, cache)), accounts
