"""Sparse products: equal to dense ones, with their gradients."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from counterpoint.training.sparse import Sparse, SparseBuffer, adjacency, summed_steps


def dense_of(matrix: Sparse) -> torch.Tensor:
    return matrix @ torch.eye(matrix.shape[1], dtype=torch.float64)


@given(n=st.integers(1, 6), m=st.integers(1, 6), d=st.integers(1, 3), seed=st.integers(0, 99))
def test_a_product_and_its_gradient_are_the_dense_ones(n: int, m: int, d: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    dense = torch.randn(n, m, generator=generator) * (torch.rand(n, m, generator=generator) < 0.5)
    rows, columns = dense.nonzero(as_tuple=True)
    order = torch.randperm(len(rows), generator=generator)
    rows, columns = rows[order], columns[order]
    matrix = Sparse.of(rows, columns, dense[rows, columns], (n, m))
    x = torch.randn(m, d, generator=generator, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(matrix @ x, dense.double() @ x)
    torch.testing.assert_close(dense_of(matrix.T), dense.double().T)
    assert torch.autograd.gradcheck(lambda given: matrix @ given, x)
    assert torch.autograd.gradgradcheck(lambda given: matrix @ given, x)


@pytest.mark.parametrize("scale", ["symmetric", "rows", "none"])
@pytest.mark.parametrize("loops", [True, False])
@pytest.mark.parametrize("both", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
def test_adjacency_is_the_textbook_one(scale: str, loops: bool, both: bool, weighted: bool) -> None:
    edges = torch.tensor([[0, 1, 0, 3, 3], [1, 2, 1, 3, 0]])
    weights = torch.tensor([2.0, 0.5, 1.0, 4.0, 0.25]) if weighted else None
    full = torch.zeros(5, 5, dtype=torch.float64)
    for place, (a, b) in enumerate(edges.T.tolist()):
        for x, y in ((a, b), (b, a)) if both else ((a, b),):
            full[x, y] += 1 if weights is None else weights[place].double()
    if weights is None:
        full = (full > 0).double()
    if loops:
        full.fill_diagonal_(1)
    degree = full.sum(1)
    inverse = torch.where(degree > 0, 1 / degree, 0.0)
    wanted = {
        "none": full,
        "rows": inverse[:, None] * full,
        "symmetric": inverse.sqrt()[:, None] * full * inverse.sqrt()[None],
    }[scale]
    found = adjacency(edges, 5, weights, loops=loops, scale=scale, both=both)
    torch.testing.assert_close(dense_of(found), wanted, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(dense_of(found.T), wanted.T, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("symmetric", [True, False])
def test_a_buffer_survives_saving(symmetric: bool) -> None:
    matrix = adjacency(torch.tensor([[0, 1], [1, 2]]), 3, scale="symmetric" if symmetric else "rows")
    first, second = (SparseBuffer(3, len(matrix.col), symmetric) for _ in range(2))
    x = torch.randn(3, 2, dtype=torch.float64, requires_grad=True)
    second.fill(adjacency(torch.tensor([[0, 1], [2, 2]]), 3, scale="symmetric" if symmetric else "rows"))
    second(x)
    first.fill(matrix)
    second.load_state_dict(first.state_dict())
    torch.testing.assert_close(second(x), matrix @ x)
    assert torch.autograd.gradcheck(second, x)


def test_an_empty_graph_gives_zeros() -> None:
    matrix = adjacency(torch.zeros(2, 0, dtype=torch.int64), 3, loops=False)
    assert (matrix @ torch.ones(3, 2)).tolist() == [[0.0, 0.0]] * 3


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("steps", [0, 1, 3])
def test_summed_steps_are_a_sum_of_powers(steps: int, symmetric: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    dense = torch.rand(5, 5, generator=generator) * (torch.rand(5, 5, generator=generator) < 0.5)
    dense = dense + dense.T if symmetric else dense
    rows, columns = dense.nonzero(as_tuple=True)
    matrix = Sparse.of(rows, columns, dense[rows, columns], (5, 5), symmetric=symmetric)
    x = torch.randn(5, 2, generator=generator, dtype=torch.float64, requires_grad=True)
    powers = [torch.linalg.matrix_power(dense.double(), step) @ x for step in range(steps + 1)]
    torch.testing.assert_close(summed_steps(matrix, x, steps), torch.stack(powers).sum(0))
    assert torch.autograd.gradcheck(lambda given: summed_steps(matrix, given, steps), x)
    assert torch.autograd.gradgradcheck(lambda given: summed_steps(matrix, given, steps), x)


@pytest.mark.parametrize("symmetric", [True, False])
def test_some_rows_are_those_of_the_whole(symmetric: bool) -> None:
    generator = torch.Generator().manual_seed(1)
    dense = torch.rand(6, 6, generator=generator) * (torch.rand(6, 6, generator=generator) < 0.4)
    dense = dense + dense.T if symmetric else dense
    dense[3] = dense[:, 3] = 0
    rows, columns = dense.nonzero(as_tuple=True)
    matrix = Sparse.of(rows, columns, dense[rows, columns], (6, 6), symmetric=symmetric)
    x = torch.randn(6, 2, generator=generator, dtype=torch.float64, requires_grad=True)
    for some in ([4, 0, 3], [3], [], [5, 4, 3, 2, 1, 0]):
        chosen = torch.tensor(some, dtype=torch.int64)
        part = matrix.at(chosen)
        assert part.shape == (len(some), 6)
        torch.testing.assert_close(part @ x, dense[chosen].double() @ x)
        if some:
            assert torch.autograd.gradcheck(lambda given, part=part: part @ given, x)
            torch.testing.assert_close(part.T @ (part @ x), dense[chosen].T.double() @ (dense[chosen].double() @ x))
