"""CL4SRec: SASRec that also tells which two altered histories were one."""

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor

from counterpoint.objectives import Ids
from counterpoint.recommend.augment import augmented
from counterpoint.recommend.contrastive import ContrastConfig, ContrastiveSASRec
from counterpoint.recommend.interactions import Interactions
from counterpoint.training import Batch


class CL4SRec(ContrastiveSASRec):
    """SASRec, and NT-Xent between two copies of each history, cropped, masked or reordered.

    Source: arXiv 2010.14395, equations 3 to 12; the copies are those of `counterpoint.recommend.augment`.

    >>> from counterpoint.recommend.simulate import cycles
    >>> model = CL4SRec(dim=16, epochs=10, batch_size=16, optim={"lr": 0.01}).fit(cycles(users=64, items=8, seed=0))
    >>> model.recommend([["i2", "i3"]], k=1)[0][0]["id"]
    'i4'
    """

    class Config(ContrastConfig):
        """Options of CL4SRec; the shares are tuned from 0.1 to 0.9 in the paper."""

        crop: float = Field(0.8, gt=0, le=1, description="share of a history that cropping keeps")
        mask: float = Field(0.5, ge=0, le=1, description="share of its items that masking hides")
        reorder: float = Field(0.8, ge=0, le=1, description="share of a history that is put into another order")

    options: Config

    def batch(self, data: Interactions, rows: Int[Tensor, " n"], generator: torch.Generator) -> Batch:
        """Inputs and targets, and two altered copies of the inputs."""
        batch = super().batch(data, rows, generator)
        shares = {name: getattr(self.options, name) for name in ("crop", "mask", "reorder")}
        copies = augmented(batch.views["history"], generator, blank=len(self.items), **shares)
        batch.views["one"], batch.views["other"] = copies
        return batch

    def _views(self, batch: Batch, states: Float[Tensor, "n d"]) -> tuple[tuple[Tensor, Ids], tuple[Tensor, Ids]]:
        return (self._ends(batch.views["one"]), batch.ids), (self._ends(batch.views["other"]), batch.ids)
