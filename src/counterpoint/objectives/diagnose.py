"""What a batch is made of: how many of its negatives may be positives in truth."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Int
from torch import Tensor

from counterpoint.objectives.ranks import sum_over_ranks
from counterpoint.objectives.relation import Embeddings, Itself, Keys, Queries, paired
from counterpoint.objectives.rowwise import rowwise


@dataclass(frozen=True)
class Estimate:
    """The share of false negatives among so many negatives: `exact` by labels, else judged by similarity.

    >>> Estimate(share=0.2, negatives=10, exact=False).at_most
    0.4
    """

    share: float
    negatives: int
    exact: bool

    @property
    def at_most(self) -> float:
        """The share, if it is exact; else twice it, under the condition stated in `false_negatives`."""
        return self.share if self.exact else min(1.0, 2 * self.share)


@torch.no_grad()
def false_negatives(
    queries: Queries,
    keys: Keys,
    *,
    labels: Int[Tensor, " n"] | None = None,
    key_labels: Int[Tensor, " m"] | None = None,
    itself: Itself = "positive",
) -> Estimate:
    """Which share of the negatives in a batch (of all ranks) is false.

    With `labels` (and `key_labels`, by default the same): the share of the negatives that have the query's label,
    exactly. A negative label is nobody's, and the query itself, where it counts as a negative, is no false one.

    Without: the share that is at least as near to the query as its nearest positive. That counts what the encoder
    cannot tell from a positive, be it false or just hard: an untrained encoder gives about one half, a good one on
    clean data nearly 0. It misses false negatives farther away than the positive. If at least half of all false
    negatives are as near as it, their true share is at most twice this one (`at_most`); nothing else bounds it.

    Costs about one forward pass of a loss, holds a block of logits at a time, has no gradient; queries without a
    positive are only counted with labels. Raises ValueError for `key_labels` alone, or labels of the wrong length.

    >>> false_negatives(torch.eye(4), torch.eye(4), labels=torch.tensor([0, 0, 1, 2])).share
    0.16666666666666666
    >>> view = torch.nn.functional.normalize(torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]))
    >>> false_negatives(view, view)  # rows 0 and 1 are the same
    Estimate(share=0.3333333333333333, negatives=6, exact=False)
    """
    left, right = paired(queries, keys)
    if labels is not None:
        negatives = _negatives(left, right, itself)
        known = _excluding(left, labels), _excluding(right, labels if key_labels is None else key_labels)
        return _estimate(negatives - _negatives(*known, itself), negatives, exact=True)
    if key_labels is not None:
        raise ValueError("key_labels without the labels of the queries say nothing")

    def count(logits: Tensor, positive: Tensor, negative: Tensor) -> tuple[Tensor, ...]:
        own = logits.masked_fill(~positive, -torch.inf).amax(1, keepdim=True)
        # a copy of the positive may differ from it by the rounding of a product
        near = negative & (logits >= own - 1e-6 * own.abs())
        has = positive.any(1)
        return near.sum(1) * has, negative.sum(1) * has

    near, negative = rowwise(left, right, count, temperature=1.0, itself=itself)
    return _estimate(_total(near), _total(negative), exact=False)


def _estimate(false: int, negatives: int, exact: bool) -> Estimate:
    return Estimate(false / max(negatives, 1), negatives, exact)


def _negatives(queries: Embeddings, keys: Embeddings, itself: Itself) -> int:
    """How many negative pairs there are; the vectors do not matter."""
    left, right = (replace(side, vectors=side.vectors[:, :0]) for side in (queries, keys))
    (count,) = rowwise(left, right, lambda _, positive, negative: (negative.sum(1),), temperature=1.0, itself=itself)
    return _total(count)


def _excluding(side: Embeddings, labels: Tensor) -> Embeddings:
    """Rows of one label are not negatives of each other."""
    if len(labels) != len(side):
        raise ValueError(f"{len(labels)} labels for {len(side)} rows")
    stated = [] if side.ids.exclude is None else [side.ids.exclude]
    return replace(side, ids=replace(side.ids, exclude=torch.cat([*stated, labels[:, None]], dim=1)))


def _total(counts: Tensor) -> int:
    return int(sum_over_ranks(counts.sum()))
