"""GRAM: the volume spanned by all views' vectors as the (dis)similarity of a tuple."""

from typing import Any

from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from counterpoint.errors import UserError
from counterpoint.multimodal import encoders
from counterpoint.multimodal.encoders import ViewsConfig
from counterpoint.multimodal.space import LearnedSpace
from counterpoint.multimodal.table import Table
from counterpoint.multimodal.volumes import both_ways, gram_score
from counterpoint.training import Batch, Clock, Encoded, Method


class GRAM(LearnedSpace, Method):
    """Symmetric InfoNCE whose logits are minus the volume of the parallelotope spanned by a candidate and the other
    views.

    Views of one row should span no volume. Views not given at use are left out of the volume.
    Source: arXiv 2412.11959; the form of arXiv 2604.05834's code (logits -sqrt(det G), mean over anchors).

    >>> from counterpoint.multimodal.simulate import xnor
    >>> GRAM(dim=8, epochs=1, batch_size=64).fit(xnor(128, p=0.0, seed=0)).embed(xnor(4, p=0.0, seed=1)).shape
    torch.Size([4, 8])
    """

    class Config(ViewsConfig):
        """Options of GRAM."""

        temperature: float = Field(0.07, gt=0, description="initial temperature, learned")

    options: Config

    def measure(self, data: Table) -> dict[str, Any]:
        """Width, scale and gaps of each view; raises `UserError` unless the views fit the space."""
        if len(data.views) > self.options.dim:
            raise UserError(f"{len(data.views)} views span no volume in {self.options.dim} dimensions; raise dim")
        return encoders.measure(self, data)

    def build(self, facts: dict[str, Any]) -> None:
        """One encoder per view and the temperature."""
        self._build_space(facts["views"])
        self._build_temperature()

    def losses(self, batch: Batch, clock: Clock) -> dict[str, Float[Tensor, ""]]:
        """One symmetric contrast per anchor view."""
        encoded = self.encode(batch.views)
        encoders.watch(self, encoded, batch, clock)
        return {"gram": both_ways(encoded, batch, gram_score, self.scale.scale)}

    def scores(self, given: Encoded, target: str, candidates: Float[Tensor, "m d"]) -> Float[Tensor, "n m"]:
        """Minus the volume between the given views and each candidate."""
        return gram_score(list(given.vectors.values()), candidates, list(given.present.values()))
