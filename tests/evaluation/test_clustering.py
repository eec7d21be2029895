"""Agreement of clusters with labels."""

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from counterpoint.evaluation import agreement, kmeans_agreement, purity

pytest.importorskip("sklearn")
pairs = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3)), min_size=1, max_size=40)


@given(pairs)
def test_purity_by_counting(rows: list[tuple[str, int]]) -> None:
    labels, assigned = np.array([a for a, _ in rows]), np.array([b for _, b in rows])
    right = sum(max(Counter(a for a, b in rows if b == c).values()) for c in set(assigned.tolist()))
    assert purity(labels, assigned) == pytest.approx(right / len(rows))


@given(pairs)
def test_names_of_clusters_do_not_matter(rows: list[tuple[str, int]]) -> None:
    labels, assigned = np.array([a for a, _ in rows]), np.array([b for _, b in rows])
    renamed = np.array([5, 1, 9, 0])[assigned]
    assert agreement(labels, assigned) == pytest.approx(agreement(labels, renamed))


def test_adjusted_rand_by_pairs() -> None:
    """(pairs together in both - expected) / (mean - expected), over all pairs of rows."""
    generator = np.random.default_rng(0)
    labels, assigned = generator.integers(3, size=30), generator.integers(4, size=30)
    upper = np.triu_indices(30, 1)
    together = (labels[:, None] == labels)[upper], (assigned[:, None] == assigned)[upper]
    both, a, b = (together[0] & together[1]).sum(), together[0].sum(), together[1].sum()
    expected = a * b / len(together[0])
    assert agreement(labels, assigned)["ari"] == pytest.approx((both - expected) / ((a + b) / 2 - expected))


def test_clear_clusters_are_found_and_settings_stored() -> None:
    generator = np.random.default_rng(0)
    labels = np.repeat(["a", "b", "c"], 30)
    centres = np.repeat(np.eye(3) * 9, 30, axis=0)
    found = kmeans_agreement(torch.from_numpy(centres + generator.normal(size=(90, 3))), labels)
    assert found.agreement == pytest.approx({"ari": 1.0, "ami": 1.0, "nmi": 1.0, "purity": 1.0})
    assert found.settings == {"clusters": 3, "restarts": 10, "seed": 0, "unit_length": False}
    assert found.assigned.shape == (90,)
