"""GCA: GRACE whose views keep what matters."""

from typing import Any

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from counterpoint.graphs.augment import Centrality, adaptive, view
from counterpoint.graphs.grace import GRACE
from counterpoint.graphs.structure import Structure
from counterpoint.training import Batch
from counterpoint.training.sparse import Sparse


class GCA(GRACE):
    """GRACE that leaves out edges between central nodes, and masks their features, less often than others.

    A chance is the view's share times the edge's (feature's) relative chance, at most `cut`.
    Source: Zhu et al., arXiv 2010.14945, equations 4 to 9; the contrast is GRACE's.

    >>> from counterpoint.graphs.graph import AttributedGraph
    >>> graph = AttributedGraph.of([[0, 1, 2], [1, 2, 3]], features=[[1, 0], [1, 0], [0, 1], [0, 1]])
    >>> GCA(dim=4, epochs=2).fit(graph).embed(graph).shape
    torch.Size([4, 4])
    """

    class Config(GRACE.Config):
        """Options of GCA; `cut` is the paper's."""

        centrality: Centrality = Field("degree", description="what makes a node matter")
        cut: float = Field(0.7, gt=0, le=1, description="largest chance of being left out or masked")

    options: Config

    def _given(self, features: Tensor | Sparse, structure: Structure) -> dict[str, Any]:
        return {"relative": adaptive(features, structure, self.options.centrality)}

    def _view(self, batch: Batch, number: int, generator: torch.Generator) -> Any:
        """One of the two views, with a chance of its own for every edge and every feature."""
        shares = {"edges": self.options.drop_edges[number], "columns": self.options.mask_features[number]}
        relative: dict[str, Float[Tensor, " _"]] = batch.context["relative"]
        chances = {name: (relative[name] * share).clamp(max=self.options.cut) for name, share in shares.items()}
        structure = batch.context["structure"]
        return view(batch.context["features"], structure, chances["edges"], chances["columns"], generator)
