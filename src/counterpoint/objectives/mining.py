"""Losses with margins and thresholds, and the pairs or triplets they pick from a batch.

A key is positive or negative by its ids, as everywhere. A set compared with itself leaves each row's own pair out;
between two sets (views, a queue) the same row is a positive. A query without a positive or without a negative is
skipped. Memory is O((n + m) d + block), see `rowwise`.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Literal, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from counterpoint.objectives.relation import Itself, Keys, Queries, RowLoss, paired
from counterpoint.objectives.rowwise import PerBlock, rowwise
from counterpoint.objectives.streamed import log_sum

Distance: TypeAlias = Literal["cosine", "euclidean"]
Mining: TypeAlias = Literal["all", "hard", "semihard", "easy"]


def triplet(
    queries: Queries, keys: Keys, *, margin: float = 0.2, mining: Mining = "all", distance: Distance = "cosine"
) -> RowLoss:
    """max(0, margin + d(query, positive) - d(query, negative)), the mean over the triplets that `mining` picks.

    `all`: every positive with every negative, in O(m log m) per query. `hard`: the farthest positive with the nearest
    negative. `semihard`: each positive with the nearest negative that is farther than it is; a query without any is
    skipped. `easy`: the nearest positive with the nearest negative. `cosine` is 1 - <q, k> and wants unit vectors;
    `euclidean` is the distance itself, not its square.

    Raises ValueError for another `mining` or `distance`. Source: semihard, FaceNet, arXiv 1503.03832, section 3.2 (with
    squared distances); all and hard, arXiv 1703.07737, equations 6 and 5 (with sums); easy, arXiv 1904.04370.

    >>> view = torch.tensor([[1.0, 0.0], [0.8, 0.6]])
    >>> triplet(view, view.flip(0), margin=0.5).value
    tensor([0.7000, 0.7000])
    """
    if mining not in _PICKS:
        raise ValueError(f'mining is "all", "hard", "semihard" or "easy", not "{mining}"')
    pick = _PICKS[mining]

    def per_block(distances: Tensor, positive: Tensor, negative: Tensor) -> tuple[Tensor, ...]:
        total, count = pick(distances, positive, negative, margin)
        valid = count > 0
        return (total / count.clamp(min=1)).masked_fill(~valid, 0), valid

    value, valid = _by_distance(queries, keys, per_block, distance)
    return RowLoss(value, valid)


def contrastive_margin(
    queries: Queries, keys: Keys, *, margin: float = 1.0, distance: Distance = "euclidean"
) -> RowLoss:
    """The mean of d^2 / 2 over a query's positives plus that of max(0, margin - d)^2 / 2 over its negatives.

    `distance` as in `triplet`; raises ValueError for another. Source: Hadsell, Chopra and LeCun, CVPR 2006, equation 4.

    >>> contrastive_margin(torch.eye(2), torch.eye(2), margin=2.0).value
    tensor([0.1716, 0.1716])
    """

    def per_block(distances: Tensor, positive: Tensor, negative: Tensor) -> tuple[Tensor, ...]:
        pull = _mean(distances.square() / 2, positive)
        push = _mean((margin - distances).clamp(min=0).square() / 2, negative)
        valid = positive.any(1) & negative.any(1)
        return (pull + push).masked_fill(~valid, 0), valid

    value, valid = _by_distance(queries, keys, per_block, distance)
    return RowLoss(value, valid)


def multi_similarity(
    queries: Queries,
    keys: Keys,
    *,
    alpha: float = 2.0,
    beta: float = 50.0,
    base: float = 0.5,
    epsilon: float | None = 0.1,
) -> RowLoss:
    """Soft thresholds at `base`: positives are drawn above it, negatives pushed below, the worse the harder.

    log(1 + sum e^{-alpha (s - base)}) / alpha over positives + log(1 + sum e^{beta (s - base)}) / beta over negatives.
    Of mined pairs: a negative counts when it is nearer than the farthest positive, a positive when it is farther than
    the nearest negative, both give or take `epsilon`; None takes every pair. A query whose pairs are all dropped has
    loss 0 and counts. Similarities are <q, k>, meant for unit vectors. Source: arXiv 1904.06627, section 4.

    >>> multi_similarity(torch.eye(2), torch.eye(2), epsilon=None).value
    tensor([0.1566, 0.1566])
    """

    def per_block(similarity: Tensor, positive: Tensor, negative: Tensor) -> tuple[Tensor, ...]:
        valid = positive.any(1) & negative.any(1)
        if epsilon is not None:
            farthest, nearest = _least(similarity, positive), _most(similarity, negative)
            negative = negative & (similarity + epsilon > farthest[:, None])
            positive = positive & (similarity - epsilon < nearest[:, None])
        pull = _soft_threshold(-alpha * (similarity - base), positive) / alpha
        push = _soft_threshold(beta * (similarity - base), negative) / beta
        return (pull + push).masked_fill(~valid, 0), valid

    value, valid = rowwise(queries, keys, per_block, temperature=1.0, itself=_itself(queries, keys))
    return RowLoss(value, valid)


def _itself(queries: Queries, keys: Keys) -> Itself:
    return "excluded" if queries is keys else "positive"


def _by_distance(queries: Queries, keys: Keys, per_block: PerBlock, distance: Distance) -> tuple[Tensor, ...]:
    """`rowwise` with distances in the place of logits."""
    itself = _itself(queries, keys)
    if distance == "cosine":
        return rowwise(queries, keys, lambda s, *kinds: per_block(1 - s, *kinds), temperature=1.0, itself=itself)
    if distance != "euclidean":
        raise ValueError(f'distance is "cosine" or "euclidean", not "{distance}"')

    def of_squares(squares: Tensor, positive: Tensor, negative: Tensor) -> tuple[Tensor, ...]:
        # equal vectors are at distance 0, without a gradient instead of an infinite one
        return per_block(squares.clamp(min=torch.finfo(squares.dtype).tiny).sqrt(), positive, negative)

    left, right = paired(queries, keys)
    right = right.gathered()
    a, b = _squares(left.vectors, right.vectors)
    return rowwise(replace(left, vectors=a), replace(right, vectors=b), of_squares, temperature=1.0, itself=itself)


def _squares(queries: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
    """Vectors whose products are squared distances; around the mean of the keys, where they lose the fewest digits."""
    kind = torch.promote_types(torch.promote_types(queries.dtype, keys.dtype), torch.float32)
    centre = keys.detach().to(kind).sum(0) / max(len(keys), 1)
    a, b = queries.to(kind) - centre, keys.to(kind) - centre
    left = torch.cat([-2 * a, a.square().sum(1, keepdim=True), a.new_ones(len(a), 1)], dim=1)
    return left, torch.cat([b, b.new_ones(len(b), 1), b.square().sum(1, keepdim=True)], dim=1)


Pick: TypeAlias = Callable[[Tensor, Tensor, Tensor, float], tuple[Tensor, Tensor]]
"""(distances, positive, negative, margin) -> (sum over the picked triplets of a query, how many they are)."""


def _every(distances: Tensor, positive: Tensor, negative: Tensor, margin: float) -> tuple[Tensor, Tensor]:
    """With the negatives in order, those that violate a margin are a prefix, and their sum a difference."""
    ordered = distances.masked_fill(~negative, torch.inf).sort(dim=1).values
    reach = margin + distances
    inside = torch.searchsorted(ordered.detach(), reach.detach())
    sums = F.pad(ordered.double().cumsum(1), (1, 0)).gather(1, inside)
    excess = (inside * reach.double() - sums).to(distances.dtype)
    return excess.masked_fill(~positive, 0).sum(1), positive.sum(1) * negative.sum(1)


def _semihard(distances: Tensor, positive: Tensor, negative: Tensor, margin: float) -> tuple[Tensor, Tensor]:
    ordered = F.pad(distances.masked_fill(~negative, torch.inf).sort(dim=1).values, (0, 1), value=torch.inf)
    place = torch.searchsorted(ordered.detach(), distances.detach(), right=True).clamp(max=distances.shape[1])
    farther = ordered.gather(1, place)
    picked = positive & ((farther < torch.inf) | distances.isnan())
    return (margin + distances - farther).clamp(min=0).masked_fill(~picked, 0).sum(1), picked.sum(1)


def _hard(distances: Tensor, positive: Tensor, negative: Tensor, margin: float) -> tuple[Tensor, Tensor]:
    excess = margin + _most(distances, positive) - _least(distances, negative)
    return excess.clamp(min=0), (positive.any(1) & negative.any(1)).long()


def _easy(distances: Tensor, positive: Tensor, negative: Tensor, margin: float) -> tuple[Tensor, Tensor]:
    excess = margin + _least(distances, positive) - _least(distances, negative)
    return excess.clamp(min=0), (positive.any(1) & negative.any(1)).long()


_PICKS: dict[str, Pick] = {"all": _every, "hard": _hard, "semihard": _semihard, "easy": _easy}


def _most(values: Tensor, among: Tensor) -> Tensor:
    return values.masked_fill(~among, -torch.inf).amax(1)


def _least(values: Tensor, among: Tensor) -> Tensor:
    return values.masked_fill(~among, torch.inf).amin(1)


def _mean(values: Tensor, among: Tensor) -> Tensor:
    return values.masked_fill(~among, 0).sum(1) / among.sum(1).clamp(min=1)


def _soft_threshold(values: Tensor, among: Tensor) -> Tensor:
    """log(1 + sum of exponentials), 0 over nothing."""
    return F.softplus(log_sum(values.masked_fill(~among, -torch.inf), 1), threshold=40)
