"""Charts as plain data: panels of lines and bars that the page draws and themes."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from counterpoint.reports.words import Number, title, usable

MOST_POINTS = 400
BINS = 25
Figure = dict[str, Any]
Event = dict[str, Any]


def loss_curves(events: Sequence[Event]) -> list[Figure]:
    """Draw the loss, each of its terms when there are several, and each watched value, against the step.

    A pass without terms has no loss.
    """
    steps = [event for event in events if "loss" in event]
    at, marks = _running(steps, "step")
    losses = [None if event.get("terms") == {} else event["loss"] for event in steps]
    series = {"loss": losses} if any(value is not None for value in losses) else {}
    terms = _names(steps, "terms")
    watched = [name for name in _names(steps, "notes") if name not in measured_once(events)]
    for part, names in (("terms", terms if len(terms) > 1 else []), ("notes", watched)):
        for name in names:
            series[_clear(name, part, series)] = [(event.get(part) or {}).get(name) for event in steps]
    return [_curve(name, at, values, "step", marks) for name, values in series.items()] if steps else []


def measured_once(events: Sequence[Event]) -> dict[str, float]:
    """Watched values that one of several steps alone has: no curves."""
    steps = [event for event in events if "loss" in event]
    found: dict[str, list[float]] = {}
    for event in steps:
        for name, value in (event.get("notes") or {}).items():
            found.setdefault(name, []).append(value)
    return {name: values[0] for name, values in found.items() if len(usable(values)) == len(values) == 1 < len(steps)}


def metric_curves(events: Sequence[Event]) -> list[Figure]:
    """Draw each validation metric against the epoch."""
    measured = [event for event in events if "metrics" in event]
    at, marks = _running(measured, "epoch")
    names = _names(measured, "metrics")
    return [_curve(name, at, [event["metrics"].get(name) for event in measured], "epoch", marks) for name in names]


def probe_curves(rows: Sequence[dict[str, Any]]) -> Figure:
    """Draw accuracy against the number of labels, one line per space, with intervals."""
    labels = probe_labels(rows)
    lines = []
    for space in ("joint", "raw"):
        cells = {str(row["labels"]): row for row in rows if row["space"] == space}
        present = [label for label in labels if label in cells]
        value, low, high = ([cells[label].get(key) for label in present] for key in ("accuracy", "low", "high"))
        lines.append({"name": space, "x": present, "y": value, "low": low, "high": high})
    return {
        "kind": "intervals",
        "title": "Accuracy",
        "x": "labels used",
        "categories": labels,
        "lines": lines,
    }


def probe_labels(rows: Iterable[dict[str, Any]]) -> list[str]:
    """Order the label counts: numbers first, then "all"."""
    counts = {str(row["labels"]) for row in rows}
    return sorted(counts, key=lambda count: (not count.isdigit(), int(count) if count.isdigit() else 0, count))


def distributions(
    view: str, clean: Sequence[Number | None], spoilt: Sequence[Number | None], how: str = "swapped"
) -> Figure:
    """Draw the share of rows per reliability bin, 0 to 1, of clean views and of views spoilt in one way."""
    edges = np.linspace(0.0, 1.0, BINS + 1)
    lines = []
    for name, values in (("clean", clean), (how, spoilt)):
        numbers = usable(values)
        counts, _ = np.histogram(np.clip(numbers, 0.0, 1.0), edges)
        shares = counts / max(1, len(numbers))
        lines.append({"name": name, "x": ((edges[1:] + edges[:-1]) / 2).tolist(), "y": shares.tolist()})
    return {"kind": "bars", "title": view, "x": "reliability", "lines": lines}


def calibration(confidence: Sequence[float], accuracy: Sequence[float]) -> Figure:
    """Draw accuracy against confidence beside what it should be."""
    lines = [
        {"name": "this run", "x": list(confidence), "y": list(accuracy)},
        {"name": "calibrated", "x": list(confidence), "y": list(confidence)},
    ]
    return {"kind": "line", "title": "Accuracy", "x": "confidence", "lines": lines, "marks": []}


def _names(events: Sequence[Event], part: str) -> list[str]:
    """List the names that occur in a part of the events, in order of appearance."""
    return list(dict.fromkeys(name for event in events for name in event.get(part) or {}))


def _clear(name: str, part: str, taken: dict[str, Any]) -> str:
    """Tell a term or note from a line of the same name."""
    return f"{name} ({part.rstrip('s')})" if name in taken else name


def _running(events: Sequence[Event], unit: str) -> tuple[list[float], list[Figure]]:
    """Count `unit` on from phase to phase, and mark where each later phase begins."""
    at: list[float] = []
    marks: list[Figure] = []
    start, phase = 0.0, None
    for event in events:
        if event.get("phase") != phase:
            start = at[-1] + 1 if at else 0.0
            phase = event.get("phase")
            marks.append({"at": start, "name": str(phase)})
        at.append(start + float(event.get(unit) or 0))
    return at, marks[1:]


def _curve(name: str, x: Sequence[Number], y: Sequence[Number | None], unit: str, marks: list[Figure]) -> Figure:
    """Make one panel with one line, thinned by block means."""
    block = math.ceil(len(x) / MOST_POINTS)
    pairs = [(x[i : i + block], usable(y[i : i + block])) for i in range(0, len(x), block)]
    line = {
        "name": name,
        "x": [float(np.mean(xs)) for xs, _ in pairs],
        "y": [float(ys.mean()) if len(ys) else None for _, ys in pairs],
    }
    label = f"{unit} (each point the mean of {block})" if block > 1 else unit
    return {"kind": "line", "title": title(name), "x": label, "lines": [line], "marks": marks}
