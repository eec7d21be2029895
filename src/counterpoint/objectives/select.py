"""Which pairs of a relation a mass runs over; the ids choose the cheapest way to keep the others out.

A sort and a join of the ids find every pair that can possibly be left out, in O(n log n + hits). None: no
tile needs any work (CLIP). Few: they are scattered into their tiles (NT-Xent, MoCo, exclude columns). Many
(`within`, classes): each tile compares ids.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from counterpoint.objectives.relation import Relation, join

Over: TypeAlias = Literal["all", "negatives", "positives"]
FEW = 16
"""Left-out pairs per row and column up to which they are kept as a list."""
FEW_POSITIVES = 1
"""Positive pairs per row and column up to which they are kept as a list."""


@dataclass(frozen=True)
class Selection:
    """The pairs of a relation that count: positives and negatives, or one of them."""

    relation: Relation
    over: Over
    left_out: tuple[Int[Tensor, " hits"], Int[Tensor, " hits"]] | None

    def drop_(self, tile: Float[Tensor, "i j"], i: slice, j: slice) -> None:
        """Set the logits of the pairs that do not count to -inf."""
        if self.left_out is None:
            tile.masked_fill_(~_chosen(self.relation.tile(i, j), self.over), -torch.inf)
        elif len(self.left_out[0]):
            rows, columns = self.left_out
            first, last = torch.searchsorted(rows, rows.new_tensor([i.start, i.stop])).tolist()
            rows, columns = rows[first:last] - i.start, columns[first:last] - j.start
            inside = (columns >= 0) & (columns < tile.shape[1])
            tile[rows[inside], columns[inside]] = -torch.inf


def select(relation: Relation, over: Over = "all") -> Selection:
    """The selection of a relation, with its left-out pairs listed when they are few.

    >>> from counterpoint.objectives.relation import Ids
    >>> rows = torch.arange(3)
    >>> select(Relation(Ids(rows, rows), Ids(rows, rows), itself="excluded")).left_out
    (tensor([0, 1, 2]), tensor([0, 1, 2]))
    """
    return Selection(relation, over, _left_out(relation, over))


def _chosen(
    kinds: tuple[Bool[Tensor, "*shape"], Bool[Tensor, "*shape"]],
    over: Over,
) -> Bool[Tensor, "*shape"]:
    positive, negative = kinds
    return {"all": positive | negative, "negatives": negative, "positives": positive}[over]


def _left_out(relation: Relation, over: Over) -> tuple[Tensor, Tensor] | None:
    """The pairs that do not count, ordered by query; None when they are many."""
    if over == "positives" or relation.queries.within is not None:
        return None
    if relation.matches is not None:
        i, j = relation.matches
        return (i, j) if over == "negatives" else (i[:0], j[:0])
    found: list[tuple[Tensor, Tensor]] = []
    budget = FEW * sum(relation.shape)
    for left, right in _suspects(relation, over):
        pairs = join(left, right, budget)
        if pairs is None:
            return None
        budget -= len(pairs[0])
        found.append(pairs)
    if not found:
        nothing = relation.queries.row.new_empty(0)
        return nothing, nothing
    i, j = (torch.cat(side) for side in zip(*found, strict=True))
    dropped = ~_chosen(relation.pairs(i, j), over)
    i, order = i[dropped].sort()
    return i, j[dropped][order]


def _suspects(relation: Relation, over: Over) -> Iterator[tuple[Tensor, Tensor]]:
    """The columns in which a pair must be equal to be left out."""
    queries, keys = relation.queries, relation.keys
    if over == "negatives":
        yield queries.positive, keys.positive
    if over == "negatives" or relation.itself == "excluded":
        yield queries.row, keys.row
    if queries.exclude is not None and keys.exclude is not None:
        yield from zip(queries.exclude.T.contiguous(), keys.exclude.T.contiguous(), strict=True)


def positive_pairs(relation: Relation) -> tuple[Int[Tensor, " hits"], Int[Tensor, " hits"]] | None:
    """The positive pairs of a relation, in no particular order; None when they are many.

    >>> from counterpoint.objectives.relation import Ids
    >>> rows = torch.arange(3)
    >>> positive_pairs(Relation(Ids(rows, rows), Ids(rows, rows)))
    (tensor([0, 1, 2]), tensor([0, 1, 2]))
    """
    if relation.matches is not None:
        return relation.matches
    queries, keys, most = relation.queries, relation.keys, FEW_POSITIVES * sum(relation.shape)
    alike = join(queries.positive, keys.positive, most)
    own = join(queries.row, keys.row, most)
    if alike is None or own is None:
        return None
    i, j = own
    fresh = (queries.positive[i] != keys.positive[j]) | (queries.positive[i] < 0)
    i, j = torch.cat([alike[0], i[fresh]]), torch.cat([alike[1], j[fresh]])
    positive = relation.pairs(i, j)[0]
    return i[positive], j[positive]


def products(
    rows: Float[Tensor, "n d"], columns: Float[Tensor, "m d"], i: Int[Tensor, " hits"], j: Int[Tensor, " hits"]
) -> Float[Tensor, " hits"]:
    """The products of some pairs of rows and columns."""
    return (_taken(rows, i) * _taken(columns, j)).sum(1)


def _taken(vectors: Float[Tensor, "n d"], index: Int[Tensor, " k"]) -> Float[Tensor, "k d"]:
    """Some of the vectors; all of them in order are not copied, so that the backward pass keeps nothing more."""
    whole = len(index) == len(vectors) and bool((index == torch.arange(len(index), device=index.device)).all())
    return vectors if whole else vectors[index]
