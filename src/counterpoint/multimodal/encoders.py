"""Networks shared by the wing's methods: one encoder per view, all ending in unit vectors of one width."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import normalize

from counterpoint.multimodal.table import Table
from counterpoint.multimodal.views import Standardise, batch_of, hide_views, measure_views
from counterpoint.objectives import Embeddings, false_negatives
from counterpoint.training import Batch, Clock, Encoded, Method, SGDConfig, in_chunks

SHORTEST = 1e-4  # shorter vectors have no direction: a row whose hidden units are all off gives 0, and no huge gradient

WATCH = 50
"""Steps from one look at the false negatives of a batch to the next; a look costs a forward pass of a loss."""


class ViewsConfig(SGDConfig):
    """Options of every method with one encoder per view.

    The encoder is the one of arXiv 2604.05834's synthetic task: `layers` hidden layers of `hidden` units with ReLU,
    then a linear map to `dim`. `dropout` and `noise` (deviation of Gaussian noise on the scaled inputs) are for small
    tables; `hide` is the share of views hidden at random in training, for queries that give only some views.
    """

    epochs: int = Field(0, ge=0, description="passes over the rows; 0: as many as make 2,000 steps, from 5 to 200")
    batch_size: int = Field(128, ge=2, description="rows per step; every row is compared with all others of its batch")

    scaling: Literal["columns", "none"] = Field("columns", description="scale each number by its training rows, or not")
    dim: int = Field(256, ge=2, description="numbers in a vector of the joint space")
    hidden: int = Field(256, ge=1, description="units of a hidden layer")
    layers: int = Field(2, ge=0, description="hidden layers of an encoder")
    dropout: float = Field(0.0, ge=0, lt=1, description="dropout after each hidden layer")
    noise: float = Field(0.0, ge=0, description="deviation of noise added to scaled inputs in training")
    hide: float = Field(0.0, ge=0, lt=1, description="share of views hidden at random in training")


class Noise(nn.Module):
    """Gaussian noise while training."""

    def __init__(self, deviation: float) -> None:
        super().__init__()
        self.deviation = deviation

    def forward(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        return x + self.deviation * torch.randn_like(x) if self.training and self.deviation else x


class ViewEncoder(nn.Module):
    """Raw values of one view -> unit vectors."""

    def __init__(self, facts: dict[str, Any], options: ViewsConfig) -> None:
        super().__init__()
        self.standardise = Standardise(facts)
        widths = [self.standardise.width] + [options.hidden] * options.layers
        layers: list[nn.Module] = [Noise(options.noise)] if options.noise else []
        for inputs, outputs in pairwise(widths):
            layers += [_linear(inputs, outputs), nn.ReLU()]
            layers += [nn.Dropout(options.dropout)] if options.dropout else []
        self.net = nn.Sequential(*layers, _linear(widths[-1], options.dim))

    def forward(self, values: Float[Tensor, "n w"]) -> Float[Tensor, "n d"]:
        return normalize(self.net(self.standardise(values)), dim=1, eps=SHORTEST)


class ViewEncoders(nn.Module):
    """One encoder per view, each initialised from its own stream."""

    def __init__(self, method: Method, facts: dict[str, Any]) -> None:
        super().__init__()
        self.names = list(facts)
        self.towers = nn.ModuleDict()
        for name, view in facts.items():
            with method.seeded(f"view {name}"):
                self.towers[f"view_{name}"] = ViewEncoder(view, method.options)

    def forward(self, views: Mapping[str, Float[Tensor, "n _"]]) -> Encoded:
        """Vectors and presence of the views given."""
        vectors, present = {}, {}
        for name, values in views.items():
            tower = self.towers[f"view_{name}"]
            assert isinstance(tower, ViewEncoder)
            vectors[name] = tower(values)
            present[name] = tower.standardise.present(values)
        return Encoded(vectors, present)


def _linear(inputs: int, outputs: int) -> nn.Linear:
    """Kaiming-normal weights over the fan-out, zero bias (arXiv 2604.05834, released code)."""
    layer = nn.Linear(inputs, outputs)
    nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    nn.init.zeros_(layer.bias)
    return layer


# What every method with one encoder per view does alike; assigned in the class bodies of the methods.


def measure(self: Method, data: Table) -> dict[str, Any]:
    """Width, scale and gaps of each view."""
    return {"views": measure_views(data, scaled=self.options.scaling == "columns")}


def encode(self: Any, views: dict[str, Float[Tensor, "n _"]]) -> Encoded:
    """Unit vectors of raw views; while training in chunks of rows if the Trainer says so."""
    encoded: Encoded = in_chunks(self.encoders, views, self.chunk if self.training else 0)
    return encoded


def watch(self: Any, encoded: Encoded, batch: Batch, clock: Clock) -> None:
    """Note now and then which share of the in-batch negatives is at least as near as the positive (first two views)."""
    if clock.step % WATCH:
        return
    one, other = list(encoded.vectors)[:2]
    both = encoded.present[one] & encoded.present[other]
    sides = [Embeddings(encoded.vectors[name][both], batch.ids[both]) for name in (one, other)]
    self.note(false_negatives=false_negatives(*sides).share)


def batch(self: Method, data: Table, rows: Int[Tensor, " n"], generator: torch.Generator) -> Batch:
    """Raw values of some rows, a share of the views hidden if the options say so."""
    made = batch_of(data, rows)
    if self.options.hide:
        hide_views(made, self.options.hide, generator)
    return made


def clamp_scale(self: Any, batch: Any, clock: Clock) -> None:
    """Keep the learned scale under its cap."""
    self.scale.clamp_()
