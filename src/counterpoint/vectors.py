"""Vectors of rows as a Parquet file: id, split, `joint`, `view:<name>` (null for a row without it), other columns."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Bool, Float, Shaped

from counterpoint.errors import UserError, nearest
from counterpoint.files import atomic_path

ROWS = 65_536
"""Rows embedded and written at a time."""
VIEW = "view:"
OWN = ("id", "split", "joint")


def write_vectors(path: Path, method: Any, parts: Iterable[tuple[str | None, Any]]) -> None:
    """Embed tables, each named by its split (None: not named), and write them to one file, atomically.

    Memory is bounded by `ROWS`. `method` has `embed`, and `embed_views` when it has vectors per view.
    """
    with atomic_path(path) as temporary:
        writer = None
        try:
            for split, table in parts:
                for block in _blocks(table):
                    rows = _rows(method, block, split)
                    writer = writer or pq.ParquetWriter(temporary, rows.schema)
                    writer.write_table(rows.cast(writer.schema))
        finally:
            if writer is not None:
                writer.close()


def read_view(
    path: Path, view: str
) -> tuple[Shaped[np.ndarray, " n"], Float[np.ndarray, "n d"], Bool[np.ndarray, " n"]]:
    """The ids, the vectors of one view and which rows have it.

    Raises `UserError` when the file is absent, damaged or lacks the view.
    """
    column = VIEW + view
    try:
        names = [name.removeprefix(VIEW) for name in pq.read_schema(path).names if name.startswith(VIEW)]
        if view not in names:
            raise UserError(f'{path}: has no vectors of view "{view}"; {nearest(view, names)}')
        table = pq.read_table(path, columns=["id", column]).combine_chunks()
    except FileNotFoundError:
        raise UserError(f"{path} is missing; go on with fit ... --resume, or give --candidates") from None
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path}: damaged ({str(error).splitlines()[0]}); fit again, or give --candidates") from None
    vectors = table[column].combine_chunks()
    present = vectors.is_valid().to_numpy(zero_copy_only=False)
    values = np.zeros((len(present), vectors.type.list_size), dtype=np.float32)
    values[present] = vectors.flatten().to_numpy(zero_copy_only=False).reshape(-1, vectors.type.list_size)
    return table["id"].to_numpy(), values, present


def _blocks(table: Any) -> Iterator[Any]:
    for start in range(0, len(table), ROWS):
        yield table.rows(slice(start, start + ROWS))


def _rows(method: Any, table: Any, split: str | None) -> pa.Table:
    columns: dict[str, Any] = {"id": pa.array(table.ids, from_pandas=True)}
    if split is not None:
        columns["split"] = pa.array([split] * len(table))
    columns["joint"] = _vectors(method.embed(table).numpy())
    if hasattr(method, "embed_views"):
        encoded = method.embed_views(table, list(table.views))
        for name, vectors in encoded.vectors.items():
            columns[VIEW + name] = _vectors(vectors.numpy(), encoded.present[name].numpy())
    for name, values in table.columns.items():
        columns[f"{name} (table)" if name in OWN else name] = pa.array(values, from_pandas=True)
    return pa.table(columns)


def _vectors(values: Float[np.ndarray, "n d"], present: Bool[np.ndarray, " n"] | None = None) -> pa.FixedSizeListArray:
    flat = pa.array(np.ascontiguousarray(values, dtype=np.float32).reshape(-1))
    mask = None if present is None else pa.array(~present)
    return pa.FixedSizeListArray.from_arrays(flat, values.shape[1], mask=mask)
