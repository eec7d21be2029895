"""The one primitive: the log-sum-exp of a matrix of logits that is never held whole.

The logits are `rows @ columns.T`, made tile by tile; memory is O((n + m) d + tile). One pass gives the
masses of the rows, or of rows and columns from the same tiles. The backward pass makes the tiles again,
unless the matrix is so small that they are kept. While the largest possible logit is small
no maximum is subtracted and one exponential serves both directions; else sums are combined in the log
domain. A set against itself visits the upper triangle only. Everything runs in fp32 (fp64 stays fp64),
under autocast too: products are written with `out=` or in place, which autocast leaves alone. Only inside
`bf16_products` are the factors of matrix products rounded; exponentials and sums are never.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from counterpoint.objectives.select import Selection

SMALL = 2**18
"""Logits up to which one direction is a fused log-softmax: 512 x 512."""
TILE = 1024
"""Rows and columns of a tile."""
WHOLE = 2**22
"""Logits up to which the matrix is a single tile: 16 MB in fp32."""
KEPT = 2**24
"""Logits up to which the tiles are kept for the backward pass: 64 MB in fp32."""

_bf16 = ContextVar("bf16 products", default=False)


@cache
def multiplies_bf16() -> bool:
    """Whether this processor multiplies bfloat16 matrices itself; where it does not, they are slower than fp32."""
    capable = torch.cpu.get_capabilities()
    return any(bool(capable.get(name)) for name in ("avx512_bf16", "amx_bf16", "bf16"))


def _rounds(rows: Tensor) -> bool:
    return _bf16.get() and rows.dtype == torch.float32 and (rows.device.type != "cpu" or multiplies_bf16())


@contextmanager
def bf16_products() -> Iterator[None]:
    """Losses made inside multiply matrices in bfloat16 where the processor is faster at it; elsewhere nothing changes.

    The loss moves by about 1e-4 and its gradient by 2e-3 of its length; nothing else is rounded, and fp64 stays as it
    is. The backward pass of a loss follows its forward pass.

    >>> with bf16_products():
    ...     masses(torch.ones(1, 2), torch.ones(3, 2)).exp()
    tensor([22.1672])
    """
    before = _bf16.set(True)
    try:
        yield
    finally:
        _bf16.reset(before)


def masses(
    rows: Float[Tensor, "n d"],
    columns: Float[Tensor, "m d"] | None = None,
    *,
    selection: Selection | None = None,
    row_weight: Float[Tensor, " n"] | None = None,
    column_weight: Float[Tensor, " m"] | None = None,
    both: bool = False,
) -> Float[Tensor, " sums"]:
    """The log-sum-exp of each row of `rows @ columns.T`, and with `both` then of each column.

    -inf where nothing is selected. Without `columns` the rows meet themselves. The log weight of a column is added to
    its logits in the sums of the rows, and the other way round. Differentiable in `rows` and `columns`, once.

    >>> masses(torch.zeros(1, 2), torch.zeros(3, 2)).exp()
    tensor([3.])
    """
    weights = [None if side is None else side.to(rows.dtype) for side in (row_weight, column_weight)]
    found: Tensor = _Masses.apply(rows, columns, selection, weights, both, False)[0]  # type: ignore[no-untyped-call]
    return found


def masses_over_own(
    rows: Float[Tensor, "n d"], columns: Float[Tensor, "n d"], *, both: bool = False
) -> tuple[Float[Tensor, " sums"], bool]:
    """The masses over all pairs, each less the logit of its own pair (i, i), which is read off the tiles.

    Also whether the vectors are such that all logits are finite.

    >>> masses_over_own(torch.eye(2), torch.eye(2), both=True)
    (tensor([0.3133, 0.3133, 0.3133, 0.3133]), True)
    """
    value, finite = _Masses.apply(rows, columns, None, [None, None], both, True)  # type: ignore[no-untyped-call]
    return value, finite


def own_share(rows: Float[Tensor, "n d"], columns: Float[Tensor, "n d"], scale: float = 1.0) -> Float[Tensor, " n"]:
    """-log of the share that the pair (i, i) has in the sum of row i: `masses_over_own` of few rows, quicker.

    The matrix is small enough to be held, and torch's own operations cost less than a backward pass of ours.

    >>> own_share(torch.eye(2), torch.eye(2))
    tensor([0.3133, 0.3133])
    """
    return -(rows @ columns.T * scale).log_softmax(1).diagonal()


def twin_share(rows: Float[Tensor, "n2 d"], scale: float = 1.0) -> Float[Tensor, " n2"]:
    """-log of the share that a row's twin, half the rows away, has in the sum of the row over all rows but itself.

    >>> twin_share(torch.zeros(4, 2)).exp()
    tensor([3., 3., 3., 3.])
    """
    value: Tensor = _TwinShare.apply(rows, scale)  # type: ignore[no-untyped-call]
    return value


class _TwinShare(torch.autograd.Function):
    """A fused log-softmax of a matrix that is held; logits of twins lie half-way off its diagonal, on both sides."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, scale: float) -> Tensor:
        logits = rows.new_empty(rows.shape[0], rows.shape[0])
        torch.addmm(logits, rows, rows.T, beta=0, alpha=scale, out=logits).fill_diagonal_(-torch.inf)
        shares = logits.log_softmax(1)
        ctx.save_for_backward(rows, shares)
        ctx.scale = scale
        return torch.cat([shares.diagonal(half) for half in _halves(rows)]).neg_()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        rows, shares = ctx.saved_tensors
        gradient = gradient * ctx.scale
        flow = shares.exp().mul_(gradient[:, None])
        for half, own in zip(_halves(rows), gradient.chunk(2), strict=True):
            flow.diagonal(half).sub_(own)
        return torch.mm(flow + flow.T, rows, out=torch.empty_like(rows)), None


def _halves(rows: Tensor) -> tuple[int, int]:
    """Where the twins' diagonals lie: of the first half of the rows, and of the second."""
    return rows.shape[0] // 2, -(rows.shape[0] // 2)


@dataclass
class Sheet:
    """The matrix of logits, of which one tile exists at a time."""

    rows: Tensor
    columns: Tensor
    selection: Selection | None = None
    triangle: bool = False
    bf16: bool = False
    _memory: dict[str, Tensor] = field(default_factory=dict, repr=False)

    @property
    def shape(self) -> tuple[int, int]:
        return self.rows.shape[0], self.columns.shape[0]

    @property
    def whole(self) -> bool:
        """Whether the matrix is a single tile."""
        return math.prod(self.shape) <= WHOLE

    @property
    def keeps(self) -> bool:
        """Whether the backward pass finds the tiles of the forward pass, and need not make them again."""
        return math.prod(self.shape) <= KEPT

    def tiles(self) -> Iterator[tuple[slice, slice]]:
        """The (rows, columns) of every tile; of a triangle those on and above the diagonal."""
        n, m = self.shape
        side = max(n, m, 1) if self.whole else TILE
        for i in blocks(n, side):
            for j in blocks(m, side):
                if not (self.triangle and j.start < i.start):
                    yield i, j

    @cached_property
    def rounded(self) -> tuple[Tensor, Tensor]:
        """Rows and columns in bfloat16."""
        rows = self.rows.bfloat16()
        return rows, rows if self.triangle else self.columns.bfloat16()

    def logits(self, i: slice, j: slice, fresh: bool = False) -> Tensor:
        """One tile, -inf where a pair does not count; the next call overwrites it, unless it is `fresh`."""
        tile = self.rows.new_empty(i.stop - i.start, j.stop - j.start) if fresh else self.memory("tile", i, j)
        if self.bf16:
            rows, columns = self.rounded
            tile.copy_(torch.mm(part(rows, i), part(columns, j).T))
        else:
            torch.mm(part(self.rows, i), part(self.columns, j).T, out=tile)
        if self.selection is not None:
            self.selection.drop_(tile, i, j)
        return tile

    def pull_(self, flow: Tensor, i: slice, j: slice, d_rows: Tensor | None, d_columns: Tensor | None) -> None:
        """Add what the gradient of a tile means for its rows and columns."""
        if self.bf16:
            rows, columns = self.rounded
            low = flow.bfloat16()
            if d_rows is not None:
                part(d_rows, i).add_(torch.mm(low, part(columns, j)))
            if d_columns is not None:
                part(d_columns, j).add_(torch.mm(low.T, part(rows, i)))
            return
        for found, left, right, k in (
            (d_rows, flow, part(self.columns, j), i),
            (d_columns, flow.T, part(self.rows, i), j),
        ):
            if found is not None and self.whole:
                torch.mm(left, right, out=found)
            elif found is not None:
                part(found, k).addmm_(left, right)

    def memory(self, use: str, i: slice, j: slice) -> Tensor:
        """Memory the size of a tile, the same for every tile of one use."""
        n, m = i.stop - i.start, j.stop - j.start
        kept = self._memory.get(use)
        if kept is None or kept.numel() < n * m:
            kept = self._memory[use] = self.rows.new_empty(n, m)
        return kept if kept.shape == (n, m) else kept.view(-1)[: n * m].view(n, m)


def blocks(n: int, size: int) -> list[slice]:
    """Consecutive slices of at most `size` that cover 0..n.

    >>> blocks(5, 3)
    [slice(0, 3, None), slice(3, 5, None)]
    """
    return [slice(start, min(start + size, n)) for start in range(0, n, size)]


def part(values: Float[Tensor, "n *rest"], i: slice) -> Float[Tensor, "i *rest"]:
    """values[i] for a slice of `blocks`; all of them need no view of their own.

    >>> part(torch.arange(3.0), slice(1, 3))
    tensor([1., 2.])
    """
    return values if i.stop - i.start == values.shape[0] else values[i]


def log_sum(values: Float[Tensor, "..."], dim: int | tuple[int, ...]) -> Float[Tensor, "..."]:
    """logsumexp, with a gradient of zero instead of NaN where all values are -inf.

    >>> log_sum(torch.full((2, 3), -torch.inf), 1)
    tensor([-inf, -inf])
    """
    if not values.numel():
        return values.sum(dim) - torch.inf
    found: Tensor = _LogSum.apply(values, dim)  # type: ignore[no-untyped-call]
    return found


class _LogSum(torch.autograd.Function):
    """The softmax is kept from forward, where it is one pass from the sum."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, dim: int | tuple[int, ...]) -> Tensor:
        highest = values.amax(dim, keepdim=True)
        share = (values - highest.masked_fill(highest.isinf(), 0)).exp_()
        total = share.sum(dim, keepdim=True)
        ctx.save_for_backward(share, total)
        return (total.log() + highest).squeeze(dim)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        share, total = ctx.saved_tensors
        gradient = gradient.reshape(total.shape) / total
        return share * gradient.masked_fill(total == 0, 0), None


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
        diagonal: bool,
    ) -> tuple[Tensor, bool]:
        sheet = Sheet(rows, rows if columns is None else columns, selection, columns is None, _rounds(rows))
        bound = _bound(sheet, weights)
        kind = _Linear if bound <= 0.7 * math.log(torch.finfo(rows.dtype).max) else _Log
        n, m = sheet.shape
        total = rows.new_full((n + m if both and not sheet.triangle else n,), kind.NOTHING)
        of_rows, of_columns = total[:n], total if sheet.triangle else total[n:]
        own = rows.new_empty(n) if diagonal else None
        kept = []
        for i, j in sheet.tiles():
            logits = sheet.logits(i, j, fresh=sheet.keeps)
            if own is not None and i == j:
                own[i] = logits.diagonal()
            tile = kind.enter_(logits)
            kind.add_(part(of_rows, i), tile, weights[1], j)
            if i != j if sheet.triangle else both:
                kind.add_(part(of_columns, j), tile.T, weights[0], i)
            kept += [tile] if sheet.keeps else []
        mass = kind.mass(total)
        ctx.save_for_backward(rows, columns, *weights, mass, *kept)
        ctx.selection, ctx.kind, ctx.both, ctx.diagonal, ctx.bf16 = selection, kind, both, diagonal, sheet.bf16
        if own is not None:
            mass = (mass.view(-1, n) - own).view(-1)
        return mass.repeat(2) if both and sheet.triangle else mass, math.isfinite(bound)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, _: None) -> tuple[Tensor | None, ...]:
        rows, columns, *weights, mass = ctx.saved_tensors[:5]
        kept = iter(ctx.saved_tensors[5:])
        sheet = Sheet(rows, rows if columns is None else columns, ctx.selection, columns is None, ctx.bf16)
        n = rows.shape[0]
        of_own = gradient.reshape(-1, n).sum(0) if ctx.diagonal else None
        if sheet.triangle:
            gradient = gradient.reshape(-1, n).sum(0) if ctx.both else gradient
        values = ctx.kind.worth(mass, gradient)
        sides = [([value[:n] for value in values], weights[1])]
        if sheet.triangle:
            sides.append(sides[0])
        elif ctx.both:
            sides.append(([value[n:] for value in values], weights[0]))
        d_rows = torch.zeros_like(rows) if ctx.needs_input_grad[0] else None
        d_columns = torch.zeros_like(columns) if ctx.needs_input_grad[1] else None
        if sheet.triangle:
            d_columns = d_rows
        for i, j in sheet.tiles():
            tile = next(kept) if sheet.keeps else ctx.kind.enter_(sheet.logits(i, j))
            flow = ctx.kind.flow(tile, sides, sheet, i, j)
            if of_own is not None and i == j:
                flow.diagonal().sub_(part(of_own, i))
            sheet.pull_(flow, i, j, d_rows, None if sheet.triangle and i == j else d_columns)
        return d_rows, None if sheet.triangle else d_columns, None, None, None, None


Side: TypeAlias = tuple[list[Tensor], Tensor | None]
"""What a kind knows of the rows that are summed, and the log weights of what they are summed over."""


class _Linear:
    """Sums as they are: for logits whose exponentials stay in range."""

    NOTHING = 0.0

    @staticmethod
    def enter_(logits: Tensor) -> Tensor:
        return logits.exp_()

    @staticmethod
    def add_(total: Tensor, tile: Tensor, weight: Tensor | None, j: slice) -> None:
        total += (tile if weight is None else tile * weight[j].exp()).sum(1)

    @staticmethod
    def mass(total: Tensor) -> Tensor:
        return total.log()

    @staticmethod
    def worth(mass: Tensor, gradient: Tensor) -> list[Tensor]:
        """What an exponential is worth in its sum: the inverse of the sum, 0 for a sum of nothing."""
        return [(-mass).exp_().nan_to_num_(nan=math.nan, posinf=0.0).mul_(gradient)]

    @staticmethod
    def flow(tile: Tensor, sides: list[Side], sheet: Sheet, i: slice, j: slice) -> Tensor:
        """The gradient of a tile of logits: its exponentials times their worth in the sums they are part of."""
        flow = sheet.memory("flow", i, j)
        (worth,), weight = sides[0]
        of_rows = worth[i, None] if weight is None else worth[i, None] * weight[j].exp()
        if len(sides) == 1:
            return torch.mul(tile, of_rows, out=flow)
        (worth,), weight = sides[1]
        of_columns = worth[j] if weight is None else worth[j] * weight[i, None].exp()
        return torch.add(of_rows, of_columns, out=flow).mul_(tile)


class _Log:
    """Sums in the log domain: for any logits, at one exponential more."""

    NOTHING = -math.inf

    @staticmethod
    def enter_(logits: Tensor) -> Tensor:
        return logits

    @staticmethod
    def add_(total: Tensor, tile: Tensor, weight: Tensor | None, j: slice) -> None:
        weighted = tile if weight is None else tile + weight[j]
        torch.logaddexp(total, weighted.logsumexp(1), out=total)

    @staticmethod
    def mass(total: Tensor) -> Tensor:
        return total

    @staticmethod
    def worth(mass: Tensor, gradient: Tensor) -> list[Tensor]:
        return [mass.masked_fill(mass == -torch.inf, 0), gradient]

    @staticmethod
    def flow(tile: Tensor, sides: list[Side], sheet: Sheet, i: slice, j: slice) -> Tensor:
        flow = sheet.memory("flow", i, j)
        _shares(tile, sides[0], i, j, out=flow)
        if len(sides) > 1:
            other = sheet.memory("other", i, j)
            _shares(tile.T, sides[1], j, i, out=other.T)
            flow += other
        return flow


def _shares(tile: Tensor, side: Side, i: slice, j: slice, out: Tensor) -> None:
    """The share of each logit in the sum of its row, times the gradient of that sum."""
    (mass, gradient), weight = side
    torch.sub(tile, mass[i, None], out=out)
    if weight is not None:
        out += weight[j]
    out.exp_().mul_(gradient[i, None])


def _bound(sheet: Sheet, weights: list[Tensor | None]) -> float:
    """What no logit, weights included, exceeds in size (Cauchy-Schwarz)."""

    def largest(values: Tensor) -> float:
        return float(values.max()) if values.numel() else 0.0

    lengths = [largest(torch.linalg.vector_norm(side, dim=1)) for side in (sheet.rows, sheet.columns)]
    bound = lengths[0] * lengths[1]
    return bound + sum(largest(w[w != -torch.inf].abs()) for w in weights if w is not None)
