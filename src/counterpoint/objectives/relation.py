"""What is compared with what, said by an integer per row and fact instead of by n x m masks.

A pair (query, key) is, in this order:

1. not compared, when `within` differs;
2. what `itself` says, when both have the same `row`;
3. positive, when both have the same `positive`;
4. not compared, when they are equal in a column of `exclude`;
5. negative otherwise.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property, lru_cache
from typing import Any, Literal, TypeAlias

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from counterpoint.objectives.ranks import gather, mean_over_ranks, rank, sizes, sum_over_ranks, world

Itself: TypeAlias = Literal["positive", "negative", "excluded"]


@dataclass(frozen=True)
class Ids:
    """What is said about n rows, an integer column per fact; a negative id equals nothing, not even itself.

    `row` says which thing a row is: the data set's row number, the same on every rank, in every view and
    queue. Rows of equal `positive` are each other's positives. Rows equal in any column of `exclude` are
    not each other's negatives (same user, same claim). Rows that differ in `within` are not compared at all
    (same image, same sequence). `log_weight` is a constant added to a key's logit in a denominator (log Q
    correction, importance); -inf leaves the key out.

    Raises ValueError when the columns differ in length.

    >>> labels = torch.tensor([0, 0, 1])
    >>> Ids(row=torch.arange(3), positive=labels)[labels == 0].row
    tensor([0, 1])
    """

    row: Int[Tensor, " n"]
    positive: Int[Tensor, " n"]
    exclude: Int[Tensor, "n e"] | None = None
    within: Int[Tensor, " n"] | None = None
    log_weight: Float[Tensor, " n"] | None = None

    def __post_init__(self) -> None:
        lengths = {f.name: len(column) for f in fields(self) if (column := getattr(self, f.name)) is not None}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"the columns of Ids differ in length: {lengths}")
        if self.log_weight is not None and self.log_weight.requires_grad:
            raise ValueError("Ids.log_weight is a constant, it gets no gradient: pass it detached")

    def __len__(self) -> int:
        return len(self.row)

    @cached_property
    def alone(self) -> bool:
        """Whether no two rows have anything in common and nothing but `row` and `positive` is said.

        Found once: the ids of a batch serve every pair of its views.
        """
        if any(column is not None for column in (self.exclude, self.within, self.log_weight)):
            return False
        return _distinct(self.row) and (self.positive is self.row or _distinct(self.positive))

    def __getitem__(self, rows: Int[Tensor, " k"] | Bool[Tensor, " n"] | slice) -> "Ids":
        """A subset, by row indices, a mask or a slice."""
        return self._map(lambda column: column[rows])

    def gathered(self, rows: Sequence[int]) -> "Ids":
        """The ids of all ranks, `rows` of each."""
        return self._map(lambda column: gather(column, rows))

    @staticmethod
    def cat(parts: Sequence["Ids"]) -> "Ids":
        """Several ids one after the other; raises ValueError when they do not state the same facts."""
        columns: dict[str, Any] = {}
        for name in (f.name for f in fields(Ids)):
            stated = [column for part in parts if (column := getattr(part, name)) is not None]
            if stated and len(stated) < len(parts):
                raise ValueError(f"some of the Ids state `{name}` and others do not")
            columns[name] = torch.cat(stated) if stated else None
        return Ids(**columns)

    def _map(self, change: Callable[[Tensor], Tensor]) -> "Ids":
        stated = {f.name: column for f in fields(self) if (column := getattr(self, f.name)) is not None}
        changed = {name: change(column) for name, column in stated.items() if name != "positive"}
        changed["positive"] = changed["row"] if self.positive is self.row else change(self.positive)
        return Ids(**changed)


@dataclass(frozen=True)
class Embeddings:
    """Vectors with their ids, one per row.

    `everywhere` says that every rank already holds all of them (queue, item table, prototypes). The vectors
    are used as they are: whoever wants cosines normalises them first. Raises ValueError when there are not
    as many ids as vectors.

    >>> rows = torch.arange(4)
    >>> len(Embeddings(torch.rand(4, 8), Ids(row=rows, positive=rows))[rows < 3])
    3
    """

    vectors: Float[Tensor, "n d"]
    ids: Ids
    everywhere: bool = False

    def __post_init__(self) -> None:
        if len(self.vectors) != len(self.ids):
            raise ValueError(f"{len(self.vectors)} vectors with the ids of {len(self.ids)} rows")

    def __len__(self) -> int:
        return len(self.vectors)

    def __getitem__(self, rows: Int[Tensor, " k"] | Bool[Tensor, " n"] | slice) -> "Embeddings":
        """A subset, by row indices, a mask or a slice; a missing modality is one."""
        return replace(self, vectors=self.vectors[rows], ids=self.ids[rows])

    def gathered(self) -> "Embeddings":
        """The rows of all ranks, with gradient, in the order of the ranks; every rank must call it."""
        if self.everywhere or world() == 1:
            return self
        rows = sizes(len(self), self.vectors.device)
        return Embeddings(gather(self.vectors, rows), self.ids.gathered(rows), everywhere=True)


Queries: TypeAlias = Embeddings | Float[Tensor, "n d"]
Keys: TypeAlias = Embeddings | Float[Tensor, "m d"]


def as_embeddings(vectors: Queries) -> Embeddings:
    """Embeddings as they are; a plain tensor with ids by position, each row its own positive.

    >>> as_embeddings(torch.rand(2, 8)).ids.row
    tensor([0, 1])
    """
    if isinstance(vectors, Embeddings):
        return vectors
    return Embeddings(vectors, _by_position(len(vectors), rank(), vectors.device))


@lru_cache(maxsize=16)
def _by_position(n: int, rank: int, device: torch.device) -> Ids:
    """The ids of a plain tensor; kept, since the next batch of a training run is as long."""
    row = torch.arange(n, device=device) + (rank << 40)
    return Ids(row=row, positive=row)


def paired(queries: Queries, keys: Keys) -> tuple[Embeddings, Embeddings]:
    """Both sides of a comparison as Embeddings; of plain tensors, row i of one belongs to row i of the other.

    Raises ValueError for plain tensors of different length, a plain tensor beside Embeddings (ids by position
    would meet ids of the data set), or vectors of different dimension.

    >>> queries, keys = paired(torch.rand(2, 8), torch.rand(2, 8))
    """
    if isinstance(queries, Embeddings) != isinstance(keys, Embeddings):
        raise ValueError("queries and keys must both be plain tensors or both be Embeddings")
    if not isinstance(queries, Embeddings) and len(queries) != len(keys):
        raise ValueError(f"plain tensors pair row by row: {len(queries)} queries and {len(keys)} keys")
    left = as_embeddings(queries)
    right = left if keys is queries else keys if isinstance(keys, Embeddings) else Embeddings(keys, left.ids)
    if left.vectors.shape[1] != right.vectors.shape[1]:
        raise ValueError(f"queries are {left.vectors.shape[1]}-dimensional and keys {right.vectors.shape[1]}")
    return left, right


def stacked(*views: Embeddings) -> Embeddings:
    """Several views as one set: each view of a row is a thing of its own, positives stay positives.

    >>> rows = torch.arange(2)
    >>> view = Embeddings(torch.rand(2, 8), Ids(row=rows, positive=rows))
    >>> stacked(view, view).ids.row
    tensor([0, 2, 1, 3])
    """
    ids = [replace(v.ids, row=v.ids.row * len(views) + i) for i, v in enumerate(views)]
    everywhere = {view.everywhere for view in views}
    if len(everywhere) > 1:
        raise ValueError("views of one set must all be `everywhere`, or none of them")
    return Embeddings(torch.cat([view.vectors for view in views]), Ids.cat(ids), everywhere.pop())


@dataclass(frozen=True)
class Relation:
    """Two sides, and what the key that is the query itself counts as, whatever else is said about it.

    Raises ValueError when only one side states `within`, or the sides differ in the columns of `exclude`.

    >>> rows = torch.arange(2)
    >>> positive, negative = Relation(Ids(rows, rows), Ids(rows, rows)).tile(slice(0, 2), slice(0, 2))
    >>> negative.tolist()
    [[False, True], [True, False]]
    """

    queries: Ids
    keys: Ids
    itself: Itself = "positive"

    def __post_init__(self) -> None:
        columns = [0 if ids.exclude is None else ids.exclude.shape[1] for ids in (self.queries, self.keys)]
        if columns[0] != columns[1]:
            raise ValueError(f"queries have {columns[0]} columns of `exclude` and keys {columns[1]}")
        if (self.queries.within is None) != (self.keys.within is None):
            raise ValueError("queries and keys must both state `within`, or neither")

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.queries), len(self.keys)

    @property
    def diagonal(self) -> bool:
        """Whether the pairs (i, i) are the positives and all others negatives, as between two views of a batch."""
        queries, keys = self.queries, self.keys
        if self.itself != "positive" or not queries.alone:
            return False
        return queries is keys or (
            keys.alone and torch.equal(queries.row, keys.row) and torch.equal(queries.positive, keys.positive)
        )

    @property
    def matching(self) -> bool:
        """Whether a row has one positive at most, itself, and all else is negative, as where views lack some rows."""
        sides = (self.queries, self.keys)
        return self.itself == "positive" and all(ids.positive is ids.row and ids.alone for ids in sides)

    @cached_property
    def matches(self) -> tuple[Int[Tensor, " hits"], Int[Tensor, " hits"]] | None:
        """The positives where they are a matching, or the diagonal."""
        if self.diagonal:
            positions = torch.arange(len(self.queries), device=self.queries.row.device)
            return positions, positions
        return join(self.queries.row, self.keys.row, len(self.queries)) if self.matching else None

    def tile(self, i: slice, j: slice) -> tuple[Bool[Tensor, "i j"], Bool[Tensor, "i j"]]:
        """(positive, negative) of the queries i and the keys j."""
        n, m = self.shape
        device = self.queries.row.device
        return self.pairs(torch.arange(n, device=device)[i, None], torch.arange(m, device=device)[None, j])

    def pairs(
        self, i: Int[Tensor, "*#shape"], j: Int[Tensor, "*#shape"]
    ) -> tuple[Bool[Tensor, "*shape"], Bool[Tensor, "*shape"]]:
        """(positive, negative) of the queries i with the keys j, which may broadcast."""
        queries, keys = self.queries, self.keys
        itself = _same(queries.row[i], keys.row[j])
        positive = _same(queries.positive[i], keys.positive[j]) & ~itself
        negative = ~(positive | itself)
        if queries.exclude is not None and keys.exclude is not None:
            for column in range(queries.exclude.shape[1]):
                negative &= ~_same(queries.exclude[i, column], keys.exclude[j, column])
        if self.itself == "positive":
            positive |= itself
        elif self.itself == "negative":
            negative |= itself
        if queries.within is not None and keys.within is not None:
            compared = _same(queries.within[i], keys.within[j])
            positive &= compared
            negative &= compared
        return positive, negative

    def has_negative(self) -> Bool[Tensor, " n"]:
        """Which queries have at least one negative; looks at a few keys at a time and stops once all have."""
        n, m = self.shape
        if m > 1 and (self.matching or self.diagonal):
            return torch.ones(n, dtype=torch.bool, device=self.queries.row.device)
        found = torch.zeros(n, dtype=torch.bool, device=self.queries.row.device)
        for start in range(0, m, 64):
            without = (~found).nonzero()
            if not len(without):
                break
            keys = torch.arange(start, min(start + 64, m), device=found.device)[None]
            found[without[:, 0]] = self.pairs(without, keys)[1].any(dim=1)
        return found


@dataclass(frozen=True)
class RowLoss:
    """A loss per query row; rows that are not `valid` are skipped and counted.

    >>> loss = RowLoss(torch.tensor([2.0, 0.0, 4.0]), torch.tensor([True, False, True]))
    >>> loss.mean(), loss.skipped
    (tensor(3.), 1)
    """

    value: Float[Tensor, " n"]
    valid: Bool[Tensor, " n"]
    skips: bool = True
    """False when all rows are known to be valid, without a look at them."""

    @property
    def skipped(self) -> int:
        """How many rows of this rank were skipped."""
        return int((~self.valid).sum())

    def mean(self, weight: Float[Tensor, " n"] | None = None) -> Float[Tensor, ""]:
        """The (weighted) mean over the valid rows of all ranks, this rank's share: see `mean_over_ranks`."""
        if not self.skips and weight is None and world() == 1:
            return self.value.mean()
        value = self.value.masked_fill(~self.valid, 0)
        if weight is None:
            share = value.sum() / sum_over_ranks(self.valid.sum(dtype=value.dtype)).clamp(min=1)
            return share if world() == 1 else share * world()
        return mean_over_ranks(value, torch.where(self.valid, weight, 0).to(value))


def join(
    left: Int[Tensor, " n"], right: Int[Tensor, " m"], most: int
) -> tuple[Int[Tensor, " hits"], Int[Tensor, " hits"]] | None:
    """The (i, j) where two columns hold the same non-negative id; None when there are more than `most`.

    >>> join(torch.tensor([7, 5, -1]), torch.tensor([5, -1, 7, 7]), most=9)
    (tensor([0, 0, 1]), tensor([2, 3, 0]))
    """
    values, order = right.sort(stable=True)
    first = torch.searchsorted(values, left)
    count = (torch.searchsorted(values, left, right=True) - first).masked_fill(left < 0, 0)
    if count.sum() > most:
        return None
    i = torch.repeat_interleave(count)
    before = count.cumsum(0) - count
    return i, order[torch.arange(len(i), device=i.device) - before[i] + first[i]]


def _distinct(column: Tensor) -> bool:
    """Whether all ids are different, and none negative."""
    return bool((column.sort().values.diff(prepend=column.new_full((1,), -1)) > 0).all())


def _same(a: Tensor, b: Tensor) -> Tensor:
    return (a == b) & (a >= 0)
