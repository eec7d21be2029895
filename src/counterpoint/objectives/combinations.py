"""The log-mass of every combination of several views' rows, from a single pass over slabs that are never kept.

The logit of a combination is the sum over d of the product of its rows, the same number whichever view is the
anchor: one slab serves the masses of all views. Four products of matrices in all (one forward, one again and two for
the gradients) where separate losses take nine, and memory O(N d + slab) where they hold N^V.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import product as choices
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from counterpoint.objectives.streamed import blocks

SLAB = 2**19
"""Logits that exist at a time: 2 MB in fp32."""


def masses_of_all(vectors: Sequence[Float[Tensor, "_ d"]]) -> list[Float[Tensor, " _"]]:
    """For each row of each view the log-sum-exp over all combinations with rows of the other views.

    Exponentials are summed as they are while none can be large, else in the log domain.

    >>> views = [torch.zeros(2, 4), torch.zeros(3, 4), torch.zeros(5, 4)]
    >>> [mass[0].exp().round().item() for mass in masses_of_all(views)]
    [15.0, 10.0, 6.0]
    """
    return list(_AllCombinations.apply(*vectors))  # type: ignore[no-untyped-call]


class _AllCombinations(torch.autograd.Function):
    """Masses forward; backward the slabs again, as probabilities times the incoming gradients."""

    @staticmethod
    def forward(ctx: Any, *vectors: Tensor) -> tuple[Tensor, ...]:
        ctx.linear = _bound(vectors) <= 0.7 * math.log(torch.finfo(vectors[0].dtype).max)
        totals = [v.new_full((len(v),), 0.0 if ctx.linear else -torch.inf) for v in vectors]
        for slab in _Slabs(vectors):
            logits = slab.logits()
            of_rows, of_last = (
                (logits.exp_().sum(1), logits.sum(0)) if ctx.linear else (logits.logsumexp(1), logits.logsumexp(0))
            )
            table = of_rows.view(slab.shape)
            for view, total in enumerate(totals):
                last = view == len(slab.shape)
                rest = [axis for axis in range(len(slab.shape)) if axis != view]
                part = total[slab.place[view]]
                if ctx.linear:
                    part += of_last if last else table.sum(rest)
                else:
                    torch.logaddexp(part, of_last if last else table.logsumexp(rest), out=part)
        masses = [total.log() if ctx.linear else total for total in totals]
        ctx.save_for_backward(*vectors, *masses)
        return tuple(masses)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        vectors, masses = ctx.saved_tensors[: len(gradients)], ctx.saved_tensors[len(gradients) :]
        found = [torch.zeros_like(v) for v in vectors]
        sides = list(zip(masses, gradients, strict=True))
        for slab in _Slabs(vectors):
            logits = slab.logits()
            flow = slab.linear_flow(logits.exp_(), sides) if ctx.linear else slab.flow(logits, sides)
            found[-1] += flow.T @ slab.together
            pulled = (flow @ slab.last).view(*slab.shape, -1)
            for view in range(len(slab.shape)):
                others = [row for other, row in enumerate(slab.grid) if other != view]
                rest = [axis for axis in range(len(slab.shape)) if axis != view]
                found[view][slab.place[view]] += _product([pulled, *others]).sum(rest)
        return tuple(found)


class _Slabs:
    """Walks over blocks of rows of all views but the last, whose rows are all in every slab."""

    def __init__(self, vectors: Sequence[Tensor]) -> None:
        *self.firsts, self.last = vectors
        self.memory: dict[str, Tensor] = {}

    def __iter__(self) -> Iterator["_Slabs"]:
        rows = max(1, SLAB // max(1, len(self.last)))
        cuts: list[list[slice]] = []
        for view in reversed(self.firsts):
            cuts.insert(0, blocks(len(view), max(1, min(len(view), rows))))
            rows //= max(1, len(view))
        for place in choices(*cuts):
            picked = [view[rows] for view, rows in zip(self.firsts, place, strict=True)]
            self.place = [*place, slice(None)]
            self.shape = [len(view) for view in picked]
            self.grid = [self.along(view, axis) for axis, view in enumerate(picked)]
            self.together = _product(self.grid).flatten(0, -2)
            yield self

    def along(self, values: Tensor, axis: int) -> Tensor:
        """Rows of one view, laid along their axis of the slab."""
        axes = [len(values) if other == axis else 1 for other in range(len(self.firsts))]
        return values.view(*axes, *values.shape[1:])

    def logits(self) -> Tensor:
        """The slab, combinations x rows of the last view; the next call overwrites it."""
        return torch.mm(self.together, self.last.T, out=self.buffer("logits"))

    def linear_flow(self, exponentials: Tensor, sides: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
        """The gradient of the logits: exponentials times their worth in each sum they are part of."""
        worth = [(-mass).exp_().nan_to_num_(nan=math.nan, posinf=0.0).mul_(gradient) for mass, gradient in sides]
        of_rows = sum(self.along(w[p], axis) for axis, (w, p) in enumerate(zip(worth[:-1], self.place, strict=False)))
        assert isinstance(of_rows, Tensor)
        return torch.add(of_rows.reshape(-1, 1), worth[-1], out=self.buffer("flow")).mul_(exponentials)

    def flow(self, logits: Tensor, sides: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
        """The same in the log domain: an exponential per view."""
        flow = self.buffer("flow").zero_()
        for axis, ((mass, gradient), place) in enumerate(zip(sides, self.place, strict=True)):
            mass, gradient = mass[place].masked_fill(mass[place] == -torch.inf, 0), gradient[place]
            if axis < len(self.shape):
                mass, gradient = (self.along(side, axis).expand(self.shape).reshape(-1, 1) for side in (mass, gradient))
            flow.addcmul_(torch.sub(logits, mass, out=self.buffer("share")).exp_(), gradient)
        return flow

    def buffer(self, use: str) -> Tensor:
        rows = len(self.together)
        kept = self.memory.get(use)
        if kept is None or len(kept) < rows:
            kept = self.memory[use] = self.last.new_empty(rows, len(self.last))
        return kept[:rows]


def _bound(vectors: Sequence[Tensor]) -> float:
    """What no logit exceeds in size: Cauchy-Schwarz between the last view and the product of the others."""
    if not all(len(v) for v in vectors):
        return 0.0
    first, second, *rest, last = (v.square() for v in vectors)
    longest = (first @ second.T).max()
    for squares in rest:
        longest = longest * squares.max()
    return float((longest * last.sum(1).max()).sqrt())


def _product(tensors: Sequence[Tensor]) -> Tensor:
    result = tensors[0]
    for tensor in tensors[1:]:
        result = result * tensor
    return result
