"""What a search gives back, and what every index can do."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int, Shaped

Rows = Sequence[int] | Int[np.ndarray, " n"]


@dataclass(frozen=True)
class Hits:
    """The rows nearest to each query, best first: their ids, cosine similarities and row numbers.

    k is smaller than asked when fewer rows match. Row numbers hold until the index changes.
    """

    ids: Shaped[np.ndarray, "n k"]
    scores: Float[np.ndarray, "n k"]
    rows: Int[np.ndarray, "n k"]


@runtime_checkable
class Searchable(Protocol):
    """An index, wherever it is kept."""

    @property
    def about(self) -> Mapping[str, Any]:
        """What is indexed and how: `kind`, `dim`, `rows`, `recall`, and the `run`, `weights` and `view` when known."""

    def __len__(self) -> int: ...

    def search(self, queries: Any, k: int = 10, where: Mapping[str, Any] | None = None) -> Hits:
        """The k rows nearest to each query ("n d"), among those whose metadata match."""

    def add(self, ids: Sequence[Any], vectors: Any, metadata: Any = None) -> None:
        """Add rows whose ids are new."""

    def delete(self, ids: Sequence[Any]) -> None:
        """Take rows out."""

    def metadata(self, rows: Rows) -> list[dict[str, Any]]:
        """The metadata of rows, by row number."""

    def vector(self, id: Any) -> Float[np.ndarray, " d"]:
        """The unit vector of an id."""
