"""Which kind the columns of a view are: from their types, and for texts from a look at the first values."""

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import pyarrow as pa

from counterpoint.errors import UserError, nearest
from counterpoint.multimodal.kinds import KINDS
from counterpoint.multimodal.kinds.events import holds_events
from counterpoint.multimodal.kinds.pictures import holds_pictures
from counterpoint.multimodal.reading.sources import Source, is_number, is_vector, text_among_numbers
from counterpoint.multimodal.table import Kind

PICTURE = (".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp", ".tif", ".tiff")
WORDS = 3.0
"""Texts have more words than this on average, names of categories fewer."""


def kinds_of(source: Source, chosen: Mapping[str, Sequence[str]], override: Mapping[str, str]) -> dict[str, Kind]:
    """The kind of each view, recognised or as overridden; raises `UserError` for columns that no kind takes."""
    for name, wish in override.items():
        if name not in chosen:
            raise UserError(f'kind.{name}: there is no view "{name}"; {nearest(name, chosen)}')
        if wish not in KINDS:
            raise UserError(f'kind.{name}: unknown kind "{wish}"; {nearest(wish, KINDS)}')
    return {
        name: _overridden(source, name, columns, override[name]) if name in override else _kind(source, name, columns)
        for name, columns in chosen.items()
    }


def texts_of(source: Source, names: Sequence[str]) -> dict[str, Kind]:
    """For columns of texts, pictures or names which of these they are; other columns are left out."""
    bytes_ = [name for name in names if not is_text(source.schema.field(name).type)]
    found: dict[str, Kind] = {name: "pictures" for name in bytes_ if holds_pictures(source.schema.field(name).type)}
    texts = [name for name in names if is_text(source.schema.field(name).type)]
    if texts:
        head = source.head([], texts)
        found |= {name: _of_texts(_known(head.column(name))) for name in texts}
    return found


def is_text(kind: pa.DataType) -> bool:
    """Whether a column of this type is one text per row, as a dictionary or not."""
    if pa.types.is_dictionary(kind):
        return is_text(kind.value_type)
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _kind(source: Source, view: str, columns: Sequence[str]) -> Kind:
    types = [source.schema.field(column).type for column in columns]
    if all(map(is_number, types)):
        return "numbers"
    if holds_events(types):
        return "events"
    if lists := [column for column, kind in zip(columns, types, strict=True) if is_list(kind)]:
        return _of_lists(source, view, columns, lists)
    if len(columns) == 1 and holds_pictures(types[0]) and not is_text(types[0]):
        return "pictures"
    texts = [column for column, kind in zip(columns, types, strict=True) if is_text(kind)]
    if not source.typed:
        for column in texts:
            _refuse_stray_text(source, column)
    for column in columns:
        if column not in texts and not is_number(source.schema.field(column).type):
            _refuse(source, view, column)
    if len(texts) < len(columns):
        other = next(column for column in columns if column not in texts)
        raise UserError(
            f'{source.path}: view "{view}" mixes texts ("{texts[0]}") and numbers ("{other}"); give them a view each, '
            f"or use kind.{view}=categories"
        )
    found = texts_of(source, columns)
    for column in texts:
        if found[column] == "numbers":
            raise UserError(
                f'{source.path}: column "{column}" of view "{view}" holds numbers as texts; save them as numbers, or '
                f"use kind.{view}=categories if they are names"
            )
    if len(columns) == 1:
        return found[columns[0]]
    return "text" if "text" in found.values() else "categories"


def _overridden(source: Source, view: str, columns: Sequence[str], wish: Any) -> Kind:
    """A wish is checked by the kind itself when it reads; numbers are named row by row where a file is text."""
    for column in columns if wish in ("numbers", "vector") else ():
        kind = source.schema.field(column).type
        if not (is_number(kind) or is_vector(kind)):
            if not source.typed:
                _refuse_stray_text(source, column)
            raise UserError(f'{source.path}: kind.{view}={wish}: column "{column}" holds {kind}, not numbers')
    found: Kind = wish
    return found


def _of_lists(source: Source, view: str, columns: Sequence[str], lists: Sequence[str]) -> Kind:
    if len(columns) > 1:
        raise UserError(
            f'{source.path}: view "{view}" mixes the list column "{lists[0]}" with other columns; give every list '
            f"column a view of its own (events are three lists: view.{view}=VALUES,TIMES,TYPES)"
        )
    kind = source.schema.field(lists[0]).type
    if is_vector(kind):
        return "vector"
    if not (is_list(kind.value_type) and is_vector(kind.value_type)):
        _refuse(source, view, lists[0])
    return "tokens"


def is_list(kind: pa.DataType) -> bool:
    """Whether a column of this type is a list per row."""
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _of_texts(values: Sequence[str]) -> Kind:
    """What some texts are: paths of pictures, numbers, texts of several words, or names."""
    if not values:
        return "categories"
    if sum(value.lower().endswith(PICTURE) for value in values) > 0.9 * len(values):
        return "pictures"
    if sum(map(_is_float, values)) > 0.9 * len(values):
        return "numbers"
    return "text" if sum(len(value.split()) for value in values) > WORDS * len(values) else "categories"


def _known(column: pa.ChunkedArray) -> list[str]:
    values = (column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column).to_pylist()
    return [value.strip() for value in values if value is not None and value.strip()]


def _refuse(source: Source, view: str, column: str) -> NoReturn:
    """Say why a column cannot be in a view, and what to do about it."""
    kind = source.schema.field(column).type
    where = f'{source.path}: column "{column}" of view "{view}"'
    if pa.types.is_temporal(kind):
        raise UserError(f"{where} holds dates or times; turn them into numbers, such as days since a first day")
    raise UserError(f"{where} holds {kind}, which no kind of view takes; leave it out of the view")


def _refuse_stray_text(source: Source, column: str) -> None:
    """In a text file, a column of mostly numbers is a number column with a mistake in it."""
    values = source.head([], [column]).column(0).to_pylist()
    numeric = [value is None or _is_float(value) for value in values]
    known = [ok for ok, value in zip(numeric, values, strict=True) if value is not None]
    if 2 * sum(known) >= len(known) > 0 and not all(numeric):
        row = numeric.index(False)
        raise text_among_numbers(source.path, row, column, values[row])


def _is_float(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
