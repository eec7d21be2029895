"""A table as Arrow columns, in the form that the reader takes back."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from counterpoint.errors import UserError
from counterpoint.files import atomic_path
from counterpoint.multimodal.table import Table, View


def write_table(path: str | Path, table: Table) -> None:
    """Write a table as Parquet, whole or not at all; raises `UserError` for what a file cannot hold."""
    columns = arrow_table(table)
    with atomic_path(path) as temporary:
        pq.write_table(columns, temporary)


def arrow_table(table: Table) -> pa.Table:
    """Ids (as `id`, unless a kept column has that name), kept columns, then the columns of each view.

    Numbers are a column each where the view names as many, else lists; categories are dictionaries of levels, texts
    and paths of pictures strings. Raises `UserError` for a view of events or for two columns of one name.

    >>> arrow_table(Table.of({"labs": [[1.0, 2.0]]}, {"sick": [True]})).to_pylist()
    [{'id': 0, 'sick': True, 'labs': [1.0, 2.0]}]
    """
    columns: dict[str, Any] = {} if "id" in table.columns else {"id": pa.array(table.ids, from_pandas=True)}
    columns |= {name: pa.array(values, from_pandas=True) for name, values in table.columns.items()}
    for view in table.views.values():
        made = _columns(view)
        if both := [name for name in made if name in columns]:
            raise UserError(f'{table.source}: view "{view.name}" and another column are both called "{both[0]}"')
        columns |= made
    return pa.table(columns)


def _columns(view: View) -> dict[str, pa.Array]:
    """The columns of one view."""
    if view.items is None:
        if len(view.columns) == view.width and view.kind == "numbers":
            return {name: pa.array(view.values[:, i], from_pandas=True) for i, name in enumerate(view.columns)}
        flat = pa.array(np.ascontiguousarray(view.values).reshape(-1), from_pandas=True)
        absent = pa.array(~view.present)
        return {view.columns[0]: pa.FixedSizeListArray.from_arrays(flat, view.width, mask=absent)}
    rows = [view.entries(row) for row in range(len(view.values))]
    if view.kind == "categories":
        levels = [[None if entry is None else str(entry[1]) for entry in column] for column in zip(*rows, strict=True)]
        return {name: pa.array(column).dictionary_encode() for name, column in zip(view.columns, levels, strict=True)}
    if view.kind == "events":
        raise UserError(f'view "{view.name}" is events, which are not written')
    name = view.columns[0] if len(view.columns) == 1 else view.name
    return {name: pa.array([_plain(row[0]) for row in rows])}


def _plain(entry: Any) -> Any:
    """A text, the path of a picture or its bytes, tokens as lists."""
    return str(entry) if isinstance(entry, Path) else entry.tolist() if isinstance(entry, np.ndarray) else entry
