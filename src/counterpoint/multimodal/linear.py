"""What the closed-form baselines share: scaled views, covariances, one pass over all rows."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from counterpoint.multimodal.table import Table
from counterpoint.multimodal.views import Standardise, of_all_ranks
from counterpoint.training import Batch, Clock, Encoded, Method, MethodConfig, Phase


class LinearConfig(MethodConfig):
    """Options of the closed-form baselines."""

    rows: int = Field(100_000, ge=16, description="most training rows used, drawn at random")


class ViewScalers(nn.Module):
    """Each view scaled as the encoders scale it, without a network."""

    def __init__(self, facts: dict[str, Any]) -> None:
        super().__init__()
        self.scalers = nn.ModuleDict({f"view_{name}": Standardise(view) for name, view in facts.items()})
        self.widths = {name: self._of(name).width for name in facts}

    def _of(self, name: str) -> Standardise:
        scaler = self.scalers[f"view_{name}"]
        assert isinstance(scaler, Standardise)
        return scaler

    def forward(self, views: Mapping[str, Float[Tensor, "n _"]]) -> Encoded:
        """Scaled values and presence of the views given."""
        return Encoded(
            {name: self._of(name)(values) for name, values in views.items()},
            {name: self._of(name).present(values) for name, values in views.items()},
        )


def whole_rows(method: Method, data: Table, visit: Callable[[Batch, Clock], None]) -> Phase:
    """A pass that sees all rows at once (at most `rows` of them, drawn at random)."""
    most: int = method.options.rows

    def plan(generator: torch.Generator) -> list[Tensor]:
        if len(data) <= most:
            return [torch.arange(len(data))]
        return [torch.randperm(len(data), generator=generator)[:most].sort().values]

    def solve(batch: Batch, clock: Clock) -> None:
        visit(of_all_ranks(batch), clock)

    return method.phase("solve", data, plan=plan, visit=solve)


def covariances(views: Sequence[Float[Tensor, "n _"]]) -> list[list[Float[Tensor, "_ _"]]]:
    """Blocks of the covariance of several views, in float64."""
    centred = [v.double() - v.double().mean(dim=0) for v in views]
    return [[a.T @ b / len(a) for b in centred] for a in centred]


class Spectrum:
    """A covariance, decomposed once, and its inverse root with a ridge given as a share of its mean variance.

    >>> Spectrum(4 * torch.diag(torch.ones(2))).inverse_root(ridge=0.0)
    tensor([[0.5000, 0.0000],
            [0.0000, 0.5000]])
    """

    def __init__(self, covariance: Float[Tensor, "p p"]) -> None:
        self.values, self.vectors = torch.linalg.eigh(covariance)

    def inverse_root(self, ridge: float) -> Float[Tensor, "p p"]:
        """(covariance + ridge * its mean variance)^(-1/2)."""
        floor = ridge * self.values.mean() + 1e-10 * self.values.max().clamp(min=1e-10)
        root: Tensor = self.vectors * (self.values.clamp(min=0) + floor).rsqrt() @ self.vectors.T
        return root
