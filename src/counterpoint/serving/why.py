"""Why a row was found: the training pairs that lie nearest to the query and to it."""

from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float

from counterpoint.vectors import OWN, VIEW

MOST = 100_000
"""Training rows looked at, so that memory stays bounded."""


@dataclass(frozen=True)
class Training:
    """Rows a run was trained on: their ids, the unit vectors of each view (NaN where absent) and other columns."""

    ids: np.ndarray
    views: dict[str, Float[np.ndarray, "n d"]]
    columns: pa.Table

    def pairs(
        self, query: Float[np.ndarray, " d"], hit: Float[np.ndarray, " d"], k: int
    ) -> list[tuple[int, str, float, str, float]]:
        """Per training row the two views that are nearest to query and hit, for the k rows where their sum is largest.

        Each is the row number, a view and its cosine with the query, a view and its cosine with the hit. The two views
        differ unless the row has one only: training pulled exactly such pairs together.
        """
        near = {name: (_cosines(values, query), _cosines(values, hit)) for name, values in self.views.items()}
        routes = [(a, b) for a, b in product(near, near) if a != b or len(near) == 1]
        sums = np.stack([near[a][0] + near[b][1] for a, b in routes])
        sums = np.where(np.isnan(sums), -np.inf, sums)
        best = sums.max(axis=0)
        found = []
        for row in np.argsort(-best, kind="stable")[:k].tolist():
            if np.isfinite(best[row]):
                a, b = routes[int(sums[:, row].argmax())]
                found.append((row, a, float(near[a][0][row]), b, float(near[b][1][row])))
        return found


def read_training(run: Path) -> Training | None:
    """The training rows of a run from the vectors that its fit wrote, or None when it wrote none.

    Of more than `MOST` rows evenly spaced ones are taken.
    """
    path = run / "embeddings.parquet"
    try:
        file = pq.ParquetFile(path)
    except (OSError, pa.ArrowException):
        return None
    names = file.schema_arrow.names
    views = [name for name in names if name.startswith(VIEW)] or [name for name in names if name == "joint"]
    if not views or "id" not in names:
        return None
    kept = [name for name in names if name in views or name == "id" or name not in OWN]
    table = _evenly(file, kept, "split" in names)
    if not len(table):
        return None
    vectors = {name.removeprefix(VIEW): _values(table[name]) for name in views}
    return Training(table["id"].to_numpy(), vectors, table.drop_columns([*views, "id"]))


def _evenly(file: pq.ParquetFile, columns: list[str], split: bool) -> pa.Table:
    """Every so many-th training row, read a batch at a time."""
    step = max(1, -(-file.metadata.num_rows // MOST))
    parts, start = [], 0
    for batch in file.iter_batches(columns=[*columns, *(["split"] if split else [])]):
        rows = pa.Table.from_batches([batch])
        rows = rows.take(np.arange(-start % step, len(rows), step))
        start += len(batch)
        parts.append(rows.filter(pa.compute.equal(rows["split"], "train")).drop_columns(["split"]) if split else rows)
    return pa.concat_tables(parts)


def _values(column: pa.ChunkedArray) -> Float[np.ndarray, "n d"]:
    """Vectors of a column, NaN for a row without."""
    lists = column.combine_chunks()
    present = lists.is_valid().to_numpy(zero_copy_only=False)
    values = np.full((len(present), lists.type.list_size), np.nan, dtype=np.float32)
    values[present] = lists.flatten().to_numpy(zero_copy_only=False).reshape(-1, lists.type.list_size)
    return values


def _cosines(values: Float[np.ndarray, "n d"], vector: Float[np.ndarray, " d"]) -> Float[np.ndarray, " n"]:
    lengths = np.linalg.norm(values, axis=1) * max(float(np.linalg.norm(vector)), 1e-12)
    return np.asarray(values @ vector / np.maximum(lengths, 1e-12))


def plain(value: Any) -> Any:
    """A cell as JSON has it: numbers, text and truth values as they are, not-a-number as null, the rest as text."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    return value if value is None or isinstance(value, str | int | bool) else str(value)
