"""Claims are run here: `verify` fits the arms and writes the result, `board` turns results into a page."""

from typing import TYPE_CHECKING, Any

from counterpoint.claims.board import board as board
from counterpoint.claims.board import result_path as result_path

if TYPE_CHECKING:
    from counterpoint.claims.runner import verify as verify

__all__ = ["board", "result_path", "verify"]


def __getattr__(name: str) -> Any:
    """`verify` needs torch, the board does not."""
    if name != "verify":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from counterpoint.claims.runner import verify

    return verify
