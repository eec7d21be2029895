"""What SASRec with a contrast between whole histories has in common: its weight, and who is whose negative."""

from typing import Any

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor
from torch.nn.functional import normalize

from counterpoint.objectives import Embeddings, Ids, false_negatives, nt_xent, stacked
from counterpoint.recommend.interactions import Interactions
from counterpoint.recommend.sasrec import SASRec
from counterpoint.training import Batch


class ContrastConfig(SASRec.Config):
    """Options of SASRec with a contrast."""

    contrast: float = Field(0.1, gt=0, description="weight of the contrast")
    contrast_temperature: float = Field(1.0, gt=0, description="what similarities are divided by in the contrast")
    cosine: bool = Field(False, description="similarities in the contrast are cosines, not dot products")


class ContrastiveSASRec(SASRec):
    """SASRec with one more term: two states of each row find each other among those of all rows (NT-Xent).

    Whoever extends it has `_views`, the two states. Rows of one user are never each other's negatives.
    """

    options: Any

    def batch(self, data: Interactions, rows: Int[Tensor, " n"], generator: torch.Generator) -> Batch:
        """Inputs and targets; the ids know the user of each row, the context what each row ends up at."""
        batch = super().batch(data, rows, generator)
        chosen = self._instances(data).rows(rows)
        user = torch.from_numpy(data.users[chosen.first].astype("int64"))
        batch.ids = Ids(row=rows, positive=rows, exclude=user[:, None])
        batch.views["goal"] = torch.from_numpy(data.items[chosen.last].astype("int64"))
        return batch

    def _contrast(self, batch: Batch, states: Float[Tensor, "n d"]) -> dict[str, Float[Tensor, ""]]:
        """The weighted contrast of the two views; which share of its negatives wants the same item is noted."""
        one, other = (self._embedded(*view) for view in self._views(batch, states))
        goals = batch.views["goal"]
        both = stacked(one, other)
        self.note(
            false_negatives=false_negatives(both, both, labels=torch.cat([goals, goals]), itself="excluded").share
        )
        loss = nt_xent(one, other, temperature=self.options.contrast_temperature)
        return {"contrast": self.options.contrast * loss.mean()}

    def _views(self, batch: Batch, states: Float[Tensor, "n d"]) -> tuple[tuple[Tensor, Ids], tuple[Tensor, Ids]]:
        """Two states of each row, with their ids."""
        raise NotImplementedError(f"{type(self).__name__}._views")

    def _embedded(self, vectors: Float[Tensor, "n d"], ids: Ids) -> Embeddings:
        return Embeddings(normalize(vectors, dim=1) if self.options.cosine else vectors, ids)
