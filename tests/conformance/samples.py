"""A small data set for each kind of data, and what the suite has to know about it.

A method that enters the catalog with one of these kinds is held to the whole suite without a line being written.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
import torch

from counterpoint.multimodal.labels import labelled
from counterpoint.multimodal.table import Table
from counterpoint.recommend.interactions import Interactions
from counterpoint.text.pairs import Pairs
from pretrained.tiny_vision import png, tiny_vit
from recommend import shop
from text import tiny

WIDTHS = {"labs": 4, "ecg": 3, "notes": 2}


@dataclass(frozen=True)
class About:
    """Data that an option says something of, where it says nothing of the sample's own, and what it needs beside it."""

    made: Callable[[int, int], Any]
    needs: Mapping[str, Any]


@dataclass(frozen=True)
class Sample:
    """Data of one kind.

    `made(rows, seed)` has gaps, and rows that lack a part; `complete` lacks nothing. `rows(data, index)` selects.
    `calls` says how each public capability is called with a fitted method and such data. `metric` is what the judge
    measures. `choices` are other values of options that their type does not tell, `alone` those under which nothing
    but the contrast is left in the loss.
    """

    made: Callable[[int, int], Any]
    complete: Callable[[int, int], Any]
    rows: Callable[[Any, np.ndarray], Any]
    calls: Mapping[str, Callable[[Any, Any], Any]]
    metric: str
    small: Mapping[str, Any] = field(default_factory=dict)
    random: Mapping[str, Any] = field(default_factory=dict)
    alone: Mapping[str, Any] = field(default_factory=dict)
    choices: Mapping[str, list[Any]] = field(default_factory=dict)
    about: Mapping[str, About] = field(default_factory=dict)
    repel: bool = True
    """Whether the rows of a batch are each other's negatives; where all items are, a copy of a row changes nothing."""


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
    return Table.of(views, {"label": (hidden[:, 0] > 0).astype(int), "other": (hidden[:, 1] > 0).astype(int)})


def _read_table(rows: int, seed: int, view: str) -> Table:
    """The same with one view that a pretrained encoder reads: a text or a picture of the cause."""
    numbers = table(rows, seed)
    cause = (numbers.columns["label"] + 2 * numbers.columns["other"]).tolist()
    words = [f"word{kind} word{row % 20}" if row % 4 else None for row, kind in enumerate(cause)]
    colours = [png((60 * kind + row % 9, 30, 200)) if row % 4 else None for row, kind in enumerate(cause)]
    given: dict[str, Any] = {name: numbers.views[name].values for name in ("labs", "ecg")}
    given["notes"] = words if view == "text" else colours
    return Table.of(given, numbers.columns, kind={"notes": view})  # type: ignore[dict-item]


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
        "impute": lambda method, data: method.impute(data, "ecg", data, k=3).views["ecg"].values,
        "assess": lambda method, data: method.assess(method, data, data),
        "factors": lambda method, data: method.factors(method.embed_views(data)),
        "explain": lambda method, data: json.dumps(method.explain()),
        "blocks": lambda method, data: {str(key): block for key, block in method.blocks().items()},
        "gate_weights": lambda method, data: method.gate_weights(method.embed_views(data), "labs"),
        "predict": lambda method, data: [json.dumps(row) for row in method.predict(data)],
    },
    metric="top1",
    small={"dim": 6, "hidden": 6, "layers": 1, "gate_dim": 4, "epochs": 2, "batch_size": 16}
    | {"rank": 2, "head": (6,), "label": "label"},
    random={"dropout": 0.2, "noise": 0.1, "hide": 0.2},
    choices={"label": ["other"], "ranks": [(2,)], "encoder": [{"notes": tiny.tiny(1)}]},
    about={
        "pretrained": About(lambda rows, seed: _read_table(rows, seed, "text"), {"encoder": {"notes": tiny.tiny()}}),
        "encoder": About(lambda rows, seed: _read_table(rows, seed, "text"), {"encoder": {"notes": tiny.tiny()}}),
        "augment": About(
            lambda rows, seed: _read_table(rows, seed, "pictures"),
            {"pretrained": "full", "encoder": {"notes": tiny_vit()}},
        ),
    },
)

LABELLED = replace(
    TABLE,
    metric="accuracy",
    small={**TABLE.small, "heads": 2, "dropout": 0.0},
    alone={"task": 0.0, "bottleneck": 0.0, "prior": 0.0, "alignment": 0.0},
    choices={"dim": [8], "heads": [1], "label": ["other"]},
)
"""Tables for methods that predict classes."""

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

EVENTS = Sample(
    made=lambda rows, seed: shop.shop(rows, seed),
    complete=lambda rows, seed: shop.shop(rows, seed, complete=True),
    rows=lambda data, index: data.rows(index),
    calls={
        "recommend": lambda method, data: [
            json.dumps(hits) for hits in method.recommend(shop.SESSIONS, k=4, reasons=1)
        ],
        "scores": lambda method, data: method.scores(shop.histories_of(data)),
        "similarity": lambda method, data: method.similarity(torch.arange(3), torch.arange(5)),
        "item_vectors": lambda method, data: method.item_vectors(),
        "vectors": lambda method, data: method.vectors(shop.histories_of(data)),
        "embed": lambda method, data: [method.embed(data), method.embed(method.embedded()["items"])],
        "embedded": lambda method, data: method.embedded()["items"].ids.tolist(),
        "assess": lambda method, data: json.dumps(method.assess(method, data, data)),
    },
    metric="ndcg10",
    small={"dim": 8, "layers": 1, "epochs": 2, "batch_size": 16, "max_length": 4, "dropout": 0.0, "neighbours": 4},
    random={"dropout": 0.2},
    choices={"power": [(0.0,)]},
    repel=False,
)

SAMPLES: dict[type, Sample] = {Table: TABLE, Pairs: TEXTS, Interactions: EVENTS}
JUDGED: dict[Any, Sample] = {labelled: LABELLED}
"""Samples of methods whose judge asks for something else of the same data."""


def sample_of(method: type) -> Sample:
    """The sample of a method's data."""
    data: type = method.Data  # type: ignore[attr-defined]
    if data not in SAMPLES:
        pytest.fail(f"{method.__name__} takes {data.__name__}: add a sample of it to tests/conformance/samples.py")
    return JUDGED.get(method.judge, SAMPLES[data])  # type: ignore[attr-defined]
