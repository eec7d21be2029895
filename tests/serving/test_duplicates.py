"""Near-duplicates: the connected parts of the graph of near pairs, exactly and through an approximate index."""

import numpy as np
import pytest
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from sklearn.metrics import adjusted_rand_score

from counterpoint.serving import duplicates
from counterpoint.serving.duplicates import near_duplicates


def copies(groups: int, seed: int = 0) -> np.ndarray:
    """Unit vectors, each with up to four noisy copies, shuffled."""
    random = np.random.default_rng(seed)
    base = random.normal(size=(groups, 24))
    vectors = np.repeat(base, random.integers(1, 6, size=groups), axis=0)
    vectors += 0.1 * random.normal(size=vectors.shape)
    random.shuffle(vectors)
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def brute_force(vectors: np.ndarray, threshold: float) -> np.ndarray:
    near = vectors.astype(np.float64) @ vectors.T.astype(np.float64) >= threshold
    return np.asarray(connected_components(coo_matrix(near), directed=False)[1])


@pytest.mark.parametrize("pending", [1, 1_000_000])
def test_groups_are_the_connected_parts(pending: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "PENDING", pending)
    monkeypatch.setattr(duplicates, "BLOCK", 64)
    vectors = copies(120)
    watched: list[int] = []
    found = near_duplicates(vectors, 0.97, watched.append)
    assert adjusted_rand_score(brute_force(vectors, 0.97), found.assigned) == 1
    assert list(dict.fromkeys(found.assigned.tolist())) == list(range(int(found.assigned.max()) + 1))
    assert watched[-1] == len(vectors)
    assert (found.kind, found.recall) == ("exact", 1.0)


def test_an_approximate_index_finds_nearly_all(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("faiss")
    monkeypatch.setattr(duplicates, "EXACT", 100)
    vectors = copies(700)
    found = near_duplicates(vectors, 0.97)
    assert found.kind == "ivf"
    assert found.recall >= 0.99
    assert adjusted_rand_score(brute_force(vectors, 0.97), found.assigned) > 0.95


def test_the_effort_is_the_least_that_finds_the_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("faiss")
    vectors = copies(300)
    lists = duplicates._nearest_lists(vectors)
    effort, recall = duplicates._effort(vectors, lists, 0.9)
    true = vectors @ vectors.T >= 0.9
    found = np.zeros_like(true)
    for pairs, _ in duplicates._of_lists(vectors, lists[:, :effort], 0.9):
        found[tuple(pairs)] = found[tuple(pairs[::-1])] = True
    assert not (found & ~true).any()
    off = ~np.eye(len(vectors), dtype=bool)
    assert found[off & true].mean() == pytest.approx(recall, abs=0.02)
    assert recall >= 0.99
    assert duplicates._effort(vectors, lists, 2.0) == (8, 1.0)


def test_many_equal_vectors_hold_together() -> None:
    vectors = np.repeat(np.eye(3, dtype=np.float32), 50, axis=0)
    assert near_duplicates(vectors, 0.99).assigned.tolist() == np.repeat([0, 1, 2], 50).tolist()


def test_nothing_alike_is_all_alone() -> None:
    assert near_duplicates(np.eye(5, dtype=np.float32), 0.5).assigned.tolist() == list(range(5))
    assert near_duplicates(np.eye(5, dtype=np.float32)[:1], 0.5).assigned.tolist() == [0]
