"""Losses without a softmax over negatives: pairs drawn together, batches spread out, dimensions decorrelated.

Means, variances and correlations are those of the rows of all ranks, and so are their gradients. Two views
are compared row by row: both must hold the same rows in the same order. Vectors are used as they are; half
precision is raised to fp32 on entry, and products stay there under autocast.
"""

import math
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from counterpoint.objectives.engine import log_mass
from counterpoint.objectives.ranks import gather, mean_over_ranks, sizes, sum_over_ranks, world
from counterpoint.objectives.relation import Embeddings, Keys, Queries, RowLoss, as_embeddings, paired
from counterpoint.objectives.streamed import log_sum


def alignment(view0: Queries, view1: Keys, power: float = 2.0) -> RowLoss:
    """How far the two views of a row are apart: their distance to a power of at least 1.

    Raises ValueError for a smaller power or views of different rows. Source: arXiv 2005.10242, section 4.1.

    >>> alignment(torch.tensor([[3.0, 4.0]]), torch.zeros(1, 2)).value
    tensor([25.])
    """
    if power < 1:
        raise ValueError(f"power must be at least 1, not {power}: below, equal vectors have no gradient")
    left, right = _same_rows(view0, view1)
    value = torch.linalg.vector_norm(left - right, dim=1).pow(power)
    return RowLoss(value, torch.ones_like(value, dtype=torch.bool))


def uniformity(vectors: Queries, t: float = 2.0) -> Float[Tensor, ""]:
    """The log of the mean of `exp(-t |x - y|^2)` over all pairs of different rows; lower is more uniform.

    Streamed, in O(n d) memory. The ids say which pairs count: rows that `exclude` or `within` keeps apart do
    not. Zero when there is no pair. Raises ValueError for a t that is not above 0. Source: arXiv 2005.10242,
    section 4.1.

    >>> uniformity(torch.eye(3))
    tensor(-4.)
    """
    if not t > 0:
        raise ValueError(f"t must be above 0, not {t}")
    points = as_embeddings(vectors)
    points = replace(points, vectors=points.vectors.to(torch.promote_types(points.vectors.dtype, torch.float32)))
    everyone = points.gathered()
    # -t |x - y|^2 is the product of (2t x, -t |x|^2, -t) and (y, 1, |y|^2)
    x, y = points.vectors, everyone.vectors
    queries = torch.cat([2 * t * x, -t * x.square().sum(1, keepdim=True), x.new_full((len(x), 1), -t)], 1)
    keys = torch.cat([y, y.new_ones(len(y), 1), y.square().sum(1, keepdim=True)], 1)
    total = _over_pairs(points, everyone, queries, keys)
    if everyone.ids.alone:
        count = total.new_tensor(len(y) * (len(y) - 1)).log()
    else:
        count = _over_pairs(points, everyone, x.new_zeros(len(x), 1), y.new_zeros(len(y), 1))
    return torch.where(total == -torch.inf, 0, total - count)


def barlow_twins(
    view0: Queries, view1: Keys, off_diagonal: float = 0.005, *, epsilon: float = 1e-5
) -> Float[Tensor, ""]:
    """Barlow Twins: the cross-correlation of the two views' dimensions drawn towards the identity.

    `off_diagonal` is the weight of the redundancy term (lambda), `epsilon` is added to the variances, as the
    batch normalisation of the paper's code does. With half as many rows as dimensions, or fewer, the products
    are n x n instead of d x d. Raises ValueError for views of different rows.
    Source: arXiv 2103.03230, equations 1 and 2.

    >>> view = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    >>> barlow_twins(view, -view, epsilon=0.0)
    tensor(8.)
    """
    left, right = _same_rows(view0, view1)
    n = _count(left)
    left, right = (_standardised(view, n, epsilon) for view in (left, right))
    own = _total((left * right).sum(0))
    return (1 - own).square().sum() + off_diagonal * _off_diagonal(left, right, n, own)


def canonical(view0: Queries, view1: Keys, decorrelation: float = 1e-3, *, epsilon: float = 1e-5) -> Float[Tensor, ""]:
    """Canonical correlation: two standardised views are equal, each with uncorrelated dimensions.

    The squared distance of the views, whose dimensions have mean 0 and length 1 over the rows of all ranks, plus
    `decorrelation` times the squared distance of each view's correlations from the identity. `epsilon` is added to
    the variances. Raises ValueError for views of different rows. Source: CCA-SSG, arXiv 2106.12484, equation 5.

    >>> view = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    >>> canonical(view, -view, epsilon=0.0)
    tensor(8.)
    """
    left, right = _same_rows(view0, view1)
    n = _count(left)
    left, right = (_standardised(view, n, epsilon) for view in (left, right))
    loss = _total((left - right).square().sum())
    for view in (left, right):
        own = _total(view.square().sum(0))
        loss = loss + decorrelation * ((1 - own).square().sum() + _off_diagonal(view, view, n, own))
    return loss


def vicreg(
    view0: Queries,
    view1: Keys,
    invariance: float = 25.0,
    variance: float = 25.0,
    covariance: float = 1.0,
    *,
    epsilon: float = 1e-4,
) -> Float[Tensor, ""]:
    """VICReg: equal views, a standard deviation of at least 1 in every dimension, no covariance between them.

    Normalised as in the paper's code, to which the default weights belong: squared differences are averaged
    over rows and dimensions (equation 5 sums over dimensions), the variance terms of the two views are
    averaged and their covariance terms added (equation 6 adds both). Variances and covariances divide by
    n - 1; `epsilon` is added to the variances. Raises ValueError for views of different rows or an epsilon
    not above 0. Source: arXiv 2105.04906, equations 1 to 6.

    >>> view = torch.tensor([[9.0, 9.0], [9.0, -9.0], [-9.0, 9.0], [-9.0, -9.0]])
    >>> vicreg(view, view + 1)
    tensor(25.)
    """
    if not epsilon > 0:
        raise ValueError(f"epsilon must be above 0, not {epsilon}: a deviation of 0 has no gradient")
    views = _same_rows(view0, view1)
    n, d = _count(views[0]), max(views[0].shape[1], 1)
    loss = invariance * _total((views[0] - views[1]).square().sum()) / (max(n, 1) * d)
    for view in views:
        centred = _centred(view, n) / math.sqrt(max(n - 1, 1))
        own = _total(centred.square().sum(0))
        loss = loss + variance * torch.relu(1 - (own + epsilon).sqrt()).mean() / 2
        loss = loss + covariance * _off_diagonal(centred, centred, n, own) / d
    return loss


def cosine(prediction: Queries, target: Keys) -> RowLoss:
    """One minus the cosine of a prediction and its target; the target gets no gradient.

    The loss of BYOL (arXiv 2006.07733, equation 2) is twice this, that of SimSiam (arXiv 2011.10566,
    equation 1) is this minus one; both are symmetric by calling it twice. A row with a zero vector has no
    direction: skipped and counted. Raises ValueError for views of different rows.

    >>> cosine(torch.tensor([[2.0, 0.0], [0.0, 0.0]]), torch.tensor([[0.0, 3.0], [1.0, 0.0]]))
    RowLoss(value=tensor([1., 0.]), valid=tensor([ True, False]), skips=True)
    """
    left, right = _same_rows(prediction, target)
    right = right.detach()
    lengths = [torch.linalg.vector_norm(side, dim=1, keepdim=True) for side in (left, right)]
    valid = (lengths[0] != 0) & (lengths[1] != 0)
    left, right = (side / length.masked_fill(~valid, 1) for side, length in zip((left, right), lengths, strict=True))
    return RowLoss((1 - (left * right).sum(1)).masked_fill(~valid[:, 0], 0), valid[:, 0])


def orthogonality(part0: Queries, part1: Keys) -> Float[Tensor, ""]:
    """How much two parts of a representation share: the rows' squared products and the squared covariances.

    The mean over rows of `<x, y>^2` plus the sum of the squared covariances of each dimension of one part
    with each of the other, over n. Zero when the parts are orthogonal row by row and uncorrelated. Raises
    ValueError for parts of different rows. Source: reconstruction, the split into signal and noise of arXiv
    2604.14746.

    >>> orthogonality(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]), torch.tensor([[0.0, 1.0], [0.0, 1.0]]))
    tensor(0.)
    """
    left, right = _same_rows(part0, part1)
    n = _count(left)
    product = mean_over_ranks((left * right).sum(1).square())
    left, right = (_centred(part, n) / math.sqrt(max(n, 1)) for part in (left, right))
    own = _total((left * right).sum(0))
    return product + own.square().sum() + _off_diagonal(left, right, n, own)


class _Total(torch.autograd.Function):
    """The sum over ranks of what every rank then uses: its gradient is the sum over ranks as well."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        return sum_over_ranks(value)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return sum_over_ranks(gradient)


def _total(value: Tensor) -> Tensor:
    if world() == 1:
        return value
    total: Tensor = _Total.apply(value)  # type: ignore[no-untyped-call]
    return total


def _count(rows: Tensor) -> int:
    return sum(sizes(len(rows), rows.device))


def _centred(rows: Tensor, n: int) -> Tensor:
    return rows - _total(rows.sum(0)) / max(n, 1)


def _standardised(rows: Tensor, n: int, epsilon: float) -> Tensor:
    """Centred and divided by the standard deviation and the root of n, so that products are correlations."""
    centred = _centred(rows, n) / math.sqrt(max(n, 1))
    variance = _total(centred.square().sum(0)) + epsilon
    return centred / variance.masked_fill(variance == 0, 1).sqrt()


def _off_diagonal(left: Tensor, right: Tensor, n: int, own: Tensor) -> Tensor:
    """The sum of the squares of `left.T @ right` over all ranks, without its diagonal `own`.

    With few rows it is |L R^T|^2 = <L L^T, R R^T>, of n x n; then the matrix is far from diagonal and nothing
    cancels in the difference.
    """
    with torch.autocast(left.device.type, enabled=False):
        if 2 * n > left.shape[1]:
            return _total(left.T @ right).fill_diagonal_(0).square().sum()
        whole = (left @ gather(left).T) * (right @ gather(right).T)
        return _total(whole.sum()) - own.square().sum()


def _over_pairs(points: Embeddings, everyone: Embeddings, queries: Tensor, keys: Tensor) -> Tensor:
    """The log of the sum of `exp(<query, key>)` over all compared pairs of all ranks."""
    mass = log_mass(
        replace(points, vectors=queries), replace(everyone, vectors=keys), temperature=1.0, itself="excluded"
    )
    return log_sum(mass if points.everywhere else gather(mass), 0)


def _same_rows(view0: Queries, view1: Keys) -> tuple[Tensor, Tensor]:
    """The vectors of two views that belong together row by row, in at least fp32."""
    left, right = paired(view0, view1)
    if not torch.equal(left.ids.row, right.ids.row):
        raise ValueError("the views must hold the same rows in the same order; select the rows that have both")
    if left.everywhere or right.everywhere:
        raise ValueError("views that are `everywhere` would be counted once per rank; pass each rank's own rows")
    kind = torch.promote_types(torch.promote_types(left.vectors.dtype, right.vectors.dtype), torch.float32)
    return left.vectors.to(kind), right.vectors.to(kind)
