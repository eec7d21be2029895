"""An index as a dictionary, searched by brute force in float64."""

from collections.abc import Callable
from typing import Any

import numpy as np


class Oracle:
    """Ids with their vectors and metadata."""

    def __init__(self) -> None:
        self.rows: dict[Any, tuple[np.ndarray, dict[str, Any]]] = {}

    def add(self, ids: list[Any], vectors: np.ndarray, metadata: list[dict[str, Any]]) -> None:
        self.rows |= dict(zip(ids, zip(vectors.astype(np.float64), metadata, strict=True), strict=True))

    def delete(self, ids: list[Any]) -> None:
        for one in ids:
            del self.rows[one]

    def search(
        self, query: np.ndarray, k: int, keep: Callable[[dict[str, Any]], bool] = lambda row: True
    ) -> list[tuple[Any, float]]:
        """Ids and cosines, best first."""
        kept = {name: vector for name, (vector, row) in self.rows.items() if keep(row)}
        scores = {name: cosine(query, vector) for name, vector in kept.items()}
        return sorted(scores.items(), key=lambda pair: -pair[1])[:k]


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    length = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a.astype(np.float64) @ b) / length if length else 0.0


def agree(found: tuple[np.ndarray, np.ndarray], wanted: list[tuple[Any, float]]) -> None:
    """The same scores, and the same ids wherever a score is not (nearly) shared with another."""
    ids, scores = found
    assert len(ids) == len(wanted)
    assert np.allclose(scores, [score for _, score in wanted], atol=2e-6)
    values = np.array([score for _, score in wanted])
    for place, (name, score) in enumerate(wanted[:-1]):
        if np.sum(np.abs(values - score) < 1e-6) == 1:
            assert ids[place] == name
