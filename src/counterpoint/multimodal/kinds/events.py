"""Sequences of events with a value, a time and a type, as health records are."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from jaxtyping import Float32

from counterpoint.errors import UserError
from counterpoint.multimodal.items import Items
from counterpoint.multimodal.kinds.kind import Front, How, Kind, Where
from counterpoint.multimodal.kinds.numbers import float32
from counterpoint.multimodal.kinds.sequences import KIND, TIME, VALUE, Attended, Summary
from counterpoint.multimodal.reading.sources import is_number
from counterpoint.multimodal.table import Kind as Name
from counterpoint.multimodal.table import View

LONGEST = 256
"""Events read of a row, the last ones."""
MOST = 1000
"""Types that are told apart, the most frequent ones; the rest are one."""
HOUR = 3600.0


class Events(Kind):
    """Three lists of equal length per row: values, times, types."""

    name: ClassVar[Name] = "events"
    unit: ClassVar[str] = "events a row"
    enters: ClassVar[str] = (
        "rows x events x (value, time, type), the type as its place in `views.NAME.types`, one past the end for a new "
        "one, NaN behind the end"
    )
    form: ClassVar[str] = "a list of [value, time, type] (a null value: none was measured)"

    def reading(self, path: Path, rows: int, schema: pa.Schema, columns: Sequence[str]) -> "Lists":
        """Three list columns. Raises `UserError` for others."""
        if len(columns) != 3 or not holds_events([schema.field(column).type for column in columns]):
            held = ", ".join(f"{column} ({schema.field(column).type})" for column in columns)
            raise UserError(
                f"{path}: a view of events is three list columns in the order VALUES,TIMES,TYPES: numbers, numbers or "
                f"timestamps, and texts or whole numbers; not {held}"
            )
        return Lists(path, rows, columns)

    def measure(self, view: View, how: How) -> dict[str, Any]:
        """Types, most frequent first, what scales their values and the times, and how many events are read."""
        assert view.items is not None
        numbers = view.values[view.values >= 0]
        rows = [view.items.entries[number] for number in numbers.tolist()]
        if not rows:
            raise UserError(f'view "{view.name}": no training row has an event')
        events = np.concatenate(rows).astype(np.float64)
        kinds = events[:, KIND].astype(np.int64)
        count = np.bincount(kinds, minlength=len(view.items.names))
        names = view.items.names
        kept = sorted(np.flatnonzero(count).tolist(), key=lambda kind: (-count[kind], names[kind]))[:MOST]
        mean, scale = zip(*(_moments(events[kinds == kind, VALUE]) for kind in kept), strict=True)
        rest = _moments(events[~np.isin(kinds, kept), VALUE])
        longest = max(len(row) for row in rows)
        return {
            "columns": 1,
            "learns": how.learns,
            "types": [names[kind] for kind in kept],
            "mean": [*mean, rest[0]] if how.scaled else [0.0] * (len(kept) + 1),
            "scale": [*scale, rest[1]] if how.scaled else [1.0] * (len(kept) + 1),
            "time": list(_moments(events[:, TIME])) if how.scaled else [0.0, 1.0],
            "length": min(LONGEST, longest),
            "complete": bool(view.present.all()),
        }

    def front(self, facts: Mapping[str, Any], base: Any = None) -> Front:
        """A network for methods that learn, a summary for closed forms."""
        return Attended(facts) if facts["learns"] else Summary(facts)

    def of_records(
        self, name: str, records: Sequence[Any], where: Where, facts: Mapping[str, Any] | None = None
    ) -> View:
        """Lists of (value, time, type); the value may be None."""
        rows = [None if record is None else _triples(record, where(row)) for row, record in enumerate(records)]
        names = sorted({kind for row in rows for _, _, kind in row or ()})
        place = {kind: number for number, kind in enumerate(names)}
        plain = [None if not row else [(value, time, place[kind]) for value, time, kind in row] for row in rows]
        return _view(name, (name,), [None if row is None else np.array(row, dtype=np.float64) for row in plain], names)

    def shown(self, view: View, row: int) -> str | None:
        """The last events of a row."""
        assert view.items is not None
        (events,) = view.entries(row)
        if events is None:
            return None
        last = [
            f"{view.items.names[int(kind)]}{'' if np.isnan(value) else f' {value:g}'}" for value, _, kind in events[-4:]
        ]
        return f"{len(events)} events, last: {', '.join(last)}"

    def size(self, view: View) -> dict[str, Any]:
        """Average number of events."""
        assert view.items is not None
        lengths = [len(view.items.entries[number]) for number in view.values[view.values >= 0].tolist()]
        return {"width": round(float(np.mean(lengths))) if lengths else 0, "unit": self.unit}

    def remarks(self, view: View) -> list[str]:
        """Rows with more events than are read."""
        assert view.items is not None
        cut = sum(len(events) > LONGEST for events in view.items.entries)
        return [f'view "{view.name}": {cut:,} rows have more than {LONGEST} events; the last are read'] if cut else []


def holds_events(kinds: Sequence[pa.DataType]) -> bool:
    """Whether three columns are lists of values, times and types."""
    lists = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    if len(kinds) != 3 or not all(any(test(kind) for test in lists) for kind in kinds):
        return False
    value, time, name = (kind.value_type for kind in kinds)
    named = pa.types.is_string(name) or pa.types.is_large_string(name) or pa.types.is_integer(name)
    timed = is_number(time) or pa.types.is_timestamp(time)
    return is_number(value) and timed and (named or pa.types.is_dictionary(name))


class Lists:
    """The lists of a view while its file streams by."""

    def __init__(self, path: Path, rows: int, columns: Sequence[str]) -> None:
        self.path, self.columns = path, list(columns)
        self.lengths: dict[str, list[np.ndarray]] = {column: [] for column in columns}
        self.flat: dict[str, list[pa.Array]] = {column: [] for column in columns}

    def put(self, column: str, start: int, array: pa.Array) -> None:
        """Take a batch."""
        self.lengths[column].append(pa.compute.list_value_length(array).fill_null(0).to_numpy())
        self.flat[column].append(array.flatten())

    def view(self, name: str, kind: Name, columns: tuple[str, ...]) -> View:
        """All rows, events by rising time; raises `UserError` for lists of unequal length, and missing times or types.

        A row whose lists are null or empty lacks the view.
        """
        lengths = [np.concatenate(self.lengths[column]).astype(np.int64) for column in self.columns]
        for other, column in zip(lengths[1:], self.columns[1:], strict=True):
            if len(wrong := np.flatnonzero(lengths[0] != other)):
                row = int(wrong[0])
                raise UserError(
                    f'{self.path}: row {row + 1}: column "{self.columns[0]}" has {lengths[0][row]} events, '
                    f'"{column}" {other[row]}'
                )
        ends = np.cumsum(lengths[0])
        values, times, kinds = (pa.chunked_array(self.flat[column]) for column in self.columns)
        for column, parts in ((self.columns[TIME], times), (self.columns[KIND], kinds)):
            if parts.null_count:
                event = int(np.flatnonzero(parts.is_null().to_numpy())[0])
                row = int(np.searchsorted(ends, event, side="right"))
                raise UserError(f'{self.path}: row {row + 1}, column "{column}": an event without a time or type')
        number = values.cast(pa.float64()).to_numpy()
        if np.isinf(number.astype(np.float32)).any():
            row = int(np.searchsorted(ends, int(np.isinf(number.astype(np.float32)).argmax()), side="right"))
            raise UserError(f'{self.path}: row {row + 1}, column "{self.columns[0]}": a value is infinite or too large')
        names, codes = _codes(kinds)
        block = np.stack([number, _hours(times, lengths[0]), codes], axis=1)
        cut = np.split(block, ends[:-1])
        return _view(name, columns, [part if len(part) else None for part in cut], names)


def _codes(kinds: pa.ChunkedArray) -> tuple[list[str], np.ndarray]:
    """Types as numbers of their names in the order of the alphabet."""
    texts = kinds.cast(pa.string())
    names = sorted(set(texts.unique().to_pylist()))
    return names, pa.compute.index_in(texts, pa.array(names, pa.string())).to_numpy().astype(np.float64)


def _hours(times: pa.ChunkedArray, lengths: np.ndarray) -> np.ndarray:
    """Times as numbers; timestamps as hours since the first of their row."""
    if not pa.types.is_timestamp(times.type):
        return np.asarray(times.cast(pa.float64()).to_numpy())
    seconds = times.cast(pa.timestamp("us")).cast(pa.int64()).to_numpy() / 1e6
    known = lengths > 0
    starts = (np.cumsum(lengths) - lengths)[known]
    first = np.minimum.reduceat(seconds, starts) if len(starts) else seconds
    return np.asarray((seconds - np.repeat(first, lengths[known])) / HOUR)


def _view(name: str, columns: tuple[str, ...], rows: Sequence[np.ndarray | None], names: Sequence[str]) -> View:
    """A view of the events of each row, sorted by time."""
    entries: list[Float32[np.ndarray, "m 3"]] = []
    numbers = np.full((len(rows), 1), -1, dtype=np.int64)
    for row, events in enumerate(rows):
        if events is not None:
            numbers[row, 0] = len(entries)
            ordered = events[np.argsort(events[:, TIME], kind="stable")].astype(np.float32)
            ordered[np.isnan(ordered)] = np.nan
            entries.append(ordered)
    return View(name, "events", columns, numbers, Items(entries, names))


def _moments(values: np.ndarray) -> tuple[float, float]:
    """Mean and deviation of what is known; 0 and 1 where nothing is, 1 for a constant."""
    known = values[~np.isnan(values)]
    if not len(known):
        return 0.0, 1.0
    deviation = float(known.std())
    return float(known.mean()), deviation if deviation > 1e-8 * (1 + abs(float(known.mean()))) else 1.0


def _triples(record: Any, where: str) -> list[tuple[float, float, str]]:
    """One record's events."""
    if not isinstance(record, list | tuple):
        raise UserError(f"{where}: must be {Events.form}, not {type(record).__name__}")
    found = []
    for number, event in enumerate(record, start=1):
        if not isinstance(event, list | tuple) or len(event) != 3:
            raise UserError(f"{where}: event {number} is not [value, time, type]")
        value, time, kind = event
        plain = all(
            isinstance(n, int | float | np.number) and not isinstance(n, bool)
            for n in (time, *([] if value is None else [value]))
        )
        if not plain or not isinstance(kind, str | int | np.integer) or isinstance(kind, bool):
            raise UserError(f"{where}: event {number}: value and time are numbers, the type a text or whole number")
        measured = np.nan if value is None else float32(value)
        if np.isinf(measured) or not np.isfinite(float32(time)):
            raise UserError(f"{where}: event {number}: a number is infinite or too large")
        found.append((measured, float(time), str(kind)))
    return found
