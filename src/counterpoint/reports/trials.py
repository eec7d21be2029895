"""The sections on trials made after training: views swapped on purpose, and probes with few labels."""

import math
from collections.abc import Sequence
from statistics import median
from typing import Any

from counterpoint.reports import figures
from counterpoint.reports.folder import Folder
from counterpoint.reports.markup import Html, join, table, tag
from counterpoint.reports.parts import Section, absent, cell, charts, details
from counterpoint.reports.words import DASH, Number, auc, listed, usable

EXTENTS = (
    (0.8, "clearly less than"),
    (0.6, "somewhat less than"),
    (0.45, "about as much as"),
    (0.0, "more than"),
)
FINDINGS = ("the joint space is better", "raw features are better", "the two spaces cannot be told apart")


def reliability(folder: Folder) -> Section:
    """Show whether swapped views, and views with parts of other rows, are trusted less than clean ones."""
    heading, swapped = "Trust in clean and in swapped views", folder.assessment.get("reliability")
    if not swapped:
        why = "The evaluation holds no reliability values: the method gives none, or they were not asked for."
        return absent("reliability", heading, why)
    parts = [_trial(swapped, "swapped")]
    if mixed := folder.assessment.get("reliability_mixed"):
        why = "Mixed: three quarters of the view's parts (numbers, words, tokens) were taken from other rows."
        parts += [tag("h3", "Trust in clean and in mixed views"), tag("p", why, class_="note"), _trial(mixed, "mixed")]
    return Section("reliability", heading, join(parts))


def _trial(found: dict[str, Any], how: str) -> Html:
    """Draw and tabulate trust in clean views and in views spoilt in one way."""
    clean, spoilt = found.get("clean") or {}, found.get(how) or {}
    views = [view for view in found.get("views") or clean if len(usable(clean.get(view) or []))]
    both = [view for view in views if len(usable(spoilt.get(view) or []))]
    areas = {view: auc(clean[view], spoilt[view]) for view in both}
    drawn = charts([figures.distributions(view, clean[view], spoilt.get(view) or [], how) for view in views])
    rows = [_trust(view, clean[view], spoilt[view], areas[view]) for view in both]
    head = ["View", "Clean median", f"{how.capitalize()} median", f"{how.capitalize()} below clean median", "AUC"]
    return join([tag("p", _trusted(areas, how)), drawn, table(head, rows, "numbers")])


def _trust(view: str, clean: Sequence[Number | None], spoilt: Sequence[Number | None], area: float) -> list[object]:
    """Make one row of the reliability table."""
    middle, others = median(usable(clean).tolist()), usable(spoilt)
    below = f"{100 * float((others < middle).mean()):.0f} %"
    return [view, f"{middle:.3f}", f"{median(others.tolist()):.3f}", below, f"{area:.2f}"]


def _trusted(areas: dict[str, float], how: str) -> str:
    """Say what the areas mean."""
    if not areas:
        return f"No view was {how}, so only the clean views are shown."
    mean = sum(areas.values()) / len(areas)
    extent = next(words for least, words in EXTENTS if mean >= least)
    weakest = min(areas, key=lambda view: areas[view])
    return (
        f"A {how} view is trusted {extent} a clean one: of one clean and one {how} value, the clean "
        f"one is higher in {100 * mean:.0f} % of cases (mean over {listed(list(areas))}; 50 % would be chance). "
        f"The view told worst is {weakest}, with {100 * areas[weakest]:.0f} %."
    )


def probes(folder: Folder) -> Section:
    """Show what few labels achieve on the joint space and on raw features."""
    found = folder.assessment.get("probes") or {}
    if not (rows := found.get("rows")):
        why = "The evaluation holds no probes: no label column was named, so there was nothing to predict."
        return absent("probes", "Probes with few labels", why)
    labels = figures.probe_labels(rows)
    cells = {(row["space"], str(row["labels"])): row for row in rows}
    names = {"joint": "Joint space", "raw": "Raw features"}
    body = [[name, *(_probe(cells.get((space, label))) for label in labels)] for space, name in names.items()]
    parts = [tag("p", _fairer(cells, labels)), charts([figures.probe_curves(rows)], "wide")]
    parts.append(table(["Labels", *labels], body, "numbers"))
    if settings := found.get("settings"):
        parts.append(details("Settings of the probes", settings))
    heading = f"Predicting {found['label']} from few labels" if found.get("label") else "Probes with few labels"
    return Section("probes", heading, join(parts))


def _probe(row: dict[str, Any] | None) -> Html | str:
    """Show one accuracy."""
    return DASH if row is None else cell("accuracy", {"value": row.get("accuracy"), **row})


def _fairer(cells: dict[tuple[str, str], dict[str, Any]], labels: Sequence[str]) -> str:
    """Say at which label counts which space is better; intervals that overlap settle nothing."""
    groups: dict[str, list[str]] = {finding: [] for finding in FINDINGS}
    for label in labels:
        joint, raw = cells.get(("joint", label)), cells.get(("raw", label))
        if joint and raw:
            groups[_better(joint, raw)].append(label)
    parts = [f"{finding} with {listed(of)} labels" for finding, of in groups.items() if of]
    if not parts:
        return "Only one of the two spaces was probed, so they cannot be compared."
    text = "; ".join(parts)
    return f"{text[0].upper()}{text[1:]}. Better means that the two intervals do not overlap."


def _better(joint: dict[str, Any], raw: dict[str, Any]) -> str:
    """Compare two accuracies by their intervals."""
    if _bound(joint, "low") > _bound(raw, "high"):
        return FINDINGS[0]
    return FINDINGS[1] if _bound(raw, "low") > _bound(joint, "high") else FINDINGS[2]


def _bound(row: dict[str, Any], end: str) -> float:
    """Give an interval's end; without an interval nothing is settled."""
    value = row.get(end)
    return float(value) if value is not None else (-math.inf if end == "low" else math.inf)


def classes(folder: Folder) -> Section | None:
    """Show which classes are taken for which, how right each degree of confidence is, and what each view weighs."""
    found = folder.assessment.get("classes")
    if not found:
        return None
    names, counts = found["names"], found["counts"]
    rows = [[name, *line] for name, line in zip(names, counts, strict=True)]
    parts = [tag("h3", "Classes (rows) and what was said (columns)"), table(["", *names], rows, "numbers")]
    parts.append(charts([figures.calibration(found["confidence"], found["accuracy"])], "wide"))
    if weights := found.get("weights"):
        body = [[view, f"{100 * weight:.0f} %"] for view, weight in weights.items()]
        parts += [tag("h3", "What each view weighs on average"), table(["View", "Weight"], body, "numbers")]
    return Section("classes", f"Predicting {found['label']}", join(parts))
