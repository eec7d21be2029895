"""Pairwise CLIP over any number of views."""

from itertools import combinations
from typing import Any, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from counterpoint.multimodal import encoders
from counterpoint.multimodal.encoders import ViewsConfig
from counterpoint.multimodal.space import LearnedSpace
from counterpoint.objectives import Embeddings, info_nce
from counterpoint.training import Batch, Clock, Encoded, Method


class CLIP(LearnedSpace, Method):
    """Symmetric InfoNCE between every two views; a row's two descriptions attract, those of other rows repel.

    The pairs' losses are averaged (the gated-symile code) or summed (the symile code). Retrieval adds the cosines of
    the target with each given view. A row that lacks a view takes no part in that view's pairs.
    Source: arXiv 2103.00020; more than two views as in the baselines of arXiv 2411.01053 and 2604.05834.

    >>> from counterpoint.multimodal.simulate import xnor
    >>> model = CLIP(dim=8, epochs=1, batch_size=64).fit(xnor(128, p=0.0, seed=0))
    >>> model.embed(xnor(4, p=0.0, seed=1)).shape
    torch.Size([4, 8])
    """

    class Config(ViewsConfig):
        """Options of CLIP; temperature 0.07 is the paper's start, learned unless `learn_temperature=false`."""

        reduction: Literal["mean", "sum"] = Field("mean", description="how the losses of the pairs are put together")
        temperature: float = Field(0.07, gt=0, description="initial temperature")
        learn_temperature: bool = Field(True, description="learn the temperature (scale capped at 100)")

    options: Config

    def build(self, facts: dict[str, Any]) -> None:
        """One encoder per view and the temperature."""
        self._build_space(facts["views"])
        self._build_temperature()
        self.scale.requires_grad_(self.options.learn_temperature)

    def losses(self, batch: Batch, clock: Clock) -> dict[str, Float[Tensor, ""]]:
        """One symmetric InfoNCE per pair of views."""
        encoded = self.encode(batch.views)
        sides = {
            name: Embeddings(vectors, batch.ids)[encoded.present[name]] if not encoded.present[name].all()
            else Embeddings(vectors, batch.ids)
            for name, vectors in encoded.vectors.items()
        }  # fmt: skip
        pairs = list(combinations(sides, 2))
        weight = 1 / len(pairs) if self.options.reduction == "mean" else 1.0
        self.note(temperature=self.scale.temperature)
        encoders.watch(self, encoded, batch, clock)
        return {
            f"{a}-{b}": weight * info_nce(sides[a], sides[b], temperature=self.scale.temperature, symmetric=True).mean()
            for a, b in pairs
        }

    def scores(self, given: Encoded, target: str, candidates: Float[Tensor, "m d"]) -> Float[Tensor, "n m"]:
        """Sum over the given views of their cosines with the candidates."""
        query = torch.stack([given.vectors[n] * given.present[n][:, None] for n in given.vectors]).sum(dim=0)
        return query @ candidates.T
