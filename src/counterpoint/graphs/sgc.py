"""Features averaged over neighbours, without learning: what every learned method has to beat."""

from typing import Any

from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from counterpoint.graphs.embedder import Nodes, NodesConfig
from counterpoint.graphs.inputs import dense
from counterpoint.graphs.spectral import personalised
from counterpoint.graphs.structure import Structure
from counterpoint.training import Method


class SGC(Nodes, Method):
    """A^K X, or personalised PageRank of X; a linear classifier on it is all that learns.

    Source: SGC, arXiv 1902.07153, equation 8; PPR, arXiv 1810.05997, equation 4 as a sum cut after K steps.

    >>> from counterpoint.graphs.graph import AttributedGraph
    >>> graph = AttributedGraph.of([[0, 1, 2], [1, 2, 3]], features=[[1, 0], [1, 0], [0, 1], [0, 1]])
    >>> SGC(steps=1).fit(graph).embed(graph)[0]
    tensor([0.9082, 0.0000])
    """

    class Config(NodesConfig):
        """Options of SGC; two steps are the paper's."""

        steps: int = Field(2, ge=1, description="steps along edges")
        alpha: float | None = Field(
            None,
            gt=0,
            lt=1,
            description="personalised PageRank over all steps, of which this share goes on; none: the last",
        )

    options: Config

    def build(self, facts: dict[str, Any]) -> None:
        """The linear classifier."""
        self._build_head(facts, facts["width"])

    def _vectors(self, features: Any, structure: Structure) -> Float[Tensor, "n d"]:
        found, matrix = dense(features), structure.matrix()
        if self.options.alpha is not None:
            return personalised(matrix, found, self.options.alpha, self.options.steps)
        for _ in range(self.options.steps):
            found = matrix @ found
        return found
