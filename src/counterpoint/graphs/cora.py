"""Cora with the words of its abstracts, 2,277 papers, from the folder that COUNTERPOINT_DATA names.

Source: the copy of CANE (Tu et al. 2017), stop words left out. It is not part of the package.
"""

import os
from functools import cache
from pathlib import Path

import numpy as np

from counterpoint.errors import UserError
from counterpoint.graphs.decouple import lexical
from counterpoint.graphs.graph import AttributedGraph
from counterpoint.graphs.simulate import hallucinated

PLACE = Path("citation_tag") / "thunlp__CANE" / "datasets" / "cora"
TASK = (
    "machine learning: case based reasoning, genetic algorithms and evolution, neural networks, probabilistic and "
    "Bayesian methods, reinforcement learning, rule learning and logic, learning theory"
)
SHARES = {"train": 0.1, "validation": 0.1, "test": 0.8}
Parts = tuple[AttributedGraph, AttributedGraph, AttributedGraph]


@cache
def cora() -> AttributedGraph:
    """The whole graph, its texts split by the words nearest to the task (WordLlama's vectors), half of them signal."""
    folder = os.environ.get("COUNTERPOINT_DATA")
    if not folder or not (Path(folder) / PLACE).is_dir():
        raise UserError(f"Cora's texts are not here; set COUNTERPOINT_DATA to the folder that has {PLACE}")
    graph = AttributedGraph.read(Path(folder) / PLACE)
    assert graph.texts is not None
    signal, noise = zip(*lexical(graph.texts, TASK, 0.5, "static"), strict=True)
    return graph.with_columns(signal=signal, noise=noise)


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
