"""Where the processes of one training run meet: the only module that knows `torch.distributed`.

With one process every function here is a free no-op. With several, the contract is that gradients are
*averaged* over ranks after backward; `gather` and `mean_over_ranks` are scaled for that, so W ranks train
as one process would.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable


def world() -> int:
    """The number of processes.

    >>> world()
    1
    """
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """The number of this process, from 0.

    >>> rank()
    0
    """
    return dist.get_rank() if world() > 1 else 0


def sizes(n: int, device: torch.device | None = None) -> list[int]:
    """How many rows each rank holds, in the order of the ranks; every rank must call it.

    >>> sizes(5)
    [5]
    """
    if world() == 1:
        return [n]
    counts = [torch.zeros(1, dtype=torch.int64, device=device) for _ in range(world())]
    dist.all_gather(counts, torch.tensor([n], dtype=torch.int64, device=device))
    return [int(count) for count in counts]


def gather(tensor: Tensor, rows: Sequence[int] | None = None) -> Tensor:
    """The rows of all ranks, one shard after the other; every rank must call it.

    The gradient of a row is summed over the ranks that used it. Shards may differ in length, down to no
    rows; `rows` are the `sizes`, when they are known already. Works for ids as well.

    >>> gather(torch.tensor([3, 1]))
    tensor([3, 1])
    """
    if world() == 1:
        return tensor
    rows = list(rows) if rows is not None else sizes(len(tensor), tensor.device)
    gathered: Tensor = _Gather.apply(tensor, rows) if tensor.is_floating_point() else _all_rows(tensor, rows)  # type: ignore[no-untyped-call]
    return gathered


def sum_over_ranks(value: Tensor) -> Tensor:
    """The sum over ranks of a count or a total; no gradient.

    >>> sum_over_ranks(torch.tensor(4))
    tensor(4)
    """
    if world() == 1:
        return value.detach()
    total = value.detach().clone()
    dist.all_reduce(total)
    return total


def mean_over_ranks(
    values: Float[Tensor, " n"],
    weight: Float[Tensor, " n"] | None = None,
) -> Float[Tensor, ""]:
    """The (weighted) mean over the rows of all ranks, as this rank's share of it.

    A share is `W * local sum / global weight`: the mean of the shares over ranks is the global mean, and
    the mean of their gradients is its gradient. When the weights sum to zero the mean is zero.

    >>> mean_over_ranks(torch.tensor([1.0, 2.0, 6.0]), torch.tensor([1.0, 1.0, 0.0]))
    tensor(1.5000)
    """
    weight = torch.ones_like(values) if weight is None else weight
    total = sum_over_ranks(weight.sum())
    share = torch.where(total == 0, torch.zeros_like(total), world() / total)
    return (values * weight).sum() * share


class _Gather(torch.autograd.Function):
    """All rows forward; backward the gradients of this rank's rows, summed over ranks."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor, rows: list[int]) -> Tensor:
        ctx.first, ctx.length = sum(rows[: rank()]), len(tensor)
        return _all_rows(tensor, rows)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return sum_over_ranks(gradient).narrow(0, ctx.first, ctx.length), None


def _all_rows(tensor: Tensor, rows: list[int]) -> Tensor:
    """Collectives want equal shapes: pad to the longest shard, exchange, cut."""
    padded = tensor.new_zeros((max(rows), *tensor.shape[1:]))
    padded[: len(tensor)] = tensor
    shards = [torch.empty_like(padded) for _ in rows]
    dist.all_gather(shards, padded)
    return torch.cat([shard[:length] for shard, length in zip(shards, rows, strict=True)])
