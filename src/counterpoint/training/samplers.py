"""Plans: which rows make each batch of an epoch."""

import torch
from jaxtyping import Int
from torch import Tensor

from counterpoint.errors import UserError


def shuffled(n: int, batch_size: int, generator: torch.Generator) -> list[Int[Tensor, " _"]]:
    """All rows once in random order, `batch_size` at a time; a last batch of one row joins the one before.

    Raises `UserError` when there are fewer rows than a batch takes.

    >>> [len(rows) for rows in shuffled(9, 4, torch.Generator().manual_seed(0))]
    [4, 5]
    """
    if n < batch_size:
        raise UserError(f"{n} training rows are fewer than one batch; set batch_size={max(2, n)} or lower")
    batches = list(torch.randperm(n, generator=generator).split(batch_size))
    if len(batches) > 1 and len(batches[-1]) == 1:
        last = batches.pop()
        batches[-1] = torch.cat([batches[-1], last])
    return batches


def in_order(n: int, batch_size: int) -> list[Int[Tensor, " _"]]:
    """All rows once in their own order (passes without gradients).

    >>> [rows.tolist() for rows in in_order(3, 2)]
    [[0, 1], [2]]
    """
    return list(torch.arange(n).split(batch_size))
