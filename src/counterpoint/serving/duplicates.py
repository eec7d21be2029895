"""Near-duplicates among any number of unit vectors: a graph of pairs that are alike, streamed, and its connected parts.

Memory is that of the vectors (a file may hold them), of a few numbers for each, and of a block of products; the pairs
themselves are never all kept.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np
from jaxtyping import Float32, Int, Int32, Int64

from counterpoint.errors import need

EXACT = 50_000
"""Vectors up to which every pair is looked at."""
BLOCK = 2048
"""Vectors on either side of a block of products."""
WANTED = 0.99
"""Share of sampled pairs that an approximate search must find."""
SAMPLE = 400
"""Vectors whose pairs are found exactly, to choose the effort of an approximate search by."""
THINNED = 10_000
"""Pairs of the sample that count, of a block."""
EFFORTS = (1, 2, 4, 8, 16, 32)
"""Lists whose members a vector is compared with; the last is reached where the wanted share is not."""
TRAINING = 64
"""Vectors per list that the lists' centres are learned from."""
PENDING = 1_000_000
"""Pairs that wait before they are merged into the groups."""


@dataclass(frozen=True, eq=False)
class Duplicates:
    """The group of each vector, how it was searched, and the share of sampled pairs that the search finds."""

    assigned: Int[np.ndarray, " n"]
    kind: str
    recall: float


Blocks = Iterator[tuple[Int64[np.ndarray, "2 p"], int]]
"""Pairs that are alike, some at a time, and how many vectors are done."""


def near_duplicates(
    vectors: Float32[np.ndarray, "n d"], threshold: float, watch: Callable[[int], None] = lambda done: None
) -> Duplicates:
    """Groups of unit vectors joined by cosines of at least `threshold`, over any number of steps.

    Above `EXACT` vectors the search is approximate, when faiss (extra `search`) is there: vectors are dealt into lists
    around common centres, and each is compared with the members of the lists nearest to it. `watch` hears how many
    vectors are done. Needs SciPy (extra `eval`).

    >>> points = np.array([[1, 0], [0, 1], [0.8, 0.6], [0.99, 0.141]], dtype=np.float32)
    >>> near_duplicates(points, 0.95).assigned.tolist()
    [0, 1, 2, 0]
    """
    if len(vectors) <= EXACT or find_spec("faiss") is None:
        blocks, kind, recall = _of_all(vectors, threshold), "exact", 1.0
    else:
        lists = _nearest_lists(vectors)
        effort, recall = _effort(vectors, lists, threshold)
        blocks, kind = _of_lists(vectors, lists[:, :effort], threshold), "ivf"
    group = np.arange(len(vectors), dtype=np.int64)
    waiting = [np.zeros((2, 0), dtype=np.int64)]
    for pairs, done in blocks:
        waiting.append(pairs[:, group[pairs[0]] != group[pairs[1]]])
        if sum(some.shape[1] for some in waiting) > PENDING:
            group = _merged(group, np.concatenate(waiting, axis=1))
            waiting = waiting[:1]
        watch(done)
    return Duplicates(_merged(group, np.concatenate(waiting, axis=1)), kind, recall)


def _alike(
    vectors: Float32[np.ndarray, "n d"], rows: Int64[np.ndarray, " r"], others: Int64[np.ndarray, " o"], least: float
) -> Iterator[Int64[np.ndarray, "2 p"]]:
    """Pairs of a row and another whose product is at least so much, block by block."""
    for start in range(0, len(rows), BLOCK):
        left = rows[start : start + BLOCK]
        asked = vectors[left]
        for place in range(0, len(others), BLOCK):
            right = others[place : place + BLOCK]
            one, other = np.nonzero(asked @ vectors[right].T >= least)
            yield np.stack([left[one], right[other]])


def _of_all(vectors: Float32[np.ndarray, "n d"], threshold: float) -> Blocks:
    """Every pair once."""
    every = np.arange(len(vectors), dtype=np.int64)
    for start in range(0, len(vectors), BLOCK):
        for pairs in _alike(vectors, every[start : start + BLOCK], every[start:], threshold):
            yield pairs, min(start + BLOCK, len(vectors))


def _nearest_lists(vectors: Float32[np.ndarray, "n d"]) -> Int32[np.ndarray, "n l"]:
    """The numbers of the lists nearest to each vector, the nearest first: it is a member of that one."""
    count = max(EFFORTS[-1], int(np.sqrt(len(vectors))))
    chosen = np.sort(np.random.default_rng(0).permutation(len(vectors))[: TRAINING * count])
    centres = need("faiss", "search").Kmeans(
        vectors.shape[1], count, niter=10, spherical=True, seed=0, min_points_per_centroid=1
    )
    centres.train(np.ascontiguousarray(vectors[chosen]))
    found = np.empty((len(vectors), EFFORTS[-1]), dtype=np.int32)
    for start in range(0, len(vectors), BLOCK):
        asked = np.ascontiguousarray(vectors[start : start + BLOCK])
        found[start : start + BLOCK] = centres.index.search(asked, EFFORTS[-1])[1]
    return found


def _effort(
    vectors: Float32[np.ndarray, "n d"], lists: Int32[np.ndarray, "n l"], threshold: float
) -> tuple[int, float]:
    """The least effort that finds the wanted share of the pairs of sampled vectors, and the share it finds.

    A pair is found when either of the two is compared with the list of the other.
    """
    sample = np.sort(np.random.default_rng(0).permutation(len(vectors))[:SAMPLE])
    parts = []
    for pairs in _alike(vectors, sample, np.arange(len(vectors), dtype=np.int64), threshold):
        apart = pairs[:, pairs[0] != pairs[1]]
        parts.append(apart[:, :: 1 + apart.shape[1] // THINNED])
    one, other = np.concatenate(parts, axis=1)
    if not len(one):
        return EFFORTS[len(EFFORTS) // 2], 1.0
    recall = 0.0
    for effort in EFFORTS:
        near = lists[:, :effort]
        found = (near[one] == lists[other, :1]).any(axis=1) | (near[other] == lists[one, :1]).any(axis=1)
        recall = round(float(found.mean()), 4)
        if recall >= WANTED:
            break
    return effort, recall


def _of_lists(vectors: Float32[np.ndarray, "n d"], lists: Int32[np.ndarray, "n e"], threshold: float) -> Blocks:
    """The pairs of each list's members with all vectors to which it is near."""
    effort, done = lists.shape[1], 0
    members = np.argsort(lists[:, 0], kind="stable")
    asking = np.argsort(lists.ravel(), kind="stable") // effort
    count = 1 + int(lists.max())
    ends, until = (np.bincount(some.ravel(), minlength=count).cumsum()[:-1] for some in (lists[:, 0], lists))
    for inside, near in zip(np.split(members, ends), np.split(asking, until), strict=True):
        for pairs in _alike(vectors, near, inside, threshold):
            yield pairs, done
        done += len(inside)
        yield np.zeros((2, 0), dtype=np.int64), done


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
