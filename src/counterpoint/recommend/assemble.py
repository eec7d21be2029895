"""From columns of ids to `Interactions`: numbers for ids, the order of time, duplicates, what is missing."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Float, Int, Shaped

from counterpoint.errors import UserError, nearest
from counterpoint.recommend.interactions import Interactions, Protocol

LATEST = np.iinfo(np.int64).max
"""The time of what has none: after everything else."""
ANY = "event"


class Numbers:
    """Numbers from 0 for values in the order in which they first occur, batch by batch.

    >>> numbers = Numbers()
    >>> numbers.of(pa.array(["b", "a", "b"])).tolist(), numbers.of(pa.array(["c", "a"])).tolist()
    ([0, 1, 0], [2, 1])
    """

    def __init__(self) -> None:
        self.values: pa.Array | None = None

    def of(self, column: pa.Array) -> Int[np.ndarray, " n"]:
        """The number of each value; none may be null."""
        coded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
        if self.values is None:
            self.values = coded.dictionary.slice(0, 0)
        fresh = coded.dictionary.cast(self.values.type)
        numbers = pc.index_in(fresh, value_set=self.values)
        new = fresh.filter(pc.is_null(numbers))
        places = pc.fill_null(numbers, -1).to_numpy().astype(np.int64)
        places[places < 0] = len(self.values) + np.arange(len(new))
        self.values = pa.concat_arrays([self.values, new])
        return _narrow(places[coded.indices.to_numpy()])

    def __len__(self) -> int:
        return 0 if self.values is None else len(self.values)


@dataclass
class Events:
    """Events as they came: numbers of users, items and behaviours, and times; ids are kept once each."""

    source: str
    users: Numbers = field(default_factory=Numbers)
    items: Numbers = field(default_factory=Numbers)
    labels: Numbers = field(default_factory=Numbers)
    columns: dict[str, list[Shaped[np.ndarray, " _"]]] = field(default_factory=dict)
    rows: int = 0

    @classmethod
    def of(cls, batches: Iterable[Mapping[str, pa.Array]], source: str) -> "Events":
        """Take in batches with the columns `user`, `item` and perhaps `time` and `behaviour`.

        Kept are the numbers (about 17 bytes an event) and each id once. Raises `UserError` naming the row of a
        missing user, item or behaviour, or of a time that is none.
        """
        events = cls(source)
        for batch in batches:
            events.add(batch)
        return events

    def add(self, batch: Mapping[str, pa.Array]) -> None:
        """Take in some events."""
        for name, numbers in (("user", self.users), ("item", self.items), ("behaviour", self.labels)):
            if name in batch:
                column = self._complete(name, batch[name])
                self.columns.setdefault(name, []).append(numbers.of(column))
        if "time" in batch:
            self.columns.setdefault("time", []).append(self._times(batch["time"]))
        self.rows += len(batch["user"])

    def column(self, name: str) -> Shaped[np.ndarray, " n"] | None:
        """A whole column; the parts are let go."""
        parts = self.columns.pop(name, None)
        return None if parts is None else np.concatenate(parts)

    def _complete(self, name: str, column: pa.Array) -> pa.Array:
        missing = pc.is_null(column, nan_is_null=True)
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            missing = pc.or_(missing, pc.equal(pc.fill_null(column, ""), ""))
        if pc.any(missing).as_py():
            row = self.rows + int(pc.index(missing, True).as_py()) + 1
            raise UserError(f"{self.source}: row {row}: the {name} is missing")
        return column

    def _times(self, column: pa.Array) -> Shaped[np.ndarray, " n"]:
        """Whole numbers where they are whole, dates as microseconds; what is missing is the latest."""
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            column = pc.if_else(pc.equal(pc.utf8_trim_whitespace(column), ""), None, column)
        for kind in (pa.int64(), pa.float64(), pa.timestamp("us"), pa.timestamp("us", "UTC")):
            try:
                cast = column.cast(kind)
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
                continue
            if kind == pa.float64():
                return _whole(np.asarray(cast.to_numpy(zero_copy_only=False)))
            return np.asarray(pc.fill_null(cast.cast(pa.int64()), LATEST).to_numpy())
        row, value = next((row, value) for row, value in enumerate(column.to_pylist(), start=1) if not _is_time(value))
        raise UserError(
            f'{self.source}: row {self.rows + row}: "{value}" is not a time (a number, or a date as 2026-01-31)'
        )


def assemble(
    events: Events,
    catalogue: pa.Table | None,
    labels: Sequence[str] | None,
    protocol: Protocol,
    source: str,
    core: int = 0,
) -> Interactions:
    """Order the events, leave out duplicates, and say what was done.

    `labels` are all behaviours there may be, in their order; default those that occur. Raises `UserError` when there
    are no events, for a behaviour that is not among `labels`, or an item that the catalogue lacks.
    """
    if not events.rows:
        raise UserError(f"{source}: has no events")
    users, items = (np.asarray(events.column(name)) for name in ("user", "item"))
    times, behaviours = events.column("time"), events.column("behaviour")
    notes: list[str] = []
    order = _order(users, times)
    if order is not None:
        users, items = users[order], items[order]
        times, behaviours = (None if column is None else column[order] for column in (times, behaviours))
        if times is not None:
            notes.append("the events were not in the order of users and times; they are now")
    names, behaviours = _labelled(events, behaviours, labels, len(users), source)
    if times is None:
        notes.append("no times: the order within each user is that of the file")
    elif late := int((times >= LATEST).sum()):
        notes.append(f"{late} events have no time; they come last of their user")
    ids = events.items.values if catalogue is None else _ids(catalogue, events.items.values, source)
    assert events.users.values is not None
    counts = np.bincount(users, minlength=len(events.users))
    data = Interactions(
        starts=np.concatenate([[0], counts.cumsum()]),
        items=_numbers_in(ids, events.items.values)[items],
        behaviours=behaviours,
        user_ids=_numpy(events.users.values),
        catalogue=pa.table({"id": ids}) if catalogue is None else catalogue,
        labels=names,
        times=times,
        protocol=protocol,
        source=source,
        notes=tuple(notes),
    )
    if (same := _duplicates(data)).any():
        data = data.where(~same).noting(
            f"{int(same.sum())} events were there twice (same user, item, behaviour and time)"
        )
    return k_core(data, core) if core else data


def k_core(data: Interactions, k: int) -> Interactions:
    """Only users and items with at least k events each, after as many rounds as that takes.

    Raises `UserError` when nothing is left.

    >>> data = Interactions.of([1, 1, 2, 2, 3], ["a", "b", "a", "b", "c"])
    >>> len(k_core(data, 2)), k_core(data, 2).item_ids.tolist()
    (2, ['a', 'b'])
    """
    kept = np.ones(len(data.items), dtype=bool)
    while True:
        of_users = np.bincount(data.users[kept], minlength=len(data))
        of_items = np.bincount(data.items[kept], minlength=data.catalogue.num_rows)
        now = kept & (of_users[data.users] >= k) & (of_items[data.items] >= k)
        if np.array_equal(now, kept):
            break
        kept = now
    if not kept.any():
        raise UserError(
            f"{data.source}: core={k} leaves nothing: no users and items have so many events with each other"
        )
    left = data.where(kept)
    left = left.rows(left.lengths > 0)
    used = np.unique(left.items)
    numbers = np.full(data.catalogue.num_rows, -1)
    numbers[used] = np.arange(len(used))
    found = replace(left, items=_narrow(numbers[left.items]), catalogue=data.catalogue.take(pa.array(used)))
    users, items = len(data) - len(found), data.catalogue.num_rows - len(used)
    return found.noting(f"core={k} left out {users} users, {items} items and {int((~kept).sum())} events")


# --- the steps


def _order(users: Int[np.ndarray, " n"], times: Shaped[np.ndarray, " n"] | None) -> Int[np.ndarray, " n"] | None:
    """The order of users and times, equal ones as they came; None when it is that already."""
    step = np.diff(users)
    if (step >= 0).all() and (times is None or (np.diff(times)[step == 0] >= 0).all()):
        return None
    return np.argsort(users, kind="stable") if times is None else np.lexsort((times, users))


def _labelled(
    events: Events, behaviours: Int[np.ndarray, " n"] | None, labels: Sequence[str] | None, n: int, source: str
) -> tuple[tuple[str, ...], Int[np.ndarray, " n"]]:
    """The names of behaviours, and the events in their numbers."""
    if behaviours is None:
        return (tuple(labels) if labels and len(labels) == 1 else (ANY,)), np.zeros(n, dtype=np.int8)
    assert events.labels.values is not None
    found = [str(value) for value in events.labels.values.to_pylist()]
    names = tuple(labels or found)
    for name in found:
        if name not in names:
            raise UserError(f'{source}: unknown behaviour "{name}"; {nearest(name, names)}')
    places = np.array([names.index(name) for name in found], dtype=np.int64)
    return names, places[behaviours].astype(np.int8 if len(names) < 128 else np.int32)


def _duplicates(data: Interactions) -> np.ndarray:
    """Events that repeat an earlier one of the same user, item, behaviour and time; nothing without times."""
    same = np.zeros(len(data.items), dtype=bool)
    if data.times is None:
        return same
    beside = (np.diff(data.times) == 0) & (np.diff(data.users) == 0)
    among = np.flatnonzero(np.concatenate([beside, [False]]) | np.concatenate([[False], beside]))
    among = among[data.times[among] < LATEST]
    if len(among):
        keys = (data.behaviours[among], data.items[among], data.times[among], data.users[among])
        order = np.lexsort(keys)
        again = np.ones(len(order) - 1, dtype=bool)
        for key in keys:
            again &= np.diff(key[order]) == 0
        same[among[order[1:][again]]] = True
    return same


def _ids(catalogue: pa.Table, used: pa.Array | None, source: str) -> pa.Array:
    ids = catalogue["id"].combine_chunks()
    assert used is not None
    known = pc.is_in(used.cast(ids.type), value_set=ids)
    if not pc.all(known).as_py():
        raise UserError(f'{source}: item "{used[pc.index(known, False).as_py()]}" is not in the catalogue')
    return ids


def _numbers_in(ids: pa.Array | None, used: pa.Array | None) -> Int[np.ndarray, " m"]:
    assert ids is not None
    assert used is not None
    return _narrow(pc.index_in(used.cast(ids.type), value_set=ids).to_numpy())


def _numpy(values: pa.Array) -> Shaped[np.ndarray, " u"]:
    return np.asarray(values.to_numpy(zero_copy_only=False))


def _narrow(numbers: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
    """32 bits where they do."""
    return numbers.astype(np.int32) if not len(numbers) or int(numbers.max()) < 2**31 else numbers.astype(np.int64)


def _whole(values: Float[np.ndarray, " n"]) -> Shaped[np.ndarray, " n"]:
    """Whole numbers where all are whole; NaN is the latest."""
    missing = np.isnan(values)
    given = values[~missing]
    if (np.abs(given) < 2**53).all() and (np.floor(given) == given).all():
        times = np.full(len(values), LATEST)
        times[~missing] = given.astype(np.int64)
        return times
    return np.where(missing, np.inf, values)


def _is_time(value: Any) -> bool:
    for kind in (pa.float64(), pa.timestamp("us")):
        try:
            pa.array([value]).cast(kind)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            continue
        return True
    return False
