"""The wing's protocols: a linear probe of frozen node vectors, and held-out edges among pairs that are none."""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, Int64
from torch import Tensor
from torch.nn.functional import normalize

from counterpoint.errors import UserError
from counterpoint.evaluation import Mean, Outcome, geometry, kmeans_agreement, knn_probe, linear_probe
from counterpoint.evaluation.probes import stratified
from counterpoint.graphs.graph import AttributedGraph
from counterpoint.training import rng

SHARE = 5
"""Where nothing says whose class may be learned from, one labelled row in so many."""
GRID = (0.1, 1.0, 10.0, 100.0, 1000.0)
"""What C is chosen from; unit vectors want larger ones than standardised dimensions."""
PAIRS = 10_000
"""Pairs without an edge that held-out edges are ranked among."""


def nodes_or_edges(method: Any, data: AttributedGraph) -> Outcome:
    """`held_out_edges` where the data ask for edges, `node_classes` where there are classes, else `seen_edges`."""
    if data.asked is not None:
        return held_out_edges(method, data)
    if len(set(data.labels.tolist()) - {None}) < 2 and data.edges.shape[1]:
        return seen_edges(method, data)
    return node_classes(method, data)


def node_classes(method: Any, data: AttributedGraph) -> Outcome:
    """Whether the class of each row is told from its unit vector: by logistic regression, and by the 5 nearest.

    Both learn from the nodes in `data.known` (the training part); where nothing is known, from a fifth of the rows, as
    many of each class as its share, and the others are judged. Rows without a class are left out. A supervised method
    is judged by what it predicts. Raises `UserError` without two classes.
    """
    learned, asked = _who(data)
    names = data.labels
    # Standardised, the rare words of raw bags would drown the others.
    vectors = normalize(method.embed(data.rows_of_all()), dim=1)
    x, y = vectors[torch.from_numpy(learned)], names[learned].astype(str)
    x_asked, y_asked = vectors[torch.from_numpy(asked)], names[asked].astype(str)
    if getattr(method, "supervised", False):
        said = np.array([str(label) for label in method.predict(data.focused(asked)).labels])
        right = (said == y_asked).astype(np.float64)
    else:
        right = linear_probe(x, y, x_asked, y_asked, grid=GRID, standardise=False).correct
    columns = {"accuracy": right, "knn": knn_probe(x, y, x_asked, y_asked).correct}
    return Outcome(_plain(data.node_ids[asked]), columns, {name: Mean(name) for name in columns})


def _who(data: AttributedGraph) -> tuple[Int64[np.ndarray, " k"], Int64[np.ndarray, " r"]]:
    """The nodes whose class is learned from, and those whose class is asked."""
    labels = data.labels
    labelled = data.focus[np.array([labels[node] is not None for node in data.focus], dtype=bool)]
    if data.known is not None:
        known = data.learnable()
        learned, asked = known, np.setdiff1d(labelled, known) if len(np.setdiff1d(labelled, known)) else labelled
    else:
        names = labels[labelled].astype(str)
        count = max(len(np.unique(names)), len(labelled) // SHARE)
        if len(np.unique(names)) < 2 or count >= len(labelled):
            raise UserError(_too_few(data))
        chosen = stratified(names, count, np.random.default_rng(0))
        learned, asked = labelled[chosen], np.delete(labelled, chosen)
    if len({labels[node] for node in learned}) < 2 or not len(asked):
        raise UserError(_too_few(data))
    return learned, asked


def _too_few(data: AttributedGraph) -> str:
    what = "no column of classes" if data.classes is None else f'fewer than two classes in column "{data.classes}"'
    return f"{data.source}: {what}, so vectors cannot be probed; name classes=COLUMN, or hold out edges: held_out=0.1"


def held_out_edges(method: Any, data: AttributedGraph) -> Outcome:
    """How often an edge that was taken out scores above a pair of nodes without an edge (a tie counts half).

    The pairs are drawn at random, the same for every method; the mean over edges is the area under the ROC curve.
    """
    assert data.asked is not None
    return _edges_above_pairs(method, data, data.asked, "auc")


def seen_edges(method: Any, data: AttributedGraph) -> Outcome:
    """The same of up to 10,000 edges that the method saw: all that can be asked without classes and held-out edges."""
    order = torch.randperm(data.edges.shape[1], generator=rng(0, "seen edges"))[:PAIRS]
    return _edges_above_pairs(method, data, data.edges[:, order.sort().values.numpy()], "auc of seen edges")


def _edges_above_pairs(method: Any, data: AttributedGraph, edges: Int64[np.ndarray, "2 m"], name: str) -> Outcome:
    vectors = method.embed(data.rows_of_all())
    found = pair_scores(vectors, torch.from_numpy(edges))
    others = pair_scores(vectors, pairs_without_edge(data)).sort().values
    below, upto = torch.searchsorted(others, found), torch.searchsorted(others, found, right=True)
    auc = ((below + upto).double() / (2 * max(1, len(others)))).numpy()
    names = np.array([f"{a} - {b}" for a, b in data.node_ids[edges].T.tolist()])
    return Outcome(names, {name: auc}, {name: Mean(name)})


def pair_scores(vectors: Float[Tensor, "n d"], pairs: Int[Tensor, "2 p"]) -> Float[Tensor, " p"]:
    """The cosine of the two nodes of each pair."""
    left, right = normalize(vectors, dim=1)[pairs]
    scores: Tensor = (left * right).sum(1)
    return scores


def pairs_without_edge(data: AttributedGraph) -> Int[Tensor, "2 p"]:
    """Up to 10,000 pairs of different nodes at random that no edge joins, those taken out included."""
    drawn = torch.randint(data.nodes, (2, 2 * PAIRS), generator=rng(0, "pairs without edge")).numpy()
    drawn = np.sort(drawn[:, drawn[0] != drawn[1]], axis=0)
    asked = np.zeros((2, 0), np.int64) if data.asked is None else data.asked
    taken = np.concatenate([data.edges, np.sort(asked, axis=0)], axis=1)
    free = ~np.isin(drawn[0] * data.nodes + drawn[1], taken[0] * data.nodes + taken[1])
    return torch.from_numpy(drawn[:, free][:, :PAIRS])


def assess(method: Any, train: AttributedGraph, test: AttributedGraph, label: str | None = None) -> dict[str, Any]:
    """What the report shows beside the headline: the shape of the space, and clusters against classes."""
    vectors = method.embed(test)
    whole = geometry(vectors)
    found: dict[str, Any] = {
        "geometry": {
            "effective_rank": whole.effective_rank,
            "mean_cosine": whole.mean_cosine,
            "uniformity": whole.uniformity,
            "dead_dimensions": whole.dead,
            "collapse": whole.collapse,
            "sentences": whole.sentences(),
            "settings": whole.settings,
        }
    }
    names = test.labels[test.focus]
    there = np.array([name is not None for name in names], dtype=bool)
    if len(set(names[there])) > 1:
        made = kmeans_agreement(vectors[torch.from_numpy(there)], names[there].astype(str))
        found["clustering"] = {**made.agreement, "settings": made.settings}
    return found


def _plain(ids: np.ndarray) -> np.ndarray:
    return ids.astype(str) if ids.dtype == object else ids
