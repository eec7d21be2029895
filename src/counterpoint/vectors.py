"""Vectors of rows as a Parquet file: id, split, `joint`, `view:<name>` (null for a row without it), other columns.

Other columns are those kept with the data, and what the data `shown` of each row's views, such as its texts.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
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
ABOUT = b"counterpoint"


def write_vectors(
    path: Path,
    method: Any,
    parts: Iterable[tuple[str | None, Any]],
    about: Mapping[str, str] | None = None,
    watch: Callable[[int], None] = lambda rows: None,
) -> None:
    """Embed tables, each named by its split (None: not named), and write them to one file, atomically.

    Memory is bounded by `ROWS`. `method` has `embed`, or `embed_views` and `joint` when it has vectors per view.
    `about` is kept in the file (`read_about`); `watch` is told how many rows are done.
    """
    blocks = (_rows(method, block, split) for split, table in parts for block in _blocks(table))
    write_tables(path, blocks, about or {}, watch)


def resume_vectors(
    path: Path, method: Any, table: Any, about: Mapping[str, str], watch: Callable[[int], None] = lambda rows: None
) -> None:
    """Embed one table as `write_vectors` does, going on where an earlier process was stopped.

    Finished blocks wait in a folder beside the file, named by `about`, which must say what the vectors depend on: those
    of another run or other data are not taken. The folder is removed when the file is whole.
    """
    key = hashlib.blake2b(repr(sorted(about.items())).encode(), digest_size=8).hexdigest()
    folder = path.with_name(f".{path.name}.{key}.parts")

    def blocks() -> Iterator[pa.Table]:
        for number, block in enumerate(_blocks(table)):
            part = folder / f"{number}.parquet"
            if not part.exists():
                with atomic_path(part) as temporary:
                    pq.write_table(_rows(method, block, None), temporary)
            yield pq.read_table(part)

    write_tables(path, blocks(), about, watch)
    for left in path.parent.glob(f".{path.name}.*.parts"):
        shutil.rmtree(left, ignore_errors=True)


def read_about(path: Path) -> dict[str, str]:
    """What a file of vectors says about them: `run`, `weights` and more; empty for a file made elsewhere."""
    kept = (pq.read_schema(path).metadata or {}).get(ABOUT)
    return dict(json.loads(kept)) if kept else {}


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


def write_tables(
    path: Path,
    blocks: Iterable[pa.Table],
    about: Mapping[str, str],
    watch: Callable[[int], None] = lambda rows: None,
) -> None:
    """Write tables of vectors, which have the same columns, one after the other to one file, atomically."""
    with atomic_path(path) as temporary:
        writer, done = None, 0
        try:
            for rows in blocks:
                if writer is None:
                    kept = {ABOUT: json.dumps(dict(about))}
                    writer = pq.ParquetWriter(temporary, rows.schema.with_metadata(kept))
                writer.write_table(rows.cast(writer.schema))
                done += len(rows)
                watch(done)
        finally:
            if writer is not None:
                writer.close()


def _blocks(table: Any) -> Iterator[Any]:
    for start in range(0, len(table), ROWS):
        yield table.rows(slice(start, start + ROWS))


def _rows(method: Any, table: Any, split: str | None) -> pa.Table:
    columns: dict[str, Any] = {"id": pa.array(table.ids, from_pandas=True)}
    if split is not None:
        columns["split"] = pa.array([split] * len(table))
    encoded = method.embed_views(table, list(table.views)) if hasattr(method, "joint") else None
    columns["joint"] = _vectors((method.embed(table) if encoded is None else method.joint(encoded)).numpy())
    if encoded is not None:
        for name, vectors in encoded.vectors.items():
            columns[VIEW + name] = _vectors(vectors.numpy(), encoded.present[name].numpy())
    for name, values in {**getattr(table, "shown", {}), **table.columns}.items():
        columns[f"{name} (table)" if name in OWN else name] = pa.array(values, from_pandas=True)
    return pa.table(columns)


def _vectors(values: Float[np.ndarray, "n d"], present: Bool[np.ndarray, " n"] | None = None) -> pa.FixedSizeListArray:
    flat = pa.array(np.ascontiguousarray(values, dtype=np.float32).reshape(-1))
    mask = None if present is None else pa.array(~present)
    return pa.FixedSizeListArray.from_arrays(flat, values.shape[1], mask=mask)
