"""Exact search: against float64, in both precisions, where bf16 cannot tell rows apart, and with ties."""

import numpy as np
import pytest
import torch

from counterpoint.serving import exact
from counterpoint.serving.exact import nearest


def units(rows: int, dim: int, seed: int, spread: float = 1.0) -> np.ndarray:
    random = np.random.default_rng(seed)
    values = random.normal(size=(1, dim)) + spread * random.normal(size=(rows, dim))
    return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("spread", [5.0, 0.0005])  # at 0.0005 all rows lie within the rounding of bf16
def test_equal_to_float64(half: bool, spread: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exact, "ROWS", 257)
    monkeypatch.setattr(exact, "QUERIES", 7)
    vectors, queries = units(1500, 24, 0, spread), units(20, 24, 1, spread)
    rows = np.flatnonzero(np.arange(1500) % 5 != 0)
    scores, found = nearest(queries, vectors, rows, 10, half=half)
    true = queries.astype(np.float64) @ vectors[rows].astype(np.float64).T
    order = np.argsort(-true, axis=1, kind="stable")[:, :10]
    assert np.allclose(scores, np.take_along_axis(true, order, axis=1), atol=1e-7)
    assert (found == rows[order]).all()


def test_bf16_alone_would_have_been_wrong() -> None:
    """The case above can fail: without the bound, crowded rows come in the wrong order."""
    vectors, queries = units(1500, 24, 0, 0.0005), units(20, 24, 1, 0.0005)
    coarse = torch.from_numpy(queries).bfloat16() @ torch.from_numpy(vectors).bfloat16().T
    proposed = coarse.topk(40, dim=1).indices.numpy()
    true = np.argsort(-(queries.astype(np.float64) @ vectors.astype(np.float64).T), axis=1)[:, :10]
    assert any(not set(right) <= set(some) for right, some in zip(true.tolist(), proposed.tolist(), strict=True))


def test_bf16_settles_spread_rows_without_falling_back() -> None:
    vectors, queries = units(4000, 256, 0, 50.0), units(64, 256, 1, 50.0)
    _, _, sure = exact._search(torch.from_numpy(queries), vectors, np.arange(4000), 5, half=True)
    assert sure.float().mean() > 0.5


@pytest.mark.parametrize("half", [False, True])
def test_of_equal_rows_the_lower_comes_first(half: bool) -> None:
    vectors = np.repeat(units(4, 8, 0, 5.0), 3, axis=0)
    _, found = nearest(vectors[:1], vectors, np.arange(12), 3, half=half)
    assert found.tolist() == [[0, 1, 2]]


def test_few_or_no_rows_and_queries() -> None:
    vectors = units(3, 4, 0)
    assert nearest(vectors, vectors, np.arange(3), 9)[1].shape == (3, 3)
    assert nearest(vectors, vectors, np.arange(0), 9)[1].shape == (3, 0)
    assert nearest(vectors[:0], vectors, np.arange(3), 2)[0].shape == (0, 2)
    assert nearest(np.zeros((1, 4), np.float32), vectors, np.arange(3), 1)[0].tolist() == [[0.0]]
