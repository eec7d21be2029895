"""The candidate-conditioned gate of Gated Symile, and its scores without anything of size n x m x d."""

from collections.abc import Sequence
from itertools import product
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import normalize, softplus

Neutral = Literal["trainable", "random", "ones", "none"]


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
            self.directions = nn.Parameter(normalize(torch.randn(views, dim), dim=1))
        elif neutral == "random":
            self.register_buffer("directions", normalize(torch.randn(views, dim), dim=1))
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

    def weights(
        self, t: int, others: Sequence[int], candidates: Float[Tensor, "m d"], vectors: Sequence[Float[Tensor, "n d"]],
        present: Sequence[Bool[Tensor, " n"]], paired: bool = False,
    ) -> list[Float[Tensor, "n _"]]:  # fmt: skip
        """w[t, m] for each other view m: n x m for all pairs; n x 1 if candidate i belongs to query i (`paired`)."""
        if self.kind == "matrix":
            return [self.table[t, m].sigmoid().expand(len(v), 1) for m, v in zip(others, vectors, strict=True)]
        queries = normalize(self.query[t](candidates), dim=1) / self.temperature
        keys = [normalize(self.key[m](v), dim=1) for m, v in zip(others, vectors, strict=True)]
        match = [(k * queries).sum(dim=1, keepdim=True) if paired else k @ queries.T for k in keys]
        null = None
        if self.null:
            null = (self.null_mlp(candidates) + self.null_bias[t]) / self.temperature
            null = null if paired else null.T
        if self.activation == "sigmoid":
            open_share = 1.0 if null is None else (-null).sigmoid()
            return [s.sigmoid() * open_share for s in match]
        shown = [s if p.all() else s.masked_fill(~p[:, None], -1e4) for s, p in zip(match, present, strict=True)]
        rivals = shown if null is None else [*shown, null.expand_as(shown[0])]
        return list(torch.stack(rivals).softmax(dim=0)[: len(shown)])

    def coefficients(
        self, m: int, weight: Float[Tensor, "n _"], vectors: Float[Tensor, "n d"]
    ) -> tuple[Float[Tensor, "n _"], Float[Tensor, "n _"] | None]:
        """(A, B) with gated vector g = A e_m + B v_m, of unit length: both depend on the pair only through its weight.

        Without neutral directions the view is only attenuated, not renormalised, and B is None.
        """
        shrink = self.alpha * (1 - weight)
        if self.neutral_kind == "none":
            return 1 - shrink, None
        a, b = 1 - shrink, shrink
        cosine = vectors @ self.neutral[m][:, None]
        inverse = (a * a + b * b + 2 * a * b * cosine).rsqrt()
        return a * inverse, b * inverse

    def products(
        self, t: int, others: Sequence[int], candidates: Float[Tensor, "m d"], vectors: Sequence[Float[Tensor, "n d"]],
        present: Sequence[Bool[Tensor, " n"]],
    ) -> Float[Tensor, "n m"]:  # fmt: skip
        """`<c_j, prod_m g_m(i, j)>` for every query i and candidate j, exactly, by 2^(M-1) matrix products.

        A gated vector is A e + B v with scalars A, B per pair, so the product of the views is a sum of products of
        plain vectors, each weighted by a product of scalars.
        """
        weights = self.weights(t, others, candidates, vectors, present)
        parts = [self.coefficients(m, w, v) for m, w, v in zip(others, weights, vectors, strict=True)]
        neutral = self.neutral
        total: Tensor | None = None
        for choice in product((0, 1), repeat=len(others)):
            factors = [part[pick] for part, pick in zip(parts, choice, strict=True)]
            if any(factor is None for factor in factors):
                continue
            sides = [neutral[m][None] if pick else v for m, v, pick in zip(others, vectors, choice, strict=True)]
            term = _multiply(sides) @ candidates.T
            for factor in factors:
                term = term * factor
            total = term if total is None else total + term
        assert total is not None
        return total

    def own(
        self, t: int, others: Sequence[int], candidates: Float[Tensor, "n d"], vectors: Sequence[Float[Tensor, "n d"]],
        present: Sequence[Bool[Tensor, " n"]],
    ) -> list[Float[Tensor, "n d"]]:  # fmt: skip
        """Each row's gated vectors for its own target (negatives `n` and `n_squared`)."""
        gated = []
        weights = self.weights(t, others, candidates, vectors, present, paired=True)
        for m, weight, vector in zip(others, weights, vectors, strict=True):
            a, b = self.coefficients(m, weight, vector)
            gated.append(a * vector if b is None else a * vector + b * self.neutral[m])
        return gated


def _multiply(tensors: Sequence[Tensor]) -> Tensor:
    result = tensors[0]
    for tensor in tensors[1:]:
        result = result * tensor
    return result
