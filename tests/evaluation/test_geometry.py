"""Geometry by brute force in float64, and what it says in words."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from counterpoint.evaluation import alignment, effective_rank, geometry, mean_cosine, uniformity


def vectors(seed: int, n: int, d: int) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def unit(x: torch.Tensor) -> np.ndarray:
    array: np.ndarray = x.numpy() / np.linalg.norm(x.numpy(), axis=1, keepdims=True)
    return array


@given(st.integers(0, 1000), st.integers(2, 20), st.integers(1, 8))
def test_pairs_by_brute_force(seed: int, n: int, d: int) -> None:
    x = vectors(seed, n, d)
    rows = unit(x)
    pairs = [(a, b) for i, a in enumerate(rows) for j, b in enumerate(rows) if i != j]
    cosine = np.mean([a @ b for a, b in pairs])
    spread = np.log(np.mean([np.exp(-2 * np.sum((a - b) ** 2)) for a, b in pairs]))
    assert mean_cosine(x) == pytest.approx(cosine, abs=1e-12)
    assert uniformity(x) == pytest.approx(spread, abs=1e-9)
    assert uniformity(x, chunk=3) == pytest.approx(spread, abs=1e-9)


@given(st.integers(0, 1000), st.integers(1, 20), st.integers(1, 8))
def test_alignment_by_brute_force(seed: int, n: int, d: int) -> None:
    x, y = vectors(seed, n, d), vectors(seed + 1, n, d)
    assert alignment(x, y) == pytest.approx(np.mean(np.sum((unit(x) - unit(y)) ** 2, axis=1)))


@given(st.integers(0, 1000), st.integers(2, 12), st.integers(1, 6))
def test_effective_rank_is_the_exponential_of_the_entropy(seed: int, n: int, d: int) -> None:
    x = vectors(seed, n, d)
    shares = np.linalg.svd(x.numpy(), compute_uv=False)
    shares = shares / shares.sum()
    assert effective_rank(x) == pytest.approx(np.exp(-np.sum(shares * np.log(shares))))


@pytest.mark.parametrize("rank", [1, 2, 5])
def test_effective_rank_counts_equal_directions(rank: int) -> None:
    assert effective_rank(torch.eye(8)[:rank].repeat(3, 1)) == pytest.approx(rank)


def test_spread_vectors_are_not_called_collapsed() -> None:
    found = geometry(vectors(0, 500, 16))
    assert found.collapse is None
    assert found.dead == 0
    assert not any("Warning" in line for line in found.sentences())


def test_one_direction_is_called_complete_collapse() -> None:
    found = geometry(torch.ones(50, 16, dtype=torch.float64) + 0.01 * vectors(0, 50, 16))
    assert found.collapse == "complete"
    assert "nearly all rows have the same vector" in found.sentences()[0]


def test_few_directions_are_called_dimensional_collapse() -> None:
    flat = torch.zeros(200, 64, dtype=torch.float64)
    flat[:, :3] = vectors(0, 200, 3)
    found = geometry(flat)
    assert found.collapse == "dimensional"
    assert found.dead == 61
    assert "few directions" in found.sentences()[0]


def test_length_of_the_vectors_does_not_matter() -> None:
    x = vectors(0, 30, 5)
    scale = torch.linspace(0.1, 9, 30, dtype=torch.float64).unsqueeze(1)
    assert geometry(x, x * scale).numbers() == pytest.approx(geometry(x * scale, x).numbers(), abs=1e-9)


def test_partners_add_a_number_and_a_sentence() -> None:
    x = vectors(0, 30, 5)
    alone, paired = geometry(x), geometry(x, x)
    assert alone.alignment is None
    assert paired.alignment == pytest.approx(0, abs=1e-12)
    assert len(paired.sentences()) == len(alone.sentences()) + 1


def test_large_inputs_are_thinned_and_the_settings_say_so() -> None:
    found = geometry(vectors(0, 100, 4), limit=10)
    assert found.settings["rows"] == 100
    assert found.settings["rows_used"] == 10
    assert found.uniformity == pytest.approx(uniformity(vectors(0, 100, 4)[::10]))


@pytest.mark.parametrize("bad", [torch.zeros(1, 3), torch.tensor([[1.0, float("nan")], [0.0, 1.0]])])
def test_nothing_to_measure_is_refused(bad: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="at least two rows of finite numbers"):
        geometry(bad)
