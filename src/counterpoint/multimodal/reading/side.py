"""Events in a file of their own beside a table: an event per line, joined to the table's rows by id."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
from jaxtyping import Shaped

from counterpoint.errors import UserError
from counterpoint.multimodal.kinds.events import Lists
from counterpoint.multimodal.reading.proposal import Views, require
from counterpoint.multimodal.reading.sources import OPENERS, Source, open_source, reading
from counterpoint.multimodal.table import View

PARTS = ("value", "time", "type")


def side_files(views: Views, source: Source, id: str | None, kind: Mapping[str, str]) -> dict[str, str]:
    """The views that name a file instead of columns, such as `view.vitals=events.csv`; it lies beside the table.

    Raises `UserError` when the file is not there, when rows have no id to be joined by, or for a kind but events.
    """
    found = {}
    for name, pattern in views.items():
        file = pattern if isinstance(pattern, str) else pattern[0] if len(pattern) == 1 else ""
        if Path(file).suffix.lower() not in OPENERS or file in source.schema.names:
            continue
        if not (source.path.parent / file).is_file():
            raise UserError(f'{source.path}: view "{name}" is the file {file}, which is not beside it')
        if id is None:
            raise UserError(f'{source.path}: the events of view "{name}" are joined by id; name its column, id=COLUMN')
        if kind.get(name, "events") != "events":
            raise UserError(f"kind.{name}={kind[name]}: a view in a file of its own is events")
        found[name] = file
    return found


def side_view(name: str, folder: Path, file: str, id: str, ids: Shaped[np.ndarray, " n"]) -> tuple[View, str | None]:
    """The events of each row, and a note on those of no row; the view's one column is called as the file.

    The file has the table's id column and the columns value, time and type: a value may be missing, a time is a number
    or an ISO date and time. Raises `UserError` for a file without them, a time that is neither, or ids that repeat in
    the table.
    """
    path = folder / file
    source = open_source(path)
    for column in (id, *PARTS):
        require(column, source.schema.names, str(path), f'view "{name}"')
    place = {str(one).strip(): row for row, one in enumerate(ids.tolist())}
    if len(place) < len(ids):
        raise UserError(f'{path}: events are joined by id, and column "{id}" of the table repeats some')
    chunks: dict[str, list[pa.Array]] = {column: [] for column in (id, *PARTS)}
    for _, batch in source.batches(["value"], [id, "time", "type"]):
        for column, array in zip(batch.schema.names, batch.columns, strict=True):
            chunks[column].append(array)
    whole = {column: pa.chunked_array(arrays) for column, arrays in chunks.items()}
    rows = np.array([place.get(str(one).strip(), -1) for one in whole[id].to_pylist()], dtype=np.int64)
    order = np.argsort(rows, kind="stable")[int((rows < 0).sum()) :]
    ends = np.concatenate([[0], np.cumsum(np.bincount(rows[order], minlength=len(ids)))]).astype(np.int32)
    lists = Lists(path, len(ids), PARTS)
    for part in PARTS:
        values = _times(whole[part], path) if part == "time" else whole[part]
        lists.put(part, 0, pa.ListArray.from_arrays(ends, values.combine_chunks().take(order)))
    lost = len(rows) - len(order)
    note = f"{path}: {lost:,} of {len(rows):,} events belong to no row of the table" if lost else None
    return lists.view(name, "events", (file,)), note


def _times(times: pa.ChunkedArray, path: Path) -> pa.ChunkedArray:
    """Times of a text file as numbers, or as the moments they spell."""
    if not (pa.types.is_string(times.type) or pa.types.is_large_string(times.type)):
        return times
    try:
        return times.cast(pa.float64())
    except pa.ArrowInvalid:
        with reading(path, "events: a time is a number, or a moment such as 2026-01-31 08:00"):
            return times.cast(pa.timestamp("us"))
