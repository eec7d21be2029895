"""The candidate-conditioned gate of Gated Symile, and its scores without anything of size n x m x d."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import normalize, softplus

Neutral = Literal["trainable", "random", "ones", "none"]
SHORTEST = 1e-4  # shorter vectors have no direction; keeps the gradient of a zero vector small


class Gate(nn.Module):
    """How much each view m of a query is trusted when view t of a candidate is sought: w[t, m] in 0..1.

    Symbols of the paper: queries Wq, keys Wk, tau_g = softplus(theta) + 0.1 with theta from log 0.7, NULL = an MLP of
    the candidate plus a bias per target, neutral directions V, alpha = sigmoid(gamma) with gamma from -3.
    `kind="matrix"` replaces attention and NULL by one learned number per (target, view).
    Source: arXiv 2604.05834 and its released code.
    """

    def __init__(
        self,
        views: int,
        dim: int,
        key_dim: int,
        kind: Literal["attention", "matrix"] = "attention",
        activation: Literal["sigmoid", "softmax"] = "sigmoid",
        null: bool = True,
        neutral: Neutral = "trainable",
        gamma: float = -3.0,
    ) -> None:
        super().__init__()
        self.kind, self.activation, self.null, self.neutral_kind = kind, activation, null, neutral
        drawn = normalize(torch.randn(views, dim), dim=1)  # first and always, so that all switches start equal
        if kind == "matrix":
            self.table = nn.Parameter(torch.zeros(views, views))
        else:
            self.query = nn.ModuleList(nn.Linear(dim, key_dim, bias=False) for _ in range(views))
            self.key = nn.ModuleList(nn.Linear(dim, key_dim, bias=False) for _ in range(views))
            self.theta = nn.Parameter(torch.tensor(0.7).log())
            if null:
                self.null_mlp = nn.Sequential(
                    nn.LayerNorm(dim), nn.Linear(dim, key_dim), nn.ReLU(), nn.Linear(key_dim, 1)
                )
                self.null_bias = nn.Parameter(torch.zeros(views))
        if neutral == "trainable":
            self.directions = nn.Parameter(drawn)
        elif neutral == "random":
            self.register_buffer("directions", drawn)
        else:
            self.register_buffer("directions", torch.full((views, dim), dim**-0.5))
        self.gamma = nn.Parameter(torch.tensor(gamma))

    @property
    def alpha(self) -> Float[Tensor, ""]:
        """The share of the gated vector that is mixed in; starts at 0.047, almost ungated."""
        return self.gamma.sigmoid()

    @property
    def temperature(self) -> Float[Tensor, ""]:
        """Temperature of the gate's own scores; starts at softplus(log 0.7) + 0.1 = 0.631."""
        return softplus(self.theta) + 0.1

    @property
    def neutral(self) -> Float[Tensor, "views d"]:
        """Unit vectors that a distrusted view is drawn towards; they also stand in for an absent view."""
        return normalize(self.directions, dim=1)

    def keys(self, m: int, vectors: Float[Tensor, "n d"]) -> Float[Tensor, "n k"]:
        """What a view of the queries shows the gate, computed once and used for every target."""
        return vectors if self.kind == "matrix" else normalize(self.key[m](vectors), dim=1, eps=SHORTEST)

    def weights(self, seek: "Seek", paired: bool = False) -> list[Float[Tensor, "n _"]]:
        """w[t, m] for each other view m: n x m for all pairs; n x 1 if candidate i belongs to query i (`paired`)."""
        t = seek.target
        if self.kind == "matrix":
            return [
                self.table[t, m].sigmoid().expand(len(v), 1) for m, v in zip(seek.others, seek.vectors, strict=True)
            ]
        queries = normalize(self.query[t](seek.candidates), dim=1, eps=SHORTEST) / self.temperature
        match = [(k * queries).sum(dim=1, keepdim=True) if paired else k @ queries.T for k in seek.keys]
        null = None
        if self.null:
            null = (self.null_mlp(seek.candidates) + self.null_bias[t]) / self.temperature
            null = null if paired else null.T
        if self.activation == "sigmoid":
            return [s.sigmoid() if null is None else s.sigmoid() * (-null).sigmoid() for s in match]
        shown = [s if p.all() else s.masked_fill(~p[:, None], -1e4) for s, p in zip(match, seek.present, strict=True)]
        rivals = shown if null is None else [*shown, null.expand_as(shown[0])]
        return list(torch.stack(rivals).softmax(dim=0)[: len(shown)])

    def shrinkage(self, weight: Float[Tensor, "n _"]) -> Float[Tensor, "n _"]:
        """How far a view is drawn towards its neutral direction: alpha (1 - w)."""
        return torch.addcmul(self.alpha, self.alpha, weight, value=-1)

    def inverse_length(
        self, m: int, shrink: Float[Tensor, "n _"], vectors: Float[Tensor, "n d"]
    ) -> Float[Tensor, "n _"]:
        """1 / |(1 - b) e + b v| for unit vectors e and v: the squared length is 1 - 2 b (1 - b) (1 - <e, v>)."""
        gap = 2 * (vectors @ self.neutral[m][:, None] - 1)
        return (torch.addcmul(shrink, shrink, shrink, value=-1) * gap + 1).clamp(min=1e-12).rsqrt()

    def products(self, seek: "Seek") -> Float[Tensor, "n m"]:
        """`<c_j, prod_m g_m(i, j)>` for every query i and candidate j, exactly, by 2^(M-1) matrix products.

        A gated vector is a multiple of (1 - b) e + b v with a scalar b per pair, so the product over views is
        multilinear: plain products of e's and v's, interpolated by b one view after the other.
        """
        shrinks = [self.shrinkage(w) for w in self.weights(seek)]
        neutral = self.neutral
        if self.neutral_kind == "none":  # attenuated, not renormalised
            score = _multiply(seek.vectors) @ seek.candidates.T
            return _multiply([score, *(1 - b for b in shrinks)])
        table = []
        for choice in product((0, 1), repeat=len(seek.others)):
            sides = [neutral[m][None] if v else e for m, e, v in zip(seek.others, seek.vectors, choice, strict=True)]
            table.append(_multiply(sides) @ seek.candidates.T)
        for b in shrinks:
            half = len(table) // 2
            table = [torch.lerp(plain, drawn, b) for plain, drawn in zip(table[:half], table[half:], strict=True)]
        views = zip(seek.others, shrinks, seek.vectors, strict=True)
        return _multiply([table[0], *(self.inverse_length(m, b, e) for m, b, e in views)])

    def own(self, seek: "Seek") -> list[Float[Tensor, "n d"]]:
        """Each row's gated vectors for its own target (negatives `n` and `n_squared`)."""
        gated = []
        for m, weight, vector in zip(seek.others, self.weights(seek, paired=True), seek.vectors, strict=True):
            b = self.shrinkage(weight)
            if self.neutral_kind == "none":
                gated.append((1 - b) * vector)
            else:
                drawn = (1 - b) * vector + b * self.neutral[m]
                gated.append(drawn * self.inverse_length(m, b, vector))
        return gated


@dataclass(frozen=True)
class Seek:
    """Queries that look for view `target` among candidates: what is known of every other view."""

    target: int
    candidates: Float[Tensor, "m d"]
    others: Sequence[int]
    vectors: Sequence[Float[Tensor, "n d"]]
    keys: Sequence[Float[Tensor, "n _"]]
    present: Sequence[Bool[Tensor, " n"]]


def _multiply(tensors: Sequence[Tensor]) -> Tensor:
    result = tensors[0]
    for tensor in tensors[1:]:
        result = result * tensor
    return result
