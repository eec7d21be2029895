"""A tiny method that uses every part of the training core, its data, and what puts it into the catalog."""

import hashlib
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from counterpoint import catalog
from counterpoint.training import Clock, Method, Phase, Run, SGDConfig, Trainer

ROW = catalog.Row("toy", "training.toys:Toy", "toys", "training.toys:Points", paper="none", status="baseline")


@dataclass
class Points:
    """Rows x and the numbers to predict from them."""

    x: Tensor
    y: Tensor

    @classmethod
    def made(cls, rows: int = 22, seed: int = 0) -> "Points":
        """A linear truth with noise."""
        generator = torch.Generator().manual_seed(seed)
        x = torch.randn(rows, 3, generator=generator)
        return cls(x, x @ torch.tensor([[1.0], [-2.0], [0.5]]) + 0.1 * torch.randn(rows, 1, generator=generator))

    def __len__(self) -> int:
        return len(self.x)

    def fingerprint(self) -> str:
        return hashlib.blake2b(self.x.numpy().tobytes()).hexdigest()[:16]


@dataclass
class Judged:
    error: float

    def summary(self) -> dict[str, float]:
        return {"error": self.error}


def judge(method: Any, data: Points) -> Judged:
    return Judged(float((method(data.x) - data.y).square().mean()))


class Queue(nn.Module):
    """Rows seen last; needed in training only."""

    training_only = True

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("rows", torch.zeros(6, width))


class Toy(Method):
    """A pass that finds the mean, gradient steps with noise, dropout, norm statistics and a queue, a pass that counts.

    >>> Toy(hidden=2).options.hidden
    2
    """

    class Config(SGDConfig):
        """Options of the toy."""

        hidden: int = 4
        dropout: float = 0.2
        epochs: int = 2
        batch_size: int = 8

    Data = Points
    judge = staticmethod(judge)
    options: Config

    def measure(self, data: Points) -> dict[str, Any]:
        return {"width": data.x.shape[1]}

    def build(self, facts: dict[str, Any]) -> None:
        hidden = self.options.hidden
        with self.seeded("net"):
            self.net = nn.Sequential(nn.Linear(facts["width"], hidden), nn.BatchNorm1d(hidden), nn.Linear(hidden, 1))
        self.drop = nn.Dropout(self.options.dropout)
        self.register_buffer("mean", torch.zeros(facts["width"]))
        self.queue = Queue(facts["width"])
        self.counted: list[dict[str, Any]] = []

    def forward(self, x: Tensor) -> Tensor:
        return self.net(self.drop(x - self.mean))

    def batch(self, data: Points, rows: Tensor, generator: torch.Generator) -> Points:
        x = data.x[rows]
        return Points(x + 0.01 * torch.randn(x.shape, generator=generator), data.y[rows])

    def losses(self, batch: Points, clock: Clock) -> dict[str, Tensor]:
        self.note(progress=clock.progress)
        queued = self(self.queue.rows).square().mean()
        return {"fit": (self(batch.x) - batch.y).square().mean(), "queue": 0.1 * queued}

    def after(self, batch: Points, clock: Clock) -> None:
        self.queue.rows.copy_(torch.cat([batch.x, self.queue.rows])[:6])

    def phases(self, data: Points) -> list[Phase]:
        return [
            self.phase("centre", data, visit=self._centre),
            self.phase("fit", data),
            self.phase("count", data, visit=self._count),
        ]

    def _centre(self, batch: Points, clock: Clock) -> None:
        self.mean += batch.x.sum(0) / 22

    def _count(self, batch: Points, clock: Clock) -> None:
        self.counted.append({"step": clock.step, "rows": len(batch.x), "error": judge(self, batch).error})

    def tables(self) -> dict[str, list[dict[str, Any]]]:
        return {"counted": list(self.counted)}

    def load_tables(self, tables: dict[str, list[dict[str, Any]]]) -> None:
        self.counted = list(tables.get("counted", []))


def enter_catalog() -> None:
    """For processes of their own; tests take the fixture."""
    catalog.OWN = (*catalog.OWN, ROW)


class Interrupted(Exception):  # noqa: N818
    """Stands for the end of the process."""


class CutRun(Run):
    """A run whose process ends right after its n-th checkpoint; keeps where each checkpoint stood."""

    def __init__(self, folder: Path, cut: int = 0) -> None:
        super().__init__(folder)
        self.cut = cut
        self.stood: list[dict[str, Any]] = []

    def checkpoint(self, method: Any, optimizer: Any, at: dict[str, Any], name: str = "last") -> None:
        super().checkpoint(method, optimizer, at, name)
        self.stood.append(dict(at))
        if len(self.stood) == self.cut:
            raise Interrupted


def snapshot(method: Any) -> dict[str, Any]:
    """All state of a method, in a form that compares bit for bit."""
    tensors = {name: (value.dtype, value.shape, value.numpy().tobytes()) for name, value in method.state_dict().items()}
    return tensors | {"tables": json.dumps(method.tables())}


def events(folder: Path) -> list[dict[str, Any]]:
    """metrics.jsonl without the time of day."""
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name != "time"} for row in rows]


def slowly(folder: str, pause: float) -> None:
    """Fit the toy with a checkpoint after each step and a pause in each; for processes that are to be stopped."""
    enter_catalog()
    descend = Toy.losses

    def losses(self: Toy, batch: Points, clock: Clock) -> dict[str, Tensor]:
        time.sleep(pause)
        return descend(self, batch, clock)

    Toy.losses = losses  # type: ignore[method-assign]
    try:
        Toy(epochs=30).fit(Points.made(), trainer=Trainer(run=Run(folder), save_every=1))
    except KeyboardInterrupt:
        sys.exit(130)
