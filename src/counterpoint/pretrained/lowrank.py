"""Low-rank updates of a borrowed network: its own weights stay as they are and are not saved with the run."""

import math
from collections.abc import Collection

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import linear

from counterpoint.errors import UserError


class LowRank(nn.Module):
    """A linear layer with frozen weights W and a learned update: (W + scale strength up down) x + b, zero at the start.

    `dropout` acts on what goes into the update, in training alone. `strength` turns the whole update up and down after
    training; it scales one factor only.
    Source: LoRA, arXiv 2106.09685, equation 3, where the scale is alpha over the rank; here alpha is twice the rank by
    default. `down` starts uniform as torch's linear layers do, `up` at zero.

    >>> layer = nn.Linear(4, 3)
    >>> torch.equal(LowRank(layer, 2)(torch.ones(1, 4)), layer(torch.ones(1, 4)))
    True
    """

    def __init__(self, layer: nn.Linear, rank: int, scale: float = 2.0, dropout: float = 0.0) -> None:
        super().__init__()
        self.layer = layer
        self.scale, self.strength = scale, 1.0
        self.dropout = nn.Dropout(dropout)
        self.down = nn.Parameter(torch.empty(rank, layer.in_features))
        self.up = nn.Parameter(torch.zeros(layer.out_features, rank))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))

    def forward(self, x: Float[Tensor, "*rows i"]) -> Float[Tensor, "*rows o"]:
        update: Tensor = linear(linear(self.dropout(x), self.down), self.up)
        plain: Tensor = self.layer(x)
        return plain + self.scale * self.strength * update

    @torch.no_grad()
    def merged(self) -> nn.Linear:
        """A plain layer that does the same."""
        plain = nn.Linear(self.layer.in_features, self.layer.out_features, self.layer.bias is not None)
        plain.weight.copy_(self.layer.weight + self.scale * self.strength * self.up @ self.down)
        if self.layer.bias is not None:
            plain.bias.copy_(self.layer.bias)
        return plain


def borrow(
    network: nn.Module,
    rank: int,
    source: str,
    *,
    only: Collection[str] | None = None,
    scale: float = 2.0,
    dropout: float = 0.0,
) -> None:
    """Freeze a network and put low-rank updates beside its linear layers, in place; `only` those with such a name.

    What it had before is marked as borrowed from `source`, so runs leave it out. Raises `UserError` when no linear
    layer has one of the names.
    """
    network.requires_grad_(False)
    found = 0
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Linear) and (only is None or name in only):
                setattr(module, name, LowRank(child, rank, scale, dropout))
                found += 1
    if only is not None and not found:
        raise UserError(f"{source}: none of its linear layers is named {' or '.join(sorted(only))}; name others")
    for module in network.modules():
        if not isinstance(module, LowRank) and next(module.parameters(recurse=False), None) is not None:
            module.borrowed = source  # type: ignore[assignment]


def updates(network: nn.Module) -> dict[str, LowRank]:
    """The low-rank updates of a network by the names of their layers."""
    return {name: module for name, module in network.named_modules() if isinstance(module, LowRank)}


def strengthen(network: nn.Module, strength: float) -> None:
    """Turn all low-rank updates of a network to a strength; 0 leaves the network as it was borrowed."""
    for update in updates(network).values():
        update.strength = strength


def merge(network: nn.Module) -> None:
    """Put plain layers in the place of low-rank updates, in place."""
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, LowRank):
                setattr(module, name, child.merged())
