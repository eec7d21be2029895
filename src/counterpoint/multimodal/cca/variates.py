"""One space of variates for all views, solved at once: what MCCA, GCCA and KCCA share."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor
from torch.nn.functional import normalize

from counterpoint.errors import UserError
from counterpoint.evaluation.retrieval import ranks
from counterpoint.multimodal import use
from counterpoint.multimodal.cca.linear import LinearConfig, ViewScalers, whole_rows
from counterpoint.multimodal.space import JOINT, Space, scaled
from counterpoint.multimodal.table import Table
from counterpoint.multimodal.views import batch_of, measure_views
from counterpoint.training import Batch, Clock, Encoded, Phase, rng

LEAST = 8
HELD_OUT = 1000


class VariatesConfig(LinearConfig):
    """What all of them search, beside a grid of their own."""

    dims: tuple[int, ...] = Field((8, 16, 32, 64, 128), description="numbers of variates tried")


class Variates(Space):
    """A space whose views are projected onto variates that all of them share, in the order of what they share.

    Whoever mixes it in before `Method` has `_knobs()`, the settings that are tried; `_solved(views, knob, generator)`,
    what projects each view onto `self.dim` variates; `_placed(solution, values)`, such a projection of rows; and
    `_keep(name, solution, k)`, which stores the first k variates of one. The setting and the number of variates
    (`options.dims`) are chosen by mean top-1 over all ordered pairs on a quarter of the training rows that is held
    out. Rows that lack a view are left out of the fit.
    """

    def _build_variates(self: Any, views: dict[str, Any]) -> None:
        """Scalers of the views, and room for the yardstick of `reliability`."""
        self.scalers = ViewScalers(views)
        self.dim = min(max(self.options.dims), self._most())
        use.allocate_references(self, dict.fromkeys(views, self.dim))

    def _most(self: Any) -> int:
        """How many variates there can be."""
        return int(sum(self.scalers.widths.values()))

    def measure(self, data: Table) -> dict[str, Any]:
        """Width, scale and gaps of each view."""
        return {"views": measure_views(data)}

    def batch(self: Any, data: Table, rows: Int[Tensor, " n"], generator: torch.Generator) -> Batch:
        """Raw values of the rows."""
        return batch_of(data, rows, self.fronts)

    def phases(self: Any, data: Table) -> list[Phase]:
        """One pass over all rows that solves the problem, then the references."""
        return [whole_rows(self, data, self._solve), use.reference_phase(self, data)]

    def encode(self: Any, views: dict[str, Tensor]) -> Encoded:
        """Unit vectors of the projected views."""
        scaled: Encoded = self.scalers(views)
        vectors = {n: normalize(self._placed(self._solution(n), v), dim=1) for n, v in scaled.vectors.items()}
        return Encoded(vectors, scaled.present)

    def scores(self, given: Encoded, target: str, candidates: Float[Tensor, "m d"]) -> Float[Tensor, "n m"]:
        """Sum of the cosines of the given views with the candidates."""
        query = torch.stack([v * given.present[n][:, None] for n, v in given.vectors.items()]).sum(dim=0)
        return query @ candidates.T

    def _solve(self: Any, batch: Batch, clock: Clock) -> None:
        scaled: Encoded = self.scalers(batch.views)
        whole = torch.stack(list(scaled.present.values())).all(dim=0)
        views = [v[whole] for v in scaled.vectors.values()]
        if int(whole.sum()) < LEAST:
            raise UserError(
                f"only {int(whole.sum())} rows have every view; {type(self).__name__} needs at least {LEAST}"
            )
        knob, k = self._choose(views, clock.seed)
        self.note(**knob, variates=float(k))
        found = self._solved(views, knob, rng(clock.seed, "variates", "all"))
        for name, solution in zip(scaled.vectors, found, strict=True):
            self._keep(name, solution, k)

    def _choose(self: Any, views: Sequence[Float[Tensor, "n _"]], seed: int) -> tuple[dict[str, float], int]:
        """The setting and number of variates with the best held-out mean top-1 over ordered pairs."""
        n = len(views[0])
        order = torch.randperm(n, generator=rng(seed, "mcca"))
        held, rest = order[: n // 4][:HELD_OUT], order[n // 4 :]
        truth = torch.arange(len(held))
        best, choice = -1.0, (self._knobs()[0], self.options.dims[0])
        for knob in self._knobs():
            found = self._solved([v[rest] for v in views], knob, rng(seed, "variates", "rest"))
            placed = [self._placed(solution, v[held]) for v, solution in zip(views, found, strict=True)]
            for k in self.options.dims:
                units = [normalize(p[:, :k], dim=1) for p in placed]
                hits = [float(ranks(a @ b.T, truth).hits(1).mean()) for a in units for b in units if a is not b]
                if sum(hits) > best:
                    best, choice = sum(hits), (knob, k)
        return choice


class LinearVariates(Variates):
    """Variates that are linear in the scaled values: one matrix per view, in the buffer `of NAME`.

    `knob` is the setting that is tried, with the values of the option of that name and an s; `_solver(views, value, k)`
    gives a projection of each view onto at most k variates.
    """

    knob: ClassVar[str]
    _solver: "ClassVar[staticmethod[[Sequence[Tensor], float, int], list[Tensor]]]"
    recipe = f"""{scaled("scalers.scalers.view_NAME")}
3. Multiply by `of NAME` (x W) and divide by the length (at least 1e-12). That is the view's vector.

{JOINT}"""

    def _knobs(self: Any) -> list[dict[str, float]]:
        """The values of the setting."""
        return [{self.knob: value} for value in getattr(self.options, f"{self.knob}s")]

    def _solved(
        self: Any, views: Sequence[Float[Tensor, "n _"]], knob: Mapping[str, float], generator: torch.Generator
    ) -> list[Float[Tensor, "_ k2"]]:
        """One projection per view."""
        found: list[Tensor] = self._solver(views, knob[self.knob], self.dim)
        return found

    def build(self: Any, facts: dict[str, Any]) -> None:
        """Scalers of the views and one projection each; unused variates are zero."""
        self._build_variates(facts["views"])
        for name, width in self.scalers.widths.items():
            self.register_buffer(f"of {name}", torch.zeros(width, self.dim))

    def _solution(self: Any, name: str) -> Float[Tensor, "p d"]:
        """The stored projection of a view."""
        found: Tensor = getattr(self, f"of {name}")
        return found

    def _placed(self, solution: Float[Tensor, "p d"], values: Float[Tensor, "n p"]) -> Float[Tensor, "n d"]:
        """Rows on the variates."""
        return values @ solution

    def _keep(self: Any, name: str, solution: Float[Tensor, "p d"], k: int) -> None:
        """Store the first k variates of a view."""
        buffer = getattr(self, f"of {name}")
        buffer.zero_()
        buffer[:, : min(k, solution.shape[1])] = solution[:, :k]


Blocks = list[list[Float[Tensor, "_ _"]]]


def whitened(blocks: Blocks, roots: Sequence[Float[Tensor, "_ _"]]) -> Blocks:
    """The covariances between views after each is multiplied by its root."""
    return [[one.T @ block @ other for other, block in zip(roots, row, strict=True)]
            for one, row in zip(roots, blocks, strict=True)]  # fmt: skip


def shared_directions(blocks: Blocks, k: int) -> tuple[Float[Tensor, " k2"], list[Float[Tensor, "_ k2"]]]:
    """The k largest eigenvalues of the covariance of whitened views side by side, and each view's part of the vectors.

    1 means that nothing is shared, the number of views that all agree.
    """
    values, vectors = torch.linalg.eigh(torch.cat([torch.cat(row, dim=1) for row in blocks]))
    order = values.argsort(descending=True)[:k]
    return values[order], list(vectors[:, order].split([len(row[0]) for row in blocks]))


def shared_weights(values: Float[Tensor, " k"], views: int) -> Float[Tensor, " k"]:
    """The weight of each variate: how far its eigenvalue is on the way from nothing shared (0) to all agreeing (1)."""
    return (values - 1).clamp(min=0) / max(1, views - 1)
