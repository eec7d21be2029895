"""Cora with the words of its abstracts, 2,277 papers, from the folder that COUNTERPOINT_DATA names.

Source: the copy of CANE (Tu et al. 2017), stop words left out. It is not part of the package.
"""

import hashlib
import os
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from counterpoint.errors import UserError
from counterpoint.graphs.decouple import by_model, lexical, read_decoupled
from counterpoint.graphs.graph import AttributedGraph
from counterpoint.graphs.simulate import hallucinated
from counterpoint.language import open_model

PLACE = Path("citation_tag") / "thunlp__CANE" / "datasets" / "cora"
TASK = (
    "machine learning: case based reasoning, genetic algorithms and evolution, neural networks, probabilistic and "
    "Bayesian methods, reinforcement learning, rule learning and logic, learning theory"
)
SHARES = {"train": 0.1, "validation": 0.1, "test": 0.8}
Parts = tuple[AttributedGraph, AttributedGraph, AttributedGraph]


def whole_cora() -> AttributedGraph:
    """All papers; raises `UserError` when they are not here."""
    folder = os.environ.get("COUNTERPOINT_DATA")
    if not folder or not (Path(folder) / PLACE).is_dir():
        raise UserError(f"Cora's texts are not here; set COUNTERPOINT_DATA to the folder that has {PLACE}")
    return AttributedGraph.read(Path(folder) / PLACE)


@cache
def cora() -> AttributedGraph:
    """The whole graph, its texts split by the words nearest to the task (WordLlama's vectors), half of them signal."""
    graph = whole_cora()
    assert graph.texts is not None
    signal, noise = zip(*lexical(graph.texts, TASK, 0.5, "static"), strict=True)
    return graph.with_columns(signal=signal, noise=noise)


@cache
def sampled_cora(papers: int, model: str) -> AttributedGraph:
    """Papers around the most cited ones of each class, in whose first 300 letters a language model names the signal.

    What it said is kept in the user's cache folder, and asked for once.
    """
    graph = whole_cora()
    found = graph.induced(_met(graph, papers))
    assert found.texts is not None
    short = np.array([text[:300] if text else None for text in found.texts], dtype=object)
    found = replace(found, texts=short)
    home = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "counterpoint"
    home.mkdir(parents=True, exist_ok=True)
    kept = home / f"cora-{papers}-{hashlib.sha256(model.encode()).hexdigest()[:8]}.jsonl"
    by_model(found, open_model(model)[0], TASK, kept, block=8, form="words")
    return read_decoupled(found, kept)


def _met(graph: AttributedGraph, papers: int) -> Int64[np.ndarray, " k"]:
    """Nodes of a breadth-first walk from the node of most edges of each class, equally many of each where there are."""
    labels, ends = graph.labels, np.concatenate([graph.edges, graph.edges[::-1]], axis=1)
    order = np.argsort(-graph.degrees, kind="stable")
    met = sorted(int(order[labels[order] == name][0]) for name in set(labels.tolist()) - {None})
    room = dict.fromkeys(labels[met], papers // len(met) - 1)
    for node in met:
        for other in ends[1, ends[0] == node].tolist():
            if other not in met and room.get(labels[other]):
                room[labels[other]] -= 1
                met.append(other)
    return np.sort(np.array(met))


def split_cora(seed: int, p: float, edges: str) -> Parts:
    """A tenth for training, with a chance of `p` a node that half of its signal's words are another class's.

    `edges` are the graph's own, or as many "random" pairs, which have no homophily.
    """
    graph = cora()
    if edges == "random":
        graph = rewired(graph, seed)
    parts = hallucinated(graph, p, seed=seed).split(SHARES, seed)
    return parts["train"], parts["validation"], parts["test"]


def rewired(graph: AttributedGraph, seed: int) -> AttributedGraph:
    """As many edges between pairs of nodes at random."""
    drawn = np.random.default_rng([seed, 5]).integers(graph.nodes, size=graph.edges.shape)
    return AttributedGraph.of(
        drawn,
        texts=graph.texts,
        columns=graph.node_columns,
        ids=graph.node_ids,
        source=f"{graph.source}, edges at random",
    )
