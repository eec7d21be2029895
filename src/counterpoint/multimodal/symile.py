"""Symile: all views at once, through the product of their vectors."""

from typing import Any, Literal

import torch
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor

from counterpoint.multimodal import encoders
from counterpoint.multimodal.encoders import ViewsConfig
from counterpoint.multimodal.space import LearnedSpace
from counterpoint.objectives import Embeddings, LogScale, symile
from counterpoint.training import Batch, Clock, Encoded, Method


class Symile(LearnedSpace, Method):
    """Contrast each view with the product of all others: sees dependence that no pair of views shows (XOR).

    The score of a tuple is `exp(log_scale) * dim^((M-1)/2) * sum_d prod_m e_m[d]`; the power of `dim` brings a product
    of unit vectors back to unit variance (arXiv 2604.05834, released code). Negatives of an anchor view are products
    of the other views taken from other rows: `n` random tuples, all `n_squared` combinations, or (`pair`) the row's
    own other views with the anchor view of another row. An absent view enters as the constant 1/sqrt(dim), which
    leaves it out of the product.
    Source: arXiv 2411.01053 (negatives n, n_squared), 2604.05834 (pair).

    >>> from counterpoint.multimodal.simulate import xnor
    >>> model = Symile(dim=8, epochs=1, batch_size=64).fit(xnor(128, p=0.0, seed=0))
    >>> sorted(model.reliability(xnor(4, p=0.0, seed=1)))
    ['A', 'B', 'C']
    """

    class Config(ViewsConfig):
        """Options of Symile; the initial log scale is the gated code's 0 (the symile code's XOR tests use -0.3)."""

        negatives: Literal["n", "n_squared", "pair"] = Field("n", description="which tuples are negatives")
        log_scale: float = Field(0.0, description="initial logarithm of the learned scale")

    options: Config

    def build(self, facts: dict[str, Any]) -> None:
        """One encoder per view and the scale."""
        self._build_space(facts["views"])
        self.scale = product_scale(len(facts["views"]), self.options.dim, self.options.log_scale)

    def losses(self, batch: Batch, clock: Clock) -> dict[str, Float[Tensor, ""]]:
        """The Symile loss; with absent views each anchor is contrasted among the rows that have it."""
        encoded = self.encode(batch.views)
        filled = {name: Embeddings(vectors, batch.ids) for name, vectors in filled_vectors(encoded).items()}
        self.note(scale=self.scale.scale)
        encoders.watch(self, encoded, batch, clock)
        if all(present.all() for present in encoded.present.values()):
            return {"symile": self._symile(list(filled.values()), clock)}
        anchors = [
            self._symile(
                [filled[n][encoded.present[name]] for n in (name, *(n for n in filled if n != name))],
                clock,
                (0,),
            )
            for name in filled
        ]
        return {"symile": torch.stack(anchors).mean()}

    def _symile(self, views: list[Embeddings], clock: Clock, anchors: tuple[int, ...] | None = None) -> Tensor:
        kind, generator = self.options.negatives, clock.shared_rng("negatives")
        return symile(views, scale=self.scale.scale, negatives=kind, generator=generator, anchors=anchors).mean()

    def scores(self, given: Encoded, target: str, candidates: Float[Tensor, "m d"]) -> Float[Tensor, "n m"]:
        """The product of the given views against the candidates."""
        filled = filled_vectors(given)
        return self.scale.scale * torch.stack(list(filled.values())).prod(dim=0) @ candidates.T


def product_scale(views: int, dim: int, log_scale: float) -> LogScale:
    """The learned scale of a product of unit vectors: exp(log_scale) * dim^((views-1)/2), up to 100 times that."""
    start = float(torch.tensor(log_scale).exp()) * dim ** ((views - 1) / 2)
    return LogScale(start, maximum=100 * start)


def filled_vectors(encoded: Encoded, neutral: Float[Tensor, "m d"] | None = None) -> dict[str, Float[Tensor, "n d"]]:
    """Each view's vectors, with a neutral unit vector (default 1/sqrt(dim) everywhere) where a row lacks the view."""
    filled = {}
    for number, (name, vectors) in enumerate(encoded.vectors.items()):
        present: Bool[Tensor, " n"] = encoded.present[name]
        if present.all():
            filled[name] = vectors
            continue
        stand_in = torch.full_like(vectors[0], vectors.shape[1] ** -0.5) if neutral is None else neutral[number]
        filled[name] = torch.where(present[:, None], vectors, stand_in)
    return filled
