"""What the closed-form baselines share: scaled views, covariances, one pass over all rows."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from counterpoint.multimodal.kinds.kind import Front
from counterpoint.multimodal.table import Table
from counterpoint.multimodal.views import front_of, of_all_ranks
from counterpoint.training import Batch, Clock, Encoded, Method, MethodConfig, Phase


class LinearConfig(MethodConfig):
    """Options of the closed-form baselines."""

    rows: int = Field(100_000, ge=16, description="most training rows used, drawn at random")


class ViewScalers(nn.Module):
    """Each view scaled as the encoders scale it, without a network."""

    def __init__(self, facts: dict[str, Any]) -> None:
        super().__init__()
        self.scalers = nn.ModuleDict({f"view_{name}": front_of(view) for name, view in facts.items()})
        self.widths = {name: front.width for name, front in self.fronts.items()}

    @property
    def fronts(self) -> dict[str, Front]:
        """What makes tensors of rows, by view."""
        return {name.removeprefix("view_"): part for name, part in self.scalers.items() if isinstance(part, Front)}

    def forward(self, views: Mapping[str, Tensor]) -> Encoded:
        """Scaled values and presence of the views given."""
        fronts = self.fronts
        return Encoded(
            {name: fronts[name](values) for name, values in views.items()},
            {name: fronts[name].present(values) for name, values in views.items()},
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
