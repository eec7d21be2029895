"""Random views of a graph: edges left out, features masked; evenly, or less where it matters."""

from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from counterpoint.graphs.inputs import Masked, dense
from counterpoint.graphs.structure import Structure
from counterpoint.training import Batch, Clock
from counterpoint.training.sparse import Sparse, adjacency

Centrality = Literal["degree", "pagerank", "eigenvector"]
DAMPING, ROUNDS = 0.85, 100


def view(
    features: Any,
    structure: Structure,
    edges: float | Float[Tensor, " e"],
    columns: float | Float[Tensor, " d"],
    generator: torch.Generator,
) -> tuple[Masked, Sparse]:
    """A view of a graph: each edge is left out, and each feature masked in all nodes, with its own chance.

    Source: GRACE, arXiv 2006.04131, section 3.3; a float is the same chance for all.

    >>> graph = Structure.of(torch.tensor([[0], [1]]), 2)
    >>> masked, matrix = view(torch.ones(2, 3), graph, 1.0, 0.0, torch.Generator())
    >>> matrix.value, masked.kept
    (tensor([1., 1.]), tensor([1., 1., 1.]))
    """
    device = structure.crow.device
    kept = torch.rand(structure.edges, generator=generator).to(device) >= edges
    there = torch.rand(features.shape[1], generator=generator).to(device) >= columns
    return Masked(features, there.float()), structure.without(kept)


def centrality(structure: Structure, kind: Centrality) -> Float[Tensor, " n"]:
    """How much each node matters: neighbours, PageRank (damping 0.85), or its share of the first eigenvector."""
    if kind == "degree":
        return structure.degrees.float()
    ends = structure.ends()
    scale: Any = "rows" if kind == "pagerank" else "none"
    matrix = adjacency(ends, structure.nodes, loops=False, scale=scale)
    matrix = matrix.T if kind == "pagerank" else matrix
    found = torch.full((structure.nodes, 1), 1 / structure.nodes)
    for _ in range(ROUNDS):
        # A step also stays: otherwise it swings for ever on graphs with two sides.
        found = (
            (1 - DAMPING) / structure.nodes + DAMPING * (matrix @ found)
            if kind == "pagerank"
            else matrix @ found + found
        )
        found = found / found.sum()
    return found[:, 0]


def adaptive(features: Any, structure: Structure, kind: Centrality) -> dict[str, Float[Tensor, " _"]]:
    """Relative chances of being dropped, mean 1: of `edges` by the mean centrality of their ends, and of `columns`.

    A column's weight is the sum over nodes of its absolute value times the node's centrality. A chance is (max - s) /
    (max - mean) of the log weight s. Source: GCA, arXiv 2010.14945, equations 4 to 9.
    """
    weight = centrality(structure, kind)
    ends = structure.ends()
    columns = dense(features).abs().T @ weight
    return {"edges": _relative(weight[ends].mean(0)), "columns": _relative(columns)}


def _relative(weight: Float[Tensor, " k"]) -> Float[Tensor, " k"]:
    """(max - s) / (max - mean) of logs; all 1 where all weigh the same."""
    if not len(weight):
        return weight
    score = weight.clamp(min=1e-12).log()
    spread = score.max() - score.mean()
    return (score.max() - score) / spread if spread > 1e-6 else torch.ones_like(score)


def two_views(
    encoder: Any, options: Any, batch: Batch, clock: Clock
) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n d"]]:
    """An encoder's vectors of a batch's compared nodes in two views, each with `drop_edges` and `mask_features`."""
    features, structure = batch.context["features"], batch.context["structure"]
    shares = options.drop_edges, options.mask_features
    views = (view(features, structure, *shares, clock.shared_rng(f"view {number}")) for number in range(2))
    one, other = (encoder(*found)[batch.views["place"]] for found in views)
    return one, other
