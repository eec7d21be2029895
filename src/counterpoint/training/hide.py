"""Hides a package from what is imported: Fabric imports torchmetrics for its version alone, which takes seconds."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def not_installed(package: str) -> Iterator[None]:
    """What is imported meanwhile finds no such package, unless it is imported already.

    >>> with not_installed("zipapp"):
    ...     import zipapp
    Traceback (most recent call last):
    ModuleNotFoundError: import of zipapp halted; None in sys.modules
    >>> import zipapp
    """
    if package in sys.modules:
        yield
        return
    sys.modules[package] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[package]
