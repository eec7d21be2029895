"""Clustering of many vectors by parts gives what clustering of all of them gives."""

import numpy as np
import pytest

from counterpoint.errors import UserError
from counterpoint.serving import cluster_many as module
from counterpoint.serving.cluster_many import BY_PARTS, TooManyError, cluster_many
from counterpoint.text.clusters.clusterers import ALGORITHMS, clustered, clustered_into


def bunches(number: int, each: int, spread: float) -> np.ndarray:
    """Unit vectors around random directions, so many of each, dealt out of order."""
    random = np.random.default_rng(0)
    centres = random.normal(size=(number, 12))
    points = np.repeat(centres, each, axis=0) + spread * random.normal(size=(number * each, 12))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    return points[random.permutation(len(points))].astype(np.float32)


@pytest.mark.parametrize("knob", [0.03, 0.1, 0.25])
@pytest.mark.parametrize("name", BY_PARTS)
def test_parts_give_the_clusters_of_the_whole(name: str, knob: float) -> None:
    vectors = bunches(30, 6, 0.4)
    found = cluster_many(vectors, name, knob)
    assert found.assigned.tolist() == clustered(vectors, name, knob).tolist()
    assert 1 < found.assigned.max() + 1 < len(vectors)
    assert (found.search, found.recall) == ("exact", 1.0)


@pytest.mark.parametrize("name", sorted(set(ALGORITHMS) - set(BY_PARTS)))
def test_others_are_those_of_the_whole(name: str) -> None:
    vectors = bunches(8, 4, 0.3)
    found = cluster_many(vectors, name, 0.3)
    assert found.assigned.tolist() == clustered(vectors, name, 0.3).tolist()
    assert found.search is None


def test_a_number_of_clusters() -> None:
    vectors = bunches(5, 4, 0.1)
    for name in ("kmeans", "average"):
        assert cluster_many(vectors, name, number=5).assigned.tolist() == clustered_into(vectors, name, 5).tolist()
    with pytest.raises(UserError, match="dbscan finds the number of clusters itself"):
        cluster_many(vectors, "dbscan", number=5)


def test_what_there_is_no_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = bunches(5, 4, 0.1)
    monkeypatch.setattr(module, "free_memory", lambda device: 10_000)
    for name, said in (
        ("hdbscan", r"hdbscan holds the distances between 20 texts, 0\.0 GiB where .* take --algorithm average"),
        ("affinity", "affinity holds the distances between 20 texts"),
    ):
        with pytest.raises(TooManyError, match=said):
            cluster_many(vectors, name, 0.3)
    with pytest.raises(
        TooManyError, match=r"average of texts that hang together at a cosine of -1\.0.* raise --threshold"
    ):
        cluster_many(vectors, "average", 2.0)
    with pytest.raises(TooManyError, match=r"-k of average holds .* take -k with --algorithm kmeans"):
        cluster_many(vectors, "average", number=3)
    assert len(cluster_many(vectors, "average", 0.05).assigned) == 20  # parts of four have room
    monkeypatch.setattr(module, "MOST", 10)
    with pytest.raises(TooManyError, match="kmeans compares every text with every cluster"):
        cluster_many(vectors, "kmeans", 0.3)
    assert len(cluster_many(vectors, "dbscan", 0.3).assigned) == 20
