"""Optimisers, learning-rate schedules and parameter groups, as options."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from schedulefree import AdamWScheduleFree
from torch import Tensor, nn

from counterpoint.errors import UserError, nearest
from counterpoint.training.lazy import LazyAdamW


class Group(BaseModel):
    """What differs for the parameters below one module: a factor on the learning rate, another weight decay."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    lr_scale: float = Field(1.0, gt=0)
    weight_decay: float | None = Field(None, ge=0)


class Optim(BaseModel):
    """How parameters are updated.

    `warmup` counts steps of linear warm-up; `clip` bounds the gradient norm (None: unbounded); for SGD the first
    beta is the momentum. Weight decay spares parameters with fewer than two dimensions (biases, norms, scales).
    `groups` maps a module's name to what differs for it. Schedule-free AdamW is arXiv 2405.15682.

    >>> Optim(lr=1e-3, warmup=10).factor(step=4, steps=100)
    0.5
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: Literal["adamw", "sgd", "schedule_free"] = "adamw"
    lr: float = Field(1e-3, gt=0)
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = Field(1e-8, gt=0)
    weight_decay: float = Field(0.01, ge=0)
    warmup: int = Field(0, ge=0)
    schedule: Literal["constant", "cosine", "linear"] = "constant"
    clip: float | None = Field(None, gt=0)
    groups: dict[str, Group] = {}

    @model_validator(mode="after")
    def _fits_together(self) -> "Optim":
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError("betas must be at least 0 and below 1")
        if self.name == "schedule_free" and self.schedule != "constant":
            raise ValueError("schedule_free takes the place of a schedule; use schedule=constant")
        if self.name == "schedule_free" and self.betas[0] == 0:
            raise ValueError("schedule_free averages with the first of betas; it must be above 0")
        return self

    def factor(self, step: int, steps: int) -> float:
        """The learning rate's factor at a step: linear warm-up, then the schedule down to zero at `steps`."""
        if step < self.warmup:
            return (step + 1) / self.warmup
        if self.schedule == "constant":
            return 1.0
        done = min(1.0, (step - self.warmup) / max(1, steps - self.warmup))
        return 1.0 - done if self.schedule == "linear" else 0.5 * (1.0 + math.cos(math.pi * done))

    def build(self, named: Sequence[tuple[str, nn.Parameter]]) -> torch.optim.Optimizer:
        """The optimiser over named parameters; raises `UserError` when a group names no parameter."""
        groups = self._divide(named)
        if self.name == "sgd":
            return torch.optim.SGD(groups, lr=self.lr, momentum=self.betas[0])
        if self.name == "schedule_free":
            warmup: dict[str, Any] = {"warmup_steps": self.warmup}
            optimizer: torch.optim.Optimizer = AdamWScheduleFree(
                groups, lr=self.lr, betas=self.betas, eps=self.eps, **warmup
            )
            optimizer.train()  # type: ignore[attr-defined]
            return optimizer
        return LazyAdamW(groups, lr=self.lr, betas=self.betas, eps=self.eps, fused=True)

    def schedule_step(self, optimizer: torch.optim.Optimizer, step: int, steps: int) -> None:
        """Set the learning rates of a step; schedule-free warms up by itself."""
        if self.name == "schedule_free":
            return
        factor = self.factor(step, steps)
        for group in optimizer.param_groups:
            group["lr"] = self.lr * group["lr_scale"] * factor

    def _divide(self, named: Sequence[tuple[str, nn.Parameter]]) -> list[dict[str, Any]]:
        """Parameter groups that share a learning rate and a weight decay, in a stable order."""
        divided: dict[tuple[float, float], list[nn.Parameter]] = {}
        unused = set(self.groups)
        for name, parameter in named:
            owner = max((g for g in self.groups if _below(name, g)), key=len, default=None)
            unused.discard(owner or "")
            group = self.groups[owner] if owner is not None else Group()
            decay = self.weight_decay if group.weight_decay is None else group.weight_decay
            key = (group.lr_scale, decay if parameter.ndim > 1 else 0.0)
            divided.setdefault(key, []).append(parameter)
        if unused:
            modules = {part for name, _ in named for part in name.split(".")[:-1] if not part.isdigit()}
            first = min(unused)
            raise UserError(f'optim.groups: nothing that learns lies in "{first}"; {nearest(first, modules)}')
        return [
            {"params": parameters, "lr": self.lr * scale, "lr_scale": scale, "weight_decay": decay}
            for (scale, decay), parameters in divided.items()
        ]


def _below(name: str, module: str) -> bool:
    """Whether a parameter's dotted name lies in a module, at any depth (`gate` also finds `towers.gate.weight`)."""
    return f".{module}." in f".{name}."


@contextmanager
def evaluation_weights(optimizer: torch.optim.Optimizer | None, parameters: Sequence[Tensor]) -> Iterator[None]:
    """Inside, an optimiser with modes (schedule-free) shows its averaged weights; afterwards all is as before, bit for
    bit.

    The optimiser's own way back is only approximate in floating point, so the training weights are kept aside.
    """
    if not isinstance(optimizer, AdamWScheduleFree):
        yield
        return
    kept = [p.detach().clone() for p in parameters]
    optimizer.eval()
    try:
        yield
    finally:
        optimizer.train()
        with torch.no_grad():
            for parameter, before in zip(parameters, kept, strict=True):
                parameter.copy_(before)
