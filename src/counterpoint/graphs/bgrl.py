"""BGRL: a network predicts what its slow copy makes of another view, without negatives."""

import math
from typing import Any

from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from counterpoint.graphs.augment import view
from counterpoint.graphs.embedder import GraphConfig, LearnedNodes
from counterpoint.graphs.encoders import GCN
from counterpoint.graphs.structure import Structure
from counterpoint.objectives import cosine
from counterpoint.training import Batch, Clock, Method, Momentum


class BGRL(LearnedNodes, Method):
    """The cosine between a predicted vector and a slow copy's vector of the same node in the other view.

    The copy's decay rises from `decay` to 1 along a cosine. Source: Thakoor et al., arXiv 2102.06514, equations 1 to 4.

    >>> from counterpoint.graphs.graph import AttributedGraph
    >>> graph = AttributedGraph.of([[0, 1, 2], [1, 2, 3]], features=[[1, 0], [1, 0], [0, 1], [0, 1]])
    >>> BGRL(dim=4, epochs=2).fit(graph).embed(graph).shape
    torch.Size([4, 4])
    """

    class Config(GraphConfig):
        """Options of BGRL; decay and predictor are the paper's, shares of edges and features those usual for Cora."""

        decay: float = Field(0.99, ge=0, le=1, description="share of the slow copy that a step leaves, at the start")
        predictor: int = Field(512, ge=1, description="units of the predictor's hidden layer")
        drop_edges: tuple[float, float] = Field((0.2, 0.4), description="share of edges left out in each view")
        mask_features: tuple[float, float] = Field((0.3, 0.4), description="share of features masked in each view")

    options: Config

    def build(self, facts: dict[str, Any]) -> None:
        """Two graph convolutions, their slow copy and the predictor."""
        dim = self.options.dim
        with self.seeded("encoder"):
            self.encoder = GCN([facts["width"], 2 * dim, dim], norm=True)
        self.target = Momentum(self.encoder, self.options.decay)
        with self.seeded("predictor"):
            hidden = self.options.predictor
            self.predictor = nn.Sequential(nn.Linear(dim, hidden), nn.PReLU(), nn.Linear(hidden, dim))
        self._build_head(facts, dim)

    def losses(self, batch: Batch, clock: Clock) -> dict[str, Float[Tensor, ""]]:
        """One minus the cosine, both ways round."""
        features, structure, place = batch.context["features"], batch.context["structure"], batch.views["place"]
        options = self.options
        views = [
            view(features, structure, edges, columns, clock.shared_rng(f"view {number}"))
            for number, (edges, columns) in enumerate(zip(options.drop_edges, options.mask_features, strict=True))
        ]
        said = [self.predictor(self.encoder(*one)[place]) for one in views]
        slow = [self.target(*one)[place] for one in views]
        return {
            "forth": cosine(said[0], slow[1]).mean(),
            "back": cosine(said[1], slow[0]).mean(),
        }

    def after(self, batch: Batch, clock: Clock) -> None:
        """The slow copy takes a step."""
        decay = 1 - (1 - self.options.decay) * (math.cos(math.pi * clock.progress) + 1) / 2
        self.target.update_(decay)

    def _vectors(self, features: Any, structure: Structure) -> Float[Tensor, "n d"]:
        found: Tensor = self.encoder(features, structure.matrix())
        return found
