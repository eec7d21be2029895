"""The one primitive: the log-sum-exp of a matrix of logits that is never held whole.

The logits are `rows @ columns.T`, made tile by tile; memory is O((n + m) d + tile). One pass gives the
masses of the rows, or of rows and columns from the same tiles. The backward pass makes the tiles again,
unless the matrix is small enough to be one tile, which is kept. While the largest possible logit is small
no maximum is subtracted and one exponential serves both directions; else sums are combined in the log
domain. A set against itself visits the upper triangle only. Everything runs in fp32 (fp64 stays fp64),
under autocast too: products are written with `out=` or in place, which autocast leaves alone.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from counterpoint.objectives.select import Selection

TILE = 1024
"""Rows and columns of a tile."""
WHOLE = 2**22
"""Logits up to which the matrix is a single tile that is kept for backward: 16 MB in fp32."""


def masses(
    rows: Float[Tensor, "n d"],
    columns: Float[Tensor, "m d"] | None = None,
    *,
    selection: Selection | None = None,
    row_weight: Float[Tensor, " n"] | None = None,
    column_weight: Float[Tensor, " m"] | None = None,
    both: bool = False,
) -> tuple[Float[Tensor, "..."], ...]:
    """The log-sum-exp of each row of `rows @ columns.T`, and with `both` of each column.

    -inf where nothing is selected. Without `columns` the rows meet themselves. The log weight of a column
    is added to its logits in the sums of the rows, and the other way round. Differentiable in `rows` and
    `columns`, once.

    >>> masses(torch.zeros(1, 2), torch.zeros(3, 2))[0].exp()
    tensor([3.])
    """
    weights = [None if side is None else side.to(rows.dtype) for side in (row_weight, column_weight)]
    found: tuple[Tensor, ...]
    found = _Masses.apply(rows, columns, selection, weights, both)  # type: ignore[no-untyped-call]
    return found


@dataclass
class Sheet:
    """The matrix of logits, of which one tile exists at a time."""

    rows: Tensor
    columns: Tensor
    selection: Selection | None = None
    triangle: bool = False
    _memory: dict[str, Tensor] = field(default_factory=dict, repr=False)

    @property
    def whole(self) -> bool:
        """Whether the matrix is a single tile."""
        return len(self.rows) * len(self.columns) <= WHOLE

    def tiles(self) -> Iterator[tuple[slice, slice]]:
        """The (rows, columns) of every tile; of a triangle those on and above the diagonal."""
        side = max(len(self.rows), len(self.columns), 1) if self.whole else TILE
        for i in blocks(len(self.rows), side):
            for j in blocks(len(self.columns), side):
                if not (self.triangle and j.start < i.start):
                    yield i, j

    def logits(self, i: slice, j: slice) -> Tensor:
        """One tile, -inf where a pair does not count; the next call overwrites it."""
        tile = self.memory("tile", i, j)
        torch.mm(self.rows[i], self.columns[j].T, out=tile)
        if self.selection is not None:
            self.selection.drop_(tile, i, j)
        return tile

    def memory(self, use: str, i: slice, j: slice) -> Tensor:
        """Memory the size of a tile, the same for every tile of one use."""
        n, m = i.stop - i.start, j.stop - j.start
        if use not in self._memory or self._memory[use].numel() < n * m:
            self._memory[use] = self.rows.new_empty(n * m)
        return self._memory[use][: n * m].view(n, m)


def blocks(n: int, size: int) -> list[slice]:
    """Consecutive slices of at most `size` that cover 0..n.

    >>> blocks(5, 3)
    [slice(0, 3, None), slice(3, 5, None)]
    """
    return [slice(start, min(start + size, n)) for start in range(0, n, size)]


def log_sum(values: Float[Tensor, "..."], dim: int | tuple[int, ...]) -> Float[Tensor, "..."]:
    """logsumexp, with a gradient of zero instead of NaN where all values are -inf.

    >>> log_sum(torch.full((2, 3), -torch.inf), 1)
    tensor([-inf, -inf])
    """
    empty = (values == -torch.inf).all(dim, keepdim=True)
    sums = values.masked_fill(empty, 0).logsumexp(dim, keepdim=True)
    return sums.masked_fill(empty, -torch.inf).squeeze(dim)


class _Masses(torch.autograd.Function):
    """Masses forward; backward the tiles again, as probabilities times the incoming gradient."""

    @staticmethod
    def forward(
        ctx: Any,
        rows: Tensor,
        columns: Tensor | None,
        selection: Selection | None,
        weights: list[Tensor | None],
        both: bool,
    ) -> tuple[Tensor, ...]:
        sheet = Sheet(rows, rows if columns is None else columns, selection, triangle=columns is None)
        kind = _Linear if _bounded(sheet, weights) else _Log
        of_rows = kind.empty(rows, weights[1])
        of_columns = of_rows if sheet.triangle else kind.empty(sheet.columns, weights[0])
        kept = None
        for i, j in sheet.tiles():
            tile = kind.enter_(sheet.logits(i, j))
            of_rows.add_(tile, i, j)
            if i != j if sheet.triangle else both:
                of_columns.add_(tile.T, j, i)
            kept = tile if sheet.whole else None
        found = [of_rows.mass()] + ([of_columns.mass()] if both else [])
        ctx.save_for_backward(rows, columns, *weights, kept, *found)
        ctx.selection, ctx.kind = selection, kind
        return tuple(found)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *incoming: Tensor) -> tuple[Tensor | None, ...]:
        rows, columns, *weights, kept, of_rows, of_columns = (*ctx.saved_tensors, None)[:7]
        sheet = Sheet(rows, rows if columns is None else columns, ctx.selection, triangle=columns is None)
        sides = [(of_rows, torch.stack(incoming).sum(0) if sheet.triangle else incoming[0], weights[1])]
        if sheet.triangle:
            sides.append(sides[0])
        elif of_columns is not None:
            sides.append((of_columns, incoming[1], weights[0]))
        d_rows = torch.zeros_like(rows)
        d_columns = torch.zeros_like(columns) if ctx.needs_input_grad[1] else None
        if sheet.triangle:
            d_columns = d_rows
        for i, j in sheet.tiles():
            tile = ctx.kind.enter_(sheet.logits(i, j)) if kept is None else kept
            flow = sheet.memory("flow", i, j)
            ctx.kind.flow(tile, *_of_block(sides[0], i, j), out=flow)
            if len(sides) > 1:
                other = sheet.memory("other", i, j)
                ctx.kind.flow(tile.T, *_of_block(sides[1], j, i), out=other.T)
                flow += other
            d_rows[i].addmm_(flow, sheet.columns[j])
            if d_columns is not None and not (sheet.triangle and i == j):
                d_columns[j].addmm_(flow.T, rows[i])
        return d_rows, None if sheet.triangle else d_columns, None, None, None


@dataclass
class _Linear:
    """The sums of one side, as they are: for logits whose exponentials stay in range."""

    total: Tensor
    weight: Tensor | None

    @classmethod
    def empty(cls, vectors: Tensor, weight: Tensor | None) -> "_Linear":
        return cls(vectors.new_zeros(len(vectors)), weight)

    @staticmethod
    def enter_(logits: Tensor) -> Tensor:
        return logits.exp_()

    def add_(self, tile: Tensor, i: slice, j: slice) -> None:
        self.total[i] += (tile if self.weight is None else tile * self.weight[j].exp()).sum(1)

    def mass(self) -> Tensor:
        return self.total.log()

    @staticmethod
    def flow(tile: Tensor, mass: Tensor, gradient: Tensor, weight: Tensor | None, out: Tensor) -> None:
        torch.mul(tile, (gradient * (-mass).exp())[:, None], out=out)
        if weight is not None:
            out *= weight.exp()


@dataclass
class _Log:
    """The sums of one side in the log domain: for any logits, at one exponential more."""

    total: Tensor
    weight: Tensor | None

    @classmethod
    def empty(cls, vectors: Tensor, weight: Tensor | None) -> "_Log":
        return cls(vectors.new_full((len(vectors),), -torch.inf), weight)

    @staticmethod
    def enter_(logits: Tensor) -> Tensor:
        return logits

    def add_(self, tile: Tensor, i: slice, j: slice) -> None:
        weighted = tile if self.weight is None else tile + self.weight[j]
        self.total[i] = torch.logaddexp(self.total[i], weighted.logsumexp(1))

    def mass(self) -> Tensor:
        return self.total.clone()

    @staticmethod
    def flow(tile: Tensor, mass: Tensor, gradient: Tensor, weight: Tensor | None, out: Tensor) -> None:
        torch.sub(tile, mass[:, None], out=out)
        if weight is not None:
            out += weight
        out.exp_().mul_(gradient[:, None])


def _of_block(
    side: tuple[Tensor, Tensor, Tensor | None],
    i: slice,
    j: slice,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """(mass, gradient, weight of the other side) of a block, with a number for the mass of nothing."""
    mass, gradient, weight = side
    return mass[i].masked_fill(mass[i] == -torch.inf, 0), gradient[i], None if weight is None else weight[j]


def _bounded(sheet: Sheet, weights: list[Tensor | None]) -> bool:
    """Whether no exponential and no sum of them can leave the range of the type (Cauchy-Schwarz)."""

    def largest(values: Tensor) -> float:
        return float(values.max()) if values.numel() else 0.0

    bound = largest(sheet.rows.norm(dim=1)) * largest(sheet.columns.norm(dim=1))
    bound += sum(largest(w[w != -torch.inf].abs()) for w in weights if w is not None)
    return bound <= 0.7 * math.log(torch.finfo(sheet.rows.dtype).max)
