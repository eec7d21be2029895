"""The pairwise sigmoid loss: every pair is judged on its own, so nothing is summed before the log."""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from counterpoint.objectives.engine import Comparison
from counterpoint.objectives.relation import Keys, Queries, RowLoss, paired
from counterpoint.objectives.select import Selection, positive_pairs, products, select
from counterpoint.objectives.streamed import Sheet, part


def siglip(
    view0: Queries, view1: Keys, *, scale: float | Float[Tensor, ""], bias: float | Float[Tensor, ""]
) -> RowLoss:
    """SigLIP: -log sigmoid(l) of each positive and -log sigmoid(-l) of each negative, l = scale * similarity + bias.

    A query's loss is the sum over its keys, on all ranks; pairs that are not compared do not count. A query
    needs no positive here: only rows that are compared with nothing are skipped. A key's `log_weight` is
    added to its logit as a negative. Scale (see `LogScale`; the paper starts at 10) and bias (at -10) may be
    learned. Streamed: memory O((n + m) d + tile). Raises ValueError for a scale that is not above 0.
    Source: arXiv 2303.15343, section 3.2 and algorithm 1.

    >>> siglip(torch.eye(2), torch.eye(2), scale=10.0, bias=-10.0).value
    tensor([0.6932, 0.6932])
    """
    if not isinstance(scale, Tensor) and not scale > 0:
        raise ValueError(f"a scale is above 0, not {scale}")
    sides = Comparison.of(*paired(view0, view1), 1.0, "positive")
    relation, columns, weight = sides.relation, sides.columns, sides.relation.keys.log_weight
    rows = sides.rows * scale
    value = _softplus_sums(rows, columns, _side(columns, bias, weight), select(relation, "negatives"))
    found = positive_pairs(relation)
    if found is None:
        offset = _side(columns, bias, None)
        value = value + _softplus_sums(-rows, columns, -offset, select(relation, "positives"))
        with torch.no_grad():
            wanted = sides.attraction()[1] > 0
    else:
        i, j = found
        wanted = torch.zeros(len(rows), dtype=torch.bool, device=rows.device).index_fill(0, i, True)
        logits = products(sides.rows, columns, i, j) * scale + bias
        value = value.index_add(0, i, -F.logsigmoid(logits))
    return RowLoss(value, relation.has_negative() | wanted)


def _side(columns: Float[Tensor, "m d"], bias: float | Tensor, weight: Tensor | None) -> Float[Tensor, "m 1"]:
    """What is added to the logits of each key; a weight of -inf is as far down as a finite number goes."""
    offset = columns.new_zeros(len(columns)) if weight is None else weight.to(columns)
    return (offset.clamp(min=torch.finfo(columns.dtype).min / 2) + bias)[:, None]


def _softplus_sums(rows: Tensor, columns: Tensor, offset: Tensor, selection: Selection) -> Float[Tensor, " n"]:
    """For each row the sum of log(1 + e^l) over the selected columns, l = product + offset of the column."""
    rows, columns = torch.cat([rows, rows.new_ones(len(rows), 1)], 1), torch.cat([columns, offset], 1)
    sums: Tensor = _SoftplusSums.apply(rows, columns, selection)  # type: ignore[no-untyped-call]
    return sums


class _SoftplusSums(torch.autograd.Function):
    """Tile by tile, and the tiles again in the backward pass; a single tile is kept."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, columns: Tensor, selection: Selection) -> Tensor:
        sheet, kept = Sheet(rows, columns, selection), None
        total, zero = rows.new_zeros(len(rows)), rows.new_zeros(())
        for i, j in sheet.tiles():
            logits = sheet.logits(i, j)
            total[i] += torch.logaddexp(logits, zero, out=sheet.memory("softplus", i, j)).sum(1)
            kept = logits if sheet.whole else None
        ctx.save_for_backward(rows, columns, kept)
        ctx.selection = selection
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        rows, columns, kept = ctx.saved_tensors
        sheet = Sheet(rows, columns, ctx.selection)
        d_rows = torch.zeros_like(rows) if ctx.needs_input_grad[0] else None
        d_columns = torch.zeros_like(columns) if ctx.needs_input_grad[1] else None
        for i, j in sheet.tiles():
            logits = sheet.logits(i, j) if kept is None else kept
            flow = torch.sigmoid(logits, out=sheet.memory("flow", i, j)).mul_(part(gradient, i)[:, None])
            sheet.pull_(flow, i, j, d_rows, d_columns)
        return d_rows, d_columns, None
