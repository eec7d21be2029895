"""From a file to a `Table`: views chosen and recognised, streamed into arrays, and every bad value named."""

from collections.abc import Mapping, Sequence
from itertools import permutations
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Shaped

from counterpoint.errors import UserError
from counterpoint.multimodal.kinds import KINDS
from counterpoint.multimodal.kinds.events import holds_events
from counterpoint.multimodal.kinds.kind import Reading
from counterpoint.multimodal.kinds.recognise import is_list, kinds_of, texts_of
from counterpoint.multimodal.reading.proposal import Views, as_options, choose, propose, require, set_aside
from counterpoint.multimodal.reading.side import side_files, side_view
from counterpoint.multimodal.reading.sources import Source, is_number, is_vector, open_source, reading
from counterpoint.multimodal.table import Kind, Table


def read(
    path: str | Path,
    *,
    view: Views | None = None,
    id: str | None = None,
    group: str | None = None,
    kind: Mapping[str, str] | None = None,
    least_views: int = 2,
) -> Table:
    """Read CSV, TSV, Parquet, Arrow/Feather, npz or a saved data set of Hugging Face, about one batch at a time.

    `view` maps a view's name to its columns (`{"labs": "lab_*", "x": "a,b,c*"}`, see `proposal.choose`);
    without it the views are proposed and noted. The name of a file beside the table (`{"vitals": "events.csv"}`) is a
    view of events that are joined by id (`side`). `id` and `group` name columns. What kind a view is follows from its
    columns (`kinds`), unless `kind` says it: {"note": "text"}. Null and NaN mean missing. All other columns are kept
    as columns. Rows for a finished model may come with fewer than two views: `least_views=1`.
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
        view, names_only = _proposal(source, list(aside.values()))
        notes.append(f"no views were named; proposed: {as_options(view)}")
        if names_only:
            notes.append(
                f"columns of names belong to no view, since labels look alike: {', '.join(names_only)}; to learn from "
                f"one, name it, such as view.about={names_only[0]}"
            )
    sides = side_files(view, source, id, kind or {})
    own = {name: patterns for name, patterns in view.items() if name not in sides}
    chosen = choose(own, names, file, list(aside.values()))
    if len(view) < least_views:
        raise UserError(f"{file}: one view only; name at least {least_views}, {_example(names)}")
    kinds = kinds_of(source, chosen, {name: wish for name, wish in (kind or {}).items() if name not in sides})
    readings, columns, dropped = _stream(source, chosen, kinds)
    if dropped:
        notes.append(f"columns that are neither numbers nor text were left out: {', '.join(dropped)}")
    for use, column in aside.items():
        if column in dropped:
            raise UserError(f'{file}: column "{column}" holds neither numbers nor text and cannot be {use}')
    views = {name: reading.view(name, kinds[name], chosen[name]) for name, reading in readings.items()}
    ids = np.arange(source.rows) if id is None else _complete(columns[id], id, file)
    for name, beside in sides.items():
        views[name], note = side_view(name, source.path.parent, beside, str(id), ids)
        notes += [note] if note else []
    if not any(one.present.any() for one in views.values()):
        raise UserError(f"{file}: every value of every view is missing")
    views = {name: views[name] for name in view}
    return Table(views, columns, ids, file, group, tuple(notes))


def propose_views(path: str | Path, *, id: str | None = None, group: str | None = None) -> dict[str, str]:
    """The views that `read` would propose for a file, in the form of its `view` option."""
    return _proposal(open_source(path), [column for column in (id, group) if column is not None])[0]


def _proposal(source: Source, aside: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Proposed views, and the columns of names, which are left out."""
    fields = [field for field in source.schema if field.name not in aside]
    numbers = [field.name for field in fields if is_number(field.type)]
    vectors = [field.name for field in fields if is_vector(field.type)]
    texts = texts_of(source, [field.name for field in fields if field.name not in numbers])
    whole = [name for name, kind in texts.items() if kind in ("text", "pictures")]
    events = _events([field for field in fields if is_list(field.type)])
    single = [name for name in (*vectors, *whole) if name not in events]
    proposal = propose(source.head(numbers, []), single, source.schema.names)
    proposal |= {"events": ",".join(events)} if events else {}
    left = [name for name, kind in texts.items() if kind == "categories" and not set_aside(name)]
    if len(proposal) < 2:
        raise UserError(f"{source.path}: the columns do not show two views; name them, {_example(source.schema.names)}")
    return proposal, left


def _events(lists: Sequence[pa.Field]) -> list[str]:
    """The columns of values, times and types, when a file has just three lists that can be those."""
    for place in permutations(lists) if len(lists) == 3 else ():
        timed = "time" in place[1].name.lower() or pa.types.is_timestamp(place[1].type.value_type)
        if timed and holds_events([field.type for field in place]):
            return [field.name for field in place]
    return []


def _example(names: Sequence[str]) -> str:
    shown = ", ".join(names[:8]) + (", .." if len(names) > 8 else "")
    return f"such as view.a='..' view.b='..' (columns: {shown})"


# --- streaming


def _stream(
    source: Source, chosen: Mapping[str, Sequence[str]], kinds: Mapping[str, Kind]
) -> tuple[dict[str, Reading], dict[str, Shaped[np.ndarray, " n"]], list[str]]:
    """One pass over the file: the views' readings, the kept columns, and the names of those not kept."""
    readings = {
        name: KINDS[kinds[name]].reading(source.path, source.rows, source.schema, columns)
        for name, columns in chosen.items()
    }
    place = {column: readings[name] for name, columns in chosen.items() for column in columns}
    numbers = [column for name, columns in chosen.items() for column in columns if kinds[name] in ("numbers", "vector")]
    kept = [field.name for field in source.schema if field.name not in place and _keepable(field.type)]
    chunks: dict[str, list[pa.Array]] = {name: [] for name in kept}
    for start, batch in source.batches(numbers, [*(column for column in place if column not in numbers), *kept]):
        for name, array in zip(batch.schema.names, batch.columns, strict=True):
            if name in place:
                place[name].put(name, start, array)
            else:
                chunks[name].append(array)
    with reading(source.path, "a table"):
        columns = {name: _plain(pa.chunked_array(arrays), source.typed) for name, arrays in chunks.items()}
    dropped = [name for name in source.schema.names if name not in place and name not in kept]
    return readings, columns, dropped


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
