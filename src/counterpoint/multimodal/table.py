"""Rows that are described several ways: the data of the multimodal wing."""

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float32, Int, Int64, Shaped

from counterpoint.errors import UserError, nearest
from counterpoint.multimodal.items import Items
from counterpoint.rows import check_rows, split_rows

Kind = Literal["numbers", "vector", "categories", "text", "pictures", "events", "tokens"]
Index = slice | Int[np.ndarray, " k"] | Bool[np.ndarray, " n"]
BLOCK = 65_536
"""Rows looked at together, so that no temporary array is as large as the table."""


@dataclass(frozen=True, eq=False)
class View:
    """One description of every row: float32 numbers, NaN where missing, or the numbers of `items`, -1 where missing.

    `kind` is "numbers" for a block of measurements and "vector" for a list whose entries only mean something
    together; "categories", "text", "pictures" and "events" have items. `columns` names the file's columns it came from.
    """

    name: str
    kind: Kind
    columns: tuple[str, ...]
    values: Float32[np.ndarray, "n d"] | Int64[np.ndarray, "n k"]
    items: Items | None = None

    @property
    def width(self) -> int:
        """Numbers per row."""
        return int(self.values.shape[1])

    @cached_property
    def present(self) -> Bool[np.ndarray, " n"]:
        """Which rows have at least one value."""
        return np.concatenate([~lacking(block).all(1) for block in _blocks(self.values)])

    @property
    def missing(self) -> float:
        """Share of values that are missing."""
        return sum(int(lacking(block).sum()) for block in _blocks(self.values)) / max(1, self.values.size)

    def label(self, column: int) -> str:
        """The name of one of its numbers: the file's column, with a position when that column holds lists."""
        return self.columns[column] if len(self.columns) == self.width else f"{self.columns[0]}[{column}]"

    def digest(self) -> str:
        """A hash of the values, or of the items that they number."""
        digest = hashlib.blake2b(repr(self.values.shape).encode(), digest_size=16)
        hashes = None if self.items is None else np.concatenate([self.items.hashes, np.zeros((1, 16), np.uint8)])
        for block in _blocks(self.values):
            digest.update(np.ascontiguousarray(block if hashes is None else hashes[block]).data)
        return digest.hexdigest()

    def entries(self, row: int) -> list[Any]:
        """The items of one row, None where missing."""
        assert self.items is not None
        return [None if number < 0 else self.items.entries[number] for number in self.values[row].tolist()]


def lacking(values: Shaped[np.ndarray, "..."]) -> Bool[np.ndarray, "..."]:
    """Where a value is missing: NaN among numbers, -1 among the numbers of items."""
    return np.isnan(values) if values.dtype.kind == "f" else values < 0


@dataclass(frozen=True, eq=False)
class Table:
    """Rows with several views each, plus columns that are kept but not learned from (labels, groups).

    `columns` holds numbers (NaN where missing), booleans, or text as objects (None where missing); `ids` is
    numbers or text; `source` says where the rows come from; `group` names the column whose equal values `split`
    keeps together; `notes` is what the reader had to say. Raises `UserError` when lengths differ.

    >>> table = Table.of({"labs": [[1, 2], [3, float("nan")]], "ecg": [[5], [1]]}, {"sick": [True, False]})
    >>> len(table), table.views["labs"].missing, table.columns["sick"].tolist()
    (2, 0.25, [True, False])
    """

    views: dict[str, View]
    columns: dict[str, Shaped[np.ndarray, " _"]]
    ids: Shaped[np.ndarray, " _"]
    source: str
    group: str | None = None
    notes: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        views = {name: view.values for name, view in self.views.items()}
        check_rows(self.source, self.ids, views, self.columns, self.group)

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def of(
        cls,
        views: Mapping[str, Any],
        columns: Mapping[str, Any] | None = None,
        source: str = "memory",
        kind: Kind | Mapping[str, Kind] = "vector",
    ) -> "Table":
        """A table from arrays: rows x numbers per view, a value per row for a column; ids are row numbers.

        `kind` is that of all views, or those of some (the rest are vectors). Of the kinds with items a view is a list
        with one record per row (`records`): a text, levels, a picture's path or bytes, (value, time, type) events.

        >>> table = Table.of({"labs": [[1], [2]], "note": ["a cough", None]}, kind={"note": "text"})
        >>> table.views["note"].present.tolist()
        [True, False]
        """
        kinds = {name: kind if isinstance(kind, str) else kind.get(name, "vector") for name in views}
        made = {name: _made(name, kinds[name], values) for name, values in views.items()}
        rows = len(next(iter(made.values())).values) if made else 0
        kept = {name: np.asarray(values) for name, values in (columns or {}).items()}
        return cls(made, kept, np.arange(rows), source)

    @classmethod
    def read(
        cls,
        path: str | Path,
        *,
        view: Mapping[str, str | Sequence[str]] | None = None,
        id: str | None = None,
        group: str | None = None,
        kind: Mapping[str, str] | None = None,
        least_views: int = 2,
    ) -> "Table":
        """Read a file; see `counterpoint.multimodal.reading.readers.read`."""
        from counterpoint.multimodal.reading.readers import read

        return read(path, view=view, id=id, group=group, kind=kind, least_views=least_views)

    @classmethod
    def of_records(cls, records: Sequence[Any], facts: Mapping[str, Any], source: str = "records") -> "Table":
        """A table of what a program sends; see `counterpoint.multimodal.reading.records.table_of_records`.

        >>> facts = {"views": {"labs": {"width": 2}, "ecg": {"width": 1}}}
        >>> Table.of_records([{"labs": [1, None]}, {"ecg": [5]}], facts).views["labs"].values.tolist()
        [[1.0, nan], [nan, nan]]
        """
        from counterpoint.multimodal.reading.records import table_of_records

        return table_of_records(records, facts, source)

    def rows(self, index: Index) -> "Table":
        """The table of some rows: a slice (shares memory), row numbers or a mask."""
        views = {name: replace(view, values=view.values[index]) for name, view in self.views.items()}
        columns = {name: column[index] for name, column in self.columns.items()}
        return replace(self, views=views, columns=columns, ids=self.ids[index])

    def fingerprint(self) -> str:
        """A hash of view names, kinds, columns, values and ids: equal data hash equally, whatever the file.

        >>> one, other = Table.of({"a": [[1.0]]}), Table.of({"a": [[2.0]]})
        >>> one.fingerprint() == one.rows(slice(None)).fingerprint(), one.fingerprint() == other.fingerprint()
        (True, False)
        """
        views = [(view.name, view.kind, view.columns, view.digest()) for view in self.views.values()]
        ids = hashlib.blake2b(repr(self.ids.tolist()).encode(), digest_size=16).hexdigest()
        return hashlib.blake2b(repr((views, ids)).encode(), digest_size=16).hexdigest()

    def schema(self) -> list[dict[str, Any]]:
        """One line per view, to be shown before training: what was recognised and how much is missing."""
        from counterpoint.multimodal.kinds import KINDS  # kinds need torch, tables do not

        return [
            {
                "view": view.name,
                "kind": view.kind,
                "columns": _span(view.columns),
                **KINDS[view.kind].size(view),
                "rows": int(view.present.sum()),
                "missing": view.missing,
            }
            for view in self.views.values()
        ]

    def split(self, shares: Mapping[str, float], seed: int = 0, group: str | None = None) -> dict[str, "Table"]:
        """Divide the rows at random by shares that add up to 1; every part keeps the order of the rows.

        Rows with an equal value in the `group` column (default: the table's own) stay together; a row without
        a value is a group of its own. Large groups are placed first, each into the part that is least full.
        Raises `UserError` when a part would stay empty.

        >>> table = Table.of({"a": [[float(i)] for i in range(10)]}, {"who": [i // 2 for i in range(10)]})
        >>> parts = table.split({"train": 0.6, "test": 0.4}, seed=1, group="who")
        >>> {name: len(part) for name, part in parts.items()}
        {'train': 6, 'test': 4}
        """
        name = group or self.group
        if name is not None and name not in self.columns:
            raise UserError(f'{self.source}: no column "{name}" to group by; {nearest(name, self.columns)}')
        values = None if name is None else self.columns[name]
        parts = split_rows(len(self), shares, seed, values, self.source, by=name or "")
        return {part: self.rows(rows) for part, rows in parts.items()}

    def display(self, needed: Collection[Any] = (), pictures: bool = True) -> Any:
        """What a report shows of some rows; see `counterpoint.multimodal.display.display`."""
        from counterpoint.multimodal.display import display

        return display(self, needed, pictures)

    def warnings(self) -> list[str]:
        """What the reader noted and what looks wrong with the views, in plain words."""
        from counterpoint.multimodal.leaks import leaks

        found = list(self.notes)
        seen: dict[str, str] = {}
        for view in self.views.values():
            found += _suspicions(view)
            if (first := seen.setdefault(view.digest(), view.name)) != view.name:
                found.append(f'view "{view.name}" is an exact copy of view "{first}"; matching them teaches nothing')
        return found + leaks(self)


def read_table(
    path: str | Path,
    *,
    views: Mapping[str, str | Sequence[str]] | None = None,
    id: str | None = None,
    group: str | None = None,
    kind: Mapping[str, str] | None = None,
) -> Table:
    """Read a file, as `Table.read` does, with the views given by name.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "a.csv"
    >>> _ = path.write_text("lab_a,lab_b,ecg\\n1,2,3\\n")
    >>> list(read_table(path, views={"labs": "lab_*", "ecg": "ecg"}).views)
    ['labs', 'ecg']
    """
    return Table.read(path, view=views, id=id, group=group, kind=kind)


def _suspicions(view: View) -> list[str]:
    """What is wrong with one view."""
    if not view.present.any():
        return [f'view "{view.name}" is missing in every row; leave it out']
    from counterpoint.multimodal.kinds import KINDS

    columns = view.values.T
    if len(view.values) > 1 and all(_constant(column) for column in columns):
        return [f'view "{view.name}" is the same in every row; nothing can be learned from it']
    if view.items is not None:
        return KINDS[view.kind].remarks(view)
    return [
        f'view "{view.name}": "{view.label(j)}" only rises or falls from row to row, as a row number does; '
        "it tells rows apart without describing them, so leave it out"
        for j, column in enumerate(columns)
        if _counts_rows(column)
    ]


def _constant(column: Shaped[np.ndarray, " n"]) -> bool:
    known = column[~lacking(column)]
    return bool((known == known[:1]).all())


def _counts_rows(column: Float32[np.ndarray, " n"]) -> bool:
    """Strictly rising or falling over all rows; fewer than 8 rows prove nothing."""
    if len(column) < 8:
        return False
    ordered = np.greater if column[1] > column[0] else np.less
    # The first rows settle nearly every column.
    return all(bool(ordered(part[1:], part[:-1]).all()) for part in (column[:64], column))


def _span(columns: Sequence[str]) -> str:
    """A short way to write many column names."""
    return ", ".join(columns) if len(columns) <= 3 else f"{columns[0]}, {columns[1]} .. {columns[-1]}"


def _made(name: str, kind: Kind, values: Any) -> View:
    """A view from an array, or from a list of records."""
    if kind in ("numbers", "vector"):
        return View(name, kind, (name,), _block(values))
    from counterpoint.multimodal.kinds import KINDS

    return KINDS[kind].of_records(name, list(values), lambda row: f'view "{name}", row {row + 1}')


def _block(values: Any) -> Float32[np.ndarray, "n d"]:
    block = np.array(values, dtype=np.float32)
    return block.reshape(len(block), -1)


def _blocks(values: Shaped[np.ndarray, "n d"]) -> Iterator[Shaped[np.ndarray, "m d"]]:
    for start in range(0, max(1, len(values)), BLOCK):
        yield values[start : start + BLOCK]
