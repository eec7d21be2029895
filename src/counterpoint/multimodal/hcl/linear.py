"""Hierarchical contrastive learning, linear: which factors all views share, which only some, which none."""

import math
from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from pydantic import Field, model_validator
from torch import Tensor
from torch.nn.functional import normalize

from counterpoint.errors import UserError
from counterpoint.multimodal import use
from counterpoint.multimodal.cca.linear import ViewScalers
from counterpoint.multimodal.hcl import group_lasso
from counterpoint.multimodal.hcl.explanation import column_names, explained
from counterpoint.multimodal.hcl.group_lasso import LassoConfig
from counterpoint.multimodal.hcl.loadings import Fitted, Refine, Start, leading, solve
from counterpoint.multimodal.hcl.moments import Moments
from counterpoint.multimodal.hcl.structures import Kind, Layout, Structures
from counterpoint.multimodal.space import Space, scaled
from counterpoint.multimodal.table import Table
from counterpoint.multimodal.views import batch_of, measure_views, of_all_ranks
from counterpoint.training import Batch, Clock, Encoded, Method, Phase, rng

ROWS = 8192  # rows of a step of the covariance
HELD = 0.25  # share of the rows that choose the rank
LEAST = 8  # rows that every two views must have together


class HCLLinear(Space, Method):
    """A factor model with one block of factors for every subset of views, fitted to the noise-corrected covariance.

    `x = W z + e`: W is zero where a view takes no part in a structure, and minimises `1/2 |W W^T - (S - noise I)|_F^2`,
    the linear contrastive loss of HCL. A view's vector is the mean of all factors given that view alone; a row's vector
    their mean given all the views it has. A target is scored by its pointwise mutual information with the given views,
    exact in the model. With `label=COLUMN` a group lasso over the structures predicts that column. Rows that lack views
    count where they have them.
    Source: arXiv 2604.05462, released code re-derived; see docs/methods/hcl-linear.md for what is ours.

    >>> from counterpoint.multimodal.simulate.hcl import hcl
    >>> model = HCLLinear(ranks=(1,), scaling="none").fit(hcl(500, widths=(8, 8), rank=1, noise=0.1))
    >>> [part["name"] for part in model.explain()["structures"]]
    ['A + B', 'A', 'B']
    """

    class Config(LassoConfig):
        """Options of linear HCL; the released code fixes the rank and starts by peeling."""

        ranks: tuple[int, ...] = Field((1, 2, 3, 5, 8), description="factors per structure tried; one: no search")
        structures: Kind = Field("subsets", description="every subset of views, or one shared and the private ones")
        solver: Literal["masked", "svd"] = Field("masked", description="svd: leading eigenvectors, no zero blocks")
        start: Start = Field("peeling", description="where the masked fit starts")
        refine: Refine = Field("converged", description="how it goes on; released: steps that freeze early")
        scaling: Literal["columns", "none"] = Field("columns", description="scale each number, or centre it only")
        regression: Literal["corrected", "posterior"] = Field(
            "corrected", description="least squares less its noise as the code has it, or (ours) on the factors' means"
        )

        @model_validator(mode="after")
        def _fits_together(self) -> "HCLLinear.Config":
            if not self.ranks or min(self.ranks) < 1:
                raise ValueError("ranks are whole numbers of at least 1, such as ranks=2,5")
            if self.start == "random" and self.refine == "none":
                raise ValueError("start=random needs refine=converged or released")
            return self

    options: Config
    predictor: Any
    loadings: Tensor
    noise: Tensor
    centre: Tensor
    variance: Tensor
    posterior: Tensor
    """The covariance of the factors given each set of views; bit m of its number says that view m is in the set."""
    predict = group_lasso.predict
    recipe = f"""{scaled("scalers.scalers.view_NAME")}
3. Subtract the view's rows of `centre`: x. With its rows W of `loadings`, G = W' W / `noise` and I the identity, the
   view's vector is (I + G)^-1 W' x / `noise`, the mean of the factors given this view.

The joint vector is (I + sum of G)^-1 (sum of W' x / `noise`) over the views that are present, divided by its length (at
least 1e-12); zero for a row without any. Rows of `loadings` and `centre` follow the views in the order of the facts.

`reference NAME` holds vectors of some training rows, which only `reliability` compares with."""

    def measure(self, data: Table) -> dict[str, Any]:
        """Width, scale and columns of each view, and the label; raises `UserError` for views that are not numbers,
        more of them than can be told apart, or more columns than the memory has room for."""
        for name, view in data.views.items():
            if view.kind not in ("numbers", "vector"):
                raise UserError(f'{data.source}: view "{name}" holds {view.kind}; hcl-linear takes numbers, so use hcl')
        ranks = self._ranks(data)
        structures = self._structures(list(data.views), max(ranks))
        columns, sets = sum(view.width for view in data.views.values()), 2 ** len(data.views)
        structures.require_room(8 * 8 * columns**2 + 4 * sets * structures.width**2)
        views = measure_views(data)
        if self.options.scaling == "none":
            for view in views.values():
                view["scale"] = [1.0] * view["width"]
        label = group_lasso.label_facts(data, self.options)
        return {"views": views, "columns": column_names(data, views), "ranks": ranks, **label}

    def remarks(self, data: Table) -> list[str]:
        """How many structures and loadings there are, and which ranks the columns can tell apart."""
        ranks, name = self._ranks(data), self._narrowest(data)
        structures = self._structures(list(data.views), max(ranks))
        size = f"{sum(view.width for view in data.views.values()):,} x {structures.width:,}"
        up_to = "up to " if len(ranks) > 1 else ""
        said = [f"{structures.words()}, {up_to}{max(ranks)} factors each: {size} loadings"]
        width, parts = data.views[name].width, len(structures.having(name))
        if max(self.options.ranks) * parts > width:
            tried = ", ".join(map(str, ranks))
            said.append(
                f'warning: view "{name}" has {width} columns for {parts} structures, in which ranks above '
                f"{width // parts} cannot be told apart; tried: {tried}"
            )
        lacking = int((~np.stack([view.present for view in data.views.values()]).all(axis=0)).sum())
        if self.options.label and self.options.regression == "corrected":
            said.append(
                f"{self.options.label} is regressed as in the released code; regression=posterior predicted better in "
                "claim hcl-downstream" + (f" and uses the {lacking:,} rows that lack a view, too" if lacking else "")
            )
        return said

    def _ranks(self, data: Table) -> list[int]:
        """The ranks to try: those that the narrowest view has columns for, or the least; a single one as given."""
        ranks = sorted(self.options.ranks)
        name = self._narrowest(data)
        parts = len(self._structures(list(data.views), 1).having(name))
        return [r for r in ranks if r * parts <= data.views[name].width or len(ranks) == 1] or ranks[:1]

    def _narrowest(self, data: Table) -> str:
        return min(data.views, key=lambda name: data.views[name].width)

    def build(self, facts: dict[str, Any]) -> None:
        """Scalers, sums for the covariance, and the loadings; unused factors are zero."""
        self.scalers = ViewScalers(facts["views"])
        self.structures = self._structures(list(facts["views"]), max(facts["ranks"]))
        self.layout = Layout.of(self.scalers.widths, self.structures)
        self.moments = Moments(self.scalers.widths)
        for name in ("centre", "variance"):
            self.register_buffer(name, torch.zeros(self.layout.height))
        self.register_buffer("loadings", torch.zeros(self.layout.height, self.structures.width))
        self.register_buffer("noise", torch.ones(()))
        width = self.structures.width
        self.register_buffer("posterior", torch.zeros(2 ** len(facts["views"]), width, width))
        use.allocate_references(self, dict.fromkeys(facts["views"], self.structures.width))
        group_lasso.attach(self, facts)

    def _structures(self, views: list[str], rank: int) -> Structures:
        return Structures.of(views, rank, self.options.structures)

    def batch(self, data: Table, rows: Int[Tensor, " n"], generator: torch.Generator) -> Batch:
        """Raw values of the rows."""
        return batch_of(data, rows, self.fronts)

    def phases(self, data: Table) -> list[Phase]:
        """A pass that gathers the covariance and factorises it, the references, and the label's regression."""

        def visit(batch: Batch, clock: Clock) -> None:
            whole = of_all_ranks(batch)
            held = torch.zeros(len(whole.ids), dtype=torch.bool)
            if len(self.facts["ranks"]) > 1:
                held = (torch.rand(len(data), generator=rng(clock.seed, "held rows")) < HELD)[whole.ids.row.cpu()]
            self.moments.add(self.scalers(whole.views), held.to(whole.ids.row.device))
            if clock.step == clock.steps - 1:
                self._solve(clock)

        moments = self.phase("moments", data, plan=lambda g: torch.arange(len(data)).split(ROWS), visit=visit)
        return [moments, use.reference_phase(self, data), *group_lasso.lasso_phases(self, data)]

    def _solve(self, clock: Clock) -> None:
        """The rank that explains held-out rows best, then the loadings from all rows."""
        for pair in (self.moments.rows_of() < LEAST).nonzero().tolist():
            a, b = (self.structures.views[place] for place in pair)
            which = f"views {a} and {b} occur together" if a != b else f"view {a} occurs"
            raise UserError(f"{which} in fewer than {LEAST} rows; leave one out, or give more rows")
        rank = self._rank(clock)
        covariance = self.moments.covariance().cpu()
        found = self._fitted(covariance, rank, clock)
        wide, narrow = self.structures, self._structures(list(self.structures.views), rank)
        self.loadings.zero_()
        for k in range(len(wide)):
            start = wide.columns[k].start
            self.loadings[:, start : start + narrow.ranks[k]] = found.loadings[:, narrow.columns[k]].to(self.loadings)
        self.noise.fill_(found.noise)
        self.centre.copy_(self.moments.centre())
        self.variance.copy_(covariance.diagonal())
        views = self.structures.views
        for number in range(len(self.posterior)):
            names = [name for place, name in enumerate(views) if number >> place & 1]
            self.posterior[number] = torch.linalg.inv(self._precision(names)).to(self.posterior)
        self.note(rank=float(rank), noise=found.noise, steps=float(found.steps), gradient=found.gradient)

    def _fitted(self, covariance: Tensor, rank: int, clock: Clock) -> Fitted:
        layout, o = Layout.of(self.scalers.widths, self._structures(list(self.structures.views), rank)), self.options
        if o.solver == "svd":
            return leading(covariance, layout.structures.width)
        return solve(covariance, layout, o.start, o.refine, clock.shared_rng("start"))

    def _rank(self, clock: Clock) -> int:
        """The rank whose model gives held-out rows the highest likelihood; without a choice, the only one."""
        ranks: list[int] = self.facts["ranks"]
        if len(ranks) == 1:
            return ranks[0]
        fitted, held = (self.moments.covariance(half).cpu() for half in (0, 1))
        return max(ranks, key=lambda rank: likelihood(self._fitted(fitted, rank, clock), held))

    # Use ------------------------------------------------------------------------------------------------------

    def encode(self, views: dict[str, Float[Tensor, "n _"]]) -> Encoded:
        """The mean of all factors given each view alone; zero for structures it has no part in."""
        given: Encoded = self.scalers(views)
        vectors = {}
        for name, values in given.vectors.items():
            rows = self.layout.rows[name]
            alone = self.posterior[1 << self.structures.views.index(name)]
            vectors[name] = (values - self.centre[rows]) @ (self.loadings[rows] @ alone / self.noise)
        return Encoded(vectors, given.present)

    def factors(self, encoded: Encoded) -> Float[Tensor, "n q"]:
        """The mean of all factors given the views that each row has; zero for a row without any."""
        evidence = self._evidence(encoded).to(self.posterior.dtype)
        bits = {name: 1 << self.structures.views.index(name) for name in encoded.vectors}
        which = torch.stack([bits[name] * present.long() for name, present in encoded.present.items()]).sum(dim=0)
        found = torch.zeros_like(evidence)
        for size in range(1, len(bits) + 1):
            for chosen in combinations(bits.values(), size):
                found = torch.where((which == sum(chosen))[:, None], evidence @ self.posterior[sum(chosen)], found)
        return found

    def joint(self, encoded: Encoded) -> Float[Tensor, "n q"]:
        """The direction of the factors' mean given the views that each row has."""
        return normalize(self.factors(encoded), dim=1)

    def scores(self, given: Encoded, target: str, candidates: Float[Tensor, "m q"]) -> Float[Tensor, "n m"]:
        """Pointwise mutual information, in nats, of each candidate with the given views of each row, in the model."""
        evidence, own = self._evidence(given), self._precision([target])
        theirs = candidates.double() @ own
        scores = evidence.new_zeros(len(evidence), len(theirs))
        for rows, names in _patterns(given):
            mine, before = evidence[rows], self._precision(names)
            after = self._precision([*names, target])
            a, p, t = (torch.linalg.inv(precision) for precision in (after, before, own))
            volumes = torch.logdet(before) + torch.logdet(own) - torch.logdet(after)
            of_rows = ((mine @ (a - p)) * mine).sum(dim=1)
            of_candidates = ((theirs @ (a - t)) * theirs).sum(dim=1)
            scores[rows] = mine @ a @ theirs.T + (of_rows[:, None] + of_candidates + volumes) / 2
        return scores.to(candidates.dtype)

    def explain(self) -> dict[str, Any]:
        """The share of each view's and column's variance that each structure explains, and what is noise."""
        self.require_fitted()
        power = torch.stack([self.loadings[:, part].square().sum(dim=1) for part in self.structures.columns], dim=1)
        share, noise, columns = {}, {}, {}
        for name, rows in self.layout.rows.items():
            total = self.variance[rows].sum().clamp(min=1e-30)
            share[name] = power[rows].sum(dim=0) / total
            noise[name] = 1 - float(share[name].sum())
            parts = power[rows] / self.variance[rows, None].clamp(min=1e-30)
            columns[name] = (self.facts["columns"][name], parts)
        about = "share of variance, from the loadings"
        return explained(self.structures, share, noise, columns, about=about)

    def blocks(self) -> dict[tuple[str, str], Float[Tensor, "d r"]]:
        """The loadings of each view in each structure, by (view, structure)."""
        self.require_fitted()
        return {
            (name, self.structures.name(k)): self.loadings[rows, self.structures.columns[k]]
            for name, rows in self.layout.rows.items()
            for k in self.structures.having(name)
        }

    def _precision(self, names: Sequence[str]) -> Float[Tensor, "q q"]:
        """The inverse covariance of the factors given some views: the identity plus W' W / noise of each."""
        rows = [self.loadings[self.layout.rows[name]].double() for name in names]
        total = sum((w.T @ w for w in rows), self.loadings.new_zeros((self.structures.width,) * 2, dtype=torch.float64))
        return total / self.noise.double() + torch.diag(total.new_ones(len(total)))

    def _evidence(self, encoded: Encoded) -> Float[Tensor, "n q"]:
        """W' x / noise, summed over the views that each row has; what a view's vector says, before its own prior."""
        parts = [v.double() @ self._precision([n]) * encoded.present[n][:, None] for n, v in encoded.vectors.items()]
        return torch.stack(parts).sum(dim=0)

    def _lasso_rows(self, encoded: Encoded) -> tuple[Tensor, Tensor]:
        """What the label is regressed on, and the rows that have it: least squares needs every view."""
        present = torch.stack(list(encoded.present.values()))
        if self.options.regression == "posterior":
            return self.factors(encoded), present.any(dim=0)
        return self._evidence(encoded) @ self._least_squares(), present.all(dim=0)

    def _lasso_correction(self) -> Any:
        return 0.0 if self.options.regression == "posterior" else self._least_squares().cpu().numpy()

    def _least_squares(self) -> Float[Tensor, "q q"]:
        """(W' W / noise)^-1: the covariance that noise gives least-squares factors."""
        information = self._precision(list(self.structures.views))
        information.diagonal().sub_(1)
        covariance: Tensor = torch.linalg.pinv(information, rtol=1e-8, hermitian=True)
        return covariance


def _patterns(encoded: Encoded) -> Iterator[tuple[Tensor, list[str]]]:
    """Rows that have the same views, and which."""
    names, present = list(encoded.present), torch.stack(list(encoded.present.values()), dim=1)
    kinds, place = present.unique(dim=0, return_inverse=True)
    for number, kind in enumerate(kinds.tolist()):
        yield (place == number).nonzero()[:, 0], [name for name, there in zip(names, kind, strict=True) if there]


def likelihood(found: Fitted, covariance: Float[Tensor, "d d"]) -> float:
    """Twice the mean log-likelihood of centred rows with this covariance, up to a constant.

    >>> found = Fitted(torch.zeros(2, 1, dtype=torch.float64), noise=1.0, steps=0, gradient=0.0)
    >>> likelihood(found, torch.diag(torch.ones(2, dtype=torch.float64)))
    -2.0
    """
    w, noise = found.loadings, found.noise
    inner = w.T @ w / noise
    inner.diagonal().add_(1)
    explained = torch.linalg.solve(inner, w.T @ covariance @ w).trace() / noise**2
    volume = len(w) * math.log(noise) + float(torch.logdet(inner))
    return -(volume + float(covariance.trace()) / noise - float(explained))
