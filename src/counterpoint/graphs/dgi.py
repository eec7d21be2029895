"""Deep Graph Infomax: nodes told from corrupted ones by a summary of the whole graph."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import softplus

from counterpoint.graphs.embedder import GraphConfig, LearnedNodes
from counterpoint.graphs.encoders import GCN
from counterpoint.graphs.inputs import Permuted
from counterpoint.graphs.structure import Structure
from counterpoint.objectives import mean_over_ranks
from counterpoint.training import Batch, Clock, Method


class DGI(LearnedNodes, Method):
    """A bilinear score tells a node of the graph from a node of the graph with its features handed round.

    With s = sigmoid(mean h), the loss is the binary cross-entropy of h W s against that of corrupted h.
    Source: Velickovic et al., arXiv 1809.10341, equation 1 and section 4.2.

    >>> from counterpoint.graphs.graph import AttributedGraph
    >>> graph = AttributedGraph.of([[0, 1, 2], [1, 2, 3]], features=[[1, 0], [1, 0], [0, 1], [0, 1]])
    >>> DGI(dim=4, epochs=2).fit(graph).embed(graph).shape
    torch.Size([4, 4])
    """

    class Config(GraphConfig):
        """Options of DGI; dim and the rate are the paper's."""

        dim: int = 512

    hops = 1
    options: Config

    def build(self, facts: dict[str, Any]) -> None:
        """One graph convolution and the bilinear score."""
        dim = self.options.dim
        with self.seeded("encoder"):
            self.encoder = GCN([facts["width"], dim])
        with self.seeded("score"):
            self.score = nn.Linear(dim, dim, bias=False)
        self._build_head(facts, dim)

    def losses(self, batch: Batch, clock: Clock) -> dict[str, Float[Tensor, ""]]:
        """Cross-entropies of the compared nodes and of their corrupted doubles."""
        features, structure = batch.context["features"], batch.context["structure"]
        order = torch.randperm(structure.nodes, generator=clock.shared_rng("corruption")).to(structure.crow.device)
        matrix, place = structure.matrix(), batch.views["place"]
        true, false = (self.encoder(x, matrix) for x in (features, Permuted(features, order)))
        summary = self.score(torch.sigmoid(true.mean(0)))
        right, wrong = softplus(-(true[place] @ summary)), softplus(false[place] @ summary)
        return {"infomax": mean_over_ranks((right + wrong) / 2)}

    def _vectors(self, features: Any, structure: Structure) -> Float[Tensor, "n d"]:
        found: Tensor = self.encoder(features, structure.matrix())
        return found
