"""A supervised GCN: the upper reference, which learns from the labels what the others only see in a probe."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor
from torch.nn.functional import cross_entropy

from counterpoint.errors import UserError
from counterpoint.graphs.embedder import GraphConfig, LearnedNodes
from counterpoint.graphs.encoders import GCN
from counterpoint.graphs.graph import AttributedGraph
from counterpoint.graphs.structure import Structure
from counterpoint.objectives import RowLoss
from counterpoint.training import Batch, Clock, Method, Optim, Phase, Predictions
from counterpoint.training.sparse import Sparse


class SupervisedGCN(LearnedNodes, Method):
    """Two graph convolutions that learn classes; the vectors are those before the last layer.

    Source: Kipf and Welling, arXiv 1609.02907, equation 9.

    >>> features, labels = [[1, 0], [1, 0], [0, 1], [0, 1]], {"label": [0, 0, 1, 1]}
    >>> graph = AttributedGraph.of([[0, 1, 2], [1, 2, 3]], features=features, columns=labels)
    >>> SupervisedGCN(dim=8, epochs=100, dropout=0.0).fit(graph).predict(graph).labels
    ['0', '0', '1', '1']
    """

    class Config(GraphConfig):
        """Options of the supervised GCN; the paper's for citation graphs, but for 64 units instead of 16."""

        optim: Optim = Optim(lr=0.01, weight_decay=5e-4)
        dim: int = Field(64, ge=2, description="units of the hidden layer")
        dropout: float = Field(0.5, ge=0, lt=1, description="dropout between the layers")

    supervised = True
    options: Config

    def measure(self, data: AttributedGraph) -> dict[str, Any]:
        """As every method; raises `UserError` when the training nodes have fewer than two classes."""
        facts = super().measure(data)
        if len(facts["classes"]) < 2:
            raise UserError(f"{data.source}: the training nodes have no two classes to learn; name classes=COLUMN")
        return facts

    def build(self, facts: dict[str, Any]) -> None:
        """A graph convolution, and one that ends in the classes."""
        options = self.options
        with self.seeded("encoder"):
            self.encoder = GCN([facts["width"], options.dim], "relu")
        with self.seeded("classes"):
            self.classes = GCN([options.dim, len(facts["classes"])], ends=False, drop=options.dropout)
        self.head = None

    def _learning(self, data: AttributedGraph) -> Sequence[Phase]:
        nodes = torch.from_numpy(data.learnable())
        size = self.options.batch_size

        def plan(generator: torch.Generator) -> Sequence[Int[Tensor, " _"]]:
            return [nodes[torch.randperm(len(nodes), generator=generator)[:size]]]

        return [self.phase("fit classes", data, plan=plan)]

    def batch(self, data: AttributedGraph, rows: Int[Tensor, " n"], generator: torch.Generator) -> Batch:
        """Labelled nodes and the graph of the step."""
        batch = super().batch(data, rows, generator)
        place = {name: number for number, name in enumerate(self.facts["classes"])}
        batch.views["label"] = torch.tensor([place.get(name, -1) for name in data.labels[rows.numpy()]])
        return batch

    def losses(self, batch: Batch, clock: Clock) -> dict[str, Float[Tensor, ""]]:
        """Cross-entropy of the labelled nodes."""
        structure = batch.context["structure"]
        given = batch.context.get("carried", batch.context["features"])
        hidden = self.encoder(given, structure.matrix(), propagated="carried" in batch.context)
        logits = self.classes(hidden, structure.matrix())[batch.views["place"]]
        label = batch.views["label"]
        value = cross_entropy(logits, label.clamp(min=0), reduction="none")
        return {"classes": RowLoss(value, label >= 0).mean()}

    def _given(self, features: Tensor | Sparse, structure: Structure) -> dict[str, Any]:
        return self._carried(features, structure)

    def _vectors(self, features: Any, structure: Structure) -> Float[Tensor, "n d"]:
        found: Tensor = self.encoder(features, structure.matrix())
        return found

    @torch.no_grad()
    def predict(self, data: AttributedGraph) -> Predictions:
        """The class of each row, by the last layer."""
        self.require_fitted()
        vectors, structure = self.embed(data.rows_of_all()), self._prepared(data)[1]
        logits = self.classes(vectors, structure.matrix())[torch.from_numpy(data.focus)]
        return Predictions.of_classes(self.facts["classes"], logits.softmax(dim=1))
