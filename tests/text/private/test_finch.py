"""FINCH against its definition, with scipy's connected components."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.sparse.csgraph import connected_components

from counterpoint.text.private.finch import finch, first_neighbours, means
from counterpoint.training import rng


def by_definition(vectors: np.ndarray) -> np.ndarray:
    """Equation 1: i and j are linked when one is the other's first neighbour, or both have the same one."""
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    likeness = unit @ unit.T
    np.fill_diagonal(likeness, -np.inf)
    near = likeness.argmax(axis=1)
    n = len(near)
    linked = [[int(near[i] == j or near[j] == i or near[i] == near[j]) for j in range(n)] for i in range(n)]
    labels: np.ndarray = connected_components(np.array(linked), directed=False)[1]
    return labels


def same(one: np.ndarray, other: np.ndarray) -> bool:
    return bool(((one[:, None] == one) == (other[:, None] == other)).all())


@pytest.mark.parametrize("seed", range(4))
def test_every_partition_is_the_definitions(seed: int) -> None:
    vectors = torch.randn(60, 6, dtype=torch.float64, generator=rng(seed))
    partitions = finch(vectors)
    assert same(partitions[0].numpy(), by_definition(vectors.numpy()))
    for fine, coarse in pairwise(partitions):
        upper = by_definition(means(vectors, fine).numpy())
        assert same(coarse.numpy(), upper[fine.numpy()])
        assert int(coarse.max()) < int(fine.max())
    assert int(partitions[-1].max()) >= 1 or len(partitions) == 1


def test_few_vectors_and_ties() -> None:
    assert finch(torch.ones(1, 3))[0].tolist() == [0]
    assert finch(torch.ones(4, 3))[0].tolist() == [0] * 4
    assert finch(torch.zeros(0, 3))[0].tolist() == []
    assert first_neighbours(torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]])).tolist() == [1, 0, 0]


def test_means_count_members_alike() -> None:
    vectors = torch.tensor([[1.0], [2.0], [6.0]])
    assert means(vectors, torch.tensor([0, 0, 1])).flatten().tolist() == [1.5, 6.0]
