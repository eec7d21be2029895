"""What two ranks are asked to do with a table that is sharded over them."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from counterpoint.objectives import Embeddings, Ids, against, log_mass
from counterpoint.objectives.ranks import rank, sum_over_ranks, world
from counterpoint.objectives.sharded import ShardedTable

DIM, ROWS, NEGATIVES = 6, 7, 10


def begun(items: int) -> Tensor:
    """The table at the start."""
    return torch.randn(items, DIM, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def fitted(items: int, steps: int = 12) -> dict[str, Any]:
    """Learn which item follows which (the next number on a ring), from sampled items; what the ranks hold after it."""
    draw = torch.Generator().manual_seed(0)
    table, layer = ShardedTable(begun(items)), nn.Linear(DIM, DIM, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(DIM, DIM, generator=draw, dtype=torch.float64))
        layer.bias.zero_()
    # the table's gradient is the ranks' mean already, the layer's is averaged as the Trainer does
    optimizers = [torch.optim.AdamW(part.parameters(), lr=0.03) for part in (table, layer)]
    losses = []
    for _ in range(steps):
        read, drawn = torch.randint(items, (ROWS,), generator=draw), torch.randint(items, (NEGATIVES,), generator=draw)
        loss = _loss(table, layer, read.tensor_split(world())[rank()], drawn, items)
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss.backward()
        for parameter in layer.parameters():
            assert parameter.grad is not None
            parameter.grad = sum_over_ranks(parameter.grad) / world()
        for optimizer in optimizers:
            optimizer.step()
        losses.append(sum_over_ranks(loss) / world())
    weight = table.weight
    moments = optimizers[0].state[weight]["exp_avg"]
    held = [one.to_local() if isinstance(one, DTensor) else one for one in (weight.detach(), moments)]
    found = {"table": table.whole(), "layer": layer.weight.detach(), "losses": torch.stack(losses)}
    return found | {"held": len(held[0]), "moments": len(held[1])}


def _loss(table: ShardedTable, layer: nn.Linear, read: Tensor, drawn: Tensor, items: int) -> Tensor:
    """A sampled softmax; a drawn item that is a row's target is left out there."""
    wanted = (read + 1) % items
    rows = table(torch.cat([read, wanted, drawn]))
    inputs, own, others = rows.split([len(read), len(read), len(drawn)])
    queries, nobody = layer(inputs), torch.full_like(read, -1)
    asking = Embeddings(queries, Ids(nobody, wanted))
    offered = Embeddings(others, Ids(torch.full_like(drawn, -1), drawn), everywhere=True)
    positive = (queries * own).sum(1)
    mass = log_mass(asking, offered, temperature=1.0, over="negatives")
    return against(positive, positive, mass, valid=torch.ones_like(read, dtype=torch.bool)).mean()
