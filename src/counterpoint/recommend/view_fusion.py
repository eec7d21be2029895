"""How the vectors of two views become one: attentional fusion, and what it is compared with."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

Fusion = Literal["aff", "scalar_softmax_bug", "sigmoid_gate", "mlp", "none"]


class AttentionalFusion(nn.Module):
    """w = sigmoid(W m + b + c mean(m) + e) with m = x + r, a weight per number; 2 w x + 2 (1 - w) r.

    W m + b looks at each number (local), c mean(m) + e at the whole vector (global). Source: the class AFF of the
    released code of arXiv 2604.14114, after arXiv 2009.14082, section 3.2.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.local, self.overall = nn.Linear(dim, dim), nn.Linear(1, 1)

    def forward(self, x: Float[Tensor, "n d"], r: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """x and r, weighed number by number."""
        both = x + r
        weight = torch.sigmoid(self.local(both) + self.overall(both.mean(dim=1, keepdim=True)))
        return 2 * weight * x + 2 * (1 - weight) * r


class ScalarFusion(nn.Module):
    """a x + (1 - a) r with one number a per row, made by a linear map of x + r.

    With `softmax` a is the softmax of that one number, so always 1, and r is never used: that is what the release does.
    """

    def __init__(self, dim: int, softmax: bool) -> None:
        super().__init__()
        self.softmax, self.score = softmax, nn.Linear(dim, 1)

    def forward(self, x: Float[Tensor, "n d"], r: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """x and r, weighed row by row."""
        score = self.score(x + r)
        weight = score.softmax(dim=1) if self.softmax else torch.sigmoid(score)
        return weight * x + (1 - weight) * r


class Perceptron(nn.Module):
    """A network of one hidden layer over x and r side by side."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(2 * dim, dim), nn.ReLU(), nn.Linear(dim, dim))

    def forward(self, x: Float[Tensor, "n d"], r: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """What the network makes of both."""
        found: Tensor = self.layers(torch.cat([x, r], dim=1))
        return found


class First(nn.Module):
    """No fusion: x alone."""

    def forward(self, x: Float[Tensor, "n d"], r: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """x as it is."""
        return x


def fusion(kind: Fusion, dim: int) -> nn.Module:
    """A module that takes a view's vectors and those of the other view.

    >>> fusion("none", 2)(torch.ones(1, 2), torch.zeros(1, 2))
    tensor([[1., 1.]])
    """
    if kind == "aff":
        return AttentionalFusion(dim)
    if kind == "mlp":
        return Perceptron(dim)
    return First() if kind == "none" else ScalarFusion(dim, softmax=kind == "scalar_softmax_bug")
