"""Low-rank updates of a borrowed network: its own weights stay as they are and are not saved with the run."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import linear


class LowRank(nn.Module):
    """A linear layer with frozen weights W plus a learned update: (W + 2 up down) x + b, zero at the start.

    Source: LoRA, arXiv 2106.09685, equation 3, with alpha twice the rank; `down` starts uniform as torch's linear
    layers do, `up` at zero.

    >>> layer = nn.Linear(4, 3)
    >>> torch.equal(LowRank(layer, 2)(torch.ones(1, 4)), layer(torch.ones(1, 4)))
    True
    """

    def __init__(self, layer: nn.Linear, rank: int) -> None:
        super().__init__()
        self.layer = layer
        self.down = nn.Parameter(torch.empty(rank, layer.in_features))
        self.up = nn.Parameter(torch.zeros(layer.out_features, rank))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))

    def forward(self, x: Float[Tensor, "*rows i"]) -> Float[Tensor, "*rows o"]:
        update: Tensor = linear(linear(x, self.down), self.up)
        plain: Tensor = self.layer(x)
        return plain + 2 * update

    @torch.no_grad()
    def merged(self) -> nn.Linear:
        """A plain layer that does the same."""
        plain = nn.Linear(self.layer.in_features, self.layer.out_features, self.layer.bias is not None)
        plain.weight.copy_(self.layer.weight + 2 * self.up @ self.down)
        if self.layer.bias is not None:
            plain.bias.copy_(self.layer.bias)
        return plain


def borrow(network: nn.Module, rank: int, source: str) -> None:
    """Freeze a network and put low-rank updates beside all of its linear layers, in place.

    What it had before is marked as borrowed from `source`, so runs leave it out.
    """
    network.requires_grad_(False)
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Linear):
                setattr(module, name, LowRank(child, rank))
    for module in network.modules():
        if not isinstance(module, LowRank) and next(module.parameters(recurse=False), None) is not None:
            module.borrowed = source  # type: ignore[assignment]


def merge(network: nn.Module) -> None:
    """Put plain layers in the place of low-rank updates, in place."""
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, LowRank):
                setattr(module, name, child.merged())
