"""Seven clustering algorithms of scikit-learn under one knob each, and the knob chosen on development texts.

Distances are cosine distances, 1 - cosine, from 0 to 2. Every algorithm gets as many values of its knob as any other:
k-means a number of clusters as a share of the texts, the others a distance up to which texts belong together. The
distances tried are read off the development texts themselves (how far each lies from its nearest other), so that an
encoder whose cosines are all high is searched as finely as one that spreads them.
"""

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, Int

from counterpoint.errors import UserError, nearest, need
from counterpoint.text.clusters.statements import Statements

Vectors = Float32[np.ndarray, "n d"]
Distances = Any
"""Cosine distances, n x n; None for algorithms that need none."""
Labels = Int[np.ndarray, " n"]

SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.75, 0.9)
"""Numbers of clusters that k-means tries, as shares of the texts."""
QUANTILES = (0.1, 0.25, 0.4, 0.55, 0.7, 0.85)
BEYOND = (1.2, 1.45)
"""Distances tried: these quantiles of the nearest-neighbour distances, and so many times the largest of them."""
TOGETHER = 120
"""Texts that are clustered together when clustering is judged or tuned."""
MANY = 5_000
"""Texts above which k-means begins once, at random texts, and ends after 20 rounds: with a cluster for every few texts
the usual careful beginning takes far longer than the rounds."""


def _kmeans(vectors: Vectors, distances: Distances, share: float) -> Labels:
    return _by_number(vectors, "KMeans", max(1, round(share * len(vectors))))


def _linked(linkage: str) -> Callable[[Vectors, Distances, float], Labels]:
    def run(vectors: Vectors, distances: Distances, reach: float) -> Labels:
        cluster = need("sklearn.cluster", "eval")
        model = cluster.AgglomerativeClustering(
            None, metric="precomputed", linkage=linkage, distance_threshold=max(reach, 1e-9)
        )
        return np.asarray(model.fit_predict(distances))

    return run


def _dbscan(vectors: Vectors, distances: Distances, reach: float) -> Labels:
    model = need("sklearn.cluster", "eval").DBSCAN(eps=max(reach, 1e-9), min_samples=2, metric="precomputed")
    return _noise_alone(model.fit_predict(distances))


def _hdbscan(vectors: Vectors, distances: Distances, reach: float) -> Labels:
    """Distances below `reach` count as `reach`, so that nothing splits below it (arXiv 1911.02282, as a clamp)."""
    model = need("sklearn.cluster", "eval").HDBSCAN(min_cluster_size=2, min_samples=1, metric="precomputed", copy=True)
    return _noise_alone(model.fit_predict(np.maximum(distances, max(reach, 1e-9))))


def _birch(vectors: Vectors, distances: Distances, reach: float) -> Labels:
    """Two unit vectors at cosine distance d are sqrt(2 d) apart: half of that is the radius of both together."""
    radius = max(math.sqrt(2 * max(reach, 0.0)) / 2, 1e-6)
    return np.asarray(need("sklearn.cluster", "eval").Birch(threshold=radius, n_clusters=None).fit_predict(vectors))


def _affinity(vectors: Vectors, distances: Distances, reach: float) -> Labels:
    """A text takes an exemplar that is nearer than `reach` rather than be one itself."""
    model = need("sklearn.cluster", "eval").AffinityPropagation(
        affinity="precomputed", preference=-max(reach, 1e-9), damping=0.8, max_iter=500, random_state=0
    )
    return _noise_alone(model.fit_predict(-distances))


ALGORITHMS: Mapping[str, Callable[[Vectors, Distances, float], Labels]] = {
    "kmeans": _kmeans,
    "average": _linked("average"),
    "complete": _linked("complete"),
    "dbscan": _dbscan,
    "hdbscan": _hdbscan,
    "birch": _birch,
    "affinity": _affinity,
}
"""(unit vectors, cosine distances, knob) -> a cluster per text; texts that an algorithm calls noise are alone."""
OF_VECTORS = ("kmeans", "birch")
"""Algorithms that work on the vectors themselves, without n x n distances."""
COUNTED = ("kmeans", "average", "complete", "birch")
"""Algorithms that can be told how many clusters to make."""


def check_algorithm(name: str) -> None:
    """Raise `UserError` with the nearest name for an algorithm that is not known."""
    if name not in ALGORITHMS:
        raise UserError(f'unknown algorithm "{name}"; {nearest(name, ALGORITHMS)}')


def clustered(vectors: Vectors, algorithm: str, knob: float, distances: Distances | None = None) -> Labels:
    """A cluster number per unit vector, from 0; the knob is a share for k-means, else a cosine distance.

    Needs scikit-learn (extra `eval`), and memory for n x n distances.

    >>> points = np.array([[1, 0], [0.99, 0.141], [0, 1]], dtype=np.float32)
    >>> clustered(points, "average", 0.1).tolist()
    [0, 0, 1]
    """
    check_algorithm(algorithm)
    if len(vectors) < 2:
        return np.zeros(len(vectors), dtype=np.int64)
    if distances is None and algorithm not in OF_VECTORS:
        distances = cosine_distances(vectors)
    with warnings.catch_warnings():  # that it did not converge, or found fewer different points than clusters
        warnings.simplefilter("ignore")
        return _numbered(ALGORITHMS[algorithm](vectors, distances, knob))


def clustered_into(vectors: Vectors, algorithm: str, number: int) -> Labels:
    """The same for a given number of clusters; raises `UserError` where there are fewer texts, or none can be given."""
    check_algorithm(algorithm)
    if algorithm not in COUNTED:
        raise UserError(f"{algorithm} finds the number of clusters itself; with -k take {', '.join(COUNTED)}")
    if not 1 <= number <= len(vectors):
        raise UserError(f"-k {number}: there are {len(vectors)} different texts; ask for 1 to {len(vectors)} clusters")
    names = {"kmeans": "KMeans", "birch": "Birch"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _numbered(_by_number(vectors, names.get(algorithm, algorithm), number))


def cosine_distances(vectors: Vectors) -> Float[np.ndarray, "n n"]:
    """1 - cosine of unit vectors, float64, symmetric, 0 to itself and never below."""
    apart = 1 - vectors.astype(np.float64) @ vectors.astype(np.float64).T
    np.fill_diagonal(apart, 0)
    return np.maximum((apart + apart.T) / 2, 0)


def medoids(vectors: Vectors, assigned: Labels) -> Int[np.ndarray, " n"]:
    """For each row the row nearest to the mean of its cluster: the text that stands for it.

    >>> medoids(np.array([[1, 0], [0.8, 0.6], [0.6, 0.8]], dtype=np.float32), np.array([0, 0, 0])).tolist()
    [1, 1, 1]
    """
    found = np.empty(len(assigned), dtype=np.int64)
    order = np.argsort(assigned, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(assigned[order])) + 1):
        inside = np.asarray(vectors[rows])
        found[rows] = rows[int(np.argmax(inside @ inside.mean(axis=0)))] if len(rows) > 2 else rows[:1]
    return found


@dataclass(frozen=True)
class Knob:
    """The knob of an algorithm that did best on development texts, and the mean adjusted Rand index it had there."""

    value: float
    ari: float


def grid(algorithm: str, apart: Sequence[Distances]) -> list[float]:
    """The values of an algorithm's knob that are tried on collections with these distances."""
    check_algorithm(algorithm)
    if algorithm == "kmeans":
        return list(SHARES)
    near = np.concatenate([_nearest_others(one) for one in apart])
    steps = [float(value) for value in np.quantile(near, QUANTILES)] if len(near) else [0.5] * len(QUANTILES)
    return [*steps, *(steps[-1] * factor for factor in BEYOND)]


def tuned(vectors: Vectors, said: Statements, algorithms: Sequence[str] = tuple(ALGORITHMS)) -> dict[str, Knob]:
    """Each algorithm's best knob by mean adjusted Rand index on development texts; of equals the first.

    The texts are clustered in collections of at most about `TOGETHER`, as when clustering is judged.
    """
    rand: Callable[..., Any] = need("sklearn.metrics", "eval").adjusted_rand_score
    parts = dealt(said)
    apart = [cosine_distances(vectors[rows]) for rows in parts]
    best = {}
    for name in algorithms:
        tried = []
        for value in grid(name, apart):
            made = [clustered(vectors[rows], name, value, far) for rows, far in zip(parts, apart, strict=True)]
            scores = [float(rand(said.clusters[rows], found)) for rows, found in zip(parts, made, strict=True)]
            tried.append(Knob(value, float(np.mean(scores))))
        best[name] = max(tried, key=lambda knob: knob.ari)
    return best


def dealt(said: Statements, together: int = TOGETHER) -> list[Int[np.ndarray, " k"]]:
    """Rows of each collection: whole clusters, dealt out so that collections are alike in kind and size.

    Texts of different `collections` are never together. The dealing is a function of the clusters alone.
    """
    parts: list[Int[np.ndarray, " k"]] = []
    for name in np.unique(said.collections):
        here = np.flatnonzero(said.collections == name)
        number = max(1, round(len(here) / together))
        clusters, first = np.unique(said.clusters[here], return_index=True)
        kind = np.where(said.sizes[here][first] < 2, 0, 1 + said.mixed[here][first])
        order = np.random.Generator(np.random.PCG64(0)).permutation(len(clusters))
        order = order[np.argsort(kind[order], kind="stable")]
        part_of = np.empty(len(clusters), dtype=np.int64)
        part_of[order] = np.arange(len(clusters)) % number
        place = part_of[np.searchsorted(clusters, said.clusters[here])]
        parts += [rows for part in range(number) if len(rows := here[place == part])]
    return parts


def _by_number(vectors: Vectors, name: str, number: int) -> Labels:
    cluster = need("sklearn.cluster", "eval")
    if name == "KMeans":
        many: dict[str, Any] = {"init": "random", "n_init": 1, "max_iter": 20}
        model = cluster.KMeans(number, random_state=0, **(many if len(vectors) > MANY else {"n_init": 2}))
    elif name == "Birch":
        model = cluster.Birch(threshold=1e-6, n_clusters=number)
    else:
        model = cluster.AgglomerativeClustering(number, metric="cosine", linkage=name)
    return np.asarray(model.fit_predict(vectors))


def _nearest_others(apart: Distances) -> Float[np.ndarray, " n"]:
    far = apart + np.diag(np.full(len(apart), np.inf))
    return np.asarray(far.min(axis=1)) if len(apart) > 1 else np.zeros(0)


def _noise_alone(labels: Labels) -> Labels:
    """Rows that belong to no cluster, marked by a negative number, become clusters of one."""
    alone = labels < 0
    return np.asarray(np.where(alone, labels.max(initial=-1) + np.cumsum(alone), labels))


def _numbered(labels: Labels) -> Labels:
    """Numbers from 0 in the order of first appearance."""
    _, first, number = np.unique(labels, return_index=True, return_inverse=True)
    return np.asarray(np.argsort(np.argsort(first))[number])
