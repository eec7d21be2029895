"""The plane: which rows, which projection, the same every time."""

import numpy as np
import pytest

from counterpoint.errors import UserError
from counterpoint.reports import project
from counterpoint.reports.project import lay_out, pca


@pytest.mark.parametrize("name", ["t-SNE with cosine distance", "UMAP with cosine distance, 15 neighbours"])
def test_groups_stay_together_and_places_repeat(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if name.startswith("UMAP"):
        pytest.importorskip("umap")
        monkeypatch.setattr(project, "FEWEST_FOR_UMAP", 30)
    draw = np.random.default_rng(0)
    group = np.arange(60) % 3
    vectors = np.eye(3, 8)[group] + 0.02 * draw.normal(size=(60, 8))
    first, again = lay_out(vectors, seed=3), lay_out(vectors, seed=3)
    assert np.array_equal(first.places, again.places)
    assert first.how == f"{name}; all 60 rows, seed 3"
    apart = np.linalg.norm(first.places[:, None] - first.places[None], axis=2)
    np.fill_diagonal(apart, np.inf)
    assert (group[apart.argmin(axis=1)] == group).mean() > 0.95


@pytest.mark.parametrize("rows", [30, 31])
def test_equal_rows_have_places_too(rows: int) -> None:
    assert np.isfinite(lay_out(np.ones((rows, 3))).places).all()


def test_without_umap_it_is_pca_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent() -> None:
        raise UserError("umap is not installed")

    monkeypatch.setattr(project, "_import_umap", absent)
    monkeypatch.setattr(project, "FEWEST_FOR_UMAP", 30)
    vectors = np.random.default_rng(0).normal(size=(50, 6))
    plane = lay_out(vectors)
    assert plane.how.startswith("PCA (umap-learn is not installed)")
    eigen = np.linalg.eigvalsh(np.cov(vectors.T))[::-1]
    assert np.allclose(plane.places.var(axis=0, ddof=1), eigen[:2])


def test_too_many_rows_are_drawn_with_the_seed_and_unusable_ones_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = np.random.default_rng(0).normal(size=(100, 4))
    vectors[7, 0] = np.nan
    plane = lay_out(vectors, seed=5, most=20)
    assert len(plane.index) == 20
    assert 7 not in plane.index
    assert np.array_equal(plane.index, lay_out(vectors, seed=5, most=20).index)
    assert not np.array_equal(plane.index, lay_out(vectors, seed=6, most=20).index)
    assert "a uniform sample of 20 of 99 rows, seed 5; 1 without a usable vector left out" in plane.how


@pytest.mark.parametrize("shape", [(0, 3), (1, 3), (5, 1)])
def test_small_spaces_have_a_plane_too(shape: tuple[int, int]) -> None:
    places = pca(np.ones(shape))
    assert places.shape == (shape[0], 2)
    assert np.isfinite(places).all()
