"""From a file or a retrieval collection to `Pairs`: which columns make each text, ids, and what is kept."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Shaped

from counterpoint.errors import UserError, nearest
from counterpoint.text import beir
from counterpoint.text.files import is_text, plain, read_file, texts_of
from counterpoint.text.pairs import NEGATIVE, Pairs, Texts, next_of_cluster, picked

IDS = ("id", "_id")
GROUPS = ("cluster", "cluster_id")
"""Columns that are taken to say which rows stay together, when no group is named."""
LANGUAGE = "language"
"""A column so named, or `language_VIEW`, says in which language a row's texts are; it is no text of its own."""
OTHER = "other"
"""The view made of other texts of a row's group, where rows have one text each."""


def read(
    path: str | Path,
    *,
    view: Mapping[str, str | Sequence[str]] | None = None,
    id: str | None = None,
    group: str | None = None,
    corpus: str | None = None,
    least_views: int = 2,
) -> Pairs:
    """Read CSV, TSV, JSON lines, Parquet or Arrow, or a collection of queries, documents and judgements.

    `view` names columns, {"query": "question", "document": "title,text"}; several are joined by a space. Without it
    the two text columns of a file are taken, and those named negative... A collection is its folder, or one of its
    `qrels/*.tsv` for those judgements alone; `corpus` says which of `corpus/*.jsonl` where there are several. `id`
    and `group` name columns; a column "cluster" or "cluster_id" is the group unless another is named. With a group,
    the same column in two views means one text per row: the second view holds the next text of the row's group.
    Raises `UserError` for a column that is absent or holds no texts, or too few views.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "a.csv"
    >>> _ = path.write_text("question,answer\\nwhy?,because\\n")
    >>> list(read(path).views)
    ['question', 'answer']
    """
    path = Path(path)
    if (place := beir.place_of(path)) is not None:
        return _some_views(beir.read(*place, corpus=corpus, group=group), view)
    table = read_file(path)
    columns = table.column_names
    for what, name in (("id", id), ("group", group)):
        if name is not None and name not in columns:
            raise UserError(f"{path}: {what}={name}: no such column; {nearest(name, columns)}")
    named, group = group, group or next((name for name in GROUPS if name in columns), None)
    chosen = _chosen(view, table, str(path)) if view else _proposed(table, str(path), (id, group), group is not None)
    if len(chosen) < least_views:
        raise UserError(f"{path}: {least_views} texts per row are needed, such as view.query=.. view.document=..")
    key = id or next((name for name in IDS if name in columns), None)
    used = {name for names in chosen.values() for name in names}
    kept = {name: plain(table[name]) for name in columns if name not in used}
    taken = " ".join(f"view.{name}={','.join(names)}" for name, names in chosen.items())
    notes = [] if view else [f"no views were named; taken: {taken}"]
    if group is not None and named is None:
        notes.append(f"rows of an equal {group} belong and stay together (group={group})")
    pairs = Pairs(
        views={name: _joined(name, names, table) for name, names in chosen.items()},
        columns={name: values for name, values in kept.items() if values is not None and name != key},
        ids=np.arange(len(table)) if key is None else _complete(table, key, str(path)),
        source=str(path),
        group=group,
        notes=tuple(notes),
    )
    return _partnered(_without_blanks(pairs, group)) if group is not None else pairs


def _without_blanks(pairs: Pairs, group: str) -> Pairs:
    """The same, where a blank in the group's column says that a row has none."""
    values = pairs.columns.get(group)
    if values is None:
        raise UserError(f"{pairs.source}: group={group}: its values are neither texts nor numbers")
    if values.dtype != object:
        return pairs
    known = np.empty(len(values), dtype=object)
    known[:] = [value if value is not None and str(value).strip() else None for value in values]
    return replace(pairs, columns={**pairs.columns, group: known})


def _partnered(pairs: Pairs) -> Pairs:
    """With one column in two views: the second is the next text of the row's group, none for one that is alone."""
    first = pairs.views[pairs.positives[0]]
    other = next((name for name in pairs.positives[1:] if pairs.views[name].columns == first.columns), None)
    if other is None:
        return pairs
    rows = next_of_cluster(first.values, replace(pairs, views={first.name: first}).clusters)
    made = pairs.with_texts(other, picked(first.values, rows))
    if LANGUAGE not in pairs.columns:
        return made
    spoken = picked(pairs.columns[LANGUAGE], rows)
    return replace(made, columns={**made.columns, f"{LANGUAGE}_{other}": spoken})


def _some_views(pairs: Pairs, view: Mapping[str, Any] | None) -> Pairs:
    """A collection's queries, documents or both; what they are made of is not to choose."""
    for name in view or {}:
        if name not in pairs.views:
            raise UserError(f"{pairs.source}: view.{name}: a collection has the views query and document")
    return replace(pairs, views={name: texts for name, texts in pairs.views.items() if not view or name in view})


def _chosen(view: Mapping[str, str | Sequence[str]], table: pa.Table, source: str) -> dict[str, tuple[str, ...]]:
    """The columns of each view, which all hold texts."""
    chosen = {}
    for name, given in view.items():
        names = [part.strip() for part in given.split(",")] if isinstance(given, str) else list(given)
        for column in names:
            if column not in table.column_names:
                raise UserError(f'{source}: view.{name}: no column "{column}"; {nearest(column, table.column_names)}')
            if not is_text(table.schema.field(column).type):
                raise UserError(f'{source}: view.{name}: column "{column}" holds {table[column].type}, not texts')
        chosen[name] = tuple(names)
    return chosen


def _proposed(table: pa.Table, source: str, aside: Sequence[str | None], grouped: bool) -> dict[str, tuple[str, ...]]:
    """Each text column as a view, when there are two beside hard negatives, or one and a group."""
    left = {*aside, *IDS}
    texts = [f.name for f in table.schema if is_text(f.type) and f.name not in left and not _of_language(f.name)]
    if grouped and len(texts) == 1:
        return {texts[0]: (texts[0],), OTHER: (texts[0],)}
    if len([name for name in texts if not name.startswith(NEGATIVE)]) != 2:
        raise UserError(
            f"{source}: the columns do not show which two texts belong together; name them, such as "
            f"view.query=.. view.document=.. (columns: {', '.join(table.column_names)})"
        )
    texts.sort(key=lambda name: name.startswith(NEGATIVE))
    return {name: (name,) for name in texts}


def _of_language(name: str) -> bool:
    return name == LANGUAGE or name.startswith(f"{LANGUAGE}_")


def _joined(name: str, columns: tuple[str, ...], table: pa.Table) -> Texts:
    parts = [texts_of(table[column].cast(pa.large_string())) for column in columns]
    values = np.empty(len(table), dtype=object)
    values[:] = [" ".join(text for text in row if text is not None) or None for row in zip(*parts, strict=True)]
    return Texts(name, columns, values)


def _complete(table: pa.Table, key: str, source: str) -> Shaped[np.ndarray, " n"]:
    """The id column, without gaps."""
    values: Any = plain(table[key])
    missing = [] if values is None else [row for row, value in enumerate(values) if value is None or value == ""]
    if values is None or missing or table[key].null_count:
        where = f"row {missing[0] + 1}" if missing else "a row"
        raise UserError(f'{source}: {where}, column "{key}": the id is missing')
    return np.asarray(values)
