"""Multi-view CCA: one linear space for all views at once."""

from collections.abc import Sequence

from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from counterpoint.multimodal.cca.linear import Spectrum, covariances
from counterpoint.multimodal.cca.variates import (
    LinearVariates,
    VariatesConfig,
    shared_directions,
    shared_weights,
    whitened,
)
from counterpoint.training import Method


def solve(views: Sequence[Float[Tensor, "n _"]], ridge: float, k: int) -> list[Float[Tensor, "_ k2"]]:
    """Projections of each view onto at most k shared variates, weighted, in float64.

    Whitening every view turns the generalised eigenproblem into an ordinary one.
    """
    blocks = covariances(views)
    roots = [Spectrum(blocks[i][i]).inverse_root(ridge) for i in range(len(views))]
    values, parts = shared_directions(whitened(blocks, roots), k)
    weight = shared_weights(values, len(views))
    return [(root @ part * weight).to(view.dtype) for root, part, view in zip(roots, parts, views, strict=True)]


class MCCA(LinearVariates, Method):
    """The projections of all views whose sum of pairwise covariances is largest, with a ridge (the MAXVAR/SUMCOR
    family).

    Solves `C w = lambda D w`, C the covariance of all views side by side and D its diagonal blocks plus the ridge;
    variates are weighted by lambda - 1 (0: nothing shared). Ridge and number of variates are chosen by mean top-1
    over all pairs on a quarter of the training rows that is held out. Rows that lack a view are left out of the fit.
    Source: Kettenring 1971; regularised as in Tenenhaus and Tenenhaus 2011.

    >>> from counterpoint.multimodal.simulate import xnor
    >>> MCCA(dims=(8,)).fit(xnor(200, p=0.0, seed=0)).embed(xnor(4, p=0.0, seed=1)).shape
    torch.Size([4, 8])
    """

    class Config(VariatesConfig):
        """Options of MCCA: the grid that is searched beside that of numbers."""

        ridges: tuple[float, ...] = Field((0.001, 0.01, 0.1, 1.0, 10.0), description="ridges tried")

    options: Config
    knob, _solver = "ridge", staticmethod(solve)
