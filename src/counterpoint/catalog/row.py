"""What the catalog says of a method."""

import importlib
from dataclasses import dataclass
from typing import Any, Literal

from counterpoint.errors import UserError


@dataclass(frozen=True)
class Row:
    """A method as the catalog knows it; targets are `module:Name`, imported only when asked for.

    `data` has a classmethod `read(path, **options)`; `against` names the closed-form baseline that a fit is judged
    against; `verify` runs `further_claims` after `claim`; `extra` is the extra of the package that the method needs.

    >>> Row("mean", "statistics:fmean", "text", "array:array", "no paper", "baseline").load()([1, 3])
    2.0
    """

    name: str
    target: str
    wing: str
    data: str
    paper: str
    status: Literal["exact", "partial", "reconstruction", "baseline"]
    claim: str | None = None
    extra: str | None = None
    summary: str = ""
    against: str | None = None
    further_claims: tuple[str, ...] = ()

    def load(self) -> Any:
        """Import the method's class."""
        return resolve(self.target, self.extra)

    def reader(self) -> Any:
        """Import the class that reads the method's data."""
        return resolve(self.data, self.extra)


def resolve(target: str, extra: str | None = None) -> Any:
    """Import `module:Name`; raises `UserError` naming the extra to install when a package of it is absent.

    >>> resolve("math:sqrt")(9.0)
    3.0
    """
    module, _, name = target.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as missing:
        if extra is None:
            raise
        raise UserError(f"{missing.name} is not installed; run: pip install 'counterpoint[{extra}]'") from None
