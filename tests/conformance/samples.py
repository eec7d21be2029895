"""A small data set for each kind of data, and what the suite has to know about it.

A method that enters the catalog with one of these kinds is held to the whole suite without a line being written.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from counterpoint.multimodal.table import Table
from counterpoint.text.pairs import Pairs
from text import tiny

WIDTHS = {"labs": 4, "ecg": 3, "notes": 2}


@dataclass(frozen=True)
class Sample:
    """Data of one kind.

    `made(rows, seed)` has gaps, and rows that lack a part; `complete` lacks nothing. `rows(data, index)` selects.
    `calls` says how each public capability is called with a fitted method and such data. `metric` is what the judge
    measures. `choices` are other values of options that their type does not tell.
    """

    made: Callable[[int, int], Any]
    complete: Callable[[int, int], Any]
    rows: Callable[[Any, np.ndarray], Any]
    calls: Mapping[str, Callable[[Any, Any], Any]]
    metric: str
    small: Mapping[str, Any] = field(default_factory=dict)
    random: Mapping[str, Any] = field(default_factory=dict)
    choices: Mapping[str, list[Any]] = field(default_factory=dict)


def table(rows: int, seed: int, complete: bool = False) -> Table:
    """Three views of one hidden cause; a column with gaps, and one view absent in every fifth row."""
    generator = np.random.default_rng(seed)
    hidden = generator.normal(size=(rows, 3))
    views = {}
    for name, width in WIDTHS.items():
        mixing = np.random.default_rng(width).normal(size=(3, width))
        views[name] = hidden @ mixing + 0.3 * generator.normal(size=(rows, width))
    if not complete:
        views["labs"][2::7, 1] = np.nan
        views["ecg"][3::5] = np.nan
    return Table.of(views, {"label": (hidden[:, 0] > 0).astype(int)})


def _table_scores(method: Any, data: Table) -> Any:
    encoded = method.embed_views(data)
    given, target = ["labs", "ecg"], "notes"
    return method.scores(encoded.only(given), target, encoded.vectors[target])


TABLE = Sample(
    made=lambda rows, seed: table(rows, seed),
    complete=lambda rows, seed: table(rows, seed, complete=True),
    rows=lambda data, index: data.rows(index),
    calls={
        "embed": lambda method, data: method.embed(data),
        "joint": lambda method, data: method.joint(method.embed_views(data)),
        "embed_views": lambda method, data: method.embed_views(data),
        "encode": lambda method, data: method.embed_views(data, ["labs"]),
        "scores": _table_scores,
        "retrieve": lambda method, data: method.retrieve(data, "notes", ["labs"], data, k=3),
        "reliability": lambda method, data: method.reliability(data),
        "assess": lambda method, data: method.assess(method, data, data),
        "gate_weights": lambda method, data: method.gate_weights(method.embed_views(data), "labs"),
    },
    metric="top1",
    small={"dim": 6, "hidden": 6, "layers": 1, "gate_dim": 4, "epochs": 2, "batch_size": 16},
    random={"dropout": 0.2, "noise": 0.1, "hide": 0.2},
)

TEXTS = Sample(
    made=lambda rows, seed: tiny.pairs(rows, seed),
    complete=lambda rows, seed: tiny.pairs(rows, seed, complete=True),
    rows=lambda data, index: data.rows(index),
    calls={
        "embed": lambda method, data: method.embed(data),
        "embed_views": lambda method, data: method.embed_views(data),
        "joint": lambda method, data: method.joint(method.embed_views(data)),
        "embed_texts": lambda method, data: method.embed_texts(["word1 word2", "", "word3"], "document"),
        "prompt": lambda method, data: [len(method.prompt(name)) for name in data.views],
    },
    metric="ndcg10",
    small={"base": tiny.tiny(), "epochs": 2, "batch_size": 16, "dropout": 0.0, "optim": {"lr": 0.01}},
    random={"dropout": 0.2, "lora": 2},
    choices={"base": [tiny.tiny(1)], "pooling": ["cls", "max"]},
)

SAMPLES: dict[type, Sample] = {Table: TABLE, Pairs: TEXTS}


def sample_of(method: type) -> Sample:
    """The sample of a method's data."""
    data: type = method.Data  # type: ignore[attr-defined]
    if data not in SAMPLES:
        pytest.fail(f"{method.__name__} takes {data.__name__}: add a sample of it to tests/conformance/samples.py")
    return SAMPLES[data]
