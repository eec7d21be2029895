"""The whole judgement of a fitted method for its report: retrieval by task, geometry, probes, reliability, examples."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from counterpoint.errors import UserError
from counterpoint.evaluation import Probe, few_labels, geometry, kmeans_agreement, linear_probe
from counterpoint.multimodal.corrupt import swap
from counterpoint.multimodal.judge import candidate_sets, task_table
from counterpoint.multimodal.kinds import KINDS
from counterpoint.multimodal.kinds.kind import How
from counterpoint.multimodal.table import Table
from counterpoint.multimodal.use import embed_views, retrieve
from counterpoint.training import rng

LABELS = (10, 20, 50)
EXAMPLES = 8
SWAPPED = 0.3
MOST_CLASSES = 100


def assess(method: Any, train: Table, test: Table, label: str | None = None) -> dict[str, Any]:
    """What the report shows beside the headline, as JSON; `label` names a column of classes for probes.

    Large test parts are judged on the first candidate set (2,000 rows). Parts that a method or the data cannot answer
    are absent.
    """
    part = test.rows(candidate_sets(len(test), None)[0].numpy())
    found: dict[str, Any] = {
        "tasks": task_table(method, part),
        "examples": examples(method, part),
        "candidates": {"rows": len(part), "of": len(test), "rule": "all rows up to 2,000, else 2,000 drawn by seed 0"},
    }
    if hasattr(method, "embed"):
        found["geometry"] = _geometry(method, part)
    if hasattr(method, "reliability"):
        found["reliability"] = reliability_of_swapped(method, part)
    if label is not None and hasattr(method, "embed"):
        found |= _with_labels(method, train, part, label)
    return found


def _geometry(method: Any, table: Table) -> dict[str, Any]:
    """Geometry of the joint vectors; alignment between the first two views that occur together."""
    encoded = embed_views(method, table)
    names = list(encoded.vectors)
    both = encoded.present[names[0]] & encoded.present[names[1]]
    one_space = encoded.vectors[names[0]].shape == encoded.vectors[names[1]].shape and both.sum() > 1
    whole = geometry(method.embed(table))
    pair = geometry(encoded.vectors[names[0]][both], encoded.vectors[names[1]][both]) if one_space else None
    return {
        "effective_rank": whole.effective_rank,
        "mean_cosine": whole.mean_cosine,
        "uniformity": whole.uniformity,
        "alignment": pair.alignment if pair else None,
        "alignment_between": names[:2],
        "dead_dimensions": whole.dead,
        "collapse": whole.collapse,
        "sentences": whole.sentences(),
        "settings": whole.settings,
    }


def examples(method: Any, table: Table) -> list[dict[str, Any]]:
    """The first rows that have every view: what the method finds for one target from each other view alone.

    The target is the last view that is a picture-like vector, or simply the last one; the report picks what it can
    show.
    """
    names = list(table.views)
    whole = np.flatnonzero(np.stack([view.present for view in table.views.values()]).all(axis=0))
    rows = whole[:: max(1, len(whole) // EXAMPLES)][:EXAMPLES]
    found = []
    for target in names:
        for given in names:
            if given != target:
                found += _examples(method, table, rows, given, target)
    return found


def _examples(method: Any, table: Table, rows: np.ndarray, given: str, target: str) -> list[dict[str, Any]]:
    everything = retrieve(method, table.rows(rows), target, [given], table, k=len(table))
    found = []
    for query, ids in zip(table.ids[rows].tolist(), everything.ids.tolist(), strict=True):
        found.append(
            {"given": [given], "target": target, "query": query, "found": ids[:5], "rank": ids.index(query) + 1}
        )
    return found


def reliability_of_swapped(method: Any, table: Table) -> dict[str, Any]:
    """Reliability of each view where it is the row's own and where it was taken from another row (30 % of rows)."""
    names = list(table.views)
    generator = np.random.Generator(np.random.PCG64(0))
    clean: dict[str, list[float]] = {}
    wrong: dict[str, list[float]] = {}
    for name in names:
        corrupted, masks = swap(table, name, SWAPPED, generator)
        trust = method.reliability(corrupted)[name].numpy()
        known = np.isfinite(trust)
        clean[name] = trust[known & ~masks[name]].round(4).tolist()
        wrong[name] = trust[known & masks[name]].round(4).tolist()
    return {"views": names, "clean": clean, "swapped": wrong, "share": SWAPPED}


def _with_labels(method: Any, train: Table, test: Table, label: str) -> dict[str, Any]:
    """Probes of joint vectors beside raw values, and clustering, where the column holds a few classes."""
    for table in (train, test):
        if label not in table.columns:
            raise UserError(f'{table.source}: no column "{label}" to probe; name one of {", ".join(table.columns)}')
    of_train, of_test = train.columns[label].astype(str), test.columns[label].astype(str)
    classes = np.unique(of_train)
    if not 2 <= len(classes) <= MOST_CLASSES or len(train) < 2 * len(classes):
        return {}
    spaces = {
        "joint": (method.embed(train), method.embed(test)),
        "raw": (raw_values(train, train), raw_values(test, train)),
    }
    rows, settings = [], {}
    counts = [count for count in LABELS if len(classes) <= count < len(train)]
    for space, (x, y) in spaces.items():
        probes: dict[int | str, Probe] = dict(few_labels(x, of_train, y, of_test, counts=counts).items())
        probes["all"] = linear_probe(x, of_train, y, of_test)
        for labels, probe in probes.items():
            low, high = _interval(probe.correct)
            rows.append({"space": space, "labels": labels, "accuracy": probe.accuracy, "low": low, "high": high})
            settings[f"{space}, {labels} labels"] = probe.settings
    clustering = kmeans_agreement(spaces["joint"][1], of_test)
    return {
        "probes": {"label": label, "rows": rows, "settings": settings},
        "clustering": {**clustering.agreement, "settings": clustering.settings},
    }


def raw_values(table: Table, train: Table) -> Float[Tensor, "n d"]:
    """All views side by side, gaps at the training mean: what a probe sees without a learned space.

    Views that are not of numbers enter as closed forms take them: ones for levels, vectors of frozen encoders.
    """
    parts = []
    for name, view in table.views.items():
        if view.items is not None:
            kind = KINDS[view.kind]
            front = kind.front(kind.measure(train.views[name], How()))
            starts = range(0, max(1, len(table)), front.rows)
            with torch.no_grad():
                blocks = [front(front.tensor(view, slice(start, start + front.rows))) for start in starts]
            parts.append(torch.cat(blocks).numpy())
            continue
        mean = np.nan_to_num(np.nanmean(train.views[name].values, axis=0))
        parts.append(np.where(np.isnan(view.values), mean, view.values))
    return torch.from_numpy(np.concatenate(parts, axis=1).astype(np.float32))


def _interval(correct: Sequence[float] | np.ndarray) -> tuple[float, float]:
    """A 95 % bootstrap interval over test rows of a mean."""
    values = torch.as_tensor(np.asarray(correct), dtype=torch.float64)
    draws = torch.randint(len(values), (1000, len(values)), generator=rng(0, "probe interval"))
    low, high = values[draws].mean(dim=1).quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return low, high
