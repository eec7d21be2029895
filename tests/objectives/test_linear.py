"""The linear contrastive loss against float64 loops over pairs."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import gradcheck

from counterpoint.objectives import Embeddings, Ids, linear_contrast, spectral_contrast


def vectors(n: int, m: int, d: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return (
        torch.randn(n, d, generator=generator, dtype=torch.float64).requires_grad_(),
        torch.randn(m, d, generator=generator, dtype=torch.float64).requires_grad_(),
    )


def naive(x: Tensor, y: Tensor, mine: list[int], theirs: list[int]) -> Tensor:
    """Pair by pair; NaN for a query that is skipped."""
    values = []
    for i in range(len(x)):
        positives = [x[i] @ y[j] for j in range(len(y)) if mine[i] == theirs[j] >= 0]
        negatives = [x[i] @ y[j] for j in range(len(y)) if not mine[i] == theirs[j] >= 0]
        known = positives and negatives
        skipped = x.new_tensor(torch.nan)
        values.append(torch.stack(negatives).mean() - torch.stack(positives).mean() if known else skipped)
    return torch.stack(values)


@given(st.lists(st.integers(-1, 3), min_size=1, max_size=6), st.lists(st.integers(-1, 3), min_size=1, max_size=7))
def test_pairs_one_by_one(mine: list[int], theirs: list[int]) -> None:
    x, y = vectors(len(mine), len(theirs), 3, seed=len(mine))
    sides = [
        Embeddings(rows, Ids(torch.arange(len(ids)) + start, torch.tensor(ids)))
        for rows, ids, start in ((x, mine, 0), (y, theirs, 100))
    ]
    found, wanted = linear_contrast(*sides), naive(x, y, mine, theirs)
    assert torch.equal(found.valid, ~wanted.isnan())
    torch.testing.assert_close(found.value, wanted.nan_to_num(), rtol=1e-12, atol=1e-12)
    if found.valid.any():
        gradients = [torch.autograd.grad(loss, (x, y)) for loss in (found.value.sum(), wanted[found.valid].sum())]
        for ours, theirs_ in zip(*gradients, strict=True):
            torch.testing.assert_close(ours, theirs_, rtol=1e-12, atol=1e-12)


def test_it_is_the_loss_of_hcl() -> None:
    """[1 / (2B(B-1))] sum over i != j of phi_ij - [1 / (2B)] sum of phi_ii, phi a sum over views on both sides."""
    views = torch.randn(3, 7, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    phi = torch.einsum("mid,njd->ij", views, views)
    wanted = (phi.sum() - phi.trace()) / (2 * 7 * 6) - phi.trace() / (2 * 7)
    summed = views.sum(dim=0)
    torch.testing.assert_close(linear_contrast(summed, summed).mean() / 2, wanted)


def test_gradients() -> None:
    x, y = vectors(4, 4, 3, seed=1)
    assert gradcheck(lambda a, b: linear_contrast(a, b).mean(), (x, y))


def test_rows_of_one_thing_repel_nothing() -> None:
    same = torch.zeros(3, dtype=torch.int64)
    rows = Embeddings(torch.randn(3, 2, requires_grad=True), Ids(same, same))
    loss = linear_contrast(rows, rows)
    assert loss.skipped == 3
    assert float(loss.mean().detach()) == 0


def test_half_precision_is_raised() -> None:
    x = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    half = linear_contrast(x.bfloat16(), x.bfloat16()).value
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, linear_contrast(x.bfloat16().float(), x.bfloat16().float()).value)


def test_columns_it_does_not_read_are_refused() -> None:
    ids = torch.arange(3)
    rows = Embeddings(torch.randn(3, 2), Ids(ids, ids, within=ids))
    with pytest.raises(ValueError, match="`row` and `positive` only"):
        linear_contrast(rows, rows)


def naive_spectral(x: Tensor, y: Tensor, mine: list[int], theirs: list[int]) -> Tensor:
    """Pair by pair, with the constant written out; NaN for a query that is skipped."""
    values = []
    for i in range(len(x)):
        positives = [1 + x[i] @ y[j] for j in range(len(y)) if mine[i] == theirs[j] >= 0]
        negatives = [(1 + x[i] @ y[j]) ** 2 for j in range(len(y)) if not mine[i] == theirs[j] >= 0]
        known = positives and negatives
        loss = torch.stack(negatives).mean() - 2 * torch.stack(positives).mean() + 1 if known else None
        values.append(x.new_tensor(torch.nan) if loss is None else loss)
    return torch.stack(values)


@given(st.lists(st.integers(-1, 3), min_size=1, max_size=6), st.lists(st.integers(-1, 3), min_size=1, max_size=7))
def test_spectral_pairs_one_by_one(mine: list[int], theirs: list[int]) -> None:
    x, y = vectors(len(mine), len(theirs), 3, seed=len(mine))
    sides = [
        Embeddings(rows, Ids(torch.arange(len(ids)) + start, torch.tensor(ids)))
        for rows, ids, start in ((x, mine, 0), (y, theirs, 100))
    ]
    found, wanted = spectral_contrast(*sides), naive_spectral(x, y, mine, theirs)
    assert torch.equal(found.valid, ~wanted.isnan())
    torch.testing.assert_close(found.value, wanted.nan_to_num(), rtol=1e-10, atol=1e-10)


def test_spectral_is_twice_the_linear_one_plus_the_squares_of_negatives() -> None:
    x, y = vectors(6, 6, 4, seed=2)
    products = (x @ y.T).square()
    squares = (products.sum(dim=1) - products.diagonal()) / 5
    wanted = 2 * linear_contrast(x, y).value + squares
    torch.testing.assert_close(spectral_contrast(x, y).value, wanted)
    assert gradcheck(lambda a, b: spectral_contrast(a, b).mean(), (x, y))


def test_linear_encoders_end_in_canonical_variates() -> None:
    """The least of the loss over linear maps is minus the sum of squared canonical correlations."""
    generator = torch.Generator().manual_seed(0)
    shared = torch.randn(400, 2, generator=generator, dtype=torch.float64)
    sides = [
        shared @ torch.randn(2, 3, generator=generator, dtype=torch.float64)
        + torch.randn(400, 3, generator=generator, dtype=torch.float64)
        for _ in range(2)
    ]
    sides = [side - side.mean(dim=0) for side in sides]
    roots = [torch.linalg.inv(torch.linalg.cholesky(side.T @ side / 400)).T for side in sides]
    correlations = torch.linalg.svdvals((sides[0] @ roots[0]).T @ (sides[1] @ roots[1]) / 400)
    maps = [(0.1 * torch.randn(3, 2, generator=generator, dtype=torch.float64)).requires_grad_() for _ in range(2)]
    optimizer = torch.optim.LBFGS(maps, max_iter=500, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = spectral_contrast(*(side @ w for side, w in zip(sides, maps, strict=True))).mean()
        value.backward()
        return value

    optimizer.step(loss)
    assert float(loss().detach()) == pytest.approx(-float(correlations[:2].square().sum()), abs=0.02)
