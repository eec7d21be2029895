"""Debiased, hardness-weighted and decoupled contrast against their formulas in plain float64."""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from counterpoint.objectives import Embeddings, Ids, info_nce, nt_xent, stacked
from counterpoint.objectives.weighted import debiased, decoupled, hardness_weighted
from objectives import oracle
from objectives.test_infonce import assert_same, views

N = 6
ROW = torch.arange(N)
IDS = {
    "pairs": Ids(ROW, ROW),
    "classes": Ids(ROW, torch.tensor([0, 0, 1, 1, 1, -1])),
    "one class": Ids(ROW, torch.zeros(N, dtype=torch.int64)),
    "exclude": Ids(ROW, ROW, exclude=torch.stack([ROW // 2, ROW % 4], 1)),
    "within": Ids(ROW, ROW, within=ROW // 3),
    "weights": Ids(ROW, ROW // 2, log_weight=torch.tensor([0.0, 1.5, -2.0, -torch.inf, 0.5, 0.0])),
}


def sides(ids: Ids, a: torch.Tensor, b: torch.Tensor) -> tuple[Embeddings, Embeddings]:
    return Embeddings(a, ids), Embeddings(b, ids)


def dense(left: Embeddings, right: Embeddings, t: torch.Tensor) -> tuple[torch.Tensor, list[list[str | None]], Ids]:
    """Logits of both views in one set, what each pair is, and the ids."""
    both = stacked(left, right)
    return both.vectors @ both.vectors.T / t, oracle.kinds(both.ids, both.ids, "excluded"), both.ids


def of_kind(row: torch.Tensor, table: list[str | None], kind: str) -> torch.Tensor:
    return row[torch.tensor([this == kind for this in table])]


def corrected(
    left: Embeddings, right: Embeddings, t: torch.Tensor, beta: float, prior: float
) -> tuple[torch.Tensor, list[bool]]:
    """The formula with its exponentials, a row at a time."""
    logits, table, ids = dense(left, right, t)
    weight = torch.ones(len(ids), dtype=logits.dtype) if ids.log_weight is None else ids.log_weight.double().exp()
    values, valid = [], []
    for row, kinds in zip(logits, table, strict=True):
        positive, negative = (of_kind(row, kinds, kind) for kind in ("positive", "negative"))
        of_positive, of_negative = (of_kind(weight, kinds, kind) for kind in ("positive", "negative"))
        valid.append(bool(len(positive) and len(negative)))
        if not valid[-1]:
            values.append(row.new_tensor(0.0))
            continue
        tilted = (of_negative * (beta * negative).exp()).clamp(min=0)
        mean = (tilted * negative.exp()).sum() / tilted.sum()
        if of_positive.sum() > 0:
            tilted = of_positive * (beta * positive).exp()
            mean = mean - prior * (tilted * positive.exp()).sum() / tilted.sum()
        least = (-1 / t).exp()
        mass = of_negative.sum() * torch.maximum(mean / (1 - prior), least)
        values.append(((of_positive * positive.exp()).sum() + mass).log() - positive.mean())
    return torch.stack(values), valid


@pytest.mark.parametrize("temperature", [0.5, 0.02])
@pytest.mark.parametrize(("beta", "prior"), [(0.0, 0.1), (0.0, 0.0), (1.0, 0.1), (0.5, 0.0), (2.0, 0.02)])
@pytest.mark.parametrize("name", IDS)
def test_corrected_negatives_are_the_formula(
    name: str, beta: float, prior: float, temperature: float, path: str
) -> None:
    a, b = views(N)
    t = torch.tensor(temperature, dtype=torch.float64, requires_grad=True)
    left, right = sides(IDS[name], a, b)
    value, valid = corrected(left, right, t, beta, prior)
    loss = hardness_weighted(left, right, temperature=t, concentration=beta, prior=prior)
    assert loss.valid.tolist() == valid
    assert_same(loss.value, value, a, b, t)
    if beta == 0:
        assert torch.equal(debiased(left, right, temperature=t, prior=prior).value, loss.value)


@pytest.mark.parametrize("sigma", [None, 0.5, 0.1])
@pytest.mark.parametrize("name", IDS)
def test_decoupled_is_the_formula(name: str, sigma: float | None, path: str) -> None:
    a, b = views(N)
    t = torch.tensor(0.1, dtype=torch.float64, requires_grad=True)
    left, right = sides(IDS[name], a, b)
    logits, table, ids = dense(left, right, t)
    mass = oracle.mass(logits, table, "negatives", ids.log_weight)
    means = [of_kind(row, kinds, "positive") for row, kinds in zip(logits, table, strict=True)]
    positive = torch.stack([mean.mean() if len(mean) else mean.new_tensor(-torch.inf) for mean in means])
    weight = torch.ones_like(positive)
    if sigma is not None:
        share = (positive * t / sigma).detach().exp()
        weight = 2 - share / share[positive > -torch.inf].mean()
    loss = decoupled(left, right, temperature=t, sigma=sigma)
    counted = (positive > -torch.inf) & (mass > -torch.inf)
    assert loss.valid.tolist() == counted.tolist()
    assert_same(loss.value, torch.where(counted, mass - weight * positive, 0), a, b, t)


def authors(a: torch.Tensor, b: torch.Tensor, t: float, beta: float, prior: float) -> torch.Tensor:
    """The matrix form in which the papers give the loss of two views: 2N - 2 negatives each."""
    z, n = torch.cat([a, b]), len(a)
    others = ~torch.eye(n, dtype=torch.bool).repeat(2, 2)
    positive = (a * b).sum(1).div(t).exp().repeat(2)
    negative = (z @ z.T / t).exp()[others].view(2 * n, 2 * n - 2)
    number = 2 * n - 2
    importance = negative**beta
    reweighted = (importance * negative).sum(1) / importance.mean(1)
    mass = ((-prior * number * positive + reweighted) / (1 - prior)).clamp(min=number * math.exp(-1 / t))
    return -(positive / (positive + mass)).log()


@pytest.mark.parametrize(("beta", "prior"), [(0.0, 0.1), (1.0, 0.1), (0.5, 0.01)])
def test_two_plain_views_are_the_form_of_the_papers(beta: float, prior: float) -> None:
    a, b = views(12)
    loss = hardness_weighted(a, b, temperature=0.5, concentration=beta, prior=prior)
    assert_same(loss.value, authors(a, b, 0.5, beta, prior), a, b)


def test_nothing_corrected_is_nt_xent(path: str) -> None:
    a, b = views()
    expected = nt_xent(a, b, temperature=0.1).value
    assert_same(debiased(a, b, temperature=0.1, prior=0.0).value, expected, a, b)
    assert_same(decoupled(a, b, temperature=0.1, sigma=1e9).value, decoupled(a, b, temperature=0.1).value, a, b)


def test_decoupled_is_info_nce_over_negatives(path: str) -> None:
    a, b = views()
    both = stacked(*sides(IDS["pairs"], a, b))
    expected = info_nce(both, both, temperature=0.1, itself="excluded", over="negatives").value
    assert_same(decoupled(a, b, temperature=0.1).value, expected, a, b)


def test_the_least_mass_is_kept_where_the_positive_takes_all_off(path: str) -> None:
    a, b = views()
    near = F.normalize(a.detach() + 0.01 * b.detach()).requires_grad_()
    loss = debiased(a, near, temperature=0.1, prior=0.5)
    positive = (a * near).sum(1).repeat(2) / 0.1
    assert_same(loss.value, ((positive.exp() + 10 * math.exp(-10)).log() - positive), a, near)


@given(
    temperature=st.sampled_from([1.0, 0.1, 0.005]),
    beta=st.sampled_from([0.0, 0.3, 2.0]),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
    n=st.integers(1, 9),
    spoil=st.sampled_from(["nothing", "duplicates", "zeros"]),
)
def test_single_precision_neither_overflows_nor_drifts(
    temperature: float, beta: float, dtype: torch.dtype, n: int, spoil: str
) -> None:
    a, b = (view.detach().to(dtype) for view in views(n))
    for view in (a, b):
        if spoil == "duplicates":
            view[:] = view[0]
        elif spoil == "zeros":
            view[::2] = 0
    half = a.requires_grad_()
    loss = hardness_weighted(half, b, temperature=temperature, concentration=beta, prior=0.1)
    exact = hardness_weighted(half.double(), b.double(), temperature=temperature, concentration=beta, prior=0.1)
    assert loss.value.dtype == torch.float32
    assert loss.valid.tolist() == exact.valid.tolist()
    torch.testing.assert_close(loss.value.double(), exact.value, rtol=1e-4, atol=1e-5 / temperature)
    assert torch.autograd.grad(loss.mean(), half, materialize_grads=True, allow_unused=True)[0].isfinite().all()
    weighted = decoupled(half, b, temperature=temperature, sigma=0.01)
    assert weighted.value.isfinite().all()


def test_gradcheck() -> None:
    a, b = views(3)
    ids = replace(IDS["classes"][:3], log_weight=torch.tensor([0.0, 0.7, -0.4]))
    t = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)

    def value(a: torch.Tensor, b: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return hardness_weighted(*sides(ids, a, b), temperature=t, concentration=0.7, prior=0.1).value

    assert torch.autograd.gradcheck(value, (a, b, t))


def test_nan_stays_visible() -> None:
    a, b = (view.detach() for view in views())
    b[2, 0] = torch.nan
    for loss in (debiased(a, b, temperature=0.1), decoupled(a, b, temperature=0.1, sigma=0.5)):
        assert loss.value.isnan().all()


@pytest.mark.parametrize("prior", [-0.1, 1.0, math.nan])
def test_a_prior_is_a_probability_below_1(prior: float) -> None:
    with pytest.raises(ValueError, match="prior"):
        debiased(*views(), temperature=0.1, prior=prior)


def test_a_concentration_is_not_negative() -> None:
    with pytest.raises(ValueError, match="concentration"):
        hardness_weighted(*views(), temperature=0.1, concentration=-0.5)


@pytest.mark.parametrize("sigma", [0.0, -1.0])
def test_sigma_is_positive(sigma: float) -> None:
    with pytest.raises(ValueError, match="sigma"):
        decoupled(*views(), temperature=0.1, sigma=sigma)
