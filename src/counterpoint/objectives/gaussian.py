"""Gaussians with a diagonal covariance, one per row: what a head says of a row when it also says how sure it is."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from counterpoint.objectives.relation import RowLoss


@dataclass(frozen=True)
class Gaussian:
    """One normal distribution per row: its mean and the logarithm of its variance in each dimension.

    >>> rows = Gaussian(torch.zeros(2, 3), torch.zeros(2, 3))
    >>> rows.sample(torch.ones(2, 3))[0]
    tensor([1., 1., 1.])
    """

    mean: Float[Tensor, "n d"]
    log_variance: Float[Tensor, "n d"]

    @property
    def variance(self) -> Float[Tensor, "n d"]:
        """The square of the standard deviation."""
        return self.log_variance.exp()

    def sample(self, noise: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """The row's value for standard normal noise: mean + noise * standard deviation (arXiv 1312.6114, section 2.4).

        Gradients go to both the mean and the variance.
        """
        return self.mean + noise * (0.5 * self.log_variance).exp()


def gaussian_divergence(rows: Gaussian, other: Gaussian | None = None) -> RowLoss:
    """KL(rows || other), in nats, summed over dimensions; `other` is the standard normal when left out.

    Not symmetric. Half precision is raised to fp32 on entry. Source: arXiv 1312.6114, appendix B (against the standard
    normal); the general form is the closed form for two normal distributions.

    >>> rows = Gaussian(torch.tensor([[1.0, 2.0]]), torch.zeros(1, 2))
    >>> gaussian_divergence(rows).value, gaussian_divergence(rows, rows).value
    (tensor([2.5000]), tensor([0.]))
    """
    mean, log_variance = _raised(rows.mean), _raised(rows.log_variance)
    if other is None:
        value = 0.5 * (mean.square() + log_variance.exp() - log_variance - 1).sum(dim=1)
    else:
        gap, theirs = mean - _raised(other.mean), _raised(other.log_variance)
        spread = (log_variance - theirs).exp() + gap.square() * (-theirs).exp()
        value = 0.5 * (theirs - log_variance + spread - 1).sum(dim=1)
    return RowLoss(value, torch.ones_like(value, dtype=torch.bool), skips=False)


def _raised(values: Tensor) -> Tensor:
    return values.to(torch.promote_types(values.dtype, torch.float32))
