"""Columns whose values are names: levels, rare ones together, those not met in training with them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from counterpoint.errors import UserError
from counterpoint.multimodal.items import Items
from counterpoint.multimodal.kinds.kind import Front, How, Index, Kind, Where
from counterpoint.multimodal.table import Kind as Name
from counterpoint.multimodal.table import View, lacking

RARE = 5
"""A level of fewer training rows is rare; all rare ones of a column are one."""
MOST = 1000
"""Levels of a column that are told apart, the most frequent ones."""
Level = tuple[str, str]


class OneHot(Front):
    """Level numbers to ones and zeros: per column its levels, then the rare or unknown ones, then a gap if there was
    one in training.

    >>> front = OneHot({"columns": 1, "levels": [["f", "m"]], "gaps": []})
    >>> front(torch.tensor([[1], [2]]))
    tensor([[0., 1., 0.],
            [0., 0., 1.]])
    """

    def __init__(self, facts: Mapping[str, Any]) -> None:
        super().__init__()
        self.none: Tensor
        self.levels: list[list[str]] = facts["levels"]
        self.gaps: list[int] = facts["gaps"]
        self._key = ("levels", repr(self.levels))
        self.register_buffer("none", torch.zeros(()), persistent=False)  # says the device and the type of floats
        self.width = sum(len(levels) + 1 for levels in self.levels) + len(self.gaps)

    def tensor(self, view: View, index: Index) -> Int[Tensor, "n k"]:
        """The number of each column's level among those of training; a level that is rare or new has the last one."""
        assert view.items is not None
        places = view.items.once(self._key, lambda: self._places(view))
        return torch.from_numpy(places[view.values[index], np.arange(view.width)])

    def _places(self, view: View) -> Int[np.ndarray, "m k"]:
        """For every item and column the training number; the last item stands for a missing value."""
        assert view.items is not None
        found = np.full((len(view.items) + 1, len(self.levels)), -1, dtype=np.int64)
        for column, levels in enumerate(self.levels):
            number = {level: place for place, level in enumerate(levels)}
            known = [number.get(level, len(levels)) for _, level in view.items.entries]
            found[:-1, column] = known
        return found

    def forward(self, values: Int[Tensor, "n k"]) -> Float[Tensor, "n w"]:
        parts = []
        for column, levels in enumerate(self.levels):
            every = torch.arange(len(levels) + 1, device=values.device)
            parts.append(values[:, column, None] == every)
        parts += [values[:, column, None] < 0 for column in self.gaps]
        return torch.cat(parts, dim=1).to(self.none.dtype)

    def present(self, values: Int[Tensor, "n k"]) -> Bool[Tensor, " n"]:
        """Rows that have some level, and no gap in a column that had none in training (as for numbers)."""
        missing = values < 0
        learned = torch.zeros(values.shape[1], dtype=torch.bool, device=values.device)
        learned[self.gaps] = True
        return ~missing.all(dim=1) & ~(missing & ~learned).any(dim=1)

    def sample(self, rows: int, generator: torch.Generator) -> Int[Tensor, "n k"]:
        """Random levels."""
        drawn = [torch.randint(len(levels) + 1, (rows,), generator=generator) for levels in self.levels]
        return torch.stack(drawn, dim=1)


class Categories(Kind):
    """Columns of names; a row may lack some of them."""

    name: ClassVar[Name] = "categories"
    unit: ClassVar[str] = "columns"
    enters: ClassVar[str] = (
        "level numbers as int64: the place among `views.NAME.levels` of the facts, one past the end for a rare or new "
        "level, -1 where missing"
    )
    form: ClassVar[str] = "a level, or a list of one level per column (null: missing)"

    def reading(self, path: Path, rows: int, schema: pa.Schema, columns: Sequence[str]) -> "Levels":
        """Levels are collected as dictionaries, so that a text is held once."""
        for column in columns:
            kind = schema.field(column).type
            if pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
                raise UserError(f'{path}: column "{column}" holds {kind}, which are no categories')
        return Levels(path, columns)

    def measure(self, view: View, how: How) -> dict[str, Any]:
        """The levels of each column that at least `RARE` rows have, most frequent first, and columns with gaps.

        Raises `UserError` when every level of every column is rare.
        """
        assert view.items is not None
        entries = view.items.entries
        found, unlike = [], []
        for column in range(view.width):
            numbers = view.values[:, column]
            count = np.bincount(numbers[numbers >= 0], minlength=len(entries)).tolist()
            frequent = [(-times, entries[number][1]) for number, times in enumerate(count) if times >= RARE]
            found.append([level for _, level in sorted(frequent)[:MOST]])
            unlike.append(sum(times > 0 for times in count))
        if not any(found):
            levels = ", ".join(f"{column} {n}" for column, n in zip(view.columns, unlike, strict=True))
            raise UserError(
                f'view "{view.name}": no level has {RARE} training rows (levels: {levels}), so none can be learned; '
                f"names of single rows are no categories: leave the column out, or use kind.{view.name}=text"
            )
        missing = lacking(view.values)
        absent = np.asarray(missing.all(axis=1))
        gaps = np.flatnonzero((missing & ~absent[:, None]).any(axis=0)).tolist()
        complete = not bool(absent.any())
        return {"columns": view.width, "levels": found, "gaps": gaps, "complete": complete}

    def front(self, facts: Mapping[str, Any], base: Any = None) -> OneHot:
        """Ones and zeros."""
        return OneHot(facts)

    def of_records(
        self, name: str, records: Sequence[Any], where: Where, facts: Mapping[str, Any] | None = None
    ) -> View:
        """A level, or a list of one per column; numbers and truth values are taken as their text."""
        rows = [None if record is None else _levels(record, where(row)) for row, record in enumerate(records)]
        width = facts["columns"] if facts is not None else next((len(row) for row in rows if row is not None), 1)
        for number, row in enumerate(rows):
            if row is not None and len(row) != width:
                raise UserError(f"{where(number)}: {len(row)} levels, where there are {width} columns")
        columns = tuple(name if width == 1 else f"{name}_{column}" for column in range(width))
        place: dict[Level, int] = {}
        values = np.full((len(rows), width), -1, dtype=np.int64)
        for number, row in enumerate(rows):
            for column, level in enumerate(row or ()):
                if level is not None:
                    values[number, column] = place.setdefault((columns[column], level), len(place))
        return View(name, self.name, columns, values, Items(list(place)))

    def shown(self, view: View, row: int) -> str | None:
        """The levels of a row."""
        levels = [entry[1] for entry in view.entries(row) if entry is not None]
        return ", ".join(levels) or None

    def remarks(self, view: View) -> list[str]:
        """Columns with more levels than are told apart, or whose levels are mostly of single rows."""
        assert view.items is not None
        found = []
        for column, name in enumerate(view.columns):
            numbers = view.values[:, column]
            count = np.bincount(numbers[numbers >= 0], minlength=1)
            levels, rare = int((count > 0).sum()), int(((count > 0) & (count < RARE)).sum())
            if levels > MOST:
                found.append(
                    f'view "{view.name}": column "{name}" has {levels:,} levels; the {MOST:,} most frequent are told '
                    "apart, the rest count as one"
                )
            elif rare > 0.5 * levels and rare > RARE:
                found.append(
                    f'view "{view.name}": {rare:,} of {levels:,} levels of column "{name}" have fewer than {RARE} '
                    "rows; those rare levels count as one"
                )
        return found


class Levels:
    """The levels of some columns while their file streams by."""

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        self.chunks: dict[str, list[pa.Array]] = {column: [] for column in columns}

    def put(self, column: str, start: int, array: pa.Array) -> None:
        """Take a batch."""
        if pa.types.is_dictionary(array.type):
            array = array.cast(array.type.value_type)
        texts = as_texts(array)
        self.chunks[column].append(texts.dictionary_encode())

    def view(self, name: str, kind: Name, columns: tuple[str, ...]) -> View:
        """All rows."""
        entries: list[Level] = []
        codes = []
        for column in columns:
            whole = pa.chunked_array(self.chunks[column]).unify_dictionaries().combine_chunks()
            whole = whole if isinstance(whole, pa.Array) else pa.concat_arrays(whole.chunks)
            numbers = whole.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
            codes.append(np.where(numbers >= 0, numbers + len(entries), -1))
            entries += [(column, level) for level in whole.dictionary.to_pylist()]
        return View(name, kind, columns, np.stack(codes, axis=1), Items(entries))


def as_texts(array: pa.Array) -> pa.Array:
    """Any plain values as trimmed text; what is blank is null, a whole number has no decimals."""
    if pa.types.is_floating(array.type):
        whole = pc.all(pc.equal(pc.floor(array), array)).as_py()
        array = array.cast(pa.int64()) if whole else array
    text = pc.utf8_trim_whitespace(array.cast(pa.large_string()))
    return pc.if_else(pc.equal(text, ""), pa.scalar(None, pa.large_string()), text)


def _levels(record: Any, where: str) -> list[str | None]:
    values = record if isinstance(record, list | tuple) else [record]
    found: list[str | None] = []
    for value in values:
        if value is not None and not isinstance(value, str | int | float | bool | np.generic):
            raise UserError(f"{where}: a level is text or a number, not {type(value).__name__}")
        text = "" if value is None else str(value).strip()
        found.append(text or None)
    return found
