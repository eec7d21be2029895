"""DuoRec: SASRec whose states of histories that want the same item are alike."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor

from counterpoint.objectives import Ids
from counterpoint.recommend.contrastive import ContrastConfig, ContrastiveSASRec
from counterpoint.recommend.histories import Histories
from counterpoint.recommend.interactions import Interactions
from counterpoint.training import Batch, rng

PARTS = 4
"""Parts of a batch of partners by length, each padded to its own longest."""


class DuoRec(ContrastiveSASRec):
    """SASRec, and NT-Xent between a second pass of each history under dropout and another history with its next item.

    The other history is drawn anew for each epoch; where there is none, it is the history itself. All histories of a
    batch that want the same item are each other's positives. Source: arXiv 2110.05730, section 3.3.

    >>> from counterpoint.recommend.simulate import cycles
    >>> model = DuoRec(dim=16, epochs=10, batch_size=16, optim={"lr": 0.01}).fit(cycles(users=64, items=8, seed=0))
    >>> model.recommend([["i2", "i3"]], k=1)[0][0]["id"]
    'i4'
    """

    class Config(ContrastConfig):
        """Options of DuoRec."""

        views: Literal["both", "dropout", "target"] = Field(
            "both",
            description="what is contrasted: a second pass with another history of the same next item, or the first "
            "pass with one of the two",
        )

    options: Config
    partners: tuple[Interactions, Int[Tensor, " n"]] | None = None
    """Another row with the same next item for each row, in this epoch, and of which data."""

    def plan(self, data: Interactions, generator: torch.Generator) -> Sequence[Int[Tensor, " _"]]:
        """Instances of like length together; each gets its partner for the epoch."""
        plan = super().plan(data, generator)
        goals = torch.from_numpy(data.items[self._instances(data).last].astype("int64"))
        self.partners = data, others_alike(goals, generator)
        return plan

    def batch(self, data: Interactions, rows: Int[Tensor, " n"], generator: torch.Generator) -> Batch:
        """Inputs and targets, and the inputs of another row with the same next item."""
        batch = super().batch(data, rows, generator)
        batch.ids = replace(batch.ids, positive=batch.views["goal"])
        if self.options.views == "dropout":
            return batch
        if self.partners is None or self.partners[0] is not data:
            self.plan(data, rng(self.seed, "partners"))
        assert self.partners is not None
        theirs = self.partners[1][rows]
        other = super().batch(data, theirs, generator)
        batch.views["partner"] = other.views["history"]
        batch.context["partner"] = replace(other.ids, positive=other.views["goal"])
        return batch

    def _views(self, batch: Batch, states: Float[Tensor, "n d"]) -> tuple[tuple[Tensor, Ids], tuple[Tensor, Ids]]:
        first = states if self.options.views != "both" else self._ends(batch.views["history"])
        if self.options.views == "dropout":
            return (first, batch.ids), (self._ends(batch.views["history"]), batch.ids)
        return (first, batch.ids), (self._of_any_length(batch.views["partner"]), batch.context["partner"])

    def _of_any_length(self, histories: Histories) -> Float[Tensor, "n d"]:
        """States at the end of histories that were not put together by length: the short ones apart from the long."""
        order = histories.lengths.argsort(stable=True)
        parts = [rows.sort().values for rows in order.chunk(PARTS)]
        ends = torch.cat([self._ends(histories.rows(rows)) for rows in parts])
        return ends[torch.cat(parts).argsort()]


def others_alike(labels: Int[Tensor, " n"], generator: torch.Generator) -> Int[Tensor, " n"]:
    """For each row another one of its label at random; the row itself where there is none.

    >>> others_alike(torch.tensor([5, 7, 5, 8]), torch.Generator().manual_seed(0)).tolist()
    [2, 1, 0, 3]
    """
    shuffled = torch.randperm(len(labels), generator=generator)
    order = shuffled[labels[shuffled].argsort(stable=True)]
    group = labels[order].unique_consecutive(return_counts=True)[1]
    first = (group.cumsum(0) - group).repeat_interleave(group)
    size = group.repeat_interleave(group)
    following = first + (torch.arange(len(labels)) - first + 1) % size
    found = torch.empty_like(labels)
    found[order] = order[following]
    return found
