"""Which views share something: the structures of hierarchical contrastive learning, and where each has its numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, combinations
from typing import Any, Literal

import torch
from jaxtyping import Bool
from torch import Tensor

from counterpoint.errors import UserError
from counterpoint.training.budget import ROOM, free_memory

Kind = Literal["subsets", "shared-private"]
MOST_VIEWS = 10
"""Ten views have 1,023 structures; every further view doubles them, and what is kept of each pair of them."""


@dataclass(frozen=True)
class Structures:
    """Sets of views that share factors, and how many factors each has.

    `subsets` are all 2^M - 1 sets of M views, the largest first, views in their order; `shared-private` is what most
    methods assume: one structure shared by all views and a private one for each. There the shared structure has as
    many factors as all shared subsets together, so that both forms have equally many.

    >>> structures = Structures.of(["labs", "notes", "ecg"], rank=2)
    >>> [structures.name(k) for k in range(4)], structures.width
    (['labs + notes + ecg', 'labs + notes', 'labs + ecg', 'notes + ecg'], 14)
    """

    views: tuple[str, ...]
    members: tuple[tuple[str, ...], ...]
    ranks: tuple[int, ...]

    @classmethod
    def of(cls, views: Sequence[str], rank: int, kind: Kind = "subsets") -> "Structures":
        """The structures of some views; raises `UserError` for fewer than 2 or more than 10 views."""
        count = len(views)
        if not 2 <= count <= MOST_VIEWS:
            raise UserError(
                f"{count} views have {2**count - 1} structures (2^{count} - 1); HCL takes 2 to {MOST_VIEWS} views, so "
                "leave some out or join them with view.NAME=column,column"
            )
        subsets = [chosen for size in range(count, 0, -1) for chosen in combinations(views, size)]
        if kind == "subsets":
            return cls(tuple(views), tuple(subsets), (rank,) * len(subsets))
        shared = rank * (len(subsets) - count)
        return cls(tuple(views), (tuple(views), *((name,) for name in views)), (shared, *(rank,) * count))

    def __len__(self) -> int:
        return len(self.members)

    def name(self, k: int) -> str:
        """The views of a structure, for a reader."""
        return " + ".join(self.members[k])

    @property
    def width(self) -> int:
        """Factors in all."""
        return sum(self.ranks)

    @cached_property
    def columns(self) -> tuple[slice, ...]:
        """Where each structure's factors stand among all of them."""
        return tuple(slice(end - rank, end) for end, rank in zip(accumulate(self.ranks), self.ranks, strict=True))

    def having(self, view: str) -> list[int]:
        """The structures that a view takes part in."""
        return [k for k, members in enumerate(self.members) if view in members]

    def columns_of(self, view: str) -> Bool[Tensor, " q"]:
        """Which factors a view takes part in."""
        parts = zip(self.members, self.ranks, strict=True)
        return torch.tensor([view in members for members, rank in parts for _ in range(rank)])

    def require_room(self, need: int) -> None:
        """Raise `UserError` when so many bytes are more than the memory has room for."""
        free = free_memory(torch.device("cpu"))
        if free is not None and need > ROOM * free:
            raise UserError(
                f"{self.words()} need {need / 2**30:.1f} GiB of memory, {free / 2**30:.1f} are free; use fewer views, "
                "columns or factors"
            )

    def words(self) -> str:
        """How many there are, in a sentence's beginning."""
        count = len(self.views)
        how = f"2^{count} - 1" if len(self) == 2**count - 1 else "one shared, the others private"
        return f"{len(self)} structures of {count} views ({how})"


@dataclass(frozen=True)
class Layout:
    """A loading matrix: the rows of each view, the columns of each structure, and where it may be other than zero.

    >>> layout = Layout.of({"a": 2, "b": 1}, Structures.of(["a", "b"], rank=1))
    >>> layout.mask.int().tolist()
    [[1, 1, 0], [1, 1, 0], [1, 0, 1]]
    """

    structures: Structures
    rows: Mapping[str, slice]

    @classmethod
    def of(cls, widths: Mapping[str, int], structures: Structures) -> "Layout":
        """The layout of views with so many columns each."""
        rows, start = {}, 0
        for name in structures.views:
            rows[name] = slice(start, start + widths[name])
            start += widths[name]
        return cls(structures, rows)

    @property
    def height(self) -> int:
        """Columns of all views together."""
        return int(max(rows.stop for rows in self.rows.values()))

    @cached_property
    def mask(self) -> Bool[Tensor, "d q"]:
        """True where a view takes part in a structure."""
        mask = torch.zeros(self.height, self.structures.width, dtype=torch.bool)
        for name, rows in self.rows.items():
            mask[rows] = self.structures.columns_of(name)
        return mask

    def place(self, views: Sequence[str]) -> Any:
        """The rows of some views, as an index."""
        return torch.cat([torch.arange(self.rows[name].start, self.rows[name].stop) for name in views])
