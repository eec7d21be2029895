"""What a user can mend is a `UserError`: the command line shows it as one line and exits with status 2."""

import difflib
import importlib
from collections.abc import Iterable
from types import ModuleType


class UserError(ValueError):
    """A mistake the user can mend; its text names the file, row, column or option, and the fix."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Say which known name was probably meant.

    >>> nearest("symle", ["symile", "clip"])
    'did you mean "symile"? (known: clip, symile)'
    """
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1)
    listed = f"(known: {', '.join(names)})" if names else "(none are known)"
    return f'did you mean "{close[0]}"? {listed}' if close else listed


def need(module: str, extra: str) -> ModuleType:
    """Import a module that an extra installs; raises `UserError` naming the extra when it is absent.

    >>> need("math", "report").sqrt(4.0)
    2.0
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as missing:
        package = module.split(".")[0]
        if missing.name and missing.name.split(".")[0] != package:
            raise
        raise UserError(f"{package} is not installed; run: pip install 'counterpoint[{extra}]'") from None
