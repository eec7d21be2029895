"""From a file to `Interactions`: which columns are user, item, time and behaviour, and what is known of items."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from counterpoint.errors import UserError, nearest
from counterpoint.recommend.assemble import Events, assemble
from counterpoint.recommend.interactions import REPEATS, Interactions, Protocol, Seen
from counterpoint.recommend.items import IDS, beside, read_items, recognised
from counterpoint.recommend.sources import Source, open_source, rows_of, table_of

NAMES = {
    "user": (
        *("user_id", "user", "userid", "uid", "customer_id", "customer", "visitorid", "visitor_id", "visitor"),
        *("session_id", "session", "sessionid"),
    ),
    "item": IDS[1:],
    "time": ("timestamp", "time", "datetime", "date", "ts", "event_time", "unixreviewtime"),
    "behaviour": ("behavior", "behaviour", "event", "event_type", "action"),
}
"""What columns are recognised by, the first that a file has."""


def events_of(
    path: Path,
    named: Mapping[str, str | None],
    behaviours: Mapping[str, str],
    catalogue: str | None,
    title: str | None,
    core: int,
) -> Interactions:
    """The events of a file with what is known of their items, under the usual protocol.

    `named` are columns by role, None where they are to be recognised; the other arguments and what raises are those of
    `Interactions.read`.
    """
    source = open_source(path)
    columns = _columns(source, named)
    if behaviours and "behaviour" not in columns:
        raise UserError(f"{path}: behaviours need a column of them; name it, such as behaviour=event")
    events = Events.of(_renamed(source, columns, behaviours), str(path))
    described = _described(source.path, catalogue, title)
    notes = [f"{what} = column {name}" for what, name in columns.items() if what != name]
    known = events.items.values
    table, without = (None, 0) if described is None or known is None else beside(known, described)
    if without:
        notes.append(f"{without} of {len(events.items)} items are not in the catalogue: they have no attributes")
    data = assemble(events, table, list(behaviours) or None, Protocol(), str(path), core)
    return replace(data, notes=(*((", ".join(notes),) if notes else ()), *data.notes))


def judged_by(
    data: Interactions, protocol: Protocol, seen: Literal["auto", "removed", "kept"], candidates: Path | None
) -> Interactions:
    """The same under another protocol, whose rule for seen items may follow from the data, and among candidates.

    Raises `UserError` for a target that is no behaviour, or candidates that do not fit.
    """
    data = replace(data, protocol=replace(protocol, seen=_seen(data, seen)))
    if seen == "auto":
        data = data.noting(f"items that a user has seen are {data.protocol.seen} when lists are judged")
    return data if candidates is None else _among(data, candidates)


def _columns(source: Source, given: Mapping[str, str | None]) -> dict[str, str]:
    """The file's column for each role; user and item are needed."""
    found = {}
    for what, name in given.items():
        if name is not None and name not in source.names:
            raise UserError(f"{source.path}: {what}={name}: no such column; {nearest(name, source.names)}")
        column = name or recognised([n for n in source.names if n not in given.values()], NAMES[what])
        if column is not None:
            found[what] = column
        elif what in ("user", "item"):
            raise UserError(
                f"{source.path}: no column looks like the {what}; name it, such as {what}=COLUMN "
                f"(columns: {', '.join(source.names)})"
            )
    if twice := [what for what, name in found.items() if list(found.values()).count(name) > 1]:
        raise UserError(f'{source.path}: {" and ".join(twice)} are both column "{found[twice[0]]}"')
    if source.kinds.get(found["item"], "").endswith("_seq"):
        raise UserError(f'{source.path}: column "{found["item"]}" holds sequences; give a row per event')
    return found


def _renamed(
    source: Source, columns: Mapping[str, str], behaviours: Mapping[str, str]
) -> Iterator[dict[str, pa.Array]]:
    """Batches under the names of the roles, behaviours under those of the labels."""
    label = {value.strip(): name for name, values in behaviours.items() for value in values.split(",")}
    rows = 0
    for batch in rows_of(source, list(columns.values())):
        made = {what: _flat(batch[name]) for what, name in columns.items()}
        if "behaviour" in made:
            made["behaviour"] = made["behaviour"].cast(pa.string())
        if label:
            values = pa.array(list(label))
            places = pc.index_in(made["behaviour"], value_set=values)
            if places.null_count:
                row = int(pc.index(pc.is_null(places), True).as_py())
                name = str(made["behaviour"][row])
                raise UserError(
                    f'{source.path}: row {rows + row + 1}: unknown behaviour "{name}"; {nearest(name, label)}'
                )
            made["behaviour"] = pa.array(list(label.values())).take(places)
        rows += len(made["user"])
        yield made


def _flat(column: pa.Array) -> pa.Array:
    """Ids as one type that can be compared: no dictionaries, no floating-point numbers where all are whole."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    return column.cast(pa.string()) if pa.types.is_large_string(column.type) else column


def _described(events: Path, catalogue: str | None, title: str | None) -> pa.Table | None:
    """The table of items, when there is one."""
    if catalogue is not None:
        return read_items(events.parent / catalogue, title)
    atomic = events.with_suffix(".item")
    if events.suffix == ".inter" and atomic.is_file():
        return read_items(atomic, title)
    if title is not None:
        raise UserError(f"{events}: title={title} needs a file of items; name it with catalogue=FILE")
    return None


def _seen(data: Interactions, given: Literal["auto", "removed", "kept"]) -> Seen:
    if given != "auto":
        return given
    pairs = np.unique(data.users * np.int64(data.catalogue.num_rows) + data.items)
    return "kept" if len(data.items) - len(pairs) >= REPEATS * len(data.items) else "removed"


def _among(data: Interactions, path: Path) -> Interactions:
    """The candidates of each user; every user needs as many."""
    table, _ = table_of(path)
    for name in ("user", "items"):
        if name not in table.column_names:
            raise UserError(f'{path}: no column "{name}"; candidates are a user and a list of items a row')
    lists = table["items"].combine_chunks()
    places = pc.index_in(
        pa.array(data.user_ids).cast(pa.string()), value_set=table["user"].combine_chunks().cast(pa.string())
    )
    if places.null_count:
        lacking = data.user_ids[int(pc.index(pc.is_null(places), True).as_py())]
        raise UserError(f'{path}: user "{lacking}" has no candidates')
    lengths = set(pc.list_value_length(lists).to_pylist())
    if len(lengths) != 1:
        raise UserError(f"{path}: users have between {min(lengths)} and {max(lengths)} candidates; give each as many")
    items = pc.index_in(
        lists.flatten().cast(pa.string()), value_set=data.catalogue["id"].combine_chunks().cast(pa.string())
    )
    if items.null_count:
        raise UserError(
            f'{path}: item "{lists.flatten()[pc.index(pc.is_null(items), True).as_py()]}" is not in the data'
        )
    table_of_items = items.to_numpy().reshape(len(lists), -1)
    return replace(data, candidates=table_of_items[places.to_numpy()])
