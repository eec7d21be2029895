"""Claims over a tiny learner, importable by worker processes; every fit is written to the file FAKE_CLAIMS_LOG."""

import dataclasses
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from counterpoint.errors import UserError
from counterpoint.evaluation import Arm, Better, Claim, Falls, Mean, Median, Outcome, Search


@dataclass
class Rows:
    """Points on a line in two classes."""

    x: np.ndarray
    truth: np.ndarray

    def __len__(self) -> int:
        return len(self.x)

    def fingerprint(self) -> str:
        return f"{self.x.sum():.6f}"


def data(seed: int, p: float = 0.5) -> tuple[Rows, Rows, Rows]:
    """Two classes whose points overlap more with p."""

    def part(number: int) -> Rows:
        generator = np.random.default_rng([seed, number])
        truth = np.arange(120) % 2
        return Rows(truth + p * generator.normal(size=120), truth)

    return part(0), part(1), part(2)


def shuffled(train: Rows, generator: torch.Generator) -> Rows:
    """Labels that say nothing about the points."""
    return Rows(train.x, train.truth[torch.randperm(len(train), generator=generator).numpy()])


class Nearest:
    """Gives a point the class of the nearer mean, `offset` away from where it should be."""

    def __init__(self, offset: float = 0.0, epochs: int = 0, **rest: Any) -> None:
        self.offset = offset
        if rest:
            raise UserError(f"unknown option {sorted(rest)[0]}")

    def fit(self, data: Rows, validation: Rows, trainer: Any) -> "Nearest":
        _log(f"{type(self).__name__} {self.offset} {trainer.seed}")
        self.threads = torch.get_num_threads()
        self.means = [data.x[data.truth == label].mean() for label in (0, 1)]
        return self

    def predict(self, x: np.ndarray) -> np.ndarray:
        low, high = self.means
        return (np.abs(x - self.offset - high) < np.abs(x - self.offset - low)).astype(int)


class Slow(Nearest):
    """Takes a minute, unless it is stopped."""

    def fit(self, data: Rows, validation: Rows, trainer: Any) -> "Nearest":
        super().fit(data, validation, trainer)
        time.sleep(60)
        return self


class Always(Nearest):
    """One class for every point."""

    def predict(self, x: np.ndarray) -> np.ndarray:
        return np.ones(len(x), dtype=int)


def judge(method: Nearest, test: Rows) -> Outcome:
    """Right or wrong for each point, and a measure that is no mean."""
    assert method.threads == 1
    right = (method.predict(test.x) == test.truth).astype(float)
    measures = {"accuracy": Mean("right"), "middle": Median("right"), "spread": spread}
    return Outcome(np.arange(len(test)), {"right": right}, measures)


def spread(columns: Any) -> float:
    return float(columns["right"].std())


def _log(line: str) -> None:
    path = Path(os.environ["FAKE_CLAIMS_LOG"])
    with path.open("a") as log:
        log.write(line + "\n")
    if len(path.read_text().splitlines()) >= int(os.environ.get("FAKE_CLAIMS_STOP", "1000")):
        raise KeyboardInterrupt


HERE = "evaluation.fake_claims"
CLAIM = Claim(
    name="fake",
    sentence="The nearer mean tells two classes apart.",
    source="nobody",
    arms=(
        Arm("nearest", f"{HERE}:Nearest", about="the learner"),
        Arm("always", f"{HERE}:Always", role="baseline", budget={}),
        Arm("placebo", f"{HERE}:Nearest", role="placebo", data=shuffled, only=({"p": 0.5},)),
    ),
    predictions=(
        Better("accuracy", "nearest", "always", margin=0.05),
        Better("accuracy", "nearest", "placebo", where={"p": 0.5}, required=False),
        Falls("accuracy", "nearest", along="p"),
    ),
    data=data,
    judge=judge,
    measures={"spread": spread},
    seeds=(0, 1, 2),
    settings=({"p": 0.5}, {"p": 2.0}),
    budget={"epochs": 3},
    quick={"seeds": (0,), "budget": {"epochs": 1}, "cut": "one seed"},
)
CHANGED = dataclasses.replace(
    CLAIM, arms=(dataclasses.replace(CLAIM.arms[0], options={"offset": 0.1}), *CLAIM.arms[1:])
)
NEWER = dataclasses.replace(CLAIM, version=2)
SLOW = dataclasses.replace(CLAIM, arms=(dataclasses.replace(CLAIM.arms[0], method=f"{HERE}:Slow"), *CLAIM.arms[1:]))
SEARCHED = dataclasses.replace(
    CLAIM,
    search=Search(
        trials={"nearest": [{"offset": 3.0}, {"offset": 0.0}]},
        follows={"placebo": "nearest"},
        measure="accuracy",
        setting={"p": 0.5},
        budget={"epochs": 1},
    ),
)
MISTAKEN = dataclasses.replace(
    CLAIM, arms=(dataclasses.replace(CLAIM.arms[0], options={"ofset": 0.1}), *CLAIM.arms[1:])
)
FORGETFUL = dataclasses.replace(CLAIM, measures={})
