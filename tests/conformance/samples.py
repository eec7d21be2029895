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

from agents import scripted
from agents.tiny_llama import tiny_llama
from counterpoint.agents.questions import Questions
from counterpoint.agents.trajectories import Trajectories
from counterpoint.graphs.barlow_graph import BarlowGraph
from counterpoint.graphs.bgrl import BGRL
from counterpoint.graphs.cca_ssg import CCASSG
from counterpoint.graphs.dgi import DGI
from counterpoint.graphs.gcn import SupervisedGCN
from counterpoint.graphs.graph import AttributedGraph
from counterpoint.graphs.graphmae import GraphMAE
from counterpoint.multimodal.labels import labelled
from counterpoint.multimodal.table import Table
from counterpoint.recommend.interactions import Interactions
from counterpoint.text.clusters.clustering import grouping
from counterpoint.text.labels.classes import guarded
from counterpoint.text.labels.labelled import LabelledTexts
from counterpoint.text.pairs import Pairs
from counterpoint.text.private.spans import SpannedTexts
from counterpoint.text.topics.corpus import Corpus
from graphs.little import little
from pretrained.tiny_vision import png, tiny_vit
from recommend import shop
from text import tiny, tiny_classifier, tiny_corpus, tiny_spans

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
    but the contrast of rows with rows is left in the loss.
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
    alone={"negatives": "pair"},
    choices={"label": ["other"], "ranks": [(2,)], "encoder": [{"notes": tiny.tiny(1)}]},
    about={
        "pretrained": About(lambda rows, seed: _read_table(rows, seed, "text"), {"encoder": {"notes": tiny.tiny()}}),
        "encoder": About(lambda rows, seed: _read_table(rows, seed, "text"), {"encoder": {"notes": tiny.tiny()}}),
        "lora_rank": About(
            lambda rows, seed: _read_table(rows, seed, "text"),
            {"pretrained": "lora", "encoder": {"notes": tiny.tiny()}},
        ),
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
    choices={"dim": [8], "heads": [1], "label": ["other"], "only": [("labs", "ecg")]},
    about={
        "words": About(lambda rows, seed: _read_table(rows, seed, "text"), {}),
        "modulation": About(lambda rows, seed: table(rows, seed), {"epochs": 7}),
    },
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

CLAIMS = replace(
    TEXTS,
    made=lambda rows, seed: tiny.claims(rows, seed),
    complete=lambda rows, seed: tiny.claims(rows, seed, complete=True),
    calls={
        **TEXTS.calls,
        "cluster": lambda method, data: method.cluster(["word1 word2", "word3", "word1"], "dbscan").assigned,
        "cluster_vectors": lambda method, data: (
            method.cluster_vectors(method.embed(data).numpy(), "average", 0.3).medoids
        ),
        "knobs": lambda method, data: [knob.value for knob in method.knobs(("average",)).values()],
    },
    metric="ari",
    random={**TEXTS.random, "mine": 2},
)
"""Pairs with clusters, for methods that are judged by clusters."""

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
        "by_attributes": lambda method, data: method.by_attributes(),
        "with_items": lambda method, data: method.with_items(shop.new_items()).item_vectors(),
        "gates": lambda method, data: method.gates(shop.histories_of(data)),
        "preferences": lambda method, data: method.preferences(shop.histories_of(data)),
        "embed": lambda method, data: [method.embed(data), method.embed(method.embedded()["items"])],
        "embedded": lambda method, data: method.embedded()["items"].ids.tolist(),
        "assess": lambda method, data: json.dumps(method.assess(method, data, data)),
    },
    metric="ndcg10",
    small={"dim": 8, "layers": 1, "epochs": 2, "batch_size": 24, "max_length": 4, "dropout": 0.0}
    | {"neighbours": 4, "hidden": 6}
    | {"positions": "all", "crop": 1.0, "mask": 0.0, "reorder": 0.0},
    random={"dropout": 0.2, "crop": 0.6, "mask": 0.5, "reorder": 0.8},
    choices={"power": [(0.0,)], "reorder": [0.8], "rare": [30]},
    repel=False,
)

CLASSES = Sample(
    made=lambda rows, seed: tiny_classifier.labelled(rows, seed),
    complete=lambda rows, seed: tiny_classifier.labelled(rows, seed, complete=True),
    rows=lambda data, index: data.rows(index),
    calls={
        "predict": lambda method, data: [json.dumps(row) for row in method.predict(data)],
        "leanings": lambda method, data: method.leanings(data.rows(data.present)),
        "important_tokens": lambda method, data: method.important_tokens(data.rows(data.present)),
        "never": lambda method, data: sorted(method.never()),
        "mark": lambda method, data: None,
        "solve": lambda method, data: None,
        "choose": lambda method, data: None,
        "calibrate": lambda method, data: None,
    },
    metric="accuracy",
    small={"base": tiny_classifier.classifier(), "epochs": 2, "batch_size": 16, "dropout": 0.0, "optim": {"lr": 0.01}}
    | {"classifier": tiny_classifier.classifier(), "k": 3, "held_out": 0.5},
    random={"dropout": 0.2},
    choices={
        "base": [tiny_classifier.classifier(1)],
        "classifier": [tiny_classifier.classifier(1)],
        "label": ["other"],
        "spare": [("word1", "word2", "word3")],
        "layers": [("query",)],
    },
    about={
        name: About(tiny_classifier.labelled, {"training": training})
        for name, training in (
            *(("identify", "jtt"), ("upweight", "jtt"), ("pull", "nfl")),
            *(("held_out", "dfr"), ("penalty", "dfr")),
        )
    },
    repel=False,
)
"""Texts with labels, whose rows are not compared."""

GUARDED = replace(CLASSES, repel=True)
"""The same for methods that contrast texts."""

STREAM = Sample(
    made=lambda rows, seed: scripted.sums(rows, seed),
    complete=lambda rows, seed: scripted.sums(rows, seed, complete=True),
    rows=lambda data, index: data.rows(index),
    calls={
        "answer": lambda method, data: [json.dumps(one) for one in method.answer(data)],
        "rules": lambda method, data: [json.dumps(one) for one in method.rules("word1 word2")],
        "assess": lambda method, data: json.dumps(method.assess(method, data, data)),
    },
    metric="accuracy",
    small={"model": "careless", "embedder": tiny.tiny(), "students": 3, "top": 2, "context": 812, "cap": 3}
    | {"batch_size": 1},
    choices={"model": ["careless-too"], "embedder": [tiny.tiny(1)], "students": [2], "wrong": [3], "top": [1]}
    | {"merge_at": [0.99999]},
    about={
        name: About(scripted.sums, needs)
        for name, needs in (
            ("grouping", {"task": "open"}),
            ("cap", {"prune": "fifo"}),
            ("merge_at", {"prune": "merge"}),
        )
    },
    repel=False,
)
"""A stream of questions and a language model that answers by a script."""

NODES = Sample(
    made=lambda rows, seed: little(rows, seed),
    complete=lambda rows, seed: little(rows, seed, complete=True),
    rows=lambda data, index: data.rows(index),
    calls={
        "embed": lambda method, data: method.embed(data),
        "predict": lambda method, data: [json.dumps(row) for row in method.predict(data)],
        "edge_scores": lambda method, data: method.edge_scores(data, data.edges[:, :5]),
        "assess": lambda method, data: json.dumps(method.assess(method, data, data)),
        "leak_check": lambda method, data: (
            json.dumps(method.leak_check(data)) if method.options.decoupler != "none" else None
        ),
    },
    metric="accuracy",
    small={"base": "hashed", "dim": 6, "epochs": 2, "batch_size": 16, "dropout": 0.0, "predictor": 6},
    random={"dropout": 0.2, "neighbours": 3},
    alone={"consistency": 0.0, "orthogonality": 0.0, "reconstruction": 0.0, "noise_negatives": "none"},
    choices={"base": [tiny.tiny()], "task": ["topic1 topic2 topic3"]},
    about={
        "task": About(little, {"decoupler": "lexical"}),
        "share": About(little, {"decoupler": "random"}),
    },
)
APART = (DGI, BGRL, BarlowGraph, CCASSG, GraphMAE, SupervisedGCN)
"""Methods of nodes that do not contrast them with each other."""

ATTEMPTS = Sample(
    made=lambda rows, seed: scripted.attempts(rows, seed),
    complete=lambda rows, seed: scripted.attempts(rows, seed, complete=True),
    rows=lambda data, index: data.rows(index),
    calls={
        "advise": lambda method, data: method.advise([str(task) for task in data.tasks[:6]]),
    },
    metric="reward",
    small={"epochs": 2, "batch_size": 8, "width": 16, "layers": 1, "longest": 12, "environment": "apps", "rl_steps": 2}
    | {"rl_lr": 0.05, "rl_tasks": 2, "group": 3, "repeats": 2, "optim": {"lr": 0.01}, "pairs": 1},
    choices={"base": [tiny_llama()], "borrow": [1], "pairs": [3], "reflector": ["careless"], "width": [24]}
    | {"lora": [3]},
    about={name: About(scripted.attempts, {"base": tiny_llama()}) for name in ("reflector", "lora")},
    repel=False,
)
"""Runs of tasks in the text world, some of which ended all alike."""

SPANS = Sample(
    made=lambda rows, seed: tiny_spans.spanned(rows, seed),
    complete=lambda rows, seed: tiny_spans.spanned(rows, seed, complete=True),
    rows=lambda data, index: data.rows(index),
    calls={
        "scored": lambda method, data: method.scored(list(data.texts[data.present])),
        "locate": lambda method, data: method.locate(list(data.texts[data.present])),
        "gammas": lambda method, data: method.gammas(),
        "span_vectors": lambda method, data: method.span_vectors(["word1 word2", "word3"]),
        "meaning": lambda method, data: method.meaning(["word1 word2", "word3"]),
        "likeness": lambda method, data: method.likeness(["word1 word2", "word3"], ["cases", "notes"]),
        "cut": lambda method, data: method.cut(["word1 " * 40, "word3"]),
        "recall_told": lambda method, data: method.recall_told(),
        "settle": lambda method, data: None,
        "rewrite": lambda method, data: [
            one.text
            for one in method.rewrite(
                list(data.texts[data.present]), 2.0, "words", 2, ("alpha", "beta", "gamma", "delta"), seed=1
            )
        ],
    },
    metric="f1",
    small={"base": tiny.tiny(), "epochs": 2, "batch_size": 32, "dropout": 0.0, "optim": {"lr": 0.01}, "lora": 2},
    random={"dropout": 0.2},
    choices={"base": [tiny.tiny(1)], "level": [0], "rewriter.model": [tiny_llama()], "rewriter.batch_size": [2]}
    | {"rewriter.spans": [4], "rewriter.length": [3], "rewriter.rank": [2], "lora": [3]},
    about={
        "clusters": About(tiny_spans.spanned, {"prototypes": "kmeans"}),
        "level": About(lambda rows, seed: tiny_spans.spanned(4 * rows, seed), {}),
        **{
            f"rewriter.{name}": About(
                tiny_spans.spanned, {"rewriter": {"model": tiny_llama(), "spans": 6, "epochs": 2}}
            )
            for name in ("spans", "length", "alpha", "beta", "epochs", "lr", "batch_size", "rank", "dropout")
        },
    },
    repel=False,
)
"""Texts with private spans in two domains."""

TOPICS = Sample(
    made=lambda rows, seed: tiny_corpus.corpus(rows, seed),
    complete=lambda rows, seed: tiny_corpus.corpus(rows, seed, complete=True),
    rows=lambda data, index: data.rows(index),
    calls={
        "shares": lambda method, data: method.shares(data),
        "embed": lambda method, data: method.embed(data),
        "top_words": lambda method, data: method.top_words(3),
        "word_shares": lambda method, data: method.word_shares(),
        "topic_vectors": lambda method, data: method.topic_vectors(),
        "relevance": lambda method, data: method.relevance(),
    },
    metric="goal_auc",
    small={"base": tiny.tiny(), "topics": 3, "hidden": 6, "epochs": 2, "batch_size": 16, "dropout": 0.0}
    | {"optim": {"lr": 0.05}},
    random={"dropout": 0.2},
    alone={"reconstruction": 0.0, "transport": 0.0, "diversity": 0.0},
    choices={"base": [tiny.tiny(1)]},
    about={"off_goal": About(tiny_corpus.corpus, {"threshold": 2.0})},
)
"""Documents and a goal."""

SAMPLES: dict[type, Sample] = {
    SpannedTexts: SPANS,
    AttributedGraph: NODES,
    Table: TABLE,
    Pairs: TEXTS,
    Interactions: EVENTS,
    LabelledTexts: CLASSES,
    Corpus: TOPICS,
    Questions: STREAM,
    Trajectories: ATTEMPTS,
}
JUDGED: dict[Any, Sample] = {labelled: LABELLED, guarded: GUARDED, grouping: CLAIMS}
"""Samples of methods whose judge asks for something else of the same data."""


def sample_of(method: type) -> Sample:
    """The sample of a method's data."""
    data: type = method.Data  # type: ignore[attr-defined]
    if data not in SAMPLES:
        pytest.fail(f"{method.__name__} takes {data.__name__}: add a sample of it to tests/conformance/samples.py")
    found = JUDGED.get(method.judge, SAMPLES[data])  # type: ignore[attr-defined]
    return replace(found, repel=False) if method in APART else found
