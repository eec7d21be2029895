"""Measures over groups of rows."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from counterpoint.evaluation.outcome import Columns


@dataclass(frozen=True)
class WorstGroup:
    """The least mean of a column over the groups that another column names, in rows as in `Mean`; NaN without rows.

    A group of which a draw holds no row does not count in that draw. Source: worst-group accuracy, arXiv 1911.08731.

    >>> WorstGroup("correct", "group")({"correct": np.array([1.0, 0.0, 1.0]), "group": np.array([0, 1, 1])})
    0.5
    """

    column: str
    group: str
    where: tuple[str, Any] | None = None

    def __call__(self, columns: Columns) -> float:
        rows = slice(None) if self.where is None else columns[self.where[0]] == self.where[1]
        values = columns[self.column][rows].astype(np.float64)
        if not len(values):
            return float("nan")
        _, place = np.unique(columns[self.group][rows], return_inverse=True)
        return float((np.bincount(place, weights=values) / np.bincount(place)).min())
