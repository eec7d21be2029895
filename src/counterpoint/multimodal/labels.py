"""Classes of rows: what a label column holds, and how a method that predicts it is judged, row by row."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Int, Shaped

from counterpoint.errors import UserError, nearest
from counterpoint.evaluation import Mean, Outcome, geometry
from counterpoint.evaluation.outcome import Columns, Measure
from counterpoint.multimodal.assess import SWAPPED, reliability_of_swapped
from counterpoint.multimodal.corrupt import perturb
from counterpoint.multimodal.judge import candidate_sets
from counterpoint.multimodal.table import Table

MOST_CLASSES = 1000
UNLIKELY = 1e-12
"""The least probability that counts, so that one sure mistake does not make a mean infinite."""
BINS = 15
MIXED = 0.75
"""Share of a view's parts that are exchanged to see whether it is trusted less."""


def classes_of(table: Table, label: str) -> list[Any]:
    """The different values of a label column in order, without missing ones.

    Raises `UserError` when there is no such column, or it holds fewer than 2 or more than 1,000 classes.

    >>> classes_of(Table.of({"a": [[1.0]] * 3}, {"sick": [1.0, float("nan"), 0.0]}), "sick")
    [0, 1]
    """
    values = {value for value in _plain(label_column(table, label)) if value is not None}
    if not 2 <= len(values) <= MOST_CLASSES:
        raise UserError(
            f'{table.source}: column "{label}" holds {len(values)} different values; classes are learned from 2 to '
            f"{MOST_CLASSES:,} of them, so name another column with label=COLUMN"
        )
    return sorted(values, key=lambda value: (str(type(value)), value))


def label_column(table: Table, label: str) -> Shaped[np.ndarray, " n"]:
    """A column of labels; raises `UserError` with the nearest name when the table has none."""
    if label not in table.columns:
        raise UserError(
            f'{table.source}: no column "{label}" with labels; {nearest(label, table.columns)}; '
            "say label=COLUMN, and leave it out of every view"
        )
    column: Shaped[np.ndarray, " n"] = table.columns[label]
    return column


def codes(values: Shaped[np.ndarray, " n"], classes: Sequence[Any]) -> Int[np.ndarray, " n"]:
    """The number of each label's class; -1 where it is missing, -2 for a class that is not among them.

    >>> codes(np.array(["b", None, "c"], dtype=object), ["a", "b"]).tolist()
    [1, -1, -2]
    """
    places = {value: place for place, value in enumerate(classes)} | {None: -1}
    return np.array([places.get(value, -2) for value in _plain(values)], dtype=np.int64)


def _plain(values: Shaped[np.ndarray, " n"]) -> list[Any]:
    """Labels as JSON has them: whole numbers as such, None where missing."""
    found = values.tolist()
    whole = [int(v) if isinstance(v, float) and v == v and v.is_integer() else v for v in found]
    return [None if value is None or value != value else value for value in whole]


@dataclass(frozen=True)
class MacroF1:
    """The mean over classes of 2 TP / (2 TP + FP + FN), over the classes that occur or are predicted.

    In the rows where another column has a value, if `where` says so.

    >>> round(MacroF1()({"truth": np.array([0, 0, 1]), "said": np.array([0, 1, 1])}), 4)
    0.6667
    """

    where: tuple[str, Any] | None = None

    def __call__(self, columns: Columns) -> float:
        rows = slice(None) if self.where is None else columns[self.where[0]] == self.where[1]
        truth, said = columns["truth"][rows], columns["said"][rows]
        names, place = np.unique(np.concatenate([truth, said]), return_inverse=True)
        of_truth, of_said = place[: len(truth)], place[len(truth) :]
        hits = np.bincount(of_truth[of_truth == of_said], minlength=len(names))
        total = np.bincount(place, minlength=len(names))
        return float((2 * hits / total).mean()) if len(names) else float("nan")


@dataclass(frozen=True)
class CalibrationError:
    """Expected calibration error: |accuracy - mean confidence| in 15 equal bins of confidence, weighted by their rows.

    Source: arXiv 1706.04599, equation 3.

    >>> CalibrationError()({"confidence": np.array([0.9, 0.9]), "correct": np.array([1.0, 0.0])})
    0.4
    """

    def __call__(self, columns: Columns) -> float:
        confidence, correct = columns["confidence"], columns["correct"]
        bins = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
        gaps = np.bincount(bins, weights=correct - confidence, minlength=BINS)
        return float(np.abs(gaps).sum() / max(1, len(bins)))


MEASURES: dict[str, Measure] = {
    "accuracy": Mean("correct"),
    "macro_f1": MacroF1(),
    "nll": Mean("nll"),
    "brier": Mean("brier"),
    "ece": CalibrationError(),
}
"""What `labelled` measures; a claim that uses it gives these as its `measures`."""


def labelled(method: Any, table: Table) -> Outcome:
    """One value per labelled row: right or not, how sure, and what the method says of its views.

    `nll` is the negative log-likelihood in nats, `brier` the squared distance of the probabilities from the truth,
    `ece` the expected calibration error. A class that was not learned counts as wrong. Left out are rows without a
    label, and rows without any view. Columns `weight VIEW` and `variance VIEW` are there where the method has them.
    Raises `UserError` when no row can be judged.
    """
    facts = method.facts
    truth = codes(label_column(table, facts["label"]), facts["classes"])
    found = method.predict(table)
    chances = found.probabilities.double().numpy()
    judged = np.flatnonzero((truth != -1) & np.isfinite(chances).all(axis=1))
    if not len(judged):
        raise UserError(f'{table.source}: no row has both a view and a value of "{facts["label"]}" to be judged by')
    truth, chances = truth[judged], chances[judged]
    hot = truth[:, None] == np.arange(chances.shape[1])
    said = chances.argmax(axis=1)
    columns: dict[str, Any] = {
        "truth": truth,
        "said": said,
        "correct": (truth == said).astype(np.float64),
        "confidence": chances.max(axis=1),
        "nll": -np.log(np.maximum((chances * hot).sum(axis=1), UNLIKELY)),
        "brier": np.square(chances - hot).sum(axis=1),
    }
    for part, values in (("weight", found.weights), ("variance", found.variances)):
        columns |= {f"{part} {name}": numbers.double().numpy()[judged] for name, numbers in values.items()}
    ids = table.ids[judged]
    unit = None if table.group is None else table.columns[table.group][judged].astype(str)
    return Outcome(ids.astype(str) if ids.dtype == object else ids, columns, MEASURES, unit=unit)


def assess_labels(method: Any, train: Table, test: Table, label: str | None = None) -> dict[str, Any]:
    """What the report shows of a method that predicts classes, as JSON: its mistakes, its trust, its space.

    Judged on the first 2,000 rows at most, as retrieval is, and on the views that it uses. `label` is not needed: the
    method knows its own.
    """
    part = test.rows(candidate_sets(len(test), None)[0].numpy())
    used = {name: view for name, view in part.views.items() if name in method.facts["views"]}
    part = replace(part, views=used)
    return {
        "classes": _mistakes(method, part),
        "reliability": reliability_of_swapped(method, part),
        "reliability_mixed": reliability_of_mixed(method, part),
        "geometry": _shape(method, part),
    }


def reliability_of_mixed(method: Any, table: Table) -> dict[str, Any]:
    """Reliability of each view where it is the row's own, and where three quarters of its parts are other rows' (30 %).

    A view without parts that can be exchanged (pictures, events) is left out.
    """
    rng = np.random.Generator(np.random.PCG64(0))
    clean: dict[str, list[float]] = {}
    mixed: dict[str, list[float]] = {}
    for name, view in table.views.items():
        if view.kind in ("pictures", "events"):
            continue
        hit = rng.random(len(table)) < SWAPPED
        trust = method.reliability(perturb(table, name, MIXED * hit, rng, "exchange"))[name].numpy()
        known = np.isfinite(trust)
        clean[name], mixed[name] = (trust[known & rows].round(4).tolist() for rows in (~hit, hit))
    return {"views": list(clean), "clean": clean, "mixed": mixed, "share": SWAPPED}


def _mistakes(method: Any, table: Table) -> dict[str, Any]:
    """How often each class was taken for each other, how right each degree of confidence was, and the mean weights."""
    columns, names = labelled(method, table).columns, method.facts["classes"]
    learned = columns["truth"] >= 0
    counts = np.zeros((len(names), len(names)), dtype=int)
    np.add.at(counts, (columns["truth"][learned], columns["said"][learned]), 1)
    bins = np.clip(np.ceil(columns["confidence"] * BINS).astype(int) - 1, 0, BINS - 1)
    used = [place for place in range(BINS) if (bins == place).any()]
    of_weights = [name for name in columns if name.startswith("weight ")]
    return {
        "label": method.facts["label"],
        "names": [str(name) for name in names],
        "counts": counts.tolist(),
        "confidence": [float(columns["confidence"][bins == place].mean()) for place in used],
        "accuracy": [float(columns["correct"][bins == place].mean()) for place in used],
        "rows": [int((bins == place).sum()) for place in used],
        "weights": {name.removeprefix("weight "): float(columns[name].mean()) for name in of_weights},
    }


def _shape(method: Any, table: Table) -> dict[str, Any]:
    whole = geometry(method.embed(table))
    return {
        "effective_rank": whole.effective_rank,
        "mean_cosine": whole.mean_cosine,
        "uniformity": whole.uniformity,
        "dead_dimensions": whole.dead,
        "collapse": whole.collapse,
        "sentences": whole.sentences(),
        "settings": whole.settings,
    }
