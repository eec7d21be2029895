"""Probes against scikit-learn; label draws by counting."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from counterpoint.evaluation import Probe, few_labels, knn_probe, linear_probe
from counterpoint.evaluation.probes import stratified


def blobs(seed: int, n: int, classes: int = 3, spread: float = 1.0) -> tuple[torch.Tensor, np.ndarray]:
    """Rows around one direction per class."""
    generator = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    vectors = np.eye(6)[labels] * 2 + spread * generator.normal(size=(n, 6))
    return torch.from_numpy(vectors), labels


@given(st.integers(0, 1000), st.integers(3, 30), st.integers(1, 9))
def test_knn_agrees_with_scikit_learn(seed: int, n: int, k: int) -> None:
    neighbours = pytest.importorskip("sklearn.neighbors")
    train, train_labels = blobs(seed, n)
    test, test_labels = blobs(seed + 1, 20)
    used = min(k, n)
    oracle = neighbours.KNeighborsClassifier(used, metric="cosine").fit(train.numpy(), train_labels)
    found = knn_probe(train, train_labels, test, test_labels, k=k)
    assert found.correct.tolist() == (oracle.predict(test.numpy()) == test_labels).astype(float).tolist()
    assert found.settings["k"] == used


def test_knn_takes_names_as_labels() -> None:
    train, labels = blobs(0, 30, spread=0.1)
    names = np.array(["cat", "dog", "eel"])[labels]
    assert knn_probe(train, names, train, names).accuracy == 1.0


def test_linear_probe_chooses_c_inside_the_training_rows_and_says_so() -> None:
    train, train_labels = blobs(0, 150)
    test, test_labels = blobs(1, 300)
    found = linear_probe(train, train_labels, test, test_labels)
    assert found.accuracy > 0.8
    assert found.settings["C_from"] == "inner split"
    assert found.settings["converged"]
    assert found.correct.shape == (300,)


def test_linear_probe_is_scikit_learns_at_the_chosen_c() -> None:
    pipeline = pytest.importorskip("sklearn.pipeline")
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    train, train_labels = blobs(2, 60)
    test, test_labels = blobs(3, 100)
    oracle = pipeline.make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000))
    oracle.fit(train.numpy(), train_labels)
    found = linear_probe(train, train_labels, test, test_labels, grid=(0.1,))
    assert found.settings["C"] == 0.1
    assert found.accuracy == oracle.score(test.numpy(), test_labels)


def test_scaling_a_dimension_does_not_move_the_linear_probe() -> None:
    train, train_labels = blobs(4, 90)
    test, test_labels = blobs(5, 90)
    scale = torch.tensor([1e3, 1.0, 1.0, 1e-3, 1.0, 1.0], dtype=torch.float64)
    plain = linear_probe(train, train_labels, test, test_labels)
    scaled = linear_probe(train * scale, train_labels, test * scale, test_labels)
    assert plain.correct.tolist() == scaled.correct.tolist()


def test_few_rows_fix_c() -> None:
    train, labels = blobs(0, 6)
    settings = linear_probe(train, labels, train, labels).settings
    assert (settings["C"], settings["C_from"]) == (1.0, "fixed")


def test_one_class_is_refused() -> None:
    train, _ = blobs(0, 6)
    with pytest.raises(ValueError, match="two different labels"):
        linear_probe(train, np.zeros(6), train, np.zeros(6))


def test_few_labels_improve_with_more_and_end_at_all() -> None:
    train, train_labels = blobs(0, 120)
    test, test_labels = blobs(1, 200)
    found = few_labels(train, train_labels, test, test_labels, counts=(3, 30, 10_000), repeats=4)
    assert list(found) == [3, 30, 120]
    assert found[3].accuracy < found[30].accuracy <= found[120].accuracy + 0.03
    assert found[120].correct.tolist() == linear_probe(train, train_labels, test, test_labels).correct.tolist()
    assert found[3].settings["repeats"] == 4
    assert found[120].settings["repeats"] == 1
    assert set(np.unique(found[3].correct * 4)) <= {0.0, 1.0, 2.0, 3.0, 4.0}


def test_few_labels_take_another_probe() -> None:
    train, labels = blobs(0, 30, spread=0.05)
    found = few_labels(train, labels, train, labels, counts=(3,), probe=lambda *parts: knn_probe(*parts, k=1))
    assert found[3].accuracy == 1.0


@given(st.lists(st.integers(1, 30), min_size=1, max_size=5), st.integers(0, 99), st.data())
def test_stratified_rows_keep_the_proportions(sizes: list[int], seed: int, data: st.DataObject) -> None:
    labels = np.repeat(np.arange(len(sizes)), sizes)
    count = data.draw(st.integers(len(sizes), len(labels)))
    rows = stratified(labels, count, np.random.default_rng(seed))
    assert len(set(rows.tolist())) == count
    drawn = np.bincount(labels[rows], minlength=len(sizes))
    assert drawn.min() >= 1
    shares = count * np.array(sizes) / sum(sizes)
    assert np.all(np.abs(drawn - shares) <= 1 + len(sizes))


def test_stratified_refuses_fewer_rows_than_classes() -> None:
    with pytest.raises(ValueError, match="cannot draw 2 rows"):
        stratified(np.arange(3), 2, np.random.default_rng(0))


def test_accuracy_is_the_mean_of_the_rows() -> None:
    assert Probe(np.array([1.0, 0.0, 0.5, 0.5]), {}).accuracy == 0.5
