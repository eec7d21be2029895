"""Do clusters of the vectors agree with known labels?"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from counterpoint.errors import need


@dataclass(frozen=True, eq=False)
class Clustering:
    """The cluster of each row, its agreement with the labels, and how it was made."""

    assigned: Int[np.ndarray, " n"]
    agreement: dict[str, float]
    settings: dict[str, Any]


def kmeans_agreement(
    vectors: Float[Tensor, "n d"],
    labels: Shaped[np.ndarray, " n"],
    *,
    clusters: int | None = None,
    restarts: int = 10,
    seed: int = 0,
) -> Clustering:
    """Cluster the vectors as they are with k-means (as many clusters as labels by default) and compare.

    Needs scikit-learn (extra `eval`).
    """
    count = clusters or len(np.unique(labels))
    kmeans = need("sklearn.cluster", "eval").KMeans(count, n_init=restarts, random_state=seed)
    assigned = kmeans.fit_predict(vectors.detach().cpu().numpy())
    settings = {"clusters": count, "restarts": restarts, "seed": seed, "unit_length": False}
    return Clustering(assigned, agreement(labels, assigned), settings)


def agreement(labels: Shaped[np.ndarray, " n"], assigned: Int[np.ndarray, " n"]) -> dict[str, float]:
    """Adjusted Rand index (ari), adjusted and normalised mutual information (ami, nmi), and purity."""
    metrics = need("sklearn.metrics", "eval")
    return {
        "ari": float(metrics.adjusted_rand_score(labels, assigned)),
        "ami": float(metrics.adjusted_mutual_info_score(labels, assigned)),
        "nmi": float(metrics.normalized_mutual_info_score(labels, assigned)),
        "purity": purity(labels, assigned),
    }


def purity(labels: Shaped[np.ndarray, " n"], assigned: Int[np.ndarray, " n"]) -> float:
    """Share of rows that have the commonest label of their cluster; grows with the number of clusters.

    >>> purity(np.array(["a", "a", "b"]), np.array([0, 0, 0]))
    0.6666666666666666
    """
    _, rows = np.unique(assigned, return_inverse=True)
    _, columns = np.unique(labels, return_inverse=True)
    counts = np.zeros((rows.max() + 1, columns.max() + 1), dtype=np.int64)
    np.add.at(counts, (rows, columns), 1)
    return float(counts.max(1).sum() / len(labels))
