"""Contrast over any number of views of the same rows, of which some may be missing."""

from collections.abc import Sequence
from itertools import combinations
from typing import Literal

import torch
from jaxtyping import Bool
from torch import Tensor

from counterpoint.objectives.engine import Temperature
from counterpoint.objectives.infonce import info_nce
from counterpoint.objectives.relation import Embeddings, Queries, RowLoss, paired


def multi_view(
    views: Sequence[Queries],
    *,
    temperature: Temperature,
    present: Sequence[Bool[Tensor, " n"]] | None = None,
    pairs: Literal["all", "first"] = "all",
) -> RowLoss:
    """Symmetric InfoNCE between pairs of views: `all` of them, or the `first` view with each of the others.

    `present` says per view which of its rows exist; the others are neither queries nor keys, whatever they hold, and
    get no gradient. A row whose partner is missing is still a negative of others, and is skipped as a query itself; a
    view may be missing for the whole batch. Views of Embeddings may also be of different rows from the start. The loss
    has the rows of one pair after the other, both directions each, so the mean is over comparisons.

    Raises ValueError for fewer than two views, plain tensors of different length or beside Embeddings, `present` that
    does not fit the views, or another `pairs`. Source: CMC, arXiv 1906.05849, section 3 (core view and full graph).
    With masked copies of an anchor as the other views, `first` is the masked contrast (MaskCL) of arXiv 2604.12277.

    >>> views = [torch.eye(3), torch.eye(3), torch.zeros(3, 3)]
    >>> nobody, everybody = torch.zeros(3, dtype=torch.bool), torch.ones(3, dtype=torch.bool)
    >>> multi_view(views, temperature=0.1, present=[everybody, everybody, nobody]).valid.sum()
    tensor(6)
    """
    if len(views) < 2:
        raise ValueError(f"multi_view compares two views or more, not {len(views)}")
    if pairs not in ("all", "first"):
        raise ValueError(f'pairs is "all" or "first", not "{pairs}"')
    rows = [paired(views[0], view)[1] for view in views]
    if present is not None:
        rows = _existing(rows, present)
    chosen = combinations(rows, 2) if pairs == "all" else [(rows[0], other) for other in rows[1:]]
    losses = [info_nce(one, other, temperature=temperature, symmetric=True) for one, other in chosen]
    return RowLoss(
        torch.cat([loss.value for loss in losses]),
        torch.cat([loss.valid for loss in losses]),
        skips=any(loss.skips for loss in losses),
    )


def _existing(views: list[Embeddings], present: Sequence[Tensor]) -> list[Embeddings]:
    """The rows that are present; a view that is complete stays the object it is, and its ids with it."""
    if [len(mask) for mask in present] != [len(view) for view in views]:
        sizes = [len(mask) for mask in present], [len(view) for view in views]
        raise ValueError(f"`present` has masks of {sizes[0]} rows for views of {sizes[1]}")
    return [view if bool(mask.all()) else view[mask] for view, mask in zip(views, present, strict=True)]
