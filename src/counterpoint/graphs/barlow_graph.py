"""Graph Barlow Twins: two views of a graph whose dimensions agree one by one and are otherwise uncorrelated."""

from typing import Any

from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from counterpoint.graphs.augment import two_views
from counterpoint.graphs.embedder import GraphConfig, LearnedNodes
from counterpoint.graphs.encoders import GCN
from counterpoint.graphs.structure import Structure
from counterpoint.objectives import barlow_twins
from counterpoint.training import Batch, Clock, Method


class BarlowGraph(LearnedNodes, Method):
    """Barlow Twins between two random views of the nodes, straight on their vectors.

    Source: Bielak et al., arXiv 2106.02466, equations 1 and 2.

    >>> from counterpoint.graphs.graph import AttributedGraph
    >>> graph = AttributedGraph.of([[0, 1, 2], [1, 2, 3]], features=[[1, 0], [1, 0], [0, 1], [0, 1]])
    >>> BarlowGraph(dim=4, epochs=2).fit(graph).embed(graph).shape
    torch.Size([4, 4])
    """

    class Config(GraphConfig):
        """Options of Barlow Twins on graphs; the weight is the paper's, the shares are in its range."""

        off_diagonal: float | None = Field(None, ge=0, description="weight of redundancy; none: 1 / dim")
        drop_edges: float = Field(0.4, ge=0, le=1, description="share of edges left out in each view")
        mask_features: float = Field(0.2, ge=0, le=1, description="share of features masked in each view")

    options: Config

    def build(self, facts: dict[str, Any]) -> None:
        """Two graph convolutions, the last without normalisation and activation."""
        dim = self.options.dim
        with self.seeded("encoder"):
            self.encoder = GCN([facts["width"], 2 * dim, dim], norm=True, ends=False)
        self._build_head(facts, dim)

    def losses(self, batch: Batch, clock: Clock) -> dict[str, Float[Tensor, ""]]:
        """The cross-correlation of the compared nodes' views, drawn towards the identity."""
        one, other = two_views(self.encoder, self.options, batch, clock)
        weight = self.options.off_diagonal
        return {"barlow": barlow_twins(one, other, 1 / self.options.dim if weight is None else weight)}

    def _vectors(self, features: Any, structure: Structure) -> Float[Tensor, "n d"]:
        found: Tensor = self.encoder(features, structure.matrix())
        return found
