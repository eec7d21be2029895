"""Joint vectors laid out on a plane: t-SNE of few rows, UMAP of many where it is installed, PCA otherwise."""

import warnings
from dataclasses import dataclass
from types import ModuleType

import numpy as np

from counterpoint.errors import UserError, need

MOST = 4000
FEWEST = 30
"""Below this only PCA makes sense."""
FEWEST_FOR_UMAP = 1000
"""UMAP compiles for twenty seconds before it places the first row; t-SNE is sooner done with this many."""
NEIGHBOURS, PERPLEXITY = 15, 30
"""The defaults of both packages."""


@dataclass(frozen=True)
class Plane:
    """Places of some rows (`index` into the vectors) and a sentence on how they were found."""

    places: np.ndarray
    index: np.ndarray
    how: str


def lay_out(vectors: np.ndarray, seed: int = 0, most: int = MOST) -> Plane:
    """Place the rows of an n x d array in the plane, at most `most` of them, drawn uniformly with the seed.

    Up to 1,000 rows by t-SNE (van der Maaten and Hinton 2008), more by UMAP (arXiv 1802.03426), both by cosine
    distance. Rows with a non-finite number are left out and counted.

    >>> plane = lay_out(np.eye(4), seed=0)
    >>> plane.places.shape, plane.how.split(";")[0]
    ((4, 2), 'PCA (fewer than 30 rows)')
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
    if len(vectors) < FEWEST:
        return pca(vectors), f"PCA (fewer than {FEWEST} rows)"
    few = len(vectors) < FEWEST_FOR_UMAP
    try:
        package = need("sklearn.manifold", "report") if few else _import_umap()
    except UserError:
        return pca(vectors), f"PCA ({'scikit-learn' if few else 'umap-learn'} is not installed)"
    if few:
        return _tsne(vectors, seed, package), "t-SNE with cosine distance"
    reducer = package.UMAP(n_neighbors=NEIGHBOURS, metric="cosine", random_state=seed % 2**32, n_jobs=1)
    return np.asarray(reducer.fit_transform(vectors)), f"UMAP with cosine distance, {NEIGHBOURS} neighbours"


def _tsne(vectors: np.ndarray, seed: int, package: ModuleType) -> np.ndarray:
    """Begun at the PCA, made small as scikit-learn does with its own, which knows no equal rows."""
    start = pca(vectors)
    start *= 1e-4 / (start[:, 0].std() or 1.0)
    perplexity = min(PERPLEXITY, len(vectors) / 4)
    method = package.TSNE(perplexity=perplexity, metric="cosine", init=start, random_state=seed % 2**32, n_jobs=1)
    return np.asarray(method.fit_transform(vectors), dtype=np.float64)


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
