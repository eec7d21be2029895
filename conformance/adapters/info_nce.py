"""info-nce-pytorch."""

from importlib import import_module

from torch import Tensor

from adapters.case import TWO, Case, Difference, Scalar, labelled, later, unit
from counterpoint.objectives import against, info_nce, log_mass, multiple_negatives

PEER = "info-nce-pytorch"
NEGATIVES = (*TWO, (9, 8))


def peer(**options: object) -> Scalar:
    """Its one class."""
    return later(lambda: import_module("info_nce"), "InfoNCE", **options)


def in_batch(temperature: float) -> Case:
    """The other queries' keys are the negatives."""
    return Case(
        PEER,
        f"in-batch negatives, temperature {temperature}",
        lambda q, k: info_nce(*unit(q, k), temperature=temperature).mean(),
        peer(temperature=temperature),
    )


def with_negatives(q: Tensor, k: Tensor, negatives: Tensor) -> Tensor:
    """Only the given negatives beside the own key: the positive and one mass."""
    q, k, negatives = unit(q, k, negatives)
    own = (q * k).sum(1) / 0.2
    mass = log_mass(labelled(q), labelled(negatives, first=len(q)), temperature=0.2)
    return against(own, own, mass).mean()


CASES = [
    *(in_batch(temperature) for temperature in (0.5, 0.07, 0.01)),
    Case(PEER, "negatives given", with_negatives, peer(temperature=0.2), NEGATIVES),
]

DIFFERENCES = [
    Difference(
        PEER,
        "in-batch and given negatives together",
        lambda *x: multiple_negatives(*unit(*x), temperature=0.2).mean(),
        peer(temperature=0.2),
        "with given negatives theirs no longer compares a query with the other keys of the batch; ours does both",
        NEGATIVES,
    )
]
