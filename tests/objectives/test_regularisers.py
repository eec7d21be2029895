"""Losses on pairs and on statistics of a batch, against float64 loops written from their equations."""

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import gradcheck

from counterpoint.objectives import Embeddings, Ids
from counterpoint.objectives.regularisers import (
    alignment,
    barlow_twins,
    canonical,
    cosine,
    orthogonality,
    uniformity,
    vicreg,
)

TWO_VIEWS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "alignment": lambda x, y: alignment(x, y, power=1.5).mean(),
    "barlow_twins": barlow_twins,
    "canonical": canonical,
    "vicreg": vicreg,
    "orthogonality": orthogonality,
}


def views(n: int, d: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x, y = torch.randn(2, n, d, generator=generator, dtype=torch.float64)
    return x.requires_grad_(), (0.3 * x.detach() + y).requires_grad_()


def assert_same(found: Tensor, expected: Tensor, *inputs: Tensor) -> None:
    """Equal values and gradients."""
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
    gradients = (torch.autograd.grad(value, inputs, allow_unused=True) for value in (found, expected))
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-10)


def naive_alignment(x: Tensor, y: Tensor, power: float) -> Tensor:
    return torch.stack([((a - b) ** 2).sum() ** (power / 2) for a, b in zip(x, y, strict=True)]).mean()


def naive_uniformity(x: Tensor, t: float, compared: Callable[[int, int], bool] = lambda i, j: i != j) -> Tensor:
    pairs = [(i, j) for i in range(len(x)) for j in range(len(x)) if compared(i, j)]
    return torch.stack([torch.exp(-t * ((x[i] - x[j]) ** 2).sum()) for i, j in pairs]).mean().log()


def naive_barlow_twins(x: Tensor, y: Tensor, weight: float, epsilon: float) -> Tensor:
    x, y = ((v - v.mean(0)) / (v.var(0, correction=0) + epsilon).sqrt() for v in (x, y))
    loss = x.new_zeros(())
    for i in range(x.shape[1]):
        for j in range(x.shape[1]):
            correlation = (x[:, i] * y[:, j]).mean()
            loss = loss + ((1 - correlation) ** 2 if i == j else weight * correlation**2)
    return loss


def naive_canonical(x: Tensor, y: Tensor, weight: float, epsilon: float) -> Tensor:
    x, y = ((v - v.mean(0)) / (v.var(0, correction=0) + epsilon).sqrt() / len(v) ** 0.5 for v in (x, y))
    identity = torch.eye(x.shape[1], dtype=x.dtype)
    return (x - y).square().sum() + weight * sum((v.T @ v - identity).square().sum() for v in (x, y))


def naive_vicreg(x: Tensor, y: Tensor, weights: tuple[float, float, float], epsilon: float = 1e-4) -> Tensor:
    d = x.shape[1]
    spread, shared = x.new_zeros(()), x.new_zeros(())
    for view in (x, y):
        covariance = torch.cov(view.T).reshape(d, d)
        for i in range(d):
            spread = spread + F.relu(1 - (covariance[i, i] + epsilon).sqrt()) / (2 * d)
            shared = shared + sum(covariance[i, j] ** 2 for j in range(d) if j != i) / d
    return weights[0] * F.mse_loss(x, y) + weights[1] * spread + weights[2] * shared


def naive_orthogonality(x: Tensor, y: Tensor) -> Tensor:
    rows = torch.stack([(a @ b) ** 2 for a, b in zip(x, y, strict=True)]).mean()
    covariance = (x - x.mean(0)).T @ (y - y.mean(0)) / len(x)
    return rows + (covariance**2).sum()


SHAPES = pytest.mark.parametrize("shape", [(9, 4), (6, 13), (5, 1), (2, 3), (2, 4)], ids=str)
"""More rows than dimensions, and more dimensions than rows: two ways to the same sums."""


@SHAPES
@pytest.mark.parametrize("power", [1.0, 1.5, 2.0, 3.0])
def test_alignment(power: float, shape: tuple[int, int]) -> None:
    x, y = views(*shape)
    assert_same(alignment(x, y, power).mean(), naive_alignment(x, y, power), x, y)


@SHAPES
@pytest.mark.parametrize("length", [0.2, 1.0, 9.0], ids="lengths {}".format)
@pytest.mark.parametrize("t", [0.5, 2.0])
def test_uniformity(t: float, length: float, shape: tuple[int, int], path: str) -> None:
    x = (F.normalize(views(*shape)[0].detach()) * length).requires_grad_()
    assert_same(uniformity(x, t), naive_uniformity(x, t), x)


def test_uniformity_of_pairs_that_count(path: str) -> None:
    """The ids decide, and the number of pairs follows them."""
    x, _ = views(8, 3)
    row = torch.tensor([0, 1, 2, 3, 4, 5, 5, -1])
    group = torch.arange(8) % 3
    within = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1])

    def compared(i: int, j: int) -> bool:
        same_row = row[i] == row[j] and row[i] >= 0
        return bool(not same_row and group[i] != group[j] and within[i] == within[j])

    points = Embeddings(x, Ids(row, torch.full((8,), -1), exclude=group[:, None], within=within))
    assert_same(uniformity(points), naive_uniformity(x, 2, compared), x)


@pytest.mark.parametrize("n", [0, 1])
def test_uniformity_without_a_pair_is_zero(n: int) -> None:
    x = torch.ones(n, 3, requires_grad=True)
    loss = uniformity(x)
    loss.backward()
    assert loss == 0
    assert not x.grad.any()


@SHAPES
@pytest.mark.parametrize("epsilon", [1e-5, 0.0])
def test_barlow_twins(epsilon: float, shape: tuple[int, int]) -> None:
    x, y = views(*shape)
    assert_same(barlow_twins(x, y, 0.3, epsilon=epsilon), naive_barlow_twins(x, y, 0.3, epsilon), x, y)


@SHAPES
@pytest.mark.parametrize("epsilon", [1e-5, 0.0])
def test_canonical(epsilon: float, shape: tuple[int, int]) -> None:
    x, y = views(*shape)
    assert_same(canonical(x, y, 0.3, epsilon=epsilon), naive_canonical(x, y, 0.3, epsilon), x, y)


@SHAPES
@pytest.mark.parametrize("weights", [(25.0, 25.0, 1.0), (0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0)], ids=str)
def test_vicreg(weights: tuple[float, float, float], shape: tuple[int, int]) -> None:
    x, y = (view.detach().mul(0.8).requires_grad_() for view in views(*shape))
    assert_same(vicreg(x, y, *weights), naive_vicreg(x, y, weights), x, y)


@SHAPES
def test_orthogonality(shape: tuple[int, int]) -> None:
    x, y = views(*shape)
    assert_same(orthogonality(x, y), naive_orthogonality(x, y), x, y)


def test_cosine() -> None:
    x, y = views(7, 4)
    loss = cosine(x, y)
    expected = 1 - F.cosine_similarity(x, y.detach())
    assert_same(loss.mean(), expected.mean(), x)
    assert not torch.autograd.grad(cosine(x, y).mean() + 0 * y.sum(), y)[0].any(), "the target gets no gradient"
    byol = (F.normalize(x) - F.normalize(y)).square().sum(1)
    torch.testing.assert_close(2 * loss.value, byol)


def test_cosine_skips_zero_vectors() -> None:
    x, y = (view.detach() for view in views(4, 3))
    x[1], y[2] = 0, 0
    x[3] = 1e-150
    x.requires_grad_()
    loss = cosine(x, y)
    loss.mean().backward()
    assert loss.valid.tolist() == [True, False, False, True]
    assert loss.value[1] == 0
    assert not x.grad[1:3].any()
    assert x.grad.isfinite().all()


@pytest.mark.parametrize("name", TWO_VIEWS)
@pytest.mark.parametrize("shape", [(5, 3), (2, 6)], ids=str)
def test_gradcheck(shape: tuple[int, int], name: str) -> None:
    assert gradcheck(TWO_VIEWS[name], views(*shape))


def test_gradcheck_uniformity() -> None:
    assert gradcheck(lambda x: uniformity(x, 0.7), views(5, 3)[:1])


@pytest.mark.parametrize("name", TWO_VIEWS)
@given(n=st.integers(0, 7), d=st.integers(1, 9), seed=st.integers(0, 99), same=st.booleans(), flat=st.booleans())
def test_values_and_gradients_stay_finite(name: str, n: int, d: int, seed: int, same: bool, flat: bool) -> None:
    """No rows, one row, equal views, constant dimensions, vectors of zeros."""
    x, y = (view.detach().float() for view in views(n, d, seed))
    x = torch.zeros_like(x) if flat else x
    y = x.clone() if same else y
    loss = TWO_VIEWS[name](x.requires_grad_(), y.requires_grad_())
    loss.backward()
    assert loss >= 0
    assert all(part.isfinite().all() for part in (loss, x.grad, y.grad))


def test_no_correlation_where_a_dimension_never_varies() -> None:
    x, y = views(6, 4)
    with torch.no_grad():
        x[:, 1] = 3
    loss = barlow_twins(x, y, 0.0, epsilon=0.0)
    loss.backward()
    assert loss >= 1
    assert not x.grad[:, 1].isnan().any()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("shape", [(9, 4), (4, 9)], ids=str)
@pytest.mark.parametrize("name", [*TWO_VIEWS, "uniformity", "cosine"])
def test_half_precision_is_raised_under_autocast_too(name: str, shape: tuple[int, int], dtype: torch.dtype) -> None:
    further = {"uniformity": lambda x, y: uniformity(x), "cosine": lambda x, y: cosine(x, y).mean()}
    function = (TWO_VIEWS | further)[name]
    x, y = (view.detach().to(dtype) for view in views(*shape))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = function(x, y)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, function(x.double(), y.double()).float(), rtol=1e-5, atol=1e-5)


def test_uniform_directions_are_more_uniform() -> None:
    x, _ = views(64, 3)
    close = torch.ones_like(x) + 0.01 * x
    assert uniformity(F.normalize(x)) < uniformity(F.normalize(close)) < 0
    assert uniformity(torch.ones(4, 2)) == pytest.approx(0, abs=1e-6)
    assert uniformity(torch.tensor([[0.0], [math.sqrt(0.5)]])) == pytest.approx(-1)


def _ids(row: list[int]) -> Ids:
    return Ids(torch.tensor(row), torch.tensor(row))


@pytest.mark.parametrize("function", [*TWO_VIEWS.values(), cosine])
def test_views_hold_the_same_rows(function: Callable) -> None:
    left, right = (Embeddings(torch.rand(2, 3), _ids(row)) for row in ([0, 1], [1, 0]))
    with pytest.raises(ValueError, match="same rows"):
        function(left, right)
    with pytest.raises(ValueError, match="everywhere"):
        function(*(Embeddings(torch.rand(2, 3), _ids([0, 1]), everywhere=True) for _ in range(2)))
    with pytest.raises(ValueError, match="row by row"):
        function(torch.rand(2, 3), torch.rand(4, 3))


def test_refusals() -> None:
    with pytest.raises(ValueError, match="power"):
        alignment(torch.rand(2, 3), torch.rand(2, 3), power=0.5)
    with pytest.raises(ValueError, match="t must be above 0"):
        uniformity(torch.rand(2, 3), t=0.0)
    with pytest.raises(ValueError, match="epsilon"):
        vicreg(torch.rand(2, 3), torch.rand(2, 3), epsilon=0.0)
