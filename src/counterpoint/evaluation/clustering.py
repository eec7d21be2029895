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


def errors(labels: Shaped[np.ndarray, " n"], assigned: Int[np.ndarray, " n"]) -> dict[str, float]:
    """What goes wrong with clusters: `split`, `merged`, and the pairwise `precision` and `recall`.

    `split` is the share of the labels' clusters that lie in more than one assigned cluster, `merged` the share of
    assigned clusters that hold more than one label. Of the pairs put together, `precision` is the share that belongs
    together; of those that belong together, `recall` is the share put together (1 where there are no such pairs).

    >>> errors(np.array([0, 0, 1, 2]), np.array([0, 1, 2, 2]))
    {'split': 0.3333333333333333, 'merged': 0.3333333333333333, 'precision': 0.0, 'recall': 0.0}
    """
    _, row, wanted = np.unique(labels, return_inverse=True, return_counts=True)
    _, column, made = np.unique(assigned, return_inverse=True, return_counts=True)
    cells, sizes = np.unique(row.astype(np.int64) * len(made) + column, return_counts=True)
    together = _pairs(sizes)
    return {
        "split": float((np.bincount(cells // len(made), minlength=len(wanted)) > 1).mean()),
        "merged": float((np.bincount(cells % len(made), minlength=len(made)) > 1).mean()),
        "precision": together / pairs if (pairs := _pairs(made)) else 1.0,
        "recall": together / pairs if (pairs := _pairs(wanted)) else 1.0,
    }


def silhouette(distances: Float[np.ndarray, "n n"], labels: Shaped[np.ndarray, " n"]) -> float:
    """Mean silhouette of rows with these distances and labels; 0 for all or none of one label, where it has no meaning.

    Needs scikit-learn (extra `eval`).
    """
    if not 1 < len(np.unique(labels)) < len(labels):
        return 0.0
    return float(need("sklearn.metrics", "eval").silhouette_score(distances, labels, metric="precomputed"))


def _pairs(sizes: Int[np.ndarray, " k"]) -> int:
    """How many pairs groups of these sizes hold."""
    return int((sizes.astype(np.int64) * (sizes - 1) // 2).sum())
