"""Joint vectors laid out on a plane: UMAP where it is installed and there are enough rows, PCA otherwise."""

import warnings
from dataclasses import dataclass
from types import ModuleType

import numpy as np

from counterpoint.errors import UserError, need

MOST = 4000
FEWEST_FOR_UMAP = 30
NEIGHBOURS = 15


@dataclass(frozen=True)
class Plane:
    """Places of some rows (`index` into the vectors) and a sentence on how they were found."""

    places: np.ndarray
    index: np.ndarray
    how: str


def lay_out(vectors: np.ndarray, seed: int = 0, most: int = MOST) -> Plane:
    """Place the rows of an n x d array in the plane, at most `most` of them, drawn uniformly with the seed.

    UMAP (arXiv 1802.03426) uses cosine distance and 15 neighbours. Rows with a non-finite number are left out
    and counted.

    >>> plane = lay_out(np.eye(4), seed=0)
    >>> plane.places.shape, plane.how.split(";")[0]
    ((4, 2), 'PCA (UMAP needs at least 30 rows)')
    """
    usable = np.flatnonzero(np.isfinite(vectors).all(axis=1))
    index = usable
    if len(usable) > most:
        index = np.sort(np.random.default_rng(seed).choice(usable, most, replace=False))
    chosen = np.asarray(vectors[index], dtype=np.float64)
    places, name = _places(chosen, seed)
    return Plane(places, index, f"{name}; {_which(len(index), len(usable), len(vectors), seed)}")


def _places(vectors: np.ndarray, seed: int) -> tuple[np.ndarray, str]:
    """Choose the projection and apply it."""
    if len(vectors) < FEWEST_FOR_UMAP:
        return pca(vectors), f"PCA (UMAP needs at least {FEWEST_FOR_UMAP} rows)"
    try:
        umap = _import_umap()
    except UserError:
        return pca(vectors), "PCA (umap-learn is not installed)"
    reducer = umap.UMAP(n_neighbors=NEIGHBOURS, metric="cosine", random_state=seed % 2**32, n_jobs=1)
    return np.asarray(reducer.fit_transform(vectors)), f"UMAP with cosine distance, {NEIGHBOURS} neighbours"


def pca(vectors: np.ndarray) -> np.ndarray:
    """Project on the two directions of largest variance; fewer than two leave zeros.

    >>> pca(np.array([[0.0, 1.0], [0.0, 3.0]])).round(6).tolist()
    [[-1.0, 0.0], [1.0, 0.0]]
    """
    places = np.zeros((len(vectors), 2))
    if len(vectors):
        centred = vectors - vectors.mean(axis=0)
        _, _, directions = np.linalg.svd(centred, full_matrices=False)
        axes = directions[:2] * np.sign(directions[:2].sum(axis=1, keepdims=True) + 1e-12)
        places[:, : len(axes)] = centred @ axes.T
    return places


def _import_umap() -> ModuleType:
    """Import umap without the notice that its TensorFlow part is absent."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Tensorflow not installed", category=ImportWarning)
        return need("umap", "report")


def _which(shown: int, usable: int, total: int, seed: int) -> str:
    """Say which rows are on the map."""
    kept = f"all {shown:,} rows" if shown == usable else f"a uniform sample of {shown:,} of {usable:,} rows"
    lost = f"; {total - usable:,} without a usable vector left out" if usable < total else ""
    return f"{kept}, seed {seed}{lost}"
