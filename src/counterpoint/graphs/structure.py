"""The edges of a graph as a matrix whose edges can be left out, and small graphs drawn around some nodes."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from counterpoint.training.sparse import Sparse


@dataclass(frozen=True, eq=False)
class Structure:
    """An undirected graph with a loop at each node, in compressed rows; `edge` is the number of each entry's edge.

    Loops have the number `edges`. `value` is D^-1/2 (A + I) D^-1/2 (arXiv 1609.02907, equation 2).

    >>> Structure.of(torch.tensor([[0], [1]]), 3).value
    tensor([0.5000, 0.5000, 0.5000, 0.5000, 1.0000])
    """

    crow: Int[Tensor, " n1"]
    row: Int[Tensor, " z"]
    col: Int[Tensor, " z"]
    edge: Int[Tensor, " z"]
    value: Float[Tensor, " z"]
    edges: int

    @classmethod
    def of(cls, edges: Int[Tensor, "2 e"], nodes: int) -> "Structure":
        """From undirected edges, each once and no loops."""
        own, number = torch.arange(nodes), torch.arange(edges.shape[1])
        rows, columns = torch.cat([edges[0], edges[1], own]), torch.cat([edges[1], edges[0], own])
        edge = torch.cat([number, number, own.new_full((nodes,), len(number))])
        order = torch.argsort(rows * nodes + columns)
        rows, columns, edge = rows[order], columns[order], edge[order]
        crow = torch.zeros(nodes + 1, dtype=torch.int64)
        crow[1:] = torch.bincount(rows, minlength=nodes).cumsum(0)
        scale = crow.diff().float().rsqrt()
        return cls(crow, rows, columns, edge, scale[rows] * scale[columns], len(number))

    @property
    def nodes(self) -> int:
        """How many there are."""
        return len(self.crow) - 1

    @property
    def degrees(self) -> Int[Tensor, " n"]:
        """Neighbours of each node."""
        return self.crow.diff() - 1

    def matrix(self) -> Sparse:
        """All edges."""
        return Sparse(self.crow, self.col, self.value, self.nodes)

    def ends(self) -> Int[Tensor, "2 e"]:
        """The nodes of each edge, in the order of their numbers."""
        upper = self.row < self.col
        found = torch.stack([self.row[upper], self.col[upper]])
        return found[:, torch.argsort(self.edge[upper])]

    def without(self, kept: Bool[Tensor, " e"]) -> Sparse:
        """The edges that are kept, normalised anew; loops stay.

        >>> graph = Structure.of(torch.tensor([[0, 1], [1, 2]]), 3)
        >>> graph.without(torch.tensor([True, False])).value
        tensor([0.5000, 0.5000, 0.5000, 0.5000, 1.0000])
        """
        stays = torch.cat([kept, kept.new_ones(1)])[self.edge]
        crow = torch.cat([self.crow.new_zeros(1), stays.cumsum(0)])[self.crow]
        scale = crow.diff().to(self.value.dtype).rsqrt()
        row, col = self.row[stays], self.col[stays]
        return Sparse(crow, col, scale[row] * scale[col], self.nodes)


def neighbourhood(
    structure: Structure, nodes: Int[Tensor, " k"], hops: int, neighbours: int, generator: torch.Generator
) -> tuple[Structure, Int[Tensor, " m"]]:
    """A graph of some nodes and of those met from them, and which nodes these are, in rising order.

    In each hop every node met last draws so many neighbours, with putting back; an edge that was drawn is there once,
    both ways (PyG's NeighborLoader with `replace=True` and `subgraph_type="bidirectional"`, which needs compiled
    packages). Memory grows with nodes and draws alone, not with the whole graph. Source: GraphSAGE, arXiv 1706.02216,
    section 3.1.

    >>> graph = Structure.of(torch.tensor([[0, 1, 2], [1, 2, 3]]), 4)
    >>> small, met = neighbourhood(graph, torch.tensor([0]), 1, 5, torch.Generator().manual_seed(0))
    >>> met.tolist(), small.edges
    ([0, 1], 1)
    """
    met, last = nodes.unique(), nodes.unique()
    drawn = []
    for _ in range(hops):
        count = structure.crow[last + 1] - structure.crow[last] - 1
        last, count = last[count > 0, None], count[count > 0, None]
        chance = torch.rand(len(last), neighbours, generator=generator, dtype=torch.float64)
        place = structure.crow[last] + (chance * count).long().clamp(max=count - 1)
        place = (place + (structure.col[place] >= last)).flatten()  # not the node's own loop
        drawn.append(structure.edge[place].unique())
        reached = structure.col[place].unique()
        last = reached[~torch.isin(reached, met)]
        met = torch.cat([met, last]).sort().values
        if not len(last):
            break
    numbers = torch.cat(drawn).unique() if drawn else nodes.new_zeros(0)
    ends = torch.searchsorted(met, _ends(structure)[:, numbers])
    return Structure.of(ends, len(met)), met


def _ends(structure: Structure) -> Int[Tensor, "2 e"]:
    """The nodes of each edge, found once per graph."""
    found: Tensor | None = structure.__dict__.get("_ends")
    if found is None:
        found = structure.ends()
        object.__setattr__(structure, "_ends", found)
    return found
