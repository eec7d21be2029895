"""From a file to a `Table`: views chosen, streamed into float32 arrays, and every bad value named."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Float32, Shaped

from counterpoint.errors import UserError, nearest
from counterpoint.multimodal.proposal import Views, as_options, choose, propose, require
from counterpoint.multimodal.sources import (
    Source,
    as_float32,
    is_number,
    is_vector,
    open_source,
    reading,
    text_among_numbers,
)
from counterpoint.multimodal.table import Kind, Table, View

LATER = ("text", "category", "picture")


def read(
    path: str | Path,
    *,
    view: Views | None = None,
    id: str | None = None,
    group: str | None = None,
    kind: Mapping[str, str] | None = None,
    least_views: int = 2,
) -> Table:
    """Read CSV, TSV, Parquet, Arrow/Feather or npz, in memory for the float32 values plus about one batch.

    `view` maps a view's name to its columns (`{"labs": "lab_*", "x": "a,b,c*"}`, see `proposal.choose`);
    without it the views are proposed and noted. `id` and `group` name columns; `kind` overrides what was
    recognised ("numbers" or "vector"). Number columns make a block of numbers, one column of equally long
    lists a vector, an npz array of two axes likewise. Null and NaN mean missing. All other columns are kept as
    columns. Rows for a finished model may come with fewer than two views: `least_views=1`.
    Raises `UserError`, naming file, row (from 1), column and value, for whatever cannot be read as that.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "a.csv"
    >>> _ = path.write_text("who,lab_a,lab_b,ecg_1,ecg_2\\nann,1,2,.5,\\nbob,3,,.1,.2\\n")
    >>> table = read(path, view={"labs": "lab_*", "ecg": "ecg_*"}, id="who")
    >>> table.ids.tolist(), table.views["labs"].values.tolist()
    (['ann', 'bob'], [[1.0, 2.0], [3.0, nan]])
    """
    source = open_source(path)
    names, file = source.schema.names, str(source.path)
    aside = {use: column for use, column in (("the id", id), ("the group", group)) if column is not None}
    for use, column in aside.items():
        require(column, names, file, use)
    notes = []
    if not view:
        view = _proposal(source, list(aside.values()))
        notes.append(f"no views were named; proposed: {as_options(view)}")
    chosen = choose(view, names, file, list(aside.values()))
    if len(chosen) < least_views:
        raise UserError(f"{file}: one view only; name at least {least_views}, {_example(names)}")
    kinds = _kinds(source, chosen, kind or {})
    blocks, columns, dropped = _stream(source, chosen)
    if dropped:
        notes.append(f"columns that are neither numbers nor text were left out: {', '.join(dropped)}")
    for use, column in aside.items():
        if column in dropped:
            raise UserError(f'{file}: column "{column}" holds neither numbers nor text and cannot be {use}')
    views = {name: View(name, kinds[name], chosen[name], block.values) for name, block in blocks.items()}
    if not any(one.present.any() for one in views.values()):
        raise UserError(f"{file}: every value of every view is missing")
    ids = np.arange(source.rows) if id is None else _complete(columns[id], id, file)
    return Table(views, columns, ids, file, group, tuple(notes))


def propose_views(path: str | Path, *, id: str | None = None, group: str | None = None) -> dict[str, str]:
    """The views that `read` would propose for a file, in the form of its `view` option."""
    return _proposal(open_source(path), [column for column in (id, group) if column is not None])


def _proposal(source: Source, aside: Sequence[str]) -> dict[str, str]:
    fields = [field for field in source.schema if field.name not in aside]
    numbers = [field.name for field in fields if is_number(field.type)]
    vectors = [field.name for field in fields if is_vector(field.type)]
    proposal = propose(source.head(numbers, []), vectors, source.schema.names)
    if len(proposal) < 2:
        raise UserError(f"{source.path}: the columns do not show two views; name them, {_example(source.schema.names)}")
    return proposal


def _example(names: Sequence[str]) -> str:
    shown = ", ".join(names[:8]) + (", .." if len(names) > 8 else "")
    return f"such as view.a='..' view.b='..' (columns: {shown})"


# --- what a view holds


def _kinds(source: Source, chosen: Mapping[str, Sequence[str]], override: Mapping[str, str]) -> dict[str, Kind]:
    """The kind of each view, recognised from its columns' types or as overridden."""
    kinds: dict[str, Kind] = {}
    for name, columns in chosen.items():
        for column in columns:
            kind = source.schema.field(column).type
            if not (is_number(kind) or is_vector(kind)):
                _refuse(source, name, column)
        lists = [column for column in columns if is_vector(source.schema.field(column).type)]
        if lists and len(columns) > 1:
            raise UserError(
                f'{source.path}: view "{name}" mixes the list column "{lists[0]}" with other columns; '
                "give every list column a view of its own"
            )
        kinds[name] = "vector" if lists else "numbers"
    for name, wish in override.items():
        if name not in chosen:
            raise UserError(f'kind.{name}: there is no view "{name}"; {nearest(name, chosen)}')
        if wish in LATER:
            raise UserError(f'kind.{name}: "{wish}" views come in a later version; use numbers or vector')
        if wish not in ("numbers", "vector"):
            raise UserError(f'kind.{name}: unknown kind "{wish}"; {nearest(wish, ("numbers", "vector"))}')
        kinds[name] = "numbers" if wish == "numbers" else "vector"
    return kinds


def _refuse(source: Source, view: str, column: str) -> NoReturn:
    """Say why a column cannot be in a view yet, and what to do about it."""
    kind = source.schema.field(column).type
    where = f'{source.path}: column "{column}" of view "{view}"'
    mend = "leave it out of the view or turn it into numbers"
    if pa.types.is_temporal(kind):
        raise UserError(f"{where} holds dates or times; turn them into numbers, such as days since a first day")
    if pa.types.is_dictionary(kind):
        raise UserError(f"{where} holds categories, which come in a later version; {mend}")
    if not source.typed:
        _refuse_stray_text(source, column)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        raise UserError(f"{where} holds text, which comes in a later version; {mend}")
    raise UserError(f"{where} holds {kind}: pictures and nested values come in a later version; {mend}")


def _refuse_stray_text(source: Source, column: str) -> None:
    """In a text file, a column with some numbers is a number column with a mistake in it."""
    values = source.head([], [column]).column(0).to_pylist()
    numeric = [value is None or _is_float(value) for value in values]
    if any(ok and value is not None for ok, value in zip(numeric, values, strict=True)):
        row = numeric.index(False)
        raise text_among_numbers(source.path, row, column, values[row])


def _is_float(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


# --- streaming


class _Block:
    """The array of one view while its file streams by."""

    def __init__(self, source: Source, columns: Sequence[str]):
        self._path, self._columns, self._rows = source.path, columns, source.rows
        self._lists = is_vector(source.schema.field(columns[0]).type)
        self._values: Float32[np.ndarray, "n d"] | None = None if self._lists else self._allocate(len(columns))

    @property
    def values(self) -> Float32[np.ndarray, "n d"]:
        """All rows; a list column that is null in every row has one missing value per row."""
        return self._allocate(1) if self._values is None else self._values

    def put(self, column: str, start: int, array: pa.Array) -> None:
        """Store a batch of one column, whose first row is `start`."""
        rows = slice(start, start + len(array))
        if self._lists:
            self._put_lists(column, start, array)
            part = None if self._values is None else self._values[rows]
        else:
            part = self.values[rows, self._columns.index(column), None]
            part[:, 0] = as_float32(array)
        if part is not None:
            self._check(column, start, part, array)

    def _put_lists(self, column: str, start: int, array: pa.Array) -> None:
        known = array.is_valid().to_numpy(zero_copy_only=False)
        if not known.any():
            return
        lengths = pc.list_value_length(array).fill_null(0).to_numpy()
        width = int(lengths[known.argmax()]) if self._values is None else self._values.shape[1]
        wrong = np.flatnonzero(known & ((lengths != width) | (lengths == 0)))
        if len(wrong):
            raise UserError(
                f'{self._path}: row {start + wrong[0] + 1}, column "{column}": a vector of '
                f"{lengths[wrong[0]]} numbers where the first has {width}; all must have the same length, at least 1"
            )
        if self._values is None:
            self._values = self._allocate(width)
        part = self._values[start : start + len(array)]
        part[known] = as_float32(array.flatten()).reshape(-1, width)

    def _check(self, column: str, start: int, part: Float32[np.ndarray, "k w"], array: pa.Array) -> None:
        """Refuse infinities; give every missing value the same bits, for equal tables to hash equally."""
        if np.isinf(part).any():
            row, position = np.argwhere(np.isinf(part))[0].tolist()
            value = array[row].as_py()
            value = value[position] if self._lists else value
            raise UserError(
                f'{self._path}: row {start + row + 1}, column "{column}": {value} is infinite or too large '
                "for a 32-bit number; correct it, or leave it empty if it is missing"
            )
        part[np.isnan(part)] = np.nan

    def _allocate(self, width: int) -> Float32[np.ndarray, "n d"]:
        return np.full((self._rows, width), np.nan, dtype=np.float32)


def _stream(
    source: Source, chosen: Mapping[str, Sequence[str]]
) -> tuple[dict[str, _Block], dict[str, Shaped[np.ndarray, " n"]], list[str]]:
    """One pass over the file: the views' arrays, the kept columns, and the names of those not kept."""
    blocks = {name: _Block(source, columns) for name, columns in chosen.items()}
    place = {column: blocks[name] for name, columns in chosen.items() for column in columns}
    kept = [field.name for field in source.schema if field.name not in place and _keepable(field.type)]
    chunks: dict[str, list[pa.Array]] = {name: [] for name in kept}
    for start, batch in source.batches(list(place), kept):
        for name, array in zip(batch.schema.names, batch.columns, strict=True):
            if name in place:
                place[name].put(name, start, array)
            else:
                chunks[name].append(array)
    with reading(source.path, "a table"):
        columns = {name: _plain(pa.chunked_array(arrays), source.typed) for name, arrays in chunks.items()}
    dropped = [name for name in source.schema.names if name not in place and name not in kept]
    return blocks, columns, dropped


# --- kept columns


def _keepable(kind: pa.DataType) -> bool:
    """Numbers, booleans, text, and dates and times (kept as text)."""
    if pa.types.is_dictionary(kind):
        return _keepable(kind.value_type)
    texts = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, pa.types.is_temporal)
    return is_number(kind) or (any(test(kind) for test in texts) and not pa.types.is_duration(kind))


def _plain(column: pa.ChunkedArray, typed: bool) -> Shaped[np.ndarray, " n"]:
    """A kept column as numpy: whole numbers, float64 with NaN, booleans, or text as objects with None."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if not typed:
        column = _narrow(column)
    kind = column.type
    if is_number(kind):
        exact = column.null_count == 0 and (pa.types.is_integer(kind) or pa.types.is_boolean(kind))
        return np.asarray((column if exact else column.cast(pa.float64(), safe=False)).to_numpy())
    return np.asarray(column.cast(pa.string()).to_numpy(), dtype=object)


def _narrow(text: pa.ChunkedArray) -> pa.ChunkedArray:
    """Text of a CSV file as the numbers or booleans it spells; "007" and very long numbers stay text."""
    if text.null_count == len(text):
        return pa.chunked_array([pa.nulls(len(text))])
    if pc.any(pc.match_substring_regex(text, r"^[+-]?(0[0-9]|[0-9]{19})")).as_py():
        return text
    for kind in (pa.int64(), pa.float64(), pa.bool_()):
        try:
            return text.cast(kind)
        except pa.ArrowInvalid:
            continue
    return text


def _complete(ids: Shaped[np.ndarray, " n"], column: str, file: str) -> Shaped[np.ndarray, " n"]:
    """The id column, without gaps."""
    missing = np.array([value is None or value != value for value in ids.tolist()])
    if missing.any():
        raise UserError(f'{file}: row {int(missing.argmax()) + 1}, column "{column}": the id is missing')
    return ids
