"""TRIANGLE: the area between three views' vectors as the (dis)similarity of a triple."""

from typing import Any

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from counterpoint.errors import UserError
from counterpoint.multimodal import encoders
from counterpoint.multimodal.encoders import ViewsConfig
from counterpoint.multimodal.space import LearnedSpace
from counterpoint.multimodal.table import Table
from counterpoint.multimodal.volumes import both_ways, triangle_score
from counterpoint.training import Batch, Clock, Encoded, Method


class TRIANGLE(LearnedSpace, Method):
    """Symmetric InfoNCE whose logits are minus the area of the triangle between a candidate and a row's two other
    views.

    With one view given, or one absent, the triangle is a side: minus half its squared length.
    Source: arXiv 2509.24734; the form of arXiv 2604.05834's code (area squared, no root, mean over anchors).

    >>> from counterpoint.multimodal.simulate import xnor
    >>> TRIANGLE(dim=8, epochs=1, batch_size=64).fit(xnor(128, p=0.0, seed=0)).embed(xnor(4, p=0.0, seed=1)).shape
    torch.Size([4, 8])
    """

    class Config(ViewsConfig):
        """Options of TRIANGLE."""

        temperature: float = Field(0.07, gt=0, description="initial temperature, learned")

    options: Config

    def measure(self, data: Table) -> dict[str, Any]:
        """Width, scale and gaps of each view; raises `UserError` unless there are three views."""
        if len(data.views) != 3:
            raise UserError(
                f"{len(data.views)} views: triangle takes exactly three; choose them with view.NAME=COLUMNS"
            )
        return encoders.measure(self, data)

    def build(self, facts: dict[str, Any]) -> None:
        """One encoder per view and the temperature."""
        self._build_space(facts["views"])
        self._build_temperature()

    def losses(self, batch: Batch, clock: Clock) -> dict[str, Float[Tensor, ""]]:
        """One symmetric contrast per anchor view."""
        encoded = self.encode(batch.views)
        encoders.watch(self, encoded, batch, clock)
        return {"triangle": both_ways(encoded, batch, triangle_score, self.scale.scale)}

    def scores(self, given: Encoded, target: str, candidates: Float[Tensor, "m d"]) -> Float[Tensor, "n m"]:
        """Minus the area between the given views and each candidate."""
        sides = [vectors @ candidates.T - 1 for vectors in given.vectors.values()]
        if len(sides) == 1:
            return sides[0]
        both = torch.stack(list(given.present.values())).all(dim=0)[:, None]
        single = torch.stack([s * p[:, None] for s, p in zip(sides, given.present.values(), strict=True)]).sum(dim=0)
        return torch.where(both, triangle_score(list(given.vectors.values()), candidates), single)
