"""What came after what: a graph for every ordered pair of behaviours, of some histories or of all training data."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from counterpoint.recommend.histories import Histories
from counterpoint.training.sparse import Sparse, SparseBuffer

Direction = Literal["aux_to_target", "target_to_aux", "parallel"]


@dataclass(frozen=True, eq=False)
class TypedGraph:
    """One matrix per type of transition, each over the nodes that it touches; type a * k + b leads from a to b.

    `touched[r]` are the nodes of type r in rising order, `matrices[r]` the weights from earlier to later ones among
    them, each row summing to 1 or empty.
    """

    touched: tuple[Int[Tensor, " _"], ...]
    matrices: tuple[Sparse, ...]


def nodes_of(given: Histories) -> tuple[Int[Tensor, " n"], Int[Tensor, " e"]]:
    """A node for each distinct item of each history: its item, and the node of each event.

    >>> nodes_of(Histories.of([[5, 3, 5], [3]]))
    (tensor([3, 5, 3]), tensor([1, 0, 1, 2]))
    """
    span = int(given.items.max()) + 1 if len(given.items) else 1
    keys, place = torch.unique(given.owners * span + given.items, return_inverse=True)
    return keys % span, place


def typed_graph(given: Histories, node: Int[Tensor, " e"], kinds: int, window: int) -> TypedGraph:
    """Edges between events of one history up to `window` apart, of weight 1 / distance, added up and rows normalised.

    `node[i]` is the node of event i and `kinds` the number of behaviours. With a node per history and item the graphs
    of all histories stand beside each other in each matrix and do not touch.

    >>> graph = typed_graph(Histories.of([[0, 1, 0, 2]], [[0, 0, 1, 0]]), torch.tensor([0, 1, 0, 2]), 2, 1)
    >>> [nodes.tolist() for nodes in graph.touched]
    [[0, 1], [0, 1], [0, 2], []]
    """
    earlier, later, weight = _pairs(given, window)
    kind = given.behaviours[earlier] * kinds + given.behaviours[later]
    size = int(node.max()) + 1 if len(node) else 1
    keys, place = torch.unique((kind * size + node[earlier]) * size + node[later], return_inverse=True)
    total = torch.zeros(len(keys), dtype=torch.float64, device=keys.device).index_add_(0, place, weight)
    group, place = torch.unique(keys // size, return_inverse=True)
    sums = torch.zeros(len(group), dtype=torch.float64, device=keys.device).index_add_(0, place, total)
    value = (total / sums[place]).to(torch.float32)
    bounds = torch.searchsorted(keys, torch.arange(kinds * kinds + 1, device=keys.device) * size * size).tolist()
    parts = [slice(first, last) for first, last in pairwise(bounds)]
    made = [_compact(keys[part] // size % size, keys[part] % size, value[part]) for part in parts]
    return TypedGraph(tuple(nodes for nodes, _ in made), tuple(matrix for _, matrix in made))


def _pairs(given: Histories, window: int) -> tuple[Int[Tensor, " p"], Int[Tensor, " p"], Float[Tensor, " p"]]:
    """Events (earlier, later) of one history, and 1 / their distance."""
    owners = given.owners
    longest = int(given.lengths.max()) if len(given) else 0
    place = torch.arange(len(owners), device=owners.device)
    starts, ends, weights = [place[:0]], [place[:0]], [place[:0].double()]
    for distance in range(1, min(window, longest - 1) + 1):
        start = place[:-distance][owners[:-distance] == owners[distance:]]
        starts.append(start)
        ends.append(start + distance)
        weights.append(torch.full_like(start, 1 / distance, dtype=torch.float64))
    return torch.cat(starts), torch.cat(ends), torch.cat(weights)


def _compact(
    rows: Int[Tensor, " e"], columns: Int[Tensor, " e"], value: Float[Tensor, " e"]
) -> tuple[Int[Tensor, " n"], Sparse]:
    """The nodes of some edges, and the matrix over them alone."""
    nodes, place = torch.unique(torch.cat([rows, columns]), return_inverse=True)
    return nodes, Sparse.of(place[: len(rows)], place[len(rows) :], value, (len(nodes), len(nodes)))


class StoredGraph(nn.Module):
    """A typed graph that is saved with the network; `sizes` are the nodes and edges of each type."""

    def __init__(self, sizes: Sequence[Sequence[int]]) -> None:
        super().__init__()
        self.matrices = nn.ModuleList(SparseBuffer(nodes, edges, symmetric=False) for nodes, edges in sizes)
        for number, (nodes, _) in enumerate(sizes):
            self.register_buffer(f"touched{number}", torch.zeros(nodes, dtype=torch.int64))

    def fill(self, graph: TypedGraph) -> None:
        """Put a graph of these sizes in."""
        for number, (nodes, matrix) in enumerate(zip(graph.touched, graph.matrices, strict=True)):
            getattr(self, f"touched{number}").copy_(nodes)
            self._matrix(number).fill(matrix)

    def graph(self) -> TypedGraph:
        """The graph."""
        numbers = range(len(self.matrices))
        touched = tuple(getattr(self, f"touched{number}") for number in numbers)
        return TypedGraph(touched, tuple(self._matrix(number).matrix() for number in numbers))

    def _matrix(self, number: int) -> Any:
        return self.matrices[number]


def sizes_of(graph: TypedGraph) -> list[list[int]]:
    """Nodes and edges of each type."""
    pairs = zip(graph.touched, graph.matrices, strict=True)
    return [[len(nodes), len(matrix.col)] for nodes, matrix in pairs]


def rising(kinds: int, target: int) -> list[int]:
    """Behaviours from auxiliary to target: in the order of their labels, the target last.

    >>> rising(3, target=1)
    [0, 2, 1]
    """
    return [*(kind for kind in range(kinds) if kind != target), target]


def stages_of(kinds: int, target: int, direction: Direction) -> list[tuple[int, int]]:
    """The types (from, to) in the order of the cascade.

    From auxiliary to target: by the behaviour that is arrived at, then by the one that is left, behaviours in the
    order of their labels with the target last. With clicks and purchases: cc, pc, cp, pp, the card's order.
    `target_to_aux` is the way back; `parallel` has no order, and takes the first.

    >>> stages_of(2, target=1, direction="aux_to_target")
    [(0, 0), (1, 0), (0, 1), (1, 1)]
    """
    kept = rising(kinds, target)
    order = [(a, b) for b in kept for a in kept]
    return order[::-1] if direction == "target_to_aux" else order


class Cascade(nn.Module):
    """Stages of message passing, one per type of transition; each adds a unit vector to every node that it touches.

        M = A_r H W_r + A_r^T H W'_r,      H <- H + l2norm(LeakyReLU(M))

    Each stage reads what the stage before it left, with `parallel` the first input. Source: reconstruction, after the
    pattern of the cascading residual GCN (per-behaviour convolution, normalised, added, in the order of behaviours).
    """

    def __init__(self, dim: int, kinds: int, target: int, direction: Direction) -> None:
        super().__init__()
        self.kinds, self.parallel = kinds, direction == "parallel"
        self.order = stages_of(kinds, target, direction)
        arrivals = [to == target for _, to in self.order]
        self.last_target = max((place for place, hit in enumerate(arrivals) if hit), default=-1)
        self.last_auxiliary = max((place for place, hit in enumerate(arrivals) if not hit), default=-1)
        self.forth = nn.Parameter(torch.empty(kinds * kinds, dim, dim))
        self.back = nn.Parameter(torch.empty(kinds * kinds, dim, dim))
        for weight in (*self.forth, *self.back):
            nn.init.xavier_uniform_(weight)

    def forward(self, x: Float[Tensor, "n d"], graph: TypedGraph) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n d"]]:
        """States after the last stage that arrives at an auxiliary behaviour, and after the last at the target."""
        state, auxiliary, target = x, x, x
        for place, (left, arrived) in enumerate(self.order):
            number = left * self.kinds + arrived
            nodes, matrix = graph.touched[number], graph.matrices[number]
            if len(nodes):
                read = (x if self.parallel else state)[nodes]
                message = (matrix @ read) @ self.forth[number] + (matrix.T @ read) @ self.back[number]
                state = state.index_add(0, nodes, nn.functional.normalize(nn.functional.leaky_relu(message), dim=1))
            auxiliary = state if place == self.last_auxiliary else auxiliary
            target = state if place == self.last_target else target
        return auxiliary, target
