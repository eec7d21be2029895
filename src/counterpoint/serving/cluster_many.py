"""Clusters of more texts than the distances between all of them leave room for.

k-means and BIRCH work on the vectors alone. Single steps of average and complete linkage below a distance, and DBSCAN
of two, never join texts of different connected parts of the graph of pairs up to that distance: so the parts are found
first, streamed, and clustered one by one, with the same result. HDBSCAN and affinity propagation see all distances at
once, and are refused where they do not fit.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32, Int

from counterpoint.errors import UserError
from counterpoint.serving.duplicates import near_duplicates
from counterpoint.text.clusters.clusterers import COUNTED, OF_VECTORS, clustered, clustered_into
from counterpoint.training.budget import ROOM, free_memory

BY_PARTS = ("average", "complete", "dbscan")
"""Algorithms whose clusters lie inside the connected parts of the graph."""
MOST = 100_000
"""Texts up to which k-means and BIRCH are offered: they compare every text with every cluster, hours beyond it."""
BYTES = {"affinity": 64}
USUAL_BYTES = 32
"""Bytes that an algorithm needs for every pair of texts: distances in float64 and what it makes of them."""


class TooManyError(UserError):
    """More texts than an algorithm has room or time for."""


@dataclass(frozen=True, eq=False)
class Many:
    """The cluster of each vector; how the graph was searched and with which recall, where there was one."""

    assigned: Int[np.ndarray, " n"]
    search: str | None = None
    recall: float = 1.0


def cluster_many(
    vectors: Float32[np.ndarray, "n d"],
    algorithm: str,
    knob: float | None = None,
    number: int | None = None,
    watch: Callable[[int], None] = lambda done: None,
) -> Many:
    """Cluster unit vectors by the `knob` of an algorithm, or into a `number` of clusters.

    The connected parts are those of `near_duplicates`, approximate for many vectors. Raises `TooManyError` where the
    algorithm needs more memory than is free, or hours.

    >>> points = np.array([[1, 0], [0.99, 0.141], [0, 1]], dtype=np.float32)
    >>> cluster_many(points, "average", 0.1).assigned.tolist()
    [0, 0, 1]
    """
    if algorithm in OF_VECTORS and len(vectors) > MOST:
        raise TooManyError(
            f"{algorithm} compares every text with every cluster, which takes hours for {len(vectors):,} texts "
            f"(offered up to {MOST:,}); take --algorithm average or near-duplicates, with --threshold"
        )
    if number is not None:
        if algorithm in COUNTED and algorithm not in OF_VECTORS:
            _check_room(len(vectors), algorithm, f"-k of {algorithm}", "take -k with --algorithm kmeans")
        return Many(clustered_into(vectors, algorithm, number))
    assert knob is not None
    if algorithm in BY_PARTS:
        return _by_parts(vectors, algorithm, knob, watch)
    if algorithm not in OF_VECTORS:
        _check_room(len(vectors), algorithm, algorithm, "take --algorithm average, complete, dbscan, kmeans or birch")
    return Many(clustered(vectors, algorithm, knob))


def _by_parts(vectors: Float32[np.ndarray, "n d"], algorithm: str, knob: float, watch: Callable[[int], None]) -> Many:
    """The connected parts up to a distance of `knob`, each clustered by itself; numbered by first appearance."""
    graph = near_duplicates(vectors, 1 - knob, watch)
    if algorithm == "dbscan":
        return Many(graph.assigned, graph.kind, graph.recall)
    order = np.argsort(graph.assigned, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(graph.assigned[order])) + 1)
    what = f"{algorithm} of texts that hang together at a cosine of {1 - knob:.3f}"
    _check_room(max(map(len, parts)), algorithm, what, "raise --threshold, or take --algorithm near-duplicates")
    found, made = np.empty(len(vectors), dtype=np.int64), 0
    for rows in parts:
        inside = clustered(np.asarray(vectors[rows]), algorithm, knob) if len(rows) > 1 else np.zeros(1, np.int64)
        found[rows] = made + inside
        made += int(inside.max()) + 1
    _, first, place = np.unique(found, return_index=True, return_inverse=True)
    return Many(np.argsort(np.argsort(first))[place], graph.kind, graph.recall)


def _check_room(texts: int, algorithm: str, what: str, mend: str) -> None:
    """Raise `TooManyError` when the distances between so many texts do not fit into the free memory."""
    free = free_memory(torch.device("cpu"))
    wanted = BYTES.get(algorithm, USUAL_BYTES) * texts**2
    if free is not None and wanted > ROOM * free:
        raise TooManyError(
            f"{what} holds the distances between {texts:,} texts, {wanted / 2**30:.1f} GiB where "
            f"{free / 2**30:.1f} GiB are free; {mend}"
        )
