"""CRGCN: users and items along one graph per behaviour, each stage starting where the one before ended."""

from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import normalize

from counterpoint.recommend.encoders import small_normal
from counterpoint.recommend.histories import Histories, histories
from counterpoint.recommend.interactions import Interactions
from counterpoint.recommend.kept import Kept
from counterpoint.recommend.lightgcn import bpr
from counterpoint.recommend.recommender import PrefixConfig, SequenceRecommender
from counterpoint.recommend.transition_graphs import rising
from counterpoint.training import Batch, Clock, Method
from counterpoint.training.optim import Optim
from counterpoint.training.sparse import Sparse, SparseBuffer

Layers = list[Float[Tensor, "v d"]]


class CRGCN(SequenceRecommender, Method):
    """A cascade of graph convolutions over behaviours: each adds a unit vector to what the one before it left.

    A reconstruction of the pattern alone: per-behaviour convolution, l2-normalised, added, in the order of behaviours.
    Users have no vectors of their own: whoever it is starts as the mean of the items of the history, and joins the
    graph of training as it is. So a known user and a new one with the same events get the same lists.
    Source: the cascading residual GCN as the card of arXiv 2604.14581 describes it (docs/methods/crgcn.md).

    >>> from counterpoint.recommend.simulate_behaviours import simulated
    >>> data, truth = simulated(users=40, events=20, seed=0)
    >>> model = CRGCN(dim=8, epochs=1, batch_size=16).fit(data)
    >>> len(model.recommend([["i3", "i4"]], k=5)[0])
    5
    """

    class Config(PrefixConfig):
        """Options of CRGCN; all defaults are ours."""

        optim: Optim = Optim(weight_decay=0.0)
        layers: int = Field(1, ge=1, description="steps along the graph of a behaviour")
        loss: Literal["softmax", "bpr"] = Field(
            "softmax", description="against all items, or against one drawn at random"
        )
        l2: float = Field(1e-6, ge=0, description="weight of the sum of squares of all vectors")
        dropout: float = Field(0.2, ge=0, lt=1, description="share of numbers of items that are zeroed in training")

    options: Config
    graphs: nn.ModuleList
    read: list[Sparse] | None = None
    """What `measure` made, until `build` takes it."""

    def measure(self, data: Interactions) -> dict[str, Any]:
        """Items and users, and how many pairs of them each behaviour has."""
        whole = histories(data, data.starts[:-1].astype(np.int64), data.starts[1:].astype(np.int64))
        items = data.catalogue.num_rows
        self.read = [
            _taken(whole, kind, torch.bincount(_pairs(whole, kind, items)[1], minlength=items))
            for kind in (None, *range(len(data.labels)))
        ]
        return super().measure(data) | {"pairs": [len(matrix.col) for matrix in self.read]}

    def build(self, facts: dict[str, Any]) -> None:
        """Vectors of items, and the graphs of who took what: by any behaviour, then by each."""
        self._build_items(facts)
        with self.seeded("table"):
            self.table = nn.Embedding(facts["items"], self.options.dim)
            small_normal(self.table, self.options.dim**-0.5)
        self.dropout = nn.Dropout(self.options.dropout)
        self.graphs = nn.ModuleList(
            SparseBuffer(facts["users"], pairs, symmetric=False, columns=facts["items"]) for pairs in facts["pairs"]
        )
        self.kept = Kept()
        read, self.read = self.read, None
        made: Any = self.graphs
        for graph, matrix in zip(made, read or [], strict=False):
            graph.fill(matrix)

    def losses(self, batch: Batch, clock: Clock) -> dict[str, Float[Tensor, ""]]:
        """Cross-entropy over items or BPR, and the squares."""
        items, stages = self._carried()
        queries, targets = self._read(batch.views["history"], stages), batch.views["targets"]
        if self.options.loss == "softmax":
            loss = self._next(queries, targets, clock, table=items)
        else:
            drawn = torch.randint(len(items), (len(items),), generator=clock.shared_rng("others")).to(targets.device)
            others = drawn[batch.ids.row % len(items)]  # by row, so that it does not matter which rank has it
            loss = bpr(queries, items[targets.clamp(min=0)], items[others], (targets >= 0) & (others != targets))
        terms = {"next": loss.mean()}
        if self.options.l2:
            terms["l2"] = self.options.l2 * self.table.weight.square().sum()
        return terms

    def item_vectors(self) -> Float[Tensor, "v d"]:
        """A vector per item: after the last stage."""
        return self._rested()[0]

    def vectors(self, histories: Histories) -> Float[Tensor, "n d"]:
        """Who took these items, after the last stage."""
        return self._read(histories.latest(self.options.max_length), self._rested()[1])

    def _rested(self) -> tuple[Float[Tensor, "v d"], list[Layers]]:
        tensors = [self.table.weight, *(buffer for graph in self.graphs for buffer in graph.buffers())]
        found: tuple[Tensor, list[Layers]] = self.kept(self._carried, *tensors)
        return found

    def _stages(self) -> list[int]:
        """Behaviours from auxiliary to target."""
        return rising(len(self.items.labels), self.items.target)

    def _carried(self) -> tuple[Float[Tensor, "v d"], list[Layers]]:
        """A vector per item after the last stage, and for each stage those before each of its steps."""
        items = self.dropout(self.table.weight)
        before: list[Layers] = [[items]]
        users = self._graph(0) @ items
        for kind in self._stages():
            graph = self._graph(kind + 1)
            layers: Layers = []
            of_users, of_items, sums = users, items, (torch.zeros_like(users), torch.zeros_like(items))
            for _ in range(self.options.layers):
                layers.append(of_items)
                of_users, of_items = graph @ of_items, graph.T @ of_users
                sums = sums[0] + of_users, sums[1] + of_items
            users, items = users + normalize(sums[0], dim=1), items + normalize(sums[1], dim=1)
            before.append(layers)
        return items, before

    def _read(self, given: Histories, stages: list[Layers]) -> Float[Tensor, "n d"]:
        """Vectors of histories: users with these events, who look at the items as training left them."""
        vector = _taken(given, None, self.items.counts) @ stages[0][0]
        for kind, layers in zip(self._stages(), stages[1:], strict=True):
            taken = _taken(given, kind, self._graph(kind + 1).T.crow.diff())
            if len(taken.col):
                vector = vector + normalize(torch.stack([taken @ layer for layer in layers]).sum(0), dim=1)
        return vector

    def _graph(self, number: int) -> Sparse:
        graph: Any = self.graphs[number]
        found: Sparse = graph.matrix()
        return found


def _pairs(given: Histories, kind: int | None, items: int) -> tuple[Int[Tensor, " p"], Int[Tensor, " p"]]:
    """Which history has which item, by one behaviour or by any; each pair once."""
    chosen = given if kind is None else given.where(given.behaviours == kind)
    cells = torch.unique(chosen.owners * items + chosen.items)
    return cells // items, cells % items


def _taken(given: Histories, kind: int | None, degrees: Int[Tensor, " v"]) -> Sparse:
    """Histories by items: 1 / number of items where any behaviour counts, else 1 / root of both ends' numbers."""
    rows, columns = _pairs(given, kind, len(degrees))
    own = torch.bincount(rows, minlength=len(given))[rows].to(torch.float32)
    value = 1 / own if kind is None else (own * degrees[columns].clamp(min=1)).rsqrt()
    return Sparse.of(rows, columns, value, (len(given), len(degrees)))
