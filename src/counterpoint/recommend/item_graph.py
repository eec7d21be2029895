"""The item graph: which items stand near each other in histories, and a table of items carried along it."""

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from counterpoint.recommend.interactions import Interactions
from counterpoint.recommend.kept import Kept
from counterpoint.training.sparse import Sparse, SparseBuffer, adjacency


def item_graph(data: Interactions, distance: int) -> Sparse:
    """D^-1/2 A D^-1/2 of the items up to `distance` events apart in a history, and of each item with itself.

    A is 1 where two items ever were so near, in either order, and on its diagonal; how often does not count. The last
    node stands for padding and has no other neighbour. Source: the released code of arXiv 2604.14114.

    >>> data = Interactions.of([1, 1, 1], ["a", "b", "c"])
    >>> (item_graph(data, 1) @ torch.ones(4, 1))[:, 0]
    tensor([0.9082, 1.1498, 0.9082, 1.0000])
    """
    items, users = data.items.astype(np.int64), data.users
    pairs = [np.zeros((2, 0), dtype=np.int64)]
    for step in range(1, distance + 1):
        beside = users[:-step] == users[step:]
        pairs.append(np.stack([items[:-step][beside], items[step:][beside]]))
    return adjacency(torch.from_numpy(np.concatenate(pairs, axis=1)), data.catalogue.num_rows + 1)


def relabelled(graph: Sparse, order: Int[Tensor, " n"]) -> Sparse:
    """The same graph between other nodes: node i becomes node `order[i]`."""
    rows = torch.repeat_interleave(graph.crow.diff())
    return Sparse.of(order[rows], order[graph.col], graph.value, graph.shape, symmetric=graph.mirror is None)


class Propagation(nn.Module):
    """The sum of a table, its neighbours' rows, their neighbours' rows, ...: G0 + A G0 + A^2 G0 for two layers.

    Without gradients the sum is kept until the table or the graph changes, so that lists for many users cost one.
    """

    def __init__(self, nodes: int, entries: int, layers: int) -> None:
        super().__init__()
        self.layers = layers
        self.graph = SparseBuffer(nodes, entries)
        self.kept = Kept()

    def forward(self, table: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """The sum over all numbers of steps along the graph, from none to `layers`."""
        found: Tensor = self.kept(lambda: self._sum(table), table, self.graph.value, self.graph.col)
        return found

    def _sum(self, table: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        total = table
        for _ in range(self.layers):
            table = self.graph(table)
            total = total + table
        return total
