"""Runs of agents on tasks: what was done, what came back, and how it ended."""

import hashlib
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from counterpoint.agents.records import read_records
from counterpoint.errors import UserError
from counterpoint.rows import split_rows

Index = slice | Int[np.ndarray, " _"] | Bool[np.ndarray, " n"]
SCORE = re.compile(r"Your score[^:]*:\s*([\d.]+)")


class Step(NamedTuple):
    """One action and what came back."""

    action: str
    observation: str


@dataclass(frozen=True, eq=False)
class Trajectories:
    """A row per run: the task in words, its steps, and the outcome, a number that is better when it is higher.

    Runs of one task have one `task_ids` entry. A column `template` keeps tasks of one kind together when rows are
    divided.

    >>> data = Trajectories.of(["buy milk"] * 2, [[("buy", "no")], [("login", "ok"), ("buy", "ok")]], [0.0, 1.0])
    >>> len(data), data.of_tasks()
    (2, {'buy milk': [0, 1]})
    """

    task_ids: Shaped[np.ndarray, " n"]
    tasks: Shaped[np.ndarray, " n"]
    steps: tuple[tuple[Step, ...], ...]
    outcomes: Float[np.ndarray, " n"]
    ids: Shaped[np.ndarray, " n"]
    source: str
    columns: dict[str, Shaped[np.ndarray, " _"]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    usual_split = "train=.8,test=.2"

    @classmethod
    def of(
        cls,
        tasks: Sequence[str],
        steps: Sequence[Sequence[tuple[str, str]]],
        outcomes: Sequence[float],
        task_ids: Sequence[str] | None = None,
        columns: Mapping[str, Any] | None = None,
        source: str = "memory",
    ) -> "Trajectories":
        """From lists; the id of a task is its text unless given."""
        return cls(
            task_ids=_objects(tasks if task_ids is None else task_ids),
            tasks=_objects(tasks),
            steps=tuple(tuple(Step(*step) for step in run) for run in steps),
            outcomes=np.asarray(outcomes, dtype=np.float64),
            ids=np.arange(len(tasks)),
            source=source,
            columns={name: np.asarray(column) for name, column in (columns or {}).items()},
        )

    @classmethod
    def read(cls, path: str | Path, *, outcome: str = "outcome") -> "Trajectories":
        """Read JSON lines or Parquet (task, perhaps task_id and template, steps, outcome), or ReAct's WebShop log.

        A step is {"action": ..., "observation": ...}, or a list of both; `outcome` names the field of the outcome, a
        number or true or false. In the log (.txt) an episode that never bought anything scores 0, as in its own
        running means. Raises `UserError` naming the row that lacks a task, steps or an outcome.
        """
        path = Path(path)
        if path.suffix.lower() == ".txt":
            return _webshop(path)
        rows = read_records(path)
        runs = [_run(row, number, outcome, path) for number, row in enumerate(rows, start=1)]
        columns = {"template": [str(row["template"]) for row in rows]} if all("template" in row for row in rows) else {}
        ids = [str(row.get("task_id") or row["task"]) for row in rows]
        steps, outcomes = [run for run, _ in runs], [outcome for _, outcome in runs]
        return cls.of([str(row["task"]) for row in rows], steps, outcomes, ids, columns, str(path))

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def views(self) -> dict[str, Any]:
        """None: runs are not embedded."""
        return {}

    def of_tasks(self) -> dict[str, list[int]]:
        """The rows of each task, in the order of the tasks' first runs."""
        found: dict[str, list[int]] = {}
        for row, task in enumerate(self.task_ids.tolist()):
            found.setdefault(task, []).append(row)
        return found

    def rows(self, index: Index) -> "Trajectories":
        """Some runs: a slice, row numbers or a mask."""
        numbers = np.arange(len(self))[index]
        return replace(
            self,
            task_ids=self.task_ids[numbers],
            tasks=self.tasks[numbers],
            steps=tuple(self.steps[number] for number in numbers),
            outcomes=self.outcomes[numbers],
            ids=self.ids[numbers],
            columns={name: column[numbers] for name, column in self.columns.items()},
        )

    def split(self, shares: Mapping[str, float], seed: int = 0, group: str | None = None) -> dict[str, "Trajectories"]:
        """Divide whole tasks at random, or whole templates where there is such a column."""
        by = "template" if "template" in self.columns else "tasks"
        values = self.columns.get("template", self.task_ids)
        parts = split_rows(len(self), shares, seed, values, self.source, by)
        return {part: self.rows(rows) for part, rows in parts.items()}

    def fingerprint(self) -> str:
        """A hash of tasks, steps and outcomes, in their order."""
        told = (self.task_ids.tolist(), self.tasks.tolist(), self.steps, self.outcomes.tolist())
        return hashlib.blake2b(repr(told).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()

    def schema(self) -> list[dict[str, Any]]:
        """The runs in one line."""
        return [
            {
                "view": "runs",
                "kind": "steps",
                "columns": f"{len(self.of_tasks())} tasks, mean outcome {self.outcomes.mean():.3g}",
                "width": round(sum(map(len, self.steps)) / max(1, len(self))),
                "unit": "steps",
                "rows": len(self),
                "missing": 0.0,
            }
        ]

    def warnings(self) -> list[str]:
        """What the reader noted, and how many tasks have no runs to contrast."""
        flat = sum(len(set(self.outcomes[rows])) < 2 for rows in self.of_tasks().values())
        said = f"{flat} of {len(self.of_tasks())} tasks have runs of one outcome alone, so they hold no contrast"
        return [*self.notes, *([said] if flat else [])]


def _run(row: Mapping[str, Any], number: int, outcome: str, path: Path) -> tuple[list[tuple[str, str]], float]:
    """Steps and outcome of one record."""
    where = f"{path}: row {number}"
    if not isinstance(row.get("task"), str) or not row["task"].strip():
        raise UserError(f'{where}: no "task"; give its text')
    value = row.get(outcome)
    if not isinstance(value, bool | int | float) or not math.isfinite(value):
        raise UserError(
            f'{where}: no "{outcome}"; a run without an outcome teaches nothing: give a number, or outcome=FIELD'
        )
    steps = row.get("steps")
    if not isinstance(steps, list) or not steps:
        raise UserError(f'{where}: no "steps"; give a list of actions and observations')
    return [_step(step, where) for step in steps], float(value)


def _step(step: Any, where: str) -> tuple[str, str]:
    if isinstance(step, str):
        return step, ""
    if isinstance(step, Mapping) and isinstance(step.get("action"), str):
        return step["action"], str(step.get("observation") or "")
    if isinstance(step, list | tuple) and len(step) == 2 and all(isinstance(part, str) for part in step):
        return step[0], step[1]
    raise UserError(f'{where}: a step is {{"action": TEXT, "observation": TEXT}} or a list of two texts')


def _webshop(path: Path) -> Trajectories:
    """The episodes of ReAct's log of WebShop."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error})") from None
    found = list(_episodes(text))
    if not found:
        raise UserError(
            f'{path}: no episode with "Action:" and "Instruction:" lines; other formats are JSON lines and Parquet'
        )
    tasks, steps, outcomes = (list(part) for part in zip(*found, strict=True))
    ids = [f"{number}" for number in range(len(tasks))]
    missing = sum(SCORE.search(run[-1][1]) is None for run in steps)
    made = Trajectories.of(tasks, steps, outcomes, ids, source=str(path))
    return replace(made, notes=(f"{missing} of {len(tasks)} episodes bought nothing and score 0",))


def _episodes(text: str) -> Iterator[tuple[str, list[tuple[str, str]], float]]:
    for part in re.split(r"^-+\n", text, flags=re.MULTILINE):
        task = re.search(r"Instruction:\s*\n(.+)", part)
        steps = re.findall(r"^Action: (.*?)\nObservation: ?(.*?)(?=^Action: |\Z)", part, re.DOTALL | re.MULTILINE)
        if task and steps:
            score = SCORE.search(steps[-1][1])
            kept = [(action.strip(), seen.strip()) for action, seen in steps if action.strip() != "reset"]
            yield task.group(1).strip(), kept, float(score.group(1)) if score else 0.0


def _objects(values: Sequence[Any]) -> Shaped[np.ndarray, " n"]:
    made = np.empty(len(values), dtype=object)
    made[:] = list(values)
    return made
