"""Contrast without a softmax over negatives: similarities as they are, or their squares."""

import torch
from torch import Tensor

from counterpoint.objectives.relation import Keys, Queries, RowLoss, paired
from counterpoint.objectives.rowwise import rowwise


def linear_contrast(queries: Queries, keys: Keys) -> RowLoss:
    """The mean similarity of a query with its negatives minus the mean similarity with its positives.

    Positives are the keys of equal `positive` id, the query's own row among them; all other keys are negatives. Without
    temperature and logarithm the loss is bounded below only where lengths are: whoever wants cosines normalises first.
    It takes O((n + m) d) time and memory: sums of keys, never pairs. A query without a positive or without a negative
    is skipped. Raises ValueError for ids that say more than `row` and `positive`, and as `paired` does.
    Source: arXiv 2604.05462, released code, whose L_HCL is half of this with the sum over views on both sides.

    >>> linear_contrast(torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([[1.0, 0.0], [0.5, 1.0]])).value
    tensor([-0.5000, -1.0000])
    """
    left, right = paired(queries, keys)
    right = right.gathered()
    if any(c is not None for ids in (left.ids, right.ids) for c in (ids.exclude, ids.within, ids.log_weight)):
        raise ValueError("linear_contrast reads `row` and `positive` only; drop the other columns of Ids")
    dtype = torch.promote_types(left.vectors.dtype, torch.float32)
    with torch.autocast(left.vectors.device.type, enabled=False):
        x, y = left.vectors.to(dtype), right.vectors.to(dtype)
        known, group = torch.cat([left.ids.positive, right.ids.positive]).unique(return_inverse=True)
        mine, theirs = group[: len(x)], group[len(x) :]
        sums = y.new_zeros(len(known), y.shape[1]).index_add(0, theirs, y)
        pulls = torch.bincount(theirs, minlength=len(known))[mine]
        pulled, whole = (x * sums[mine]).sum(dim=1), x @ y.sum(dim=0)
        pushes = len(y) - pulls
        value = (whole - pulled) / pushes.clamp(min=1) - pulled / pulls.clamp(min=1)
    valid = (pulls > 0) & (pushes > 0) & (left.ids.positive >= 0)
    return RowLoss(value.masked_fill(~valid, 0), valid)


def spectral_contrast(queries: Queries, keys: Keys) -> RowLoss:
    """The spectral contrastive loss: the mean of `(1 + <q, k>)^2` over negatives minus twice that of `1 + <q, k>` over
    positives, plus 1.

    At its least `1 + <q, k>` is the ratio of the joint density of query and key to the product of their own, as far as
    the dimension allows; among linear encoders it factorises the whitened cross-covariance. It is twice the linear
    contrast plus the mean square of negatives, which keeps directions apart: vectors need not be normalised. A query
    without a positive or without a negative is skipped. Memory is that of `rowwise`; raises ValueError as it does.
    Source: arXiv 2106.04156, equation 6; the 1 stands for its constant eigenfunction.

    >>> spectral_contrast(torch.tensor([[1.0], [-1.0]]), torch.tensor([[1.0], [-1.0]])).value
    tensor([-3., -3.])
    """

    def per_block(logits: Tensor, positive: Tensor, negative: Tensor) -> tuple[Tensor, ...]:
        pulls, pushes = positive.sum(dim=1), negative.sum(dim=1)
        pulled = (logits * positive).sum(dim=1) / pulls.clamp(min=1)
        pushed = (logits * (logits + 2) * negative).sum(dim=1) / pushes.clamp(min=1)
        return pushed - 2 * pulled, (pulls > 0) & (pushes > 0)

    value, valid = rowwise(queries, keys, per_block, temperature=1.0)
    return RowLoss(value.masked_fill(~valid, 0), valid)
