"""Multi-view CCA: one linear space for all views at once."""

from typing import Any

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor
from torch.nn.functional import normalize

from counterpoint.errors import UserError
from counterpoint.evaluation.retrieval import ranks
from counterpoint.multimodal import use
from counterpoint.multimodal.linear import LinearConfig, Spectrum, ViewScalers, covariances, whole_rows
from counterpoint.multimodal.space import JOINT, Space, scaled
from counterpoint.multimodal.table import Table
from counterpoint.multimodal.views import batch_of, measure_views
from counterpoint.training import Batch, Clock, Encoded, Method, Phase, rng


class MCCA(Space, Method):
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

    class Config(LinearConfig):
        """Options of MCCA: the grids that are searched."""

        ridges: tuple[float, ...] = Field((0.001, 0.01, 0.1, 1.0, 10.0), description="ridges tried")
        dims: tuple[int, ...] = Field((8, 16, 32, 64, 128), description="numbers of variates tried")

    options: Config
    recipe = f"""{scaled("scalers.scalers.view_NAME")}
3. Multiply by `of NAME` (x W) and divide by the length (at least 1e-12). That is the view's vector.

{JOINT}"""

    def measure(self, data: Table) -> dict[str, Any]:
        """Width, scale and gaps of each view."""
        return {"views": measure_views(data)}

    def build(self, facts: dict[str, Any]) -> None:
        """Scalers of the views and one projection each; unused variates are zero."""
        self.scalers = ViewScalers(facts["views"])
        self.dim = min(max(self.options.dims), sum(self.scalers.widths.values()))
        for name, width in self.scalers.widths.items():
            self.register_buffer(f"of {name}", torch.zeros(width, self.dim))
        use.allocate_references(self, dict.fromkeys(facts["views"], self.dim))

    def encode(self, views: dict[str, Float[Tensor, "n _"]]) -> Encoded:
        """Unit vectors of the projected views."""
        scaled: Encoded = self.scalers(views)
        vectors = {n: normalize(v @ getattr(self, f"of {n}"), dim=1) for n, v in scaled.vectors.items()}
        return Encoded(vectors, scaled.present)

    def batch(self, data: Table, rows: Int[Tensor, " n"], generator: torch.Generator) -> Batch:
        """Raw values of the rows."""
        return batch_of(data, rows)

    def phases(self, data: Table) -> list[Phase]:
        """One pass over all rows that solves the problem, then the references."""
        return [whole_rows(self, data, self._solve), use.reference_phase(self, data)]

    def _solve(self, batch: Batch, clock: Clock) -> None:
        scaled: Encoded = self.scalers(batch.views)
        whole = torch.stack(list(scaled.present.values())).all(dim=0)
        views = [v[whole] for v in scaled.vectors.values()]
        if int(whole.sum()) < 8:
            raise UserError(f"only {int(whole.sum())} rows have every view; MCCA needs at least 8")
        ridge, k = self._choose(views, clock.seed)
        self.note(ridge=ridge, variates=float(k))
        for name, found in zip(scaled.vectors, solve(views, ridge, k), strict=True):
            buffer = getattr(self, f"of {name}")
            buffer.zero_()
            buffer[:, : found.shape[1]] = found

    def _choose(self, views: list[Float[Tensor, "n _"]], seed: int) -> tuple[float, int]:
        """The ridge and number of variates with the best held-out mean top-1 over ordered pairs."""
        n = len(views[0])
        order = torch.randperm(n, generator=rng(seed, "mcca"))
        held, rest = order[: n // 4][:1000], order[n // 4 :]
        best, choice = -1.0, (self.options.ridges[0], self.options.dims[0])
        truth = torch.arange(len(held))
        for ridge in self.options.ridges:
            found = solve([v[rest] for v in views], ridge, self.dim)
            placed = [v[held] @ w for v, w in zip(views, found, strict=True)]
            for k in self.options.dims:
                units = [normalize(p[:, :k], dim=1) for p in placed]
                hits = [float(ranks(a @ b.T, truth).hits(1).mean()) for a in units for b in units if a is not b]
                if sum(hits) > best:
                    best, choice = sum(hits), (ridge, k)
        return choice

    def scores(self, given: Encoded, target: str, candidates: Float[Tensor, "m d"]) -> Float[Tensor, "n m"]:
        """Sum of the cosines of the given views with the candidates."""
        query = torch.stack([v * given.present[n][:, None] for n, v in given.vectors.items()]).sum(dim=0)
        return query @ candidates.T


def solve(views: list[Float[Tensor, "n _"]], ridge: float, k: int) -> list[Float[Tensor, "_ k2"]]:
    """Projections of each view onto at most k shared variates, weighted, in float64.

    Whitening every view turns the generalised eigenproblem into an ordinary one.
    """
    blocks = covariances(views)
    roots = [Spectrum(blocks[i][i]).inverse_root(ridge) for i in range(len(views))]
    whitened = [[roots[i] @ blocks[i][j] @ roots[j] for j in range(len(views))] for i in range(len(views))]
    values, vectors = torch.linalg.eigh(torch.cat([torch.cat(row, dim=1) for row in whitened]))
    order = values.argsort(descending=True)[:k]
    weight = (values[order] - 1).clamp(min=0) / max(1, len(views) - 1)
    parts = vectors[:, order].split([len(root) for root in roots])
    return [(root @ part * weight).to(view.dtype) for root, part, view in zip(roots, parts, views, strict=True)]
