"""Near-duplicates among any number of unit vectors: a graph of pairs that are alike, streamed, and its connected parts.

Memory is that of the vectors (a file may hold them), of the index beside them where there are many, and of a block of
queries; the pairs themselves are never all kept.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
from jaxtyping import Float32, Int, Int64

from counterpoint.errors import need
from counterpoint.serving import ann
from counterpoint.serving.exact import nearest

EXACT = 50_000
"""Vectors up to which every pair is looked at."""
NEIGHBOURS = 16
"""Nearest vectors of each that are looked at; a larger group still holds together through shared neighbours."""
BLOCK = 4096
"""Vectors asked about at a time."""
WANTED = 0.99
"""Share of sampled pairs that an approximate search must find."""
SAMPLE = 400
"""Vectors whose pairs are found exactly, to choose the effort of an approximate search by."""
EFFORTS = (1, 2, 4, 8, 16, 32, 64, 128)
PENDING = 1_000_000
"""Pairs that wait before they are merged into the groups."""


@dataclass(frozen=True, eq=False)
class Duplicates:
    """The group of each vector, how it was searched, and the share of sampled pairs that the search finds."""

    assigned: Int[np.ndarray, " n"]
    kind: str
    recall: float


def near_duplicates(
    vectors: Float32[np.ndarray, "n d"], threshold: float, watch: Callable[[int], None] = lambda done: None
) -> Duplicates:
    """Groups of unit vectors joined by cosines of at least `threshold`, over any number of steps.

    Above `EXACT` vectors the search is approximate, when faiss (extra `search`) is there. `watch` hears how many
    vectors are done. Needs SciPy (extra `eval`).

    >>> points = np.array([[1, 0], [0, 1], [0.8, 0.6], [0.99, 0.141]], dtype=np.float32)
    >>> near_duplicates(points, 0.95).assigned.tolist()
    [0, 1, 2, 0]
    """
    search, kind, recall = _searcher(vectors, threshold)
    group = np.arange(len(vectors), dtype=np.int64)
    waiting: list[Int64[np.ndarray, "2 p"]] = []
    for pairs, done in _pairs(vectors, threshold, search):
        waiting.append(pairs)
        if sum(block.shape[1] for block in waiting) > PENDING or done == len(vectors):
            group = _merged(group, np.concatenate(waiting, axis=1))
            waiting = []
        watch(done)
    return Duplicates(group, kind, recall)


Search = Callable[[Any], tuple[Any, Any]]


def _searcher(vectors: Float32[np.ndarray, "n d"], threshold: float) -> tuple[Search, str, float]:
    """A function from queries to scores and rows, what it is, and its recall."""
    keep = min(NEIGHBOURS, len(vectors))
    every = np.arange(len(vectors))
    if len(vectors) <= EXACT or find_spec("faiss") is None:
        return (lambda asked: nearest(asked, vectors, every, keep)), "exact", 1.0
    index = ann.untuned("ivf", vectors)
    sample = np.sort(np.random.default_rng(0).permutation(len(vectors))[:SAMPLE])
    asked = np.ascontiguousarray(vectors[sample])
    true = _close(sample, *nearest(asked, vectors, every, keep), threshold)
    recall = 0.0
    for effort in EFFORTS:
        index = ann.Approximate(index.faiss, "ivf", effort, index.covered)
        found = _close(sample, *index.search(asked, keep, None), threshold)
        recall = len(true & found) / len(true) if true else float(effort >= 8)
        if recall >= WANTED:
            break
    return (lambda block: index.search(np.ascontiguousarray(block), keep, None)), "ivf", round(recall, 4)


def _close(rows: Any, scores: Any, places: Any, threshold: float) -> set[tuple[int, int]]:
    """The pairs of a search that are alike, but those of a vector with itself."""
    first = np.repeat(rows, places.shape[1]).reshape(places.shape)
    kept = (scores >= threshold) & (places >= 0) & (places != first)
    return set(zip(first[kept].tolist(), places[kept].tolist(), strict=True))


def _pairs(
    vectors: Float32[np.ndarray, "n d"], threshold: float, search: Search
) -> Iterator[tuple[Int64[np.ndarray, "2 p"], int]]:
    """Pairs that are alike, a block of vectors at a time, and how many vectors are done."""
    for start in range(0, len(vectors), BLOCK):
        scores, places = search(vectors[start : start + BLOCK])
        done = start + len(places)
        first = np.repeat(np.arange(start, done), places.shape[1]).reshape(places.shape)
        kept = (scores >= threshold) & (places >= 0) & (places != first)
        yield np.stack([first[kept], places[kept]]).astype(np.int64), done


def _merged(group: Int64[np.ndarray, " n"], pairs: Int64[np.ndarray, "2 p"]) -> Int64[np.ndarray, " n"]:
    """Groups after the groups of each pair have become one; numbered from 0 in the order of first appearance."""
    graph, parts = need("scipy.sparse", "eval"), need("scipy.sparse.csgraph", "eval")
    size = len(group)
    joined = graph.coo_matrix((np.ones(pairs.shape[1], dtype=np.int8), tuple(group[pairs])), shape=(size, size))
    _, found = parts.connected_components(joined, directed=False)
    _, first, number = np.unique(found[group], return_index=True, return_inverse=True)
    order = np.empty(len(first), dtype=np.int64)
    order[np.argsort(first)] = np.arange(len(first))
    return np.asarray(order[number])
