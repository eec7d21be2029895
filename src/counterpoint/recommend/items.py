"""What is known of items: a file of titles and attributes, laid beside the items that occur; conditions on them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool

from counterpoint.errors import UserError, nearest
from counterpoint.recommend.sources import table_of

IDS = ("id", "item_id", "item", "itemid", "iid", "product_id", "product", "movie_id", "movie", "asin", "article_id")
TITLES = ("title", "name", "movie_title", "product_name", "item_name")


def read_items(path: Path, title: str | None = None) -> pa.Table:
    """A table of items from CSV, TSV, Parquet, a RecBole `.item` file or a JSON object of item -> attributes.

    Columns are `id` and `title` (recognised, or named) and the file's others; `token_seq` columns and JSON lists become
    lists. Raises `UserError` for an absent column or an item that is there twice.
    """
    if path.suffix.lower() == ".json":
        return _of_json(path)
    table, kinds = table_of(path)
    names = table.column_names
    key = recognised(names, IDS)
    if key is None:
        raise UserError(f"{path}: no column looks like the id of an item; known names: {', '.join(IDS)}")
    if title is not None and title not in names:
        raise UserError(f"{path}: title={title}: no such column; {nearest(title, names)}")
    words = title or recognised(names, TITLES)
    columns: dict[str, Any] = {"id": table[key]}
    if words is not None:
        columns["title"] = table[words].cast(pa.string())
    for name in names:
        if name not in (key, words):
            listed = kinds.get(name, "").endswith("_seq")
            columns["item " + name if name in ("id", "title") else name] = (
                pc.split_pattern(table[name], " ") if listed else table[name]
            )
    found = pa.table(columns)
    counts = pc.value_counts(found["id"].combine_chunks())
    twice = pc.greater(counts.field("counts"), 1)
    if pc.any(twice).as_py():
        raise UserError(f'{path}: item "{counts.field("values")[pc.index(twice, True).as_py()]}" is there twice')
    return found


def beside(items: pa.Array, described: pa.Table) -> tuple[pa.Table, int]:
    """The items that occur, each with its row of a described table (nulls if it has none), and how many have none."""
    texts = described["id"].combine_chunks().cast(pa.string())
    places = pc.index_in(items.cast(pa.string()), value_set=texts)
    rest = described.drop_columns(["id"]).take(places)
    return pa.table({"id": items, **{name: rest[name] for name in rest.column_names}}), places.null_count


def chosen(catalogue: pa.Table, where: Mapping[str, Sequence[str] | str]) -> Bool[np.ndarray, " v"]:
    """Which items meet every condition: a column has one of the values, or a list that holds one.

    Raises `UserError` for a column that the catalogue lacks.

    >>> table = pa.table({"id": ["a", "b"], "kind": [["shoe", "red"], ["hat"]]})
    >>> chosen(table, {"kind": "red"}).tolist()
    [True, False]
    """
    kept = np.ones(catalogue.num_rows, dtype=bool)
    known = [name for name in catalogue.column_names if name != "id"]
    for name, wanted in where.items():
        if name not in known:
            raise UserError(f'items have no "{name}"; {nearest(name, known)}')
        values = pa.array([str(value) for value in ([wanted] if isinstance(wanted, str) else wanted)], pa.string())
        column = catalogue[name].combine_chunks()
        if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
            hits = pc.is_in(column.flatten().cast(pa.string()), value_set=values)
            owners = pc.list_parent_indices(column).filter(hits)
            now = np.zeros(catalogue.num_rows, dtype=bool)
            now[owners.to_numpy()] = True
        else:
            now = pc.is_in(column.cast(pa.string()), value_set=values).to_numpy(zero_copy_only=False)
        kept &= now
    return kept


def recognised(names: Sequence[str], known: Sequence[str]) -> str | None:
    """The column with the first known name, whatever its case.

    >>> recognised(["Timestamp", "User_ID"], ("user", "user_id"))
    'User_ID'
    """
    lowered = {name.lower(): name for name in reversed(names)}
    return next((lowered[name] for name in known if name in lowered), None)


def _of_json(path: Path) -> pa.Table:
    """{"item": [attributes]}, {"item": "attribute"} or {"item": {"title": ..., ...}}."""
    if not path.is_file():
        raise UserError(f"{path}: there is no such file")
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise UserError(f"{path}: cannot be read ({str(error).splitlines()[0]})") from None
    if not isinstance(said, dict) or not said:
        raise UserError(f"{path}: is not a JSON object of item -> attributes")
    rows = [value if isinstance(value, dict) else {"attributes": _texts(value)} for value in said.values()]
    names = list(dict.fromkeys(name for row in rows for name in row if name != "id"))
    try:
        columns = {name: pa.array([row.get(name) for row in rows]) for name in names}
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        raise UserError(
            f"{path}: an attribute has values of several kinds; make them all texts, or all lists"
        ) from None
    return pa.table({"id": pa.array(list(said), pa.string()), **columns})


def _texts(value: Any) -> list[str]:
    return [str(one) for one in value] if isinstance(value, list) else [str(value)]
