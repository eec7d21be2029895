"""What a user gives an index: ids, vectors and metadata, checked and brought into one form."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from counterpoint.errors import UserError, nearest

RESERVED = ("_id", "_at")
"""Column names that the index needs for itself."""


def ids_of(ids: Any, kind: pa.DataType | None = None) -> pa.Array:
    """Ids as whole numbers or text; raises `UserError` for others, and where one is missing."""
    try:
        keys = ids.combine_chunks() if isinstance(ids, pa.ChunkedArray) else pa.array(ids)
        whole = pa.types.is_integer(keys.type) or (not len(keys) and kind is None)
        keys = keys.cast(kind or (pa.int64() if whole else pa.string()))
    except (pa.ArrowException, OverflowError, TypeError) as error:
        raise UserError(f"ids must all be whole numbers or all be text ({str(error).splitlines()[0][:120]})") from None
    if keys.null_count:
        raise UserError(f"row {pc.index(keys.is_null(), True).as_py() + 1}: the id is missing")
    return keys


def refuse_repeated(keys: pa.Array) -> None:
    counts = keys.value_counts()
    if len(counts) < len(keys):
        repeated = next(entry for entry in counts if entry["counts"].as_py() > 1)
        raise UserError(f"id {repeated['values'].as_py()} is given {repeated['counts'].as_py()} times; ids must differ")


def block_of(vectors: Any, dim: int | None = None) -> np.ndarray:
    try:
        block = np.asarray(vectors)
        if block.dtype.kind not in "fiu":
            block = block.astype(np.float64)
    except (TypeError, ValueError):
        raise UserError("vectors must be rows of numbers, all of the same width") from None
    if block.ndim == 2 and dim is not None and block.shape[1] != dim and len(block):
        raise UserError(
            f"vectors of {block.shape[1]} numbers, where the index holds {dim}; they are of another run or view"
        )
    if block.ndim != 2 or not block.shape[1]:
        if block.size == 0 and dim is not None:
            return np.zeros((0, dim), dtype=np.float32)
        raise UserError(f"vectors must be rows of numbers, not an array of shape {block.shape}")
    return block


def metadata_of(metadata: pa.Table | None, rows: int) -> pa.Table:
    table = pa.table({}) if metadata is None else metadata
    if table.column_names and len(table) != rows:
        raise UserError(f"{len(table)} rows of metadata for {rows} ids")
    if taken := [name for name in RESERVED if name in table.column_names]:
        raise UserError(f'a metadata column is called "{taken[0]}", a name the index needs; rename it')
    return table


def aligned(metadata: pa.Table | None, like: pa.Table, rows: int) -> pa.Table:
    """Metadata of new rows with the columns and types of the index."""
    given = metadata_of(metadata, rows)
    for name in given.column_names:
        if name not in like.column_names:
            raise UserError(f'the index has no metadata column "{name}"; {nearest(name, like.column_names)}')
    try:
        columns = {
            field.name: given[field.name].cast(field.type)
            if field.name in given.column_names
            else pa.nulls(rows, field.type)
            for field in like.schema
        }
    except pa.ArrowException as error:
        raise UserError(f"the metadata are of another type than the index's ({str(error)[:120]})") from None
    return pa.table(columns, schema=like.schema if columns else None)


def similar(id: str, ids: pa.Array) -> str:
    first = ", ".join(str(one) for one in ids[:3].to_pylist())
    return f" (it has {len(ids)}, such as {first})" if len(ids) else ", which is empty"
