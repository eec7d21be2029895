"""A little graph with texts whose split into signal and noise is known."""

from dataclasses import replace

import numpy as np

from counterpoint.graphs.graph import AttributedGraph
from counterpoint.graphs.simulate import citations


def little(rows: int, seed: int, complete: bool = False) -> AttributedGraph:
    """Two classes; with gaps some nodes have no text, no edge or no class."""
    graph = citations(rows, classes=2, signal=3, noise=4, seed=seed)
    graph = replace(graph, parts=None)
    if complete:
        return graph
    assert graph.texts is not None
    texts, label = graph.texts.copy(), graph.node_columns["label"].astype(float)
    texts[3::7] = None
    label[4::9] = np.nan
    kept = ~np.isin(graph.edges, np.arange(5, rows, 11)).any(axis=0)
    signal = np.where([text is None for text in texts], None, graph.node_columns["signal"])
    gone = replace(graph, texts=texts, edges=graph.edges[:, kept], held={})
    return gone.with_columns(label=label, signal=signal)
