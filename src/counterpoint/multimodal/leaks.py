"""Columns of views that give away what they should not: the id of the row, or a column kept beside the views."""

import re
from collections.abc import Iterator

import numpy as np
from jaxtyping import Int, Shaped

from counterpoint.multimodal.table import Table, View, lacking

ROWS = 5000
"""Rows looked at, evenly spaced."""
COLUMNS = 5000
"""Columns of a view looked at, the first ones."""
CLASSES = 20
"""A kept column with at most so many values may be a label."""
LEAST = 10
"""Rows that each class must have for a verdict."""


def leaks(table: Table) -> list[str]:
    """What looks as if it should not be learned from, in plain words.

    >>> rows = np.arange(40.0)[::-1]
    >>> table = Table.of({"a": np.stack([rows, rows % 2], axis=1), "b": rows[:, None] ** 2}, {"sick": rows % 2 > 0})
    >>> [text.partition(";")[0] for text in leaks(table)]
    ['view "a": "a[1]" alone tells "sick" without error']
    """
    part = table.rows(np.arange(0, len(table), max(1, -(-len(table) // ROWS))))
    labels = {name: codes for name, column in part.columns.items() if (codes := _classes(column)) is not None}
    if part.group is not None:
        labels.pop(part.group, None)
    return [text for view in part.views.values() for text in _of_view(view, part.ids, labels)]


def _of_view(view: View, ids: Shaped[np.ndarray, " n"], labels: dict[str, Int[np.ndarray, " n"]]) -> Iterator[str]:
    if view.kind not in ("numbers", "vector", "categories"):
        return
    numbered = _numbered(ids)
    for column in range(min(view.width, COLUMNS)):
        values = view.values[:, column]
        known = ~lacking(values)
        name = view.label(column)
        if view.items is None and numbered is not None and len(ids) >= 8 and np.array_equal(values, numbered):
            yield f'view "{view.name}": "{name}" is the id of the row; it tells rows apart without describing them'
        for label, classes in labels.items():
            if _tells(values[known], classes[known]):
                yield (
                    f'view "{view.name}": "{name}" alone tells "{label}" without error; if "{label}" is to be '
                    "predicted from the space, leave the column out"
                )


def _tells(values: Shaped[np.ndarray, " n"], classes: Int[np.ndarray, " n"]) -> bool:
    """Whether each class is one stretch of the sorted values, or each of a few values has one class."""
    known = classes >= 0
    values, classes = values[known], classes[known]
    count = np.bincount(classes) if len(classes) else np.zeros(1)
    kinds = int((count > 0).sum())
    if kinds < 2 or count[count > 0].min() < LEAST:
        return False
    distinct, place = np.unique(values, return_inverse=True)
    if len(distinct) <= 2 * kinds:
        pairs = np.unique(np.stack([place, classes]), axis=1)
        return bool(pairs.shape[1] == len(distinct))
    pairs = np.unique(np.stack([place, classes]), axis=1)  # sorted by value, then by class
    return bool(pairs.shape[1] == len(distinct) and (np.diff(pairs[1]) != 0).sum() == kinds - 1)


def _classes(column: Shaped[np.ndarray, " n"]) -> Int[np.ndarray, " n"] | None:
    """Numbers of a column's values, -1 where missing; None unless it has a few."""
    texts = np.array(
        [None if value is None or value != value else str(value) for value in column.tolist()], dtype=object
    )
    known = np.array([text is not None for text in texts], dtype=bool)
    distinct, place = np.unique(texts[known].astype(str), return_inverse=True)
    if not 2 <= len(distinct) <= CLASSES:
        return None
    codes = np.full(len(texts), -1, dtype=np.int64)
    codes[known] = place
    return codes


def _numbered(ids: Shaped[np.ndarray, " n"]) -> Shaped[np.ndarray, " n"] | None:
    """Ids as numbers: themselves, or the digits of texts such as "p017"; None where they have none.

    Ids that only rise or fall have None too: a column equal to them is warned of as a row number.
    """
    if ids.dtype.kind not in "iuf":
        digits = [re.fullmatch(r"\D*(\d{1,15})\D*", str(one)) for one in ids.tolist()]
        ids = np.array([float(found[1]) for found in digits if found]) if all(digits) else np.zeros(0)
    steps = np.sign(np.diff(ids.astype(np.float64)))
    return ids.astype(np.float32) if len(np.unique(steps)) > 1 else None
