"""Predicting a label from factors that come in groups: least squares whose penalty drops whole groups.

Everything follows from sums over rows, gathered in one pass and kept per fold, so that no fold that a penalty is judged
on was fitted on. Used by methods that have `structures` and `_lasso_rows(encoded)`; `predict` and `phases` become their
methods by assignment. Source: arXiv 2604.05462, released code (three folds, penalties 1e-6 to 1, noise-corrected least
squares); its cross-validation fits on all rows in every fold, which this does not.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float64
from pydantic import Field
from torch import Tensor, nn

from counterpoint.errors import UserError
from counterpoint.multimodal.labels import classes_of, codes, label_column
from counterpoint.multimodal.table import Table
from counterpoint.multimodal.views import batch_of, of_all_ranks
from counterpoint.objectives.ranks import gather
from counterpoint.training import Batch, Clock, Encoded, MethodConfig, Phase, Predictions, rng

ROWS = 8192  # rows of a step
STEPS, SWEEPS = 100, 1000
CLOSE = 1e-9  # largest move of a block, times its curvature, as a share of the largest gradient: then it has converged
FLAT = 1e-6  # eigenvalues below this share of the largest are raised to it; a corrected covariance has negative ones


class LassoConfig(MethodConfig):
    """Options of methods that predict a column by a group lasso over their structures."""

    label: str | None = Field(None, description="column to predict: classes or numbers; none: predict nothing")
    penalties: tuple[float, ...] = Field(
        (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0), description="tried, as shares of the least that leaves nothing"
    )
    folds: int = Field(3, ge=2, description="parts of the labelled rows that a penalty is chosen by")


def label_facts(table: Table, options: Any) -> dict[str, Any]:
    """What has to be known of the label: its classes, or offset and unit of numbers; empty without one.

    A column of numbers that are not all whole is a number to be predicted, any other holds classes. Raises `UserError`
    when the column is absent, holds fewer than 2 classes, or too few rows have a label.
    """
    if options.label is None:
        return {}
    values = label_column(table, options.label)
    known = values[np.isfinite(values)] if values.dtype.kind == "f" else values[values != None]  # noqa: E711
    if len(known) < 2 * options.folds:
        raise UserError(
            f'{table.source}: column "{options.label}" has {len(known)} labels; {options.folds} folds need at least '
            f"{2 * options.folds}"
        )
    if values.dtype.kind == "f" and (known != np.round(known)).any():
        scale = float(known.std())
        return {"label": options.label, "classes": [], "offset": float(known.mean()), "unit": scale or 1.0}
    return {"label": options.label, "classes": classes_of(table, options.label), "offset": 0.0, "unit": 1.0}


def targets_of(table: Table, facts: dict[str, Any], rows: Tensor) -> Float64[Tensor, "n c"]:
    """Of some rows a column per class, or the scaled number; NaN without a label or for a class that is not known."""
    values = label_column(table, facts["label"])[rows.numpy()]
    if not facts["classes"]:
        return torch.from_numpy((values.astype(np.float64) - facts["offset"]) / facts["unit"])[:, None]
    place = codes(values, facts["classes"])
    hot = (place[:, None] == np.arange(len(facts["classes"]))).astype(np.float64)
    hot[place < 0] = np.nan
    return torch.from_numpy(hot)


def group_lasso(
    h: Float64[np.ndarray, "q q"], g: Float64[np.ndarray, "q c"], groups: Sequence[slice], penalty: float
) -> Float64[np.ndarray, "q c"]:
    """min_b 1/2 <b, H b> - <g, b> + penalty * sum over groups of sqrt(size / mean size) |b_group|, Frobenius norms.

    A few ridge regressions, reweighted by the groups' lengths, come near, also where H is nearly flat; block coordinate
    descent, each block with its own Lipschitz constant, ends it and drops groups. H is taken as positive definite.

    >>> found = group_lasso(np.identity(2), np.array([[3.0], [0.5]]), [slice(0, 1), slice(1, 2)], penalty=1.0)
    >>> found[:, 0].tolist()
    [2.0, 0.0]
    """
    shrinks = [penalty * weight for weight in _sizes(groups)]
    b = _reweighted(h, g, groups, shrinks)
    curvatures = [float(np.linalg.eigvalsh(h[s, s])[-1]) for s in groups]
    residual, enough = g - h @ b, CLOSE * max(float(np.abs(g).max(initial=0.0)), 1e-300)
    for _ in range(SWEEPS):
        moved = 0.0
        for s, curvature, shrink in zip(groups, curvatures, shrinks, strict=True):
            target = b[s] + residual[s] / curvature
            length = float(np.linalg.norm(target))
            new = target * max(0.0, 1 - shrink / (curvature * length)) if length > 0 else target
            step = new - b[s]
            if step.any():
                residual -= h[:, s] @ step
                b[s] = new
                moved = max(moved, curvature * float(np.abs(step).max()))
        if moved <= enough:
            break
    return b


def _reweighted(h: np.ndarray, g: np.ndarray, groups: Sequence[slice], shrinks: Sequence[float]) -> np.ndarray:
    """Each penalty as a ridge that touches it at the group's last length, until nothing moves."""
    b = np.linalg.solve(h, g)
    least = 1e-12 * max(float(np.linalg.norm(b)), 1e-300)
    for _ in range(STEPS):
        ridge = np.concatenate(
            [
                np.full(s.stop - s.start, shrink / max(float(np.linalg.norm(b[s])), least))
                for s, shrink in zip(groups, shrinks, strict=True)
            ]
        )
        before, b = b, np.linalg.solve(h + np.diag(ridge), g)
        if np.abs(b - before).max() <= CLOSE * max(float(np.abs(b).max()), 1e-300):
            break
    return b


def _sizes(groups: Sequence[slice]) -> list[float]:
    sizes = [s.stop - s.start for s in groups]
    return [(size * len(sizes) / sum(sizes)) ** 0.5 for size in sizes]


class FoldSums(nn.Module):
    """Sums over the labelled rows of each fold: number, features z, targets y and their products."""

    training_only = True
    rows: Tensor
    z: Tensor
    y: Tensor
    zz: Tensor
    zy: Tensor

    def __init__(self, folds: int, width: int, targets: int) -> None:
        super().__init__()
        shapes = {"rows": (), "z": (width,), "y": (targets,), "zz": (width, width), "zy": (width, targets)}
        for name, shape in shapes.items():
            self.register_buffer(name, torch.zeros((folds, *shape), dtype=torch.float64))

    def add(self, z: Float64[Tensor, "n q"], y: Float64[Tensor, "n c"], fold: Tensor) -> None:
        """Count some rows."""
        for k in range(len(self.rows)):
            a, b = z[fold == k], y[fold == k]
            self.rows[k] += len(a)
            self.z[k] += a.sum(dim=0)
            self.y[k] += b.sum(dim=0)
            self.zz[k] += a.T @ a
            self.zy[k] += a.T @ b

    def means(self, chosen: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Mean features and targets over some folds."""
        rows = float(self.rows[list(chosen)].sum().clamp(min=1))
        return self._sum("z", chosen) / rows, self._sum("y", chosen) / rows

    def around(self, chosen: Sequence[int], z: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean products of features, and of features and targets, over some folds, both taken around given means."""
        rows = float(self.rows[list(chosen)].sum().clamp(min=1))
        of = {name: self._sum(name, chosen) / rows for name in ("z", "y", "zz", "zy")}
        h = of["zz"] - np.outer(of["z"], z) - np.outer(z, of["z"]) + np.outer(z, z)
        g = of["zy"] - np.outer(of["z"], y) - np.outer(z, of["y"]) + np.outer(z, y)
        return h, g

    def _sum(self, name: str, chosen: Sequence[int]) -> np.ndarray:
        total: np.ndarray = getattr(self, name)[list(chosen)].sum(dim=0).cpu().numpy()
        return total


class GroupLasso(nn.Module):
    """Coefficients (features x targets) and intercepts, with the penalty that was chosen."""

    coefficients: Tensor
    intercept: Tensor

    def __init__(self, folds: int, groups: Sequence[slice], facts: dict[str, Any]) -> None:
        super().__init__()
        self.groups = list(groups)
        width, targets = self.groups[-1].stop, max(1, len(facts["classes"]))
        self.sums = FoldSums(folds, width, targets)
        self.register_buffer("coefficients", torch.zeros(width, targets))
        self.register_buffer("intercept", torch.zeros(targets))

    def solve(self, penalties: Sequence[float], correction: np.ndarray | float = 0.0) -> float:
        """Choose a penalty by held-out folds, fit on all of them, and return it.

        `correction` is what noise adds to the mean products of features.
        """
        folds = list(range(len(self.sums.rows)))
        errors = np.zeros(len(penalties))
        for held in folds:
            rest = [k for k in folds if k != held]
            z, y = self.sums.means(rest)
            h, g = self.sums.around([held], z, y)
            for place, b in enumerate(self._path(rest, penalties, correction)):
                errors[place] += float(self.sums.rows[held]) * float((0.5 * b * ((h - correction) @ b) - g * b).sum())
        best = int(errors.argmin())
        z, y = self.sums.means(folds)
        b = self._path(folds, penalties, correction)[best]
        self.coefficients.copy_(torch.from_numpy(b))
        self.intercept.copy_(torch.from_numpy(y - z @ b))
        return penalties[best]

    def _path(self, chosen: Sequence[int], penalties: Sequence[float], correction: Any) -> list[np.ndarray]:
        """Coefficients for each penalty."""
        z, y = self.sums.means(chosen)
        h, g = self.sums.around(chosen, z, y)
        values, vectors = np.linalg.eigh(h - correction)
        h = (vectors * np.maximum(values, FLAT * max(values[-1], 1e-12))) @ vectors.T
        most = max(float(np.linalg.norm(g[s])) / size for s, size in zip(self.groups, _sizes(self.groups), strict=True))
        return [group_lasso(h, g, self.groups, share * most) for share in penalties]

    def said(self, z: Float[Tensor, "n q"], known: Tensor, facts: dict[str, Any]) -> Predictions:
        """Labels of rows from their features; a class is as probable as estimated, cut at 0 and made to sum to 1."""
        estimate = z.to(self.coefficients.dtype) @ self.coefficients + self.intercept
        if facts["classes"]:
            chances = estimate.clamp(min=1e-6)
            estimate = chances / chances.sum(dim=1, keepdim=True)
        return predictions(estimate, known, facts)


def predictions(estimate: Float[Tensor, "n c"], known: Tensor, facts: dict[str, Any]) -> Predictions:
    """Probabilities of classes or a scaled number per row, as labels; None where nothing is known of a row."""
    estimate = estimate.double().masked_fill(~known[:, None], torch.nan)
    if facts["classes"]:
        return Predictions.of_classes(facts["classes"], estimate)
    values = (facts["offset"] + facts["unit"] * estimate[:, 0]).tolist()
    return Predictions(labels=[value if value == value else None for value in values])


# What methods with structures do alike; assigned in their class bodies, or called.


def attach(self: Any, facts: dict[str, Any]) -> None:
    """Room for the predictor, when the facts name a label."""
    if facts.get("label") is not None:
        self.predictor = GroupLasso(self.options.folds, self.structures.columns, facts)


def lasso_phases(self: Any, data: Table) -> list[Phase]:
    """A pass over the rows, at whose end the label is regressed on the factors; none without a label."""
    if self.facts.get("label") is None:
        return []

    def batch(rows: Tensor, generator: torch.Generator) -> Batch:
        made = batch_of(data, rows, self.fronts)
        made.context["targets"] = targets_of(data, self.facts, rows)
        return made

    def visit(batch: Batch, clock: Clock) -> None:
        y, whole = gather(batch.context["targets"]), of_all_ranks(batch)
        z, known = self._lasso_rows(self.encode(whole.views))
        known = known & y.isfinite().all(dim=1)
        folds = torch.randint(self.options.folds, (len(data),), generator=rng(clock.seed, "lasso folds"))
        fold = folds.to(known.device)[whole.ids.row]
        self.predictor.sums.add(z[known].double(), y[known].double(), fold[known])
        if clock.step == clock.steps - 1:
            self.note(penalty=self.predictor.solve(self.options.penalties, self._lasso_correction()))

    return [Phase("group-lasso", plan=lambda g: torch.arange(len(data)).split(ROWS), batch=batch, visit=visit)]


@torch.no_grad()
def predict(self: Any, table: Table) -> Predictions:
    """The label of each row, from the factors that the views it has tell; None for a row without any.

    A class has the probability that least squares estimates for it, cut at 0. Raises `UserError` when the run was
    fitted without a label.
    """
    self.require_fitted()
    if self.facts.get("label") is None:
        raise UserError("this run was fitted without a label, so it predicts nothing; fit with label=COLUMN")
    encoded: Encoded = self.embed_views(table, [name for name in self.facts["views"] if name in table.views])
    known = torch.stack(list(encoded.present.values())).any(dim=0)
    found: Predictions = self.predictor.said(self.factors(encoded), known, self.facts)
    return found
