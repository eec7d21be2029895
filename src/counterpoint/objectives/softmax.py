"""Softmax losses over a table, towards a teacher's similarities, and on scores made elsewhere."""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from counterpoint.objectives.engine import Comparison, Temperature, against, scaled
from counterpoint.objectives.relation import Embeddings, Keys, Queries, Relation, RowLoss, paired
from counterpoint.objectives.select import select
from counterpoint.objectives.streamed import Sheet, blocks, log_sum, masses

BLOCK = 2**21
"""Logits of queries x table that exist at a time: 8 MB in fp32."""


def softmax_over(
    queries: Float[Tensor, "n d"],
    table: Float[Tensor, "v d"],
    target: Int[Tensor, " n"],
    *,
    temperature: Temperature = 1.0,
) -> RowLoss:
    """Cross-entropy over all v rows of a table (items, words), each query wanting its target row.

    Exact, in blocks of queries; the gradients are made in the forward pass, which serves any mean over the
    valid rows, and made anew only when rows are weighted unequally. Every rank holds the whole table. A
    query with a negative target is skipped; leave padding out by slicing the table. Raises ValueError for a
    target outside the table.

    >>> softmax_over(torch.eye(3), torch.eye(3), torch.tensor([0, 1, -1])).value
    tensor([0.5514, 0.5514, 0.0000])
    """
    if len(target) and int(target.max()) >= len(table):
        raise ValueError(f"target {int(target.max())} is outside the table of {len(table)} rows")
    valid = target >= 0
    rows, columns = scaled(queries[valid], table, temperature)
    ready = torch.is_grad_enabled() and (rows.requires_grad or columns.requires_grad)
    value = _SoftmaxOver.apply(rows, columns, target[valid], ready)  # type: ignore[no-untyped-call]
    return RowLoss(value.new_zeros(len(target)).masked_scatter(valid, value), valid)


def soft_nce(
    queries: Queries,
    keys: Keys,
    teacher_queries: Embeddings | Float[Tensor, "n e"],
    teacher_keys: Embeddings | Float[Tensor, "m e"],
    *,
    temperature: Temperature,
    teacher_temperature: float,
) -> RowLoss:
    """Cross-entropy of the similarities to a teacher's, over all keys that are compared, streamed.

    The teacher gets no gradient and its ids are not read: those of `queries` and `keys` say what is
    compared. Source: the soft targets of similarity distillation (arXiv 2106.00596); this streamed form is
    ours.

    >>> view = torch.eye(3)
    >>> soft_nce(view, view, view, view, temperature=1.0, teacher_temperature=1.0).value
    tensor([0.9753, 0.9753, 0.9753])
    """
    sides = Comparison.of(*paired(queries, keys), temperature, itself="positive")
    with torch.no_grad():
        teacher_left, teacher_right = paired(teacher_queries, teacher_keys)
        teacher = scaled(teacher_left.vectors, teacher_right.gathered().vectors, teacher_temperature)
    there, here = (vectors.to(sides.rows.dtype) for vectors in teacher)
    sheet = Sheet(there, here, select(sides.relation))
    expected = (_Attend.apply(sides.columns, sheet) * sides.rows).sum(1)  # type: ignore[no-untyped-call]
    return against(expected, sides.masses("all"), valid=sides.relation.has_negative())


def dense_nce(scores: Float[Tensor, "n m"], relation: Relation) -> RowLoss:
    """InfoNCE on scores the method made itself, any similarity over its temperature.

    For batches of a few thousand. Gather the keys before scoring, so that `relation.keys` are the gathered
    ids. Equal to `info_nce` where the scores are scaled dot products.

    >>> from counterpoint.objectives.relation import Ids
    >>> rows = torch.arange(3)
    >>> dense_nce(torch.eye(3), Relation(Ids(rows, rows), Ids(rows, rows))).value
    tensor([0.5514, 0.5514, 0.5514])
    """
    if scores.shape != relation.shape:
        raise ValueError(f"scores of shape {tuple(scores.shape)} for a relation of {relation.shape}")
    scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
    if relation.diagonal:
        return against(scores.diagonal(), log_sum(scores, 1), valid=relation.has_negative())
    positive, negative = relation.tile(slice(None), slice(None))
    weighted = scores if relation.keys.log_weight is None else scores + relation.keys.log_weight
    mass = log_sum(weighted.masked_fill(~(positive | negative), -torch.inf), 1)
    count = positive.sum(1)
    mean = scores.masked_fill(~positive, 0).sum(1) / count.clamp(min=1)
    return against(mean.masked_fill(count == 0, -torch.inf), mass, valid=negative.any(1))


class _SoftmaxOver(torch.autograd.Function):
    """Cross-entropy per row with the gradients of its sum made on the way."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, table: Tensor, target: Tensor, ready: bool) -> Tensor:
        value = rows.new_empty(len(rows))
        d_rows, d_table = (torch.zeros_like(rows), torch.zeros_like(table)) if ready else (None, None)
        for i in _row_blocks(rows, table):
            value[i], error = _cross_entropy(rows[i], table, target[i])
            if d_rows is not None and d_table is not None:
                d_rows[i].addmm_(error, table)
                d_table.addmm_(error.T, rows[i])
        ctx.save_for_backward(rows, table, target, d_rows, d_table)
        return value

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        rows, table, target, d_rows, d_table = ctx.saved_tensors
        share = gradient[:1].sum()
        if bool((gradient == share).all()):
            return d_rows * share, d_table * share, None, None
        d_table = torch.zeros_like(table)
        for i in _row_blocks(rows, table):
            d_table.addmm_(_cross_entropy(rows[i], table, target[i])[1].T, rows[i] * gradient[i, None])
        return d_rows * gradient[:, None], d_table, None, None


class _Attend(torch.autograd.Function):
    """The mean of the columns' values under the softmax of a sheet that gets no gradient."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, sheet: Sheet) -> Tensor:
        mass = masses(sheet.rows, sheet.columns, selection=sheet.selection)
        ctx.sheet, ctx.mass = sheet, mass.masked_fill(mass == -torch.inf, 0)[:, None]
        mean = values.new_zeros(len(sheet.rows), values.shape[1])
        for i, j in sheet.tiles():
            mean[i].addmm_(sheet.logits(i, j).sub_(ctx.mass[i]).exp_(), values[j])
        return mean

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        d_values = gradient.new_zeros(len(ctx.sheet.columns), gradient.shape[1])
        for i, j in ctx.sheet.tiles():
            d_values[j].addmm_(ctx.sheet.logits(i, j).sub_(ctx.mass[i]).exp_().T, gradient[i])
        return d_values, None


def _row_blocks(rows: Tensor, table: Tensor) -> list[slice]:
    return blocks(len(rows), max(64, BLOCK // max(len(table), 1)))


def _cross_entropy(rows: Tensor, table: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """(loss, probability minus one-hot) of a block of rows, by one exponential, without a copy."""
    logits = torch.mm(rows, table.T, out=rows.new_empty(len(rows), len(table)))
    highest = logits.amax(1, keepdim=True)
    wanted = logits.gather(1, target[:, None]) - highest
    total = logits.sub_(highest).exp_().sum(1, keepdim=True)
    logits.div_(total).scatter_add_(1, target[:, None], logits.new_full((len(rows), 1), -1.0))
    return (total.log() - wanted)[:, 0], logits
