"""The wing's protocol: find a row's target view among candidates, given some of its other views."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from counterpoint.errors import UserError
from counterpoint.evaluation.outcome import Mean, Median, Outcome
from counterpoint.evaluation.retrieval import Ranks, ranks, retrieval_columns, retrieval_metrics
from counterpoint.multimodal.table import Table
from counterpoint.multimodal.use import embed_views
from counterpoint.training import Encoded, rng

MOST_CANDIDATES = 2000
MOST_ROWS = 10_000


@dataclass(frozen=True)
class Task:
    """Find the `target` view of a row from its `given` views."""

    given: tuple[str, ...]
    target: str


def pair_tasks(views: Sequence[str]) -> tuple[Task, ...]:
    """Every view from every other one, both directions.

    >>> pair_tasks(["a", "b"])
    (Task(given=('a',), target='b'), Task(given=('b',), target='a'))
    """
    return tuple(Task((given,), target) for given, target in permutations(views, 2))


def rest_tasks(views: Sequence[str]) -> tuple[Task, ...]:
    """Each view from all others together (nothing new when there are only two).

    >>> rest_tasks(["a", "b", "c"])[0]
    Task(given=('b', 'c'), target='a')
    """
    if len(views) < 3:
        return ()
    return tuple(Task(tuple(v for v in views if v != target), target) for target in views)


def candidate_sets(n: int, size: int | None, seed: int = 0) -> list[Int[Tensor, " m"]]:
    """The rows that compete with each other: groups of `size` in an order fixed by the seed.

    Default: all rows together up to 2,000; beyond that groups of 2,000, at most 10,000 rows. Rows that fill no group
    are left out, so that every query has equally many candidates.

    >>> [len(rows) for rows in candidate_sets(300, 128)]
    [128, 128]
    """
    size = size or min(n, MOST_CANDIDATES)
    if n < size:
        raise UserError(f"{n} rows cannot be judged among {size} candidates; use more rows or fewer candidates")
    order = torch.arange(n) if n == size else torch.randperm(n, generator=rng(seed, "candidates"))
    groups = min(n // size, max(1, MOST_ROWS // size))
    kept = order[: groups * size]
    return list(torch.split(kept.sort().values if groups == 1 else kept, size))


def ranks_of(method: Any, encoded: Encoded, task: Task) -> tuple[Ranks, Int[Tensor, " k"]]:
    """Ranks of the queries that have the target and at least one given view, and which rows they are.

    The candidates are all rows that have the target.
    """
    has_target = encoded.present[task.target]
    asked = has_target & torch.stack([encoded.present[name] for name in task.given]).any(dim=0)
    rows, candidates = asked.nonzero()[:, 0], has_target.nonzero()[:, 0]
    scores = method.scores(encoded.only(task.given).rows(rows), task.target, encoded.vectors[task.target][candidates])
    return ranks(scores.cpu(), torch.searchsorted(candidates, rows).cpu()), rows.cpu()


def cross_view(
    method: Any, table: Table, tasks: Sequence[Task] | None = None, candidates: int | None = None
) -> Outcome:
    """One value per row and measure: the mean over the tasks that the row can be asked.

    `tasks` default to every ordered pair of views; with three views or more, `rest_top1` and `rest_mrr` say how well
    each view is found from all others together. Ties count by expectation (`evaluation.retrieval.Ranks`).
    """
    names = list(method.facts["views"])
    columns = _columns(method, table, tasks or pair_tasks(names), candidates)
    if tasks is None and len(names) > 2:
        rest = _columns(method, table, rest_tasks(names), candidates)
        columns |= {f"rest_{name}": rest[name] for name in ("top1", "mrr")}
    judged = np.isfinite(np.stack(list(columns.values()))).all(axis=0)
    columns = {name: values[judged] for name, values in columns.items()}
    measures: dict[str, Any] = {name: Mean(name) for name in columns if name != "rank"}
    unit = None if table.group is None else table.columns[table.group][judged].astype(str)
    ids = table.ids[judged]
    ids = ids.astype(str) if ids.dtype == object else ids
    return Outcome(ids, columns, measures | {"median_rank": Median("rank")}, unit=unit)


def _columns(
    method: Any, table: Table, tasks: Sequence[Task], candidates: int | None
) -> dict[str, Float[np.ndarray, " n"]]:
    """Sums over tasks divided by the number of tasks each row was asked; NaN for rows never asked."""
    sums: dict[str, Tensor] = {}
    asked = torch.zeros(len(table), dtype=torch.float64)
    for group in candidate_sets(len(table), candidates):
        encoded = embed_views(method, table.rows(group.numpy()))
        for task in tasks:
            found, rows = ranks_of(method, encoded, task)
            asked[group[rows]] += 1
            for name, values in retrieval_columns(found).items():
                sums.setdefault(name, torch.zeros_like(asked))[group[rows]] += values.double()
    return {name: (total / asked).numpy() for name, total in sums.items()}


def task_table(method: Any, table: Table, candidates: int | None = None) -> list[dict[str, Any]]:
    """Retrieval metrics of every pair task and every rest task, as rows for the report."""
    names = list(method.facts["views"])
    found = []
    group = candidate_sets(len(table), candidates)[0]
    encoded = embed_views(method, table.rows(group.numpy()))
    for task in (*pair_tasks(names), *rest_tasks(names)):
        place, rows = ranks_of(method, encoded, task)
        if len(rows):
            numbers = retrieval_metrics(place) | {"candidates": len(group), "queries": len(rows)}
            found.append({"given": list(task.given), "target": task.target, **numbers})
    return found
