"""Brute force in float64, written from the definitions alone, and a table of relations to try it on."""

from collections.abc import Callable

import torch
from torch import Tensor

from counterpoint.objectives import Ids

Case = tuple[Ids, Ids, str]


def same(a: int, b: int) -> bool:
    return a == b and a >= 0


def kind(queries: Ids, keys: Ids, itself: str, i: int, j: int) -> str | None:
    """positive, negative or None (not compared) of one pair."""
    if queries.within is not None and not same(queries.within[i].item(), keys.within[j].item()):
        return None
    if same(queries.row[i].item(), keys.row[j].item()):
        return None if itself == "excluded" else itself
    if same(queries.positive[i].item(), keys.positive[j].item()):
        return "positive"
    if queries.exclude is not None:
        for a, b in zip(queries.exclude[i].tolist(), keys.exclude[j].tolist(), strict=True):
            if same(a, b):
                return None
    return "negative"


def kinds(queries: Ids, keys: Ids, itself: str) -> list[list[str | None]]:
    return [[kind(queries, keys, itself, i, j) for j in range(len(keys))] for i in range(len(queries))]


def mass(logits: Tensor, table: list[list[str | None]], over: str, weight: Tensor | None) -> Tensor:
    """log_mass from a full matrix of logits."""
    wanted = ("positive", "negative") if over == "all" else (over.removesuffix("s"),)
    weighted = logits if weight is None else logits + weight.double()
    rows = []
    for i, row in enumerate(table):
        terms = [weighted[i, j] for j, this in enumerate(row) if this in wanted]
        terms = [term for term in terms if term != -torch.inf]
        rows.append(torch.stack(terms).logsumexp(0) if terms else logits.new_tensor(-torch.inf))
    return torch.stack(rows)


def info_nce(logits: Tensor, table: list[list[str | None]], over: str, weight: Tensor | None) -> tuple[Tensor, Tensor]:
    """(value, valid), the mean over positives of -log(e^logit / mass)."""
    total = mass(logits, table, over, weight)
    values, valid = [], []
    for i, row in enumerate(table):
        positive = [logits[i, j] for j, this in enumerate(row) if this == "positive"]
        valid.append(bool(positive) and "negative" in row and bool(total[i] != -torch.inf))
        values.append(total[i] - torch.stack(positive).mean() if valid[-1] else logits.new_tensor(0.0))
    return torch.stack(values), torch.tensor(valid)


def _in_batch(n: int, m: int) -> Case:
    return Ids(torch.arange(n), torch.arange(n)), Ids(torch.arange(m), torch.arange(m)), "positive"


def _sup_con(n: int, m: int) -> Case:
    ids = Ids(torch.arange(n), torch.arange(n) % 3)
    return ids, ids, "excluded"


def _one_class(n: int, m: int) -> Case:
    ids = Ids(torch.arange(n), torch.zeros(n, dtype=torch.int64))
    return ids, ids, "excluded"


def _excluded_columns(n: int, m: int) -> Case:
    def side(k: int) -> Ids:
        row = torch.arange(k)
        return Ids(row, row, exclude=torch.stack([row % 4, row // 3, torch.full_like(row, -1)], 1))

    return side(n), side(m), "positive"


def _within(n: int, m: int) -> Case:
    def side(k: int) -> Ids:
        row = torch.arange(k)
        return Ids(row, row // 2, within=torch.where(row == 1, -1, row % 3), exclude=row[:, None] % 5)

    return side(n), side(m), "positive"


def _queue(n: int, m: int) -> Case:
    """Keys that are nobody's positive; some of them are the query's own row."""
    keys = Ids(torch.arange(m) * 2, torch.full((m,), -1))
    return Ids(torch.arange(n), torch.arange(n)), keys, "excluded"


def _private(n: int, m: int) -> Case:
    """Rows of class -1 have no positive; everything, the own row too, is in the denominator."""
    ids = Ids(torch.arange(n), torch.where(torch.arange(n) % 4 == 0, -1, torch.arange(n) % 3))
    return ids, ids, "negative"


def _weighted(n: int, m: int) -> Case:
    def side(k: int) -> Ids:
        row = torch.arange(k)
        weight = torch.linspace(-2, 3, k).masked_fill(row % 5 == 4, -torch.inf)
        return Ids(row, row // 2, log_weight=weight)

    return side(n), side(m), "positive"


def _all_masked(n: int, m: int) -> Case:
    def side(k: int) -> Ids:
        row = torch.arange(k)
        return Ids(row, row, exclude=torch.zeros(k, 1, dtype=torch.int64))

    return side(n), side(m), "excluded"


def _duplicates(n: int, m: int) -> Case:
    """A row that is in the batch twice is not its own negative."""
    ids = Ids(torch.arange(n) // 2, torch.arange(n) // 4)
    return ids, ids, "excluded"


def _unlike(n: int, m: int) -> Case:
    """Own row positive although its class is nobody's."""
    queries = Ids(torch.arange(n), torch.where(torch.arange(n) % 2 == 0, -1, 7))
    return queries, Ids(torch.arange(m), torch.full((m,), 7)), "positive"


RELATIONS: dict[str, Callable[[int, int], Case]] = {
    "in batch": _in_batch,
    "classes": _sup_con,
    "one class": _one_class,
    "exclude columns": _excluded_columns,
    "within": _within,
    "queue": _queue,
    "private rows": _private,
    "log weights": _weighted,
    "all masked": _all_masked,
    "duplicates": _duplicates,
    "own row alone": _unlike,
}
