"""A table of vectors whose rows are divided over the ranks, as one of PyTorch's distributed tensors."""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Shard, distribute_tensor
from torch.nn.functional import embedding

from counterpoint.objectives.ranks import gather, rank, sizes, sum_over_ranks, world


class ShardedTable(nn.Module):
    """Rows of a table, a part of them on each rank: for tables, gradients and moments that one process cannot hold.

    `weight` is a `DTensor` sharded by rows; every rank begins with the same whole `rows`. A rank asks for the rows that
    its own share of a batch needs, and gets them from the ranks that hold them; memory is its shard and the rows that
    all ranks ask for. The gradient of a shard is the mean over ranks, as that of every other parameter once ranks have
    averaged: an optimiser over `weight` updates the shard alone, and nothing more is to be averaged. The Trainer keeps
    whole tables: this is for loops of one's own. With one process it is a plain table.

    >>> table = ShardedTable(torch.tensor([[1.0], [2.0], [3.0]]))
    >>> table(torch.tensor([2, 0])).tolist()
    [[3.0], [1.0]]
    """

    def __init__(self, rows: Float[Tensor, "v d"]) -> None:
        super().__init__()
        if world() > 1:
            mesh = init_device_mesh(rows.device.type, (world(),))
            self.weight = nn.Parameter(distribute_tensor(rows, mesh, [Shard(0)]))
        else:
            self.weight = nn.Parameter(rows.clone())

    def forward(self, asked: Int[Tensor, " n"]) -> Float[Tensor, "n d"]:
        """The rows that this rank asks for; every rank must call it, with as many as it likes."""
        if not isinstance(self.weight, DTensor):
            return embedding(asked, self.weight)
        counts, held = sizes(len(asked), asked.device), self.weight.to_local()
        first = sum(sizes(len(held), asked.device)[: rank()])
        place = gather(asked, counts) - first
        here = (place >= 0) & (place < len(held))
        own = held.new_zeros(len(place), held.shape[1]).index_put((here.nonzero()[:, 0],), embedding(place[here], held))
        everybody: Tensor = _Joined.apply(own)  # type: ignore[no-untyped-call]
        return everybody.narrow(0, sum(counts[: rank()]), len(asked))

    def whole(self) -> Float[Tensor, "v d"]:
        """All rows, without gradients; every rank must call it."""
        held = self.weight.detach()
        return held.full_tensor() if isinstance(held, DTensor) else held


class _Joined(torch.autograd.Function):
    """The sum over ranks, of which one has each row; the gradient is the mean of what all ranks say of the rows."""

    @staticmethod
    def forward(ctx: Any, own: Tensor) -> Tensor:
        return sum_over_ranks(own)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return sum_over_ranks(gradient) / world()
