"""The losses that see all keys of a query at once and those of many views, for `processes`."""

from collections.abc import Callable
from dataclasses import replace

from torch import Tensor

from counterpoint.objectives import Embeddings, mean_over_ranks
from counterpoint.objectives.diagnose import false_negatives
from counterpoint.objectives.losses import MultiViewLoss
from counterpoint.objectives.mining import contrastive_margin, multi_similarity, triplet
from counterpoint.objectives.rowwise import rowwise
from counterpoint.objectives.views import multi_view
from objectives.engine_cases import Rows


def classes(r: Rows, view: int) -> Embeddings:
    return Embeddings(r.views[view], replace(r.ids, positive=r.labels))


def softmax(r: Rows) -> Tensor:
    def loss(logits: Tensor, positive: Tensor, negative: Tensor) -> tuple[Tensor, ...]:
        return ((logits.exp() * negative).sum(1).log1p() - (logits * positive).sum(1),)

    return mean_over_ranks(
        rowwise(r.a, r.queue, loss, temperature=r.t)[0] + rowwise(r.a, r.b, loss, temperature=r.t)[0]
    )


def some(r: Rows) -> Tensor:
    """The last view is missing for all rows of the first of three ranks."""
    present = [r.row % 5 != 1, r.row % 4 != 2, r.row > 4]
    return multi_view(r.views, temperature=r.t, present=present).mean()


def nobody(r: Rows) -> Tensor:
    """The last view is missing for the whole batch, on every rank."""
    everyone = r.row >= 0
    return multi_view(r.views, temperature=r.t, present=[everyone, everyone, ~everyone]).mean()


def estimated(r: Rows) -> Tensor:
    """What has no gradient, as the weight of something that has."""
    shares = [false_negatives(r.a, r.b).share, false_negatives(r.a, r.b, labels=r.labels).share]
    return triplet(r.a, r.b).mean() * (shares[0] + 2 * shares[1])


def triplets(distance: str, mining: str) -> Callable[[Rows], Tensor]:
    return lambda r: triplet(classes(r, 0), classes(r, 1), margin=0.5, mining=mining, distance=distance).mean()


def without_keys(r: Rows) -> Tensor:
    """Nothing to compare with on any rank, beside something."""
    none = r.b[r.row < 0]
    return triplet(r.a, r.b).mean() + triplet(r.a, none).mean() + multi_similarity(none, r.a).mean()


def in_a_set(r: Rows) -> Tensor:
    rows = classes(r, 0)
    return triplet(rows, rows, margin=0.5, mining="hard").mean() + multi_similarity(rows, rows).mean()


OBJECTIVES: dict[str, Callable[[Rows], Tensor]] = {
    **{
        f"triplet, {mining}, {distance}": triplets(distance, mining)
        for distance in ("cosine", "euclidean")
        for mining in ("all", "hard", "semihard", "easy")
    },
    "no keys": without_keys,
    "a set with itself": in_a_set,
    "multi_similarity": lambda r: multi_similarity(r.a, r.b, beta=10.0).mean(),
    "multi_similarity, all": lambda r: multi_similarity(classes(r, 0), classes(r, 1), epsilon=None).mean(),
    "contrastive_margin": lambda r: contrastive_margin(r.a, r.b).mean(),
    "contrastive_margin, plain": lambda r: contrastive_margin(*r.views[:2], distance="cosine").mean(),
    "rowwise": softmax,
    "multi_view": lambda r: multi_view([r.a, r.b, r.c], temperature=r.t).mean(),
    "multi_view, first": lambda r: multi_view(r.views, temperature=r.t, pairs="first").mean(),
    "multi_view, some missing": some,
    "multi_view, one missing": nobody,
    "multi_view, module": lambda r: MultiViewLoss(temperature=0.2)([r.a, r.b, r.c]),
    "false_negatives": estimated,
}
