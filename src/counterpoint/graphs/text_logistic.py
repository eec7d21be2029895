"""Nodes by their own text alone: what a graph has to add to."""

from typing import Any

from jaxtyping import Float
from torch import Tensor

from counterpoint.graphs.embedder import Nodes, NodesConfig
from counterpoint.graphs.inputs import dense
from counterpoint.graphs.structure import Structure
from counterpoint.training import Method


class TextLogistic(Nodes, Method):
    """Each node's own features or frozen text vector, with logistic regression: no edges at all.

    >>> from counterpoint.graphs.graph import AttributedGraph
    >>> graph = AttributedGraph.of([[0], [1]], texts=["a b", "c"])
    >>> TextLogistic(base="hashed").fit(graph).embed(graph).shape
    torch.Size([2, 256])
    """

    class Config(NodesConfig):
        """Options of the text baseline."""

    options: Config

    def build(self, facts: dict[str, Any]) -> None:
        """The linear classifier."""
        self._build_head(facts, facts["width"])

    def _vectors(self, features: Any, structure: Structure) -> Float[Tensor, "n d"]:
        return dense(features)
