"""What is smooth along the edges of a graph and what is not."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from counterpoint.graphs.structure import Structure
from counterpoint.training.sparse import Sparse, summed_steps

MOST = 3000
"""Nodes up to which all eigenvectors of the Laplacian are found."""
PAIRS = 512
"""Nodes whose pairwise cosines are looked at."""


def personalised(matrix: Sparse, vectors: Float[Tensor, "n d"], alpha: float, steps: int) -> Float[Tensor, "n d"]:
    """The low-pass filter (1 - alpha) sum_k alpha^k A^k X, k from 0 to `steps`.

    Source: personalised PageRank, arXiv 1810.05997, equation 4, cut after so many steps.

    >>> structure = Structure.of(torch.tensor([[0], [1]]), 2)
    >>> personalised(structure.matrix(), torch.tensor([[1.0], [0.0]]), 0.5, 1)
    tensor([[0.6250],
            [0.1250]])
    """
    damped = Sparse(matrix.crow, matrix.col, alpha * matrix.value, matrix.columns)
    return (1 - alpha) * summed_steps(damped, vectors, steps)


def dirichlet(matrix: Sparse, vectors: Float[Tensor, "n d"]) -> Float[Tensor, ""]:
    """trace(X^T L X) / trace(X^T X) with L = I - A: 0 for what is smooth, up to 2 for what alternates.

    A has loops, so a node without edges counts as smooth. 0 where all vectors are 0.

    >>> structure = Structure.of(torch.tensor([[0], [1]]), 2)
    >>> dirichlet(structure.matrix(), torch.tensor([[1.0], [-1.0]]))
    tensor(1.)
    """
    total = vectors.square().sum()
    rough = (vectors * (vectors - matrix @ vectors)).sum()
    return rough / torch.where(total > 0, total, torch.ones_like(total))


def low_share(structure: Structure, *vectors: Float[Tensor, "n d"]) -> list[float]:
    """The share of each one's energy below the median eigenvalue of the Laplacian; NaN for more than 3,000 nodes."""
    if structure.nodes > MOST:
        return [float("nan")] * len(vectors)
    smooth = _smooth(structure)
    energies = (
        (smooth.T @ one.double()).square().sum() / one.double().square().sum().clamp(min=1e-12) for one in vectors
    )
    return [float(energy) for energy in energies]


def _smooth(structure: Structure) -> Float[Tensor, "n h"]:
    """The eigenvectors below the median eigenvalue of the Laplacian, found once per graph."""
    found: Tensor | None = structure.__dict__.get("_smooth")
    if found is None:
        whole = torch.zeros(structure.nodes, structure.nodes, dtype=torch.float64)
        whole[structure.row, structure.col] = structure.value.double()
        found = torch.linalg.eigh(whole).eigenvectors[:, structure.nodes // 2 :]
        object.__setattr__(structure, "_smooth", found)
    return found


def mean_pairwise_cosine(vectors: Float[Tensor, "n d"], generator: torch.Generator) -> Float[Tensor, ""]:
    """The mean cosine of different nodes among up to 512 at random; near 1 all have become one."""
    some = normalize(vectors[torch.randperm(len(vectors), generator=generator)[:PAIRS].to(vectors.device)], dim=1)
    count = max(1, len(some) * (len(some) - 1))
    return (some.sum(0).square().sum() - some.square().sum()) / count


def diagnosis(structure: Structure, views: dict[str, Any], generator: torch.Generator) -> dict[str, float]:
    """Dirichlet energy, low-frequency share, mean pairwise cosine of each view; how far signal and noise agree."""
    found: dict[str, float] = {}
    matrix = structure.matrix()
    shares = low_share(structure, *views.values())
    for (name, vectors), share in zip(views.items(), shares, strict=True):
        found[f"dirichlet {name}"] = float(dirichlet(matrix, vectors))
        found[f"pairwise cosine {name}"] = float(mean_pairwise_cosine(vectors, generator))
        if share == share:
            found[f"low frequencies {name}"] = share
    if "signal" in views and "noise" in views:
        signal, noise = (normalize(views[name], dim=1) for name in ("signal", "noise"))
        found["cosine of signal and noise"] = float((signal * noise).sum(1).abs().mean())
    return found
