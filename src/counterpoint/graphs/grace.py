"""GRACE: two random views of a graph, every node found again among all nodes of both."""

from typing import Any

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor
from torch.nn.functional import normalize

from counterpoint.graphs.augment import view
from counterpoint.graphs.embedder import GraphConfig, LearnedNodes
from counterpoint.graphs.encoders import GCN, Projection
from counterpoint.graphs.structure import Structure
from counterpoint.objectives import Embeddings, nt_xent
from counterpoint.training import Batch, Clock, Method, Optim


class GRACE(LearnedNodes, Method):
    """NT-Xent between two views of every node: edges left out and features masked at random.

    Source: Zhu et al., arXiv 2006.04131, equations 1 and 2.

    >>> from counterpoint.graphs.graph import AttributedGraph
    >>> graph = AttributedGraph.of([[0, 1, 2], [1, 2, 3]], features=[[1, 0], [1, 0], [0, 1], [0, 1]])
    >>> GRACE(dim=4, epochs=2).fit(graph).embed(graph).shape
    torch.Size([4, 4])
    """

    class Config(GraphConfig):
        """Options of GRACE; defaults are the paper's for Cora."""

        optim: Optim = Optim(lr=5e-4, weight_decay=1e-5)
        dim: int = Field(128, ge=2, description="numbers in a vector; the first layer has twice as many")
        temperature: float = Field(0.4, gt=0, description="of the contrast")
        drop_edges: tuple[float, float] = Field((0.2, 0.4), description="share of edges left out in each view")
        mask_features: tuple[float, float] = Field((0.3, 0.4), description="share of features masked in each view")

    options: Config

    def build(self, facts: dict[str, Any]) -> None:
        """Two graph convolutions and a projection."""
        dim = self.options.dim
        with self.seeded("encoder"):
            self.encoder = GCN([facts["width"], 2 * dim, dim], "relu")
        with self.seeded("projection"):
            self.projection = Projection(dim, dim, dim)
        self._build_head(facts, dim)

    def losses(self, batch: Batch, clock: Clock) -> dict[str, Float[Tensor, ""]]:
        """The contrast of the compared nodes' projections."""
        sides = []
        for number in range(2):
            masked, matrix = self._view(batch, number, clock.shared_rng(f"view {number}"))
            vectors = self.encoder(masked, matrix)[batch.views["place"]]
            sides.append(normalize(self.projection(vectors), dim=1))
        one, other = (Embeddings(side, batch.ids) for side in sides)
        return {"contrast": nt_xent(one, other, temperature=self.options.temperature).mean()}

    def _view(self, batch: Batch, number: int, generator: torch.Generator) -> Any:
        """One of the two views, with the same chance for every edge and every feature."""
        edges, columns = self.options.drop_edges[number], self.options.mask_features[number]
        return view(batch.context["features"], batch.context["structure"], edges, columns, generator)

    def _vectors(self, features: Any, structure: Structure) -> Float[Tensor, "n d"]:
        found: Tensor = self.encoder(features, structure.matrix())
        return found
