"""Text-attributed graphs whose split into signal and noise is known, and a language model's mistakes put in."""

from typing import Literal

import numpy as np
from jaxtyping import Int64

from counterpoint.graphs.graph import AttributedGraph

TOPICAL, OTHER = 120, 300
"""Words that classes use unequally, and words that say nothing."""
SHARP = 0.15
"""Concentration of a class's distribution over topical words: lower is easier."""


def citations(
    nodes: int = 600,
    classes: int = 6,
    homophily: float = 0.8,
    degree: float = 4.0,
    signal: int = 4,
    noise: int = 12,
    shortcut: Literal["none", "train"] = "none",
    seed: int = 0,
) -> AttributedGraph:
    """A stochastic block model whose nodes have texts of `signal` topical and `noise` other words, in random order.

    Columns `signal` and `noise` are the known split, `label` the class, `split` the part (a tenth for training, a tenth
    for validation). Each edge joins nodes of one class with chance `homophily` (1 / `classes` is the random level).
    With `shortcut="train"` the noise of training nodes, and of those alone, names the class.

    >>> graph = citations(60, classes=3, seed=1)
    >>> len(graph), sorted(graph.node_columns)
    (60, ['label', 'noise', 'signal', 'split'])
    """
    random = np.random.default_rng([seed, 31])
    label = random.permutation(np.arange(nodes) % classes)
    use = random.dirichlet(np.full(TOPICAL, SHARP), size=classes)
    part = np.full(nodes, "test", dtype=object)
    order = random.permutation(nodes)
    part[order[: nodes // 10]], part[order[nodes // 10 : nodes // 5]] = "train", "validation"
    told, untold, texts = [], [], []
    for node, kind in enumerate(label.tolist()):
        words = [f"topic{word}" for word in random.choice(TOPICAL, size=signal, p=use[kind])]
        others = [f"other{word}" for word in random.integers(OTHER, size=noise)]
        if shortcut == "train" and part[node] == "train":
            others[: noise // 4] = [f"shortcut{kind}"] * (noise // 4)
        told.append(" ".join(words))
        untold.append(" ".join(others))
        texts.append(" ".join(random.permutation(words + others)))
    columns = {"label": label, "signal": told, "noise": untold, "split": part}
    edges, source = _edges(label, homophily, degree, random), f"simulated citations, seed {seed}"
    return AttributedGraph.of(edges, texts=texts, columns=columns, source=source, parts="split")


def _edges(
    label: Int64[np.ndarray, " n"], homophily: float, degree: float, random: np.random.Generator
) -> Int64[np.ndarray, "2 e"]:
    """Pairs of different nodes, of one class with a chance of `homophily`."""
    nodes, count = len(label), int(len(label) * degree / 2)
    start, end = random.integers(nodes, size=(2, count))
    same = random.random(count) < homophily
    for i in range(count):
        while end[i] == start[i] or (label[end[i]] == label[start[i]]) != same[i]:
            end[i] = random.integers(nodes)
    keys = np.unique(np.minimum(start, end) * nodes + np.maximum(start, end))
    return np.stack([keys // nodes, keys % nodes])


def hallucinated(graph: AttributedGraph, chance: float, share: float = 0.5, seed: int = 0) -> AttributedGraph:
    """A graph in whose signals, with a chance per node, a share of the words are those of another class's signals.

    The raw texts stay as they are: it is the split that is wrong. A node without a class keeps its signal.
    Source: reconstruction, for arXiv 2604.14746.

    >>> graph = citations(60, classes=3, seed=1)
    >>> wrong = hallucinated(graph, 0.4)
    >>> int((wrong.node_columns["signal"] != graph.node_columns["signal"]).sum())
    23
    """
    random = np.random.default_rng([seed, 17])
    signals, labels = graph.node_columns["signal"], graph.labels
    words = {name: _words(signals[labels == name]) for name in sorted(set(labels.tolist()) - {None})}
    changed = signals.copy()
    for node in range(graph.nodes):
        hit, own = random.random() < chance, labels[node]
        others = [name for name in words if name != own and words[name]]
        if not hit or own is None or not signals[node] or not others:
            continue
        pool = words[others[random.integers(len(others))]]
        said = signals[node].split()
        for place in random.permutation(len(said))[: max(1, round(share * len(said)))]:
            said[place] = pool[random.integers(len(pool))]
        changed[node] = " ".join(said)
    return graph.with_columns(signal=changed)


def _words(texts: np.ndarray) -> list[str]:
    return [word for text in texts if text for word in text.split()]
