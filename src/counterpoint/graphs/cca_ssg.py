"""CCA-SSG: canonical correlation between two random views of a graph."""

from typing import Any

from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from counterpoint.graphs.augment import two_views
from counterpoint.graphs.embedder import GraphConfig, LearnedNodes
from counterpoint.graphs.encoders import GCN
from counterpoint.graphs.structure import Structure
from counterpoint.objectives import canonical
from counterpoint.training import Batch, Clock, Method

EPSILON = 1e-9
"""Added to the variances."""


class CCASSG(LearnedNodes, Method):
    """Standardised views of the nodes that are equal, each with uncorrelated dimensions.

    Source: Zhang et al., arXiv 2106.12484, equation 5.

    >>> from counterpoint.graphs.graph import AttributedGraph
    >>> graph = AttributedGraph.of([[0, 1, 2], [1, 2, 3]], features=[[1, 0], [1, 0], [0, 1], [0, 1]])
    >>> CCASSG(dim=4, epochs=2).fit(graph).embed(graph).shape
    torch.Size([4, 4])
    """

    class Config(GraphConfig):
        """Options of CCA-SSG; the weight, the width and the number of steps are the paper's for Cora."""

        epochs: int = Field(50, ge=1, description="steps, each over the whole graph")
        dim: int = Field(512, ge=2, description="numbers in a vector")
        decorrelation: float = Field(1e-3, ge=0, description="weight of what decorrelates dimensions")
        drop_edges: float = Field(0.4, ge=0, le=1, description="share of edges left out in each view")
        mask_features: float = Field(0.1, ge=0, le=1, description="share of features masked in each view")

    options: Config

    def build(self, facts: dict[str, Any]) -> None:
        """Two graph convolutions, the last without activation."""
        dim = self.options.dim
        with self.seeded("encoder"):
            self.encoder = GCN([facts["width"], dim, dim], "relu", ends=False)
        self._build_head(facts, dim)

    def losses(self, batch: Batch, clock: Clock) -> dict[str, Float[Tensor, ""]]:
        """Distance of the standardised views over the number of nodes' dimensions, and their correlations."""
        one, other = two_views(self.encoder, self.options, batch, clock)
        # Next to an epsilon as large as the variances, vectors that vanish would be equal at no cost.
        return {"canonical": canonical(one, other, self.options.decorrelation, epsilon=EPSILON)}

    def _vectors(self, features: Any, structure: Structure) -> Float[Tensor, "n d"]:
        found: Tensor = self.encoder(features, structure.matrix())
        return found
