"""Generalised CCA: as multi-view CCA, with each view cut to its principal components instead of a ridge."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor
from torch.nn.functional import normalize

from counterpoint.multimodal.cca.linear import covariances
from counterpoint.multimodal.cca.variates import LinearVariates, VariatesConfig, shared_directions, whitened
from counterpoint.training import Method


def solve(views: Sequence[Float[Tensor, "n _"]], share: float, k: int) -> list[Float[Tensor, "_ k2"]]:
    """Projections of each view onto at most k shared variates, in float64."""
    blocks = covariances(views)
    roots = [components(blocks[i][i], share) for i in range(len(views))]
    _, parts = shared_directions(whitened(blocks, roots), k)
    return [
        (root @ normalize(part, dim=0)).to(view.dtype) for root, part, view in zip(roots, parts, views, strict=True)
    ]


def components(covariance: Float[Tensor, "p p"], share: float) -> Float[Tensor, "p r"]:
    """Principal axes divided by their deviations: the fewest that hold a share of the variance, at least one.

    >>> components(torch.diag(torch.tensor([1.0, 4.0])), share=0.8)
    tensor([[0.0000],
            [0.5000]])
    """
    values, vectors = torch.linalg.eigh(covariance)
    values, vectors = values.flip(0).clamp(min=0), vectors.flip(1)
    held = values.cumsum(0) / values.sum().clamp(min=1e-300)
    rank = int((values > 1e-10 * values[0].clamp(min=1e-10)).sum())
    kept = max(1, min(rank, int((held < share - 1e-12).sum()) + 1))
    found: Tensor = vectors[:, :kept] * values[:kept].clamp(min=1e-10).rsqrt()
    return found


class GCCA(LinearVariates, Method):
    """The variates nearest to all views' principal components: the leading directions of their bases side by side.

    Each view is cut to the fewest principal components that hold a share of its variance; the components, scaled to
    unit variance, stand side by side, and every leading right singular vector of them gives each view one variate, its
    part of the vector brought to unit length. That is MAXVAR without a ridge: with all components it has MCCA's
    directions. Variates are not weighted. The share and the number of variates are chosen as MCCA chooses its ridge.
    Source: Kettenring 1971 (MAXVAR); the cut and the scale of the variates: Afshin-Pour et al. 2012, the form that
    mvlearn 0.5.0 has (it also scales every row to unit variance first, which is not done here, and takes as many
    variates as the view with the fewest components).

    >>> from counterpoint.multimodal.simulate import xnor
    >>> GCCA(dims=(8,)).fit(xnor(200, p=0.0, seed=0)).embed(xnor(4, p=0.0, seed=1)).shape
    torch.Size([4, 8])
    """

    class Config(VariatesConfig):
        """Options of GCCA: the grid that is searched beside that of numbers."""

        shares: tuple[float, ...] = Field((0.5, 0.7, 0.9, 0.99), description="shares of a view's variance tried")

    options: Config
    knob, _solver = "share", staticmethod(solve)
