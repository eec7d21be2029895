"""Token sequences of several views fused by how certain each is: attention, Gaussian heads, weights, a classifier."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from counterpoint.multimodal.kinds.kind import Front
from counterpoint.multimodal.tokens import Tokens, tokens_of
from counterpoint.objectives import Gaussian

Fusion = Literal["precision", "variance", "gate", "uniform", "concat", "energy"]
STACKED = ("gate", "concat")
UNWEIGHTED = ("uniform", "concat", "energy")
"""Whose latents count alike when they are fused; those of "energy" are not: their decisions are."""
Order = Literal["cross-self", "self-cross"]
INTERACTION = "interaction"
"""The name of the latent that attention makes of all views, beside those of the views."""
LOG_VARIANCE = (-8.0, 4.0)
"""Where the logarithm of a variance is kept (the card of arXiv 2604.06728; the range is ours)."""


class Attending(nn.Module):
    """LN(x + attention(x, others, others)); a row whose others are all absent only gets normalised."""

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(dim, heads, dropout=dropout, batch_first=True)
        self.norm = nn.LayerNorm(dim)

    def forward(self, asking: Tokens, asked: Tokens) -> Tokens:
        """The asking tokens with what they took from the asked ones."""
        present = asked.present
        # A row without keys has no softmax: it looks at filling instead, and what it sees there is not added.
        absent = ~(asked.known | ~present[:, None])
        keys = asked.vectors
        seen, _ = self.attention(asking.vectors, keys, keys, key_padding_mask=absent, need_weights=False)
        return Tokens(self.norm(asking.vectors + seen * present[:, None, None]), asking.known)


class Interaction(nn.Module):
    """The first view's tokens with what they take from the other views, and from each other; their mean is the latent.

    `order` says which comes first: H = LN(T + cross(T, P)), Z = LN(H + self(H)), or the other way round.
    Source: arXiv 2604.06728 (cross before self); the equations are a reconstruction.
    """

    def __init__(self, dim: int, heads: int, dropout: float, order: Order) -> None:
        super().__init__()
        self.order = order
        self.cross, self.own = Attending(dim, heads, dropout), Attending(dim, heads, dropout)

    def forward(self, first: Tokens, others: Tokens) -> Float[Tensor, "n d"]:
        if self.order == "cross-self":
            crossed: Tokens = self.cross(first, others)
            found: Tokens = self.own(crossed, crossed)
        else:
            found = self.cross(self.own(first, first), others)
        return found.pooled()


class Head(nn.Module):
    """A pooled vector -> a Gaussian; the variance starts at 1 for every row."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.mean, self.log_variance = nn.Linear(dim, dim), nn.Linear(dim, dim)
        nn.init.zeros_(self.log_variance.weight)
        nn.init.zeros_(self.log_variance.bias)

    def forward(self, pooled: Float[Tensor, "n d"]) -> Gaussian:
        return Gaussian(self.mean(pooled), self.log_variance(pooled).clamp(*LOG_VARIANCE))


@dataclass(frozen=True)
class Fused:
    """What fusion makes of n rows: the latents, which of them a row has, their weights per dimension, and the result.

    The weights of a row sum to 1 in every dimension over the latents it has; a row without any is all zeros.
    """

    latents: dict[str, Gaussian]
    present: dict[str, Bool[Tensor, " n"]]
    weights: dict[str, Float[Tensor, "n d"]]
    result: Gaussian

    @property
    def known(self) -> Bool[Tensor, " n"]:
        """Rows with at least one latent."""
        return torch.stack(list(self.present.values())).any(dim=0)


def weights(
    latents: Mapping[str, Gaussian], present: Mapping[str, Bool[Tensor, " n"]], fusion: Fusion
) -> dict[str, Float[Tensor, "n d"]]:
    """How much each latent counts in each dimension: a softmax over the latents that a row has.

    Of -log variance for "precision" (so the weights are the normalised precisions), of -variance for "variance" and
    "gate" (for two latents the rule of arXiv 2604.06728's predecessor EAU), of nothing for the others.

    >>> sure, unsure = (Gaussian(torch.zeros(1, 1), torch.tensor([[v]]).log()) for v in (1.0, 3.0))
    >>> here = torch.tensor([True])
    >>> shares = weights({"a": sure, "b": unsure}, {"a": here, "b": here}, "precision")
    >>> {name: round(float(share), 4) for name, share in shares.items()}
    {'a': 0.75, 'b': 0.25}
    """
    scores = []
    for name, latent in latents.items():
        if fusion == "precision":
            trust = -latent.log_variance
        elif fusion in UNWEIGHTED:
            trust = torch.zeros_like(latent.mean)
        else:
            trust = -latent.variance
        scores.append(trust.masked_fill(~present[name][:, None], torch.finfo(trust.dtype).min))
    shares = torch.stack(scores).softmax(dim=0)
    return {name: share * present[name][:, None] for name, share in zip(latents, shares, strict=True)}


def averaged(latents: Mapping[str, Gaussian], shares: Mapping[str, Float[Tensor, "n d"]]) -> Gaussian:
    """The distribution of the weighted sum of independent latents: variances add up with the squares of the weights.

    With weights by precision its variance is 1 / (sum of the precisions), that of the product of the Gaussians.
    """
    mean = sum((shares[name] * latent.mean for name, latent in latents.items()), start=torch.zeros(()))
    variance = sum((shares[name].square() * latent.variance for name, latent in latents.items()), start=torch.zeros(()))
    return Gaussian(mean, variance.clamp(min=torch.finfo(variance.dtype).tiny).log())


class Stacked(nn.Module):
    """Weighted latents side by side -> the fused one, by a linear head; with `gate` a gate per channel comes before it.

    With the gate EAU's way (CVPR 2024, as its card tells it; the form of the gate is a reconstruction), without it
    concatenation.
    """

    def __init__(self, latents: int, dim: int, gate: bool) -> None:
        super().__init__()
        self.gate = nn.Linear(latents * dim, latents * dim) if gate else None
        self.head = nn.Linear(latents * dim, 2 * dim)

    def forward(self, latents: Mapping[str, Gaussian], shares: Mapping[str, Float[Tensor, "n d"]]) -> Gaussian:
        stacked = torch.cat([shares[name] * latent.mean for name, latent in latents.items()], dim=1)
        opened = stacked if self.gate is None else stacked * self.gate(stacked).sigmoid()
        mean, log_variance = self.head(opened).chunk(2, dim=1)
        return Gaussian(mean, log_variance.clamp(*LOG_VARIANCE))


class Opinions(nn.Module):
    """A classifier per latent; their logits are added up, each set weighted by how sharp it is.

    The weight of a latent is the log-sum-exp of its own logits over 10 (its negative energy), without gradient.
    Source: QMF, arXiv 2306.02050, as we know it, without its ranking of the weights by the history of losses: a
    reconstruction.
    """

    def __init__(self, method: Any, names: Sequence[str], classifier: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.classifiers = nn.ModuleDict()
        for name in names:
            with method.seeded(f"opinion {name}"):
                self.classifiers[f"latent_{name}"] = classifier()

    def forward(
        self, latents: Mapping[str, Gaussian], present: Mapping[str, Bool[Tensor, " n"]]
    ) -> tuple[dict[str, Float[Tensor, "n c"]], dict[str, Float[Tensor, " n"]]]:
        """The logits of each latent, and the weight of each; 0 where a row lacks it."""
        said = {name: self.classifiers[f"latent_{name}"](latent.mean) for name, latent in latents.items()}
        sharp = {name: (one - one.log_softmax(dim=1))[:, 0].detach() / 10 for name, one in said.items()}
        return said, {name: weight * present[name] for name, weight in sharp.items()}


class FusionNetwork(nn.Module):
    """Tensors of views -> their latents, how much each counts, and the fused one.

    Each view's tokens are brought to one width. A latent per view comes from the mean of its tokens, one more from the
    interaction of the first view with all others, each through its own head.
    """

    def __init__(self, method: Any, facts: Mapping[str, Any], fronts: Mapping[str, Front]) -> None:
        super().__init__()
        o = method.options
        self.names, self.fusion = list(facts), o.fusion
        self.fronts, self.projections = nn.ModuleDict(), nn.ModuleDict()
        for name, front in fronts.items():
            with method.seeded(f"projection {name}"):
                self.fronts[f"view_{name}"] = front
                self.projections[f"view_{name}"] = nn.Sequential(
                    nn.Linear(front.width, o.dim), nn.ReLU(), nn.Dropout(o.dropout), nn.Linear(o.dim, o.dim)
                )
        together = o.interaction and len(self.names) > 1
        self.latents = [*self.names, *([INTERACTION] if together else [])]
        self.modulation = 0.0
        if together:
            with method.seeded("interaction"):
                self.interaction = Interaction(o.dim, o.heads, o.dropout, o.order)
        self.heads = nn.ModuleDict()
        for name in self.latents:
            with method.seeded(f"head {name}"):
                self.heads[f"latent_{name}"] = Head(o.dim)
        if self.fusion in STACKED:
            with method.seeded("gate"):
                self.stacked = Stacked(len(self.latents), o.dim, self.fusion == "gate")

    def forward(self, views: Mapping[str, Tensor]) -> Fused:
        """Fuse the views given; the run's other views count as absent."""
        tokens = {name: self._tokens(name, values) for name, values in views.items()}
        some = next(iter(tokens.values())).vectors
        for name in self.names:
            tokens.setdefault(name, Tokens(some[:, :1] * 0, torch.zeros_like(some[:, :1, 0], dtype=torch.bool)))
        pooled = {name: tokens[name].pooled() for name in self.names}
        present = {name: tokens[name].present for name in self.names}
        if INTERACTION in self.latents:
            first, *others = (tokens[name] for name in self.names)
            pooled[INTERACTION], present[INTERACTION] = self.interaction(first, Tokens.joined(others)), first.present
        latents = {name: self.heads[f"latent_{name}"](pooled[name]) for name in self.latents}
        shares = weights(latents, present, self.fusion)
        result = self.stacked(latents, shares) if self.fusion in STACKED else averaged(latents, shares)
        if self.modulation:
            self._modulate(tokens, latents)
        return Fused(latents, present, shares, result)

    def _modulate(self, tokens: Mapping[str, Tokens], latents: Mapping[str, Gaussian]) -> None:
        """Let the gradient that reaches a view's encoder grow with the row's uncertainty about the view."""
        for name in self.names:
            factor = 1 + self.modulation * latents[name].variance.detach().mean(dim=1)[:, None, None]
            if tokens[name].vectors.requires_grad:
                tokens[name].vectors.register_hook(lambda gradient, factor=factor: gradient * factor)

    @property
    def named_fronts(self) -> dict[str, Front]:
        """What makes tensors of rows, by view."""
        found = {name: self.fronts[f"view_{name}"] for name in self.names}
        return {name: front for name, front in found.items() if isinstance(front, Front)}

    def _tokens(self, name: str, values: Tensor) -> Tokens:
        found = tokens_of(self.named_fronts[name], values)
        return Tokens(self.projections[f"view_{name}"](found.vectors), found.known)
