"""Our objectives beside those of other libraries, a module per library: what must be equal, what is not, and why."""

from importlib import import_module

from adapters.case import Case, Difference

PEERS = (
    "metric_learning",
    "lightly",
    "open_clip",
    "sentence_transformers",
    "info_nce",
    "pygcl",
    "symile",
)


def cases() -> list[Case]:
    """Every comparison in which both sides mean the same."""
    return [case for name in PEERS for case in import_module(f"adapters.{name}").CASES]


def differences() -> list[Difference]:
    """Every comparison in which they do not."""
    return [found for name in PEERS for found in import_module(f"adapters.{name}").DIFFERENCES]
