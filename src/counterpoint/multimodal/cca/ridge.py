"""Ridge CCA for each pair of views: the linear baseline that every learned space has to beat."""

from itertools import combinations
from typing import Any

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor
from torch.nn.functional import normalize

from counterpoint.errors import UserError
from counterpoint.evaluation.retrieval import ranks
from counterpoint.multimodal import use
from counterpoint.multimodal.cca.linear import LinearConfig, Spectrum, ViewScalers, covariances, whole_rows
from counterpoint.multimodal.space import REFERENCE, Space, scaled
from counterpoint.multimodal.table import Table
from counterpoint.multimodal.views import batch_of, measure_views
from counterpoint.training import Batch, Clock, Encoded, Method, Phase, rng


class RidgeCCA(Space, Method):
    """Canonical correlation analysis with a ridge, solved for every pair of views.

    Canonical variates are weighted by their correlation and compared by cosine. The ridge (as a share of a view's mean
    variance) and the number of variates are chosen for each pair by top-1 retrieval on a quarter of the training rows
    that is held out, then the pair is solved on all. A target is scored by the sum of its cosines with the given views.
    Source: Hotelling 1936; ridge: Vinod 1976.

    >>> from counterpoint.multimodal.simulate import xnor
    >>> model = RidgeCCA().fit(xnor(200, p=0.0, seed=0))
    >>> model.embed_views(xnor(4, p=0.0, seed=1)).vectors["A"].shape
    torch.Size([4, 128])
    """

    class Config(LinearConfig):
        """Options of ridge CCA: the grids that are searched."""

        ridges: tuple[float, ...] = Field((0.001, 0.01, 0.1, 1.0, 10.0), description="ridges tried")
        variates: tuple[int, ...] = Field((8, 16, 32, 64, 128), description="numbers of canonical variates tried")

    options: Config
    recipe = f"""{scaled("scalers.scalers.view_NAME")}
3. For each pair of views A and B, in the order of the facts: multiply A by `of A with B` and B by `of B with A`, divide
   each by its length (at least 1e-12), add what is present, and divide the sum by its length.
4. The joint vector is those sums side by side, divided by its length. A view's own vector is that of step 1.

{REFERENCE}"""

    def measure(self, data: Table) -> dict[str, Any]:
        """Width, scale and gaps of each view."""
        return {"views": measure_views(data)}

    def build(self, facts: dict[str, Any]) -> None:
        """Scalers of the views and one projection per view of each pair; unused variates are zero."""
        views = facts["views"]
        self.scalers = ViewScalers(views)
        self.pairs = list(combinations(views, 2))
        for a, b in self.pairs:
            widths = self.scalers.widths
            k = min(widths[a], widths[b], max(self.options.variates))
            self.register_buffer(f"of {a} with {b}", torch.zeros(widths[a], k))
            self.register_buffer(f"of {b} with {a}", torch.zeros(widths[b], k))
        use.allocate_references(self, self.scalers.widths)

    def encode(self, views: dict[str, Tensor]) -> Encoded:
        """Scaled views; which projection applies depends on the pair."""
        encoded: Encoded = self.scalers(views)
        return encoded

    def batch(self, data: Table, rows: Int[Tensor, " n"], generator: torch.Generator) -> Batch:
        """Raw values of the rows."""
        return batch_of(data, rows, self.fronts)

    def phases(self, data: Table) -> list[Phase]:
        """One pass over all rows that solves every pair, then the references."""
        return [whole_rows(self, data, self._solve), use.reference_phase(self, data)]

    def _solve(self, batch: Batch, clock: Clock) -> None:
        encoded = self.encode(batch.views)
        for a, b in self.pairs:
            both = encoded.present[a] & encoded.present[b]
            x, y = encoded.vectors[a][both], encoded.vectors[b][both]
            if len(x) < 8:
                raise UserError(f"views {a} and {b} occur together in only {len(x)} rows; CCA needs at least 8")
            ridge, k = self._choose(x, y, clock.seed)
            of_x, of_y = Pair(x, y).solve(ridge, k)
            self.note(**{f"ridge {a}-{b}": ridge, f"variates {a}-{b}": float(k)})
            for name, found in ((f"of {a} with {b}", of_x), (f"of {b} with {a}", of_y)):
                buffer = getattr(self, name)
                buffer.zero_()
                buffer[:, : found.shape[1]] = found

    def _choose(self, x: Float[Tensor, "n p"], y: Float[Tensor, "n q"], seed: int) -> tuple[float, int]:
        """The ridge and number of variates with the best held-out top-1, in both directions."""
        order = torch.randperm(len(x), generator=rng(seed, "cca"))
        held, rest = order[: len(x) // 4][:1000], order[len(x) // 4 :]
        pair = Pair(x[rest], y[rest])
        best, choice = -1.0, (self.options.ridges[0], self.options.variates[0])
        truth = torch.arange(len(held))
        for ridge in self.options.ridges:
            of_x, of_y = pair.solve(ridge, max(self.options.variates))
            u, v = x[held] @ of_x, y[held] @ of_y
            for k in self.options.variates:
                scores = normalize(u[:, :k], dim=1) @ normalize(v[:, :k], dim=1).T
                hit = float(ranks(scores, truth).hits(1).mean() + ranks(scores.T, truth).hits(1).mean())
                if hit > best:
                    best, choice = hit, (ridge, k)
        return choice

    def joint(self, encoded: Encoded) -> Float[Tensor, "n d"]:
        """The space of every pair side by side, in each the mean of the pair's views that a row has."""
        rows = next(iter(encoded.present.values())).shape[0]
        spaces = []
        for a, b in self.pairs:
            beside = getattr(self, f"of {a} with {b}")
            total = beside.new_zeros(rows, beside.shape[1])
            for name, other in ((a, b), (b, a)):
                if name in encoded.vectors:
                    placed = normalize(encoded.vectors[name] @ getattr(self, f"of {name} with {other}"), dim=1)
                    total += placed * encoded.present[name][:, None]
            spaces.append(normalize(total, dim=1))
        return normalize(torch.cat(spaces, dim=1), dim=1)

    def scores(self, given: Encoded, target: str, candidates: Float[Tensor, "m d"]) -> Float[Tensor, "n m"]:
        """Sum of the cosines between each given view and the target in the space of their pair."""
        total = candidates.new_zeros(len(given), len(candidates))
        for name, vectors in given.vectors.items():
            query = normalize(vectors @ getattr(self, f"of {name} with {target}"), dim=1)
            total += (query * given.present[name][:, None]) @ normalize(
                candidates @ getattr(self, f"of {target} with {name}"), dim=1
            ).T
        return total


class Pair:
    """Two sides whose covariances are decomposed once and solved for several ridges, in float64.

    >>> x = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
    >>> a, b = Pair(x, x.flip(1)).solve(ridge=1e-6, k=3)
    >>> torch.allclose(x @ a, x.flip(1) @ b, atol=1e-3)
    True
    """

    def __init__(self, x: Float[Tensor, "n p"], y: Float[Tensor, "n q"]) -> None:
        (xx, self.between), (_, yy) = covariances([x, y])
        self.left, self.right = Spectrum(xx), Spectrum(yy)
        self.dtype = x.dtype

    def solve(self, ridge: float, k: int) -> tuple[Float[Tensor, "p k2"], Float[Tensor, "q k2"]]:
        """Projections of both sides onto at most k canonical variates, each weighted by its correlation."""
        wx, wy = self.left.inverse_root(ridge), self.right.inverse_root(ridge)
        u, correlation, v = torch.linalg.svd(wx @ self.between @ wy, full_matrices=False)
        weight = correlation[:k].clamp(0, 1)
        return (wx @ u[:, :k] * weight).to(self.dtype), (wy @ v.T[:, :k] * weight).to(self.dtype)
