"""GraphMAE: features of masked nodes made up from the rest of the graph."""

from typing import Any

import torch
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor, nn

from counterpoint.graphs.embedder import GraphConfig, LearnedNodes
from counterpoint.graphs.encoders import GCN
from counterpoint.graphs.inputs import Permuted, Replaced, dense
from counterpoint.graphs.structure import Structure
from counterpoint.objectives import RowLoss, cosine
from counterpoint.training import Batch, Clock, Method


class GraphMAE(LearnedNodes, Method):
    """Masked nodes' features from a decoder that sees masked nodes only through their neighbours.

    Some nodes have a learned token in place of their features (a share of them, another node's); after the encoder
    their vectors are set to 0 and a graph convolution makes the features, with the loss (1 - cosine)^power.
    Source: Hou et al., arXiv 2205.10803, section 3.2; its encoder is a GAT on citation graphs, here a GCN.

    >>> from counterpoint.graphs.graph import AttributedGraph
    >>> graph = AttributedGraph.of([[0, 1, 2], [1, 2, 3]], features=[[1, 0], [1, 0], [0, 1], [0, 1]])
    >>> GraphMAE(dim=4, epochs=2).fit(graph).embed(graph).shape
    torch.Size([4, 4])
    """

    class Config(GraphConfig):
        """Options of GraphMAE; the paper's for Cora, but for the width, which is 512 there."""

        mask: float = Field(0.5, gt=0, le=1, description="chance of a node to be masked")
        foreign: float = Field(0.05, ge=0, lt=1, description="share of masked nodes with another node's features")
        power: float = Field(3.0, ge=1, description="power of one minus the cosine")

    options: Config

    def build(self, facts: dict[str, Any]) -> None:
        """Two graph convolutions, the token, and a decoder of one."""
        dim, width = self.options.dim, facts["width"]
        with self.seeded("encoder"):
            self.encoder = GCN([width, dim, dim])
        self.token = nn.Parameter(torch.zeros(width))
        with self.seeded("decoder"):
            self.bridge = nn.Linear(dim, dim, bias=False)
            self.decoder = GCN([dim, width], ends=False)
        self._build_head(facts, dim)

    def losses(self, batch: Batch, clock: Clock) -> dict[str, Float[Tensor, ""]]:
        """The scaled cosine error of the compared nodes that are masked."""
        features, structure, place = batch.context["features"], batch.context["structure"], batch.views["place"]
        masked, foreign, order = self._drawn(structure, clock)
        given = Replaced(Mixed(features, Permuted(features, order), foreign), masked & ~foreign, self.token)
        matrix = structure.matrix()
        hidden = self.bridge(self.encoder(given, matrix))
        made = self.decoder(hidden.masked_fill(masked[:, None], 0), matrix)
        loss = cosine(made[place], dense(features)[place])
        found = RowLoss(loss.value.clamp(min=0).pow(self.options.power), loss.valid & masked[place])
        return {"features": found.mean()}

    def _drawn(self, structure: Structure, clock: Clock) -> tuple[Bool[Tensor, " n"], Bool[Tensor, " n"], Tensor]:
        """Which nodes are masked, which of them have another's features, and whose."""
        nodes, device = structure.nodes, structure.crow.device
        chance = torch.rand(2, nodes, generator=clock.shared_rng("mask")).to(device)
        order = torch.randperm(nodes, generator=clock.shared_rng("foreign")).to(device)
        masked = chance[0] < self.options.mask
        return masked, masked & (chance[1] < self.options.foreign), order

    def _vectors(self, features: Any, structure: Structure) -> Float[Tensor, "n d"]:
        found: Tensor = self.encoder(features, structure.matrix())
        return found


class Mixed:
    """Features of which some nodes have those of another kind."""

    def __init__(self, features: Any, other: Any, nodes: Bool[Tensor, " n"]) -> None:
        self.features, self.other, self.nodes = features, other, nodes

    def __matmul__(self, weight: Float[Tensor, "d h"]) -> Float[Tensor, "n h"]:
        """The product of each node's kind."""
        return torch.where(self.nodes[:, None], self.other @ weight, self.features @ weight)
