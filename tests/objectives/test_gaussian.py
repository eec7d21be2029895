"""Gaussian rows against torch.distributions in float64: values, gradients, and samples of the right spread."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.distributions import Independent, Normal, kl_divergence

from counterpoint.objectives import Gaussian, gaussian_divergence


def drawn(seed: int, rows: int = 5, dim: int = 3) -> Gaussian:
    generator = torch.Generator().manual_seed(seed)
    mean, log_variance = (torch.randn(rows, dim, generator=generator, dtype=torch.float64) for _ in range(2))
    return Gaussian(mean.requires_grad_(), log_variance.requires_grad_())


def oracle(rows: Gaussian, other: Gaussian | None = None) -> Tensor:
    one = Normal(rows.mean, (rows.log_variance / 2).exp())
    two = Normal(torch.zeros_like(rows.mean), 1.0) if other is None else Normal(other.mean, other.variance.sqrt())
    return kl_divergence(Independent(one, 1), Independent(two, 1))


@given(st.integers(0, 50), st.booleans())
def test_divergence_is_that_of_torch_distributions(seed: int, standard: bool) -> None:
    rows, other = drawn(seed), None if standard else drawn(seed + 100)
    found = gaussian_divergence(rows, other).value
    expected = oracle(rows, other)
    torch.testing.assert_close(found, expected)
    leaves = [rows.mean, rows.log_variance] + ([] if other is None else [other.mean, other.log_variance])
    ours = torch.autograd.grad(found.sum(), leaves)
    theirs = torch.autograd.grad(expected.sum(), leaves)
    for mine, wanted in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, wanted)


def test_a_row_is_no_distance_from_itself_and_the_two_directions_differ() -> None:
    one, other = drawn(0), drawn(1)
    assert torch.allclose(gaussian_divergence(one, one).value, torch.zeros(5, dtype=torch.float64))
    assert not torch.allclose(gaussian_divergence(one, other).value, gaussian_divergence(other, one).value)


def test_samples_have_the_standard_deviation_and_not_the_variance() -> None:
    """EAU's code takes exp(log variance) for a standard deviation."""
    wide = Gaussian(torch.full((100_000, 1), 2.0), torch.full((100_000, 1), 4.0).log())
    sample = wide.sample(torch.randn(100_000, 1, generator=torch.Generator().manual_seed(0)))
    assert abs(float(sample.std()) - 2.0) < 0.02
    assert abs(float(sample.mean()) - 2.0) < 0.02


def test_half_precision_is_raised() -> None:
    rows = Gaussian(torch.ones(2, 3, dtype=torch.bfloat16), torch.zeros(2, 3, dtype=torch.bfloat16))
    assert gaussian_divergence(rows).value.dtype == torch.float32
