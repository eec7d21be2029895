"""A run folder as a fit leaves it: three views of drawn digits, judged, with every optional part."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from counterpoint.reports.pictures import png

VIEWS = ("fou", "kar", "pix")
SHAPE = (16, 15)
SEGMENTS = ("abcdef", "bc", "abged", "abgcd", "fgbc", "afgcd", "afgecd", "abc", "abcdefg", "abcdfg")
STROKES = {
    "a": (slice(1, 3), slice(3, 12)),
    "b": (slice(2, 8), slice(10, 12)),
    "c": (slice(8, 14), slice(10, 12)),
    "d": (slice(13, 15), slice(3, 12)),
    "e": (slice(8, 14), slice(3, 5)),
    "f": (slice(2, 8), slice(3, 5)),
    "g": (slice(7, 9), slice(3, 12)),
}


def write_run(run: Path, n: int = 200, seed: int = 0) -> Path:
    """Write the whole folder."""
    draw = np.random.default_rng(seed)
    run.mkdir(parents=True, exist_ok=True)
    digits = np.arange(n) % 10
    ids = [f"d{i:04d}" for i in range(n)]
    (run / "config.yaml").write_text(yaml.safe_dump(config()))
    (run / "metrics.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events(draw)))
    (run / "evaluation.json").write_text(json.dumps(evaluation(draw, ids, digits)))
    pq.write_table(embeddings(draw, ids, digits), run / "embeddings.parquet")
    pictures = [png(picture(draw, digit), SHAPE) for digit in digits]
    pq.write_table(pa.table({"id": ids, "picture": pa.array(pictures, pa.binary())}), run / "display.parquet")
    return run


def change(run: Path, **parts: Any) -> None:
    """Replace parts of the assessment; None takes one away."""
    path = run / "evaluation.json"
    found = json.loads(path.read_text())
    found["assessment"] = {key: value for key, value in (found["assessment"] | parts).items() if value is not None}
    path.write_text(json.dumps(found))


def config() -> dict[str, Any]:
    """What config.yaml says."""
    return {
        "format": 1,
        "counterpoint": "0.1.0",
        "method": "gated-symile",
        "options": {"dim": 64, "gate": True, "hidden": [256, 256], "optim": {"lr": 0.003, "clip": None}, "epochs": 30},
        "training": {"seed": 7, "precision": "32-true"},
        "data": {
            "source": "build/digits.parquet",
            "fingerprint": "9f2c1e",
            "reader": {
                "view": {
                    "fou": [f"fou_{i}" for i in range(76)],
                    "kar": ["kar_a", "kar_b"],
                    "pix": [f"pix_{i}" for i in range(240)],
                }
            },
            "split": "train=.6,test=.4",
            "display": {"label": "digit", "picture": "pix:16x15"},
        },
        "versions": {"python": "3.11.2", "torch": "2.13.0"},
        "facts": {"widths": {"fou": 76, "kar": 64, "pix": 240}},
    }


def events(draw: np.random.Generator) -> list[dict[str, Any]]:
    """Steps and validations of two phases."""
    found: list[dict[str, Any]] = []
    for phase, epochs in (("warm", 4), ("train", 26)):
        for step in range(epochs * 8):
            done = (step + (32 if phase == "train" else 0)) / 240
            terms = {"contrast": 4 * np.exp(-3 * done) + 0.1 * draw.random(), "neutral": 0.3 - 0.2 * done}
            notes = {"temperature": 0.07 + 0.03 * done}
            where = {"time": 1.7e9 + len(found), "phase": phase, "epoch": step // 8, "step": step}
            found.append(where | {"loss": sum(terms.values()), "terms": terms, "notes": notes})
            if step % 8 == 7:
                metrics = {"top1": 0.45 * (1 - np.exp(-4 * done)), "mrr": 0.58 * (1 - np.exp(-4 * done))}
                found.append({"time": 0.0, "phase": phase, "epoch": step // 8, "metrics": metrics})
    return found


def evaluation(draw: np.random.Generator, ids: list[str], digits: np.ndarray) -> dict[str, Any]:
    """What evaluation.json says."""
    ours, theirs = {"top1": 0.4562, "mrr": 0.581, "median_rank": 2.0}, {"top1": 0.385, "mrr": 0.512, "median_rank": 3.0}
    width = {"top1": 0.021, "mrr": 0.018, "median_rank": 0.5}
    bounds = lambda value, w: {"value": value, "low": value - w, "high": value + w}  # noqa: E731
    return {
        "measures": {name: bounds(ours[name], width[name]) for name in ours},
        "rows": len(ids),
        "against": {
            "name": "ridge-cca",
            "measures": {name: bounds(theirs[name], width[name]) for name in ours},
            "difference": {name: bounds(ours[name] - theirs[name], 0.8 * width[name]) for name in ours},
        },
        "assessment": {
            "tasks": tasks(),
            "geometry": geometry(),
            "clustering": {"nmi": 0.71, "ari": 0.63},
            "probes": probes(),
            "reliability": reliability(draw),
            "examples": examples(draw, ids, digits),
        },
    }


def tasks() -> list[dict[str, Any]]:
    """Each view from each other, and each from both others."""
    quality = {"fou": 0.35, "kar": 0.8, "pix": 0.85}
    found = []
    for target in VIEWS:
        others = [view for view in VIEWS if view != target]
        for given in ([others[0]], [others[1]], others):
            top = quality[target] * max(quality[view] for view in given) + 0.05 * (len(given) - 1)
            found.append(
                {"given": given, "target": target, "top1": top, "top5": top**0.5, "top10": top**0.3, "mrr": top**0.7}
                | {"median_rank": round(1 / top), "candidates": 400, "queries": 400}
            )
    return found


def geometry() -> dict[str, Any]:
    """Numbers, a warning and how they were taken."""
    return {
        "effective_rank": 31.4,
        "mean_cosine": 0.041,
        "uniformity": -3.2145,
        "alignment": 0.62,
        "alignment_between": ["fou", "kar"],
        "dead_dimensions": 0,
        "collapse": None,
        "sentences": ["The vectors use about 31 of 64 directions (effective rank)."],
        "settings": {"rows": 80, "unit_length": True},
    }


def probes() -> dict[str, Any]:
    """Few labels: raw features win first, the joint space later."""
    curve = {"joint": (0.71, 0.86, 0.975), "raw": (0.82, 0.88, 0.95)}
    rows = [
        {"space": space, "labels": labels, "accuracy": value, "low": value - 0.012, "high": value + 0.012}
        for space, values in curve.items()
        for labels, value in zip((10, 50, "all"), values, strict=True)
    ]
    settings = {f"{row['space']}, {row['labels']} labels": {"kind": "linear", "C": 1.0} for row in rows}
    return {"label": "digit", "settings": settings, "rows": rows}


def reliability(draw: np.random.Generator) -> dict[str, Any]:
    """Swapped views are trusted less; one clean value is absent."""
    clean = {view: draw.beta(8, 2, 150).tolist() for view in VIEWS}
    clean["fou"][0] = None
    return {"views": list(VIEWS), "clean": clean, "swapped": {view: draw.beta(2, 4, 60).tolist() for view in VIEWS}}


def examples(draw: np.random.Generator, ids: list[str], digits: np.ndarray) -> list[dict[str, Any]]:
    """Six searches for each given view; what is found is mostly the same digit."""
    found = []
    for given in (["fou"], ["kar"], ["fou", "kar"]):
        for query in draw.choice(len(ids), 6, replace=False):
            same = draw.permutation(np.flatnonzero(digits == digits[query]))[:8]
            order = [int(query)] + [int(i) for i in same if i != query]
            rank = int(draw.integers(1, 5))
            order[0], order[rank - 1] = order[rank - 1], order[0]
            hits = [ids[i] for i in order[:8]]
            found.append({"given": given, "target": "pix", "query": ids[query], "found": hits, "rank": rank})
    found.append(found[0] | {"given": ["pix"], "target": "fou"})
    return found


def embeddings(draw: np.random.Generator, ids: list[str], digits: np.ndarray) -> pa.Table:
    """Joint vectors in clusters by digit, single views, and columns to colour by."""
    centres = draw.normal(size=(10, 16))
    joint = centres[digits] + 0.5 * draw.normal(size=(len(ids), 16))
    joint = (joint / np.linalg.norm(joint, axis=1, keepdims=True)).astype(np.float32)
    lists = pa.FixedSizeListArray.from_arrays(pa.array(joint.ravel()), 16)
    columns = {
        "id": ids,
        "split": [("train", "validation", "test")[i % 3] for i in range(len(ids))],
        "joint": lists,
        "view:fou": lists,
        "digit": digits,
        "ink": [None if i == 5 else float(ink) for i, ink in enumerate(draw.random(len(ids)))],
        "writer": [f"writer {i % 30}" for i in range(len(ids))],
    }
    return pa.table(columns)


def picture(draw: np.random.Generator, digit: int) -> np.ndarray:
    """Draw a digit in strokes, a little noisy."""
    page = 0.15 * draw.random(SHAPE)
    for stroke in SEGMENTS[digit]:
        page[STROKES[stroke]] += 0.8
    return np.roll(page, draw.integers(-1, 2), axis=1).ravel()
