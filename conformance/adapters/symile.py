"""symile, the package of the paper's authors."""

from importlib import import_module

import torch
from torch import Tensor

from adapters.case import TWO, Case, Difference, Scalar, unit
from counterpoint.objectives import symile

PEER = "symile"


def ours(*views: Tensor, negatives: str = "n_squared") -> Tensor:
    """Our loss of unit vectors at scale 5."""
    generator = torch.Generator().manual_seed(0)
    return symile(unit(*views), scale=5.0, negatives=negatives, generator=generator).mean()


def theirs(negatives: str) -> Scalar:
    """Theirs at the same scale; it draws from the global generator."""

    def loss(*views: Tensor) -> Tensor:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            found: Tensor = import_module("symile").Symile(negatives)(unit(*views), 5.0)
            return found

    return loss


def shapes(views: int) -> tuple[tuple[int, int], ...]:
    """Few rows: the peer makes every combination."""
    return ((5, 8),) * views


CASES = [
    *(Case(PEER, f"n_squared, {k} views", ours, theirs("n_squared"), shapes(k)) for k in (3, 4)),
    Case(PEER, "n, 3 views, from the same seed", lambda *views: ours(*views, negatives="n"), theirs("n"), shapes(3)),
]

DIFFERENCES = [
    Difference(PEER, "two views", ours, theirs("n_squared"), "theirs needs three views; ours is then CLIP's loss", TWO)
]
