"""How guidance is judged: by what an executor reaches with it, or by which runs did as it says."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from counterpoint.agents import environment
from counterpoint.agents.causal import OWN
from counterpoint.agents.dialogue import prompt
from counterpoint.agents.differ import agreement
from counterpoint.agents.trajectories import Trajectories
from counterpoint.evaluation import Mean, Outcome
from counterpoint.evaluation.outcome import Columns
from counterpoint.language import fenced

RUNS = 20
"""Runs with each guidance when it is judged."""


def prompt_of(task: str, model: Any) -> str:
    """What a model of guidance reads: the task fenced in an instruction, or the bare task for a model of its own."""
    if model.facts["base"] == OWN:
        return task
    return prompt("advise").filled(task=fenced(task)) + " "


@dataclass(frozen=True)
class Concordance:
    """How often the run that follows its guidance more has the better outcome, over all pairs of unequal outcome.

    0.5 is chance; equal agreement counts a half.

    >>> Concordance()({"agreement": np.array([0.1, 0.5, 0.3]), "outcome": np.array([0.0, 1.0, 1.0])})
    1.0
    """

    def __call__(self, columns: Columns) -> float:
        gap = np.sign(columns["outcome"][:, None] - columns["outcome"][None])
        won = np.sign(columns["agreement"][:, None] - columns["agreement"][None])
        unequal = gap > 0
        return float((won[unequal] + 1).mean() / 2) if unequal.any() else float("nan")


CONCORDANCE = {"concordance": Concordance()}
"""The measure that a claim has to name, since it is no mean."""


def judged(method: Any, data: Trajectories) -> Outcome:
    """By the method's environment, or else by how runs that did as was advised ended."""
    if method.options.environment == "none":
        return by_runs(method, data)
    return by_environment(method, data)


def by_environment(method: Any, data: Trajectories) -> Outcome:
    """A row per task: success, mean outcome and steps of 20 runs with the method's guidance, and how long that is."""
    tasks = list(dict.fromkeys(map(str, data.tasks)))
    told = method.advise(tasks)
    found = [_with(task, text) for task, text in zip(tasks, told, strict=True)]
    names = ("success", "reward", "steps")
    columns = {name: np.array([one[place] for one in found]) for place, name in enumerate(names)}
    columns["words"] = np.array([float(len(text.split())) for text in told])
    columns["distinct"] = np.full(len(tasks), len(set(told)) / max(1, len(told)))
    return Outcome(np.array(tasks), columns, {name: Mean(name) for name in columns})


def by_runs(method: Any, data: Trajectories) -> Outcome:
    """A row per run: its outcome, and how far it did as the guidance for its task says."""
    tasks = list(dict.fromkeys(map(str, data.tasks)))
    told = dict(zip(tasks, method.advise(tasks), strict=True))
    common = set(method.facts["common"])
    pairs = zip(data.tasks, data.steps, strict=True)
    follows = np.array([agreement(told[str(task)], run, common) for task, run in pairs])
    columns = {"agreement": follows, "outcome": data.outcomes}
    return Outcome(data.ids, columns, {**CONCORDANCE, "agreement": Mean("agreement")})


def _with(task: str, text: str) -> tuple[float, float, float]:
    runs: Sequence[Any] = [environment.execute(task, text, 10_000_000 + number) for number in range(RUNS)]
    outcomes = np.array([outcome for _, outcome in runs])
    return float((outcomes > 0).mean()), float(outcomes.mean()), float(np.mean([len(steps) for steps, _ in runs]))
