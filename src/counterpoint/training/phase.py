"""A stage of training, as data."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from counterpoint.errors import UserError
from counterpoint.training.clock import Clock, rng
from counterpoint.training.optim import Optim


class Keep(BaseModel):
    """Keep the weights of the best epoch by a named validation metric, and stop after `patience` worse ones.

    `patience=0` never stops early. `mode` says whether larger or smaller is better.

    >>> Keep(metric="top1").better(0.5, than=0.4)
    True
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    metric: str
    mode: Literal["max", "min"] = "max"
    patience: int = Field(0, ge=0)

    def better(self, value: float, than: float | None) -> bool:
        """Whether a value beats the best so far; the first one does, NaN never."""
        if than is None:
            return value == value
        return value > than if self.mode == "max" else value < than


@dataclass(frozen=True)
class Phase:
    """One stage: gradient steps (`losses`) or a pass without gradients (`visit`: solve, calibrate, fill, mine).

    `plan` gives the rows of each batch of an epoch, the same on all ranks; `batch` turns rows into a batch on the
    CPU; neither calls the network. `after` runs after the optimiser step: queues, momentum copies, clamps.
    `trains` names the submodules that learn ("" is the whole method); all others are frozen and in eval mode.
    `accumulate` micro-batches make one optimiser step; that does not enlarge the set of negatives.
    """

    name: str
    plan: Callable[[torch.Generator], Sequence[Int[Tensor, " n"]]]
    batch: Callable[[Int[Tensor, " n"], torch.Generator], Any]
    losses: Callable[[Any, Clock], dict[str, Float[Tensor, ""]]] | None = None
    visit: Callable[[Any, Clock], None] | None = None
    after: Callable[[Any, Clock], None] | None = None
    trains: tuple[str, ...] = ("",)
    optim: Optim = field(default_factory=Optim)
    epochs: int = 1
    accumulate: int = 1
    keep: Keep | None = None

    def __post_init__(self) -> None:
        if (self.losses is None) == (self.visit is None):
            raise ValueError(f'phase "{self.name}" needs either losses or visit')

    def rows_of(self, seed: int, epoch: int) -> Sequence[Int[Tensor, " n"]]:
        """The rows of each batch of an epoch; raises `UserError` when there are none."""
        plan = self.plan(rng(seed, self.name, epoch, "plan"))
        if not len(plan):
            raise UserError(f'phase "{self.name}" has no rows to work on; give it more data')
        return plan
