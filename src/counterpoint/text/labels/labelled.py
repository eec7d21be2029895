"""Texts with labels: a row per text, what its class is where that is known, and which groups it is in."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Int, Shaped

from counterpoint.errors import UserError, nearest
from counterpoint.rows import check_rows, split_rows
from counterpoint.text.files import is_text, plain, read_file, texts_of
from counterpoint.text.pairs import Index, Texts, connected
from counterpoint.text.scripts import scripts_of

NAMES = ("text", "sentence", "tweet", "comment", "review", "content", "message")
"""Columns that are taken for the texts, the first that a file has."""
IDS = ("id", "_id")
LABELS = ("label", "labels", "class", "target")
"""Columns that are not taken for the texts though they may hold words."""
Column = Sequence[Any] | Shaped[np.ndarray, " _"]
STRANGE = "\N{REPLACEMENT CHARACTER}"


@dataclass(frozen=True, eq=False)
class LabelledTexts:
    """Rows of one text each, None where it is missing; labels are columns beside them, with gaps or without.

    `group` names the column whose equal rows stay together when rows are divided, `subgroup` the one that, with the
    class, makes the groups whose worst accuracy is judged (a shortcut there or not, a dialect, a person meant).

    >>> data = LabelledTexts.of(["good", None, "bad"], {"label": ["1", None, "0"]})
    >>> len(data), data.present.tolist(), data.labels("label")
    (3, [True, False, True], ['1', None, '0'])
    """

    text: Texts
    columns: dict[str, Shaped[np.ndarray, " _"]]
    ids: Shaped[np.ndarray, " _"]
    source: str
    group: str | None = None
    subgroup: str | None = None
    notes: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        check_rows(self.source, self.ids, {"text": self.text.values}, self.columns, self.group)
        check_rows(self.source, self.ids, {}, self.columns, self.subgroup)

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def of(
        cls,
        texts: Sequence[str | None],
        columns: Mapping[str, Column] | None = None,
        source: str = "memory",
        subgroup: str | None = None,
    ) -> "LabelledTexts":
        """From lists; what is empty or blank is missing; ids are row numbers."""
        values = np.empty(len(texts), dtype=object)
        values[:] = [text if text and not text.isspace() else None for text in texts]
        kept = {name: _column(given) for name, given in (columns or {}).items()}
        return cls(Texts("text", ("text",), values), kept, np.arange(len(texts)), source, subgroup=subgroup)

    @classmethod
    def of_records(cls, records: Sequence[Any], facts: Mapping[str, Any], source: str = "records") -> "LabelledTexts":
        """Texts, or {"text": text}, to be classified; raises `UserError` naming the record that is neither."""
        texts = []
        for number, record in enumerate(records, start=1):
            text = record.get("text") if isinstance(record, Mapping) and set(record) <= {"text"} else record
            if text is not None and not isinstance(text, str):
                raise UserError(f'{source}: record {number} is neither a text nor {{"text": text}}')
            texts.append(text)
        return cls.of(texts, source=source)

    @classmethod
    def read(
        cls,
        path: str | Path,
        *,
        view: Mapping[str, str | Sequence[str]] | None = None,
        id: str | None = None,
        group: str | None = None,
        subgroup: str | None = None,
    ) -> "LabelledTexts":
        """Read CSV, TSV, JSON lines, Parquet or Arrow.

        `view` names the column of the texts, {"text": "tweet"}, or several, joined by a space; without it a column
        called text, sentence, tweet, comment, review, content or message is taken, or the only one that can be meant.
        `id`, `group` and `subgroup` name columns; all further columns are kept. Raises `UserError` for a column that is
        absent or holds no texts, when no row has a text, and naming the line that is not UTF-8.

        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "a.csv"
        >>> _ = path.write_text("tweet,class\\nhow nice,1\\n")
        >>> LabelledTexts.read(path).text.columns
        ('tweet',)
        """
        path = Path(path)
        table = read_file(path)
        for what, name in (("id", id), ("group", group), ("subgroup", subgroup)):
            if name is not None and name not in table.column_names:
                raise UserError(f"{path}: {what}={name}: no such column; {nearest(name, table.column_names)}")
        chosen = _proposed(table, str(path), (id, group, subgroup)) if view is None else _named(view, table, str(path))
        parts = [texts_of(table[name].cast(pa.large_string())) for name in chosen]
        values = np.empty(len(table), dtype=object)
        values[:] = [" ".join(text for text in row if text is not None) or None for row in zip(*parts, strict=True)]
        if all(text is None for text in values):
            raise UserError(f'{path}: column "{", ".join(chosen)}" has no text in any row')
        key = id or next((name for name in IDS if name in table.column_names), None)
        left_out = {*chosen, key} - {group, subgroup}
        kept = {name: plain(table[name]) for name in table.column_names if name not in left_out}
        return cls(
            text=Texts("text", chosen, values),
            columns={name: column for name, column in kept.items() if column is not None},
            ids=np.arange(len(table)) if key is None else _ids(table, key, str(path)),
            source=str(path),
            group=group,
            subgroup=subgroup,
            notes=() if view else (f"no column was named; taken: view.text={','.join(chosen)}",),
        )

    @property
    def present(self) -> Bool[np.ndarray, " n"]:
        """Which rows have a text."""
        return self.text.present

    @property
    def views(self) -> dict[str, Texts]:
        """The texts by the one name that they have everywhere."""
        return {"text": self.text}

    @property
    def shown(self) -> dict[str, Shaped[np.ndarray, " n"]]:
        """What people are shown of a row beside its id."""
        return {"text": self.text.values}

    def labels(self, column: str) -> list[str | None]:
        """A column of labels as texts, whole numbers without a point, None where one is missing.

        Raises `UserError` with the nearest name when there is no such column.
        """
        if column not in self.columns:
            raise UserError(
                f'{self.source}: no column "{column}" with labels; {nearest(column, self.columns)}; say label=COLUMN'
            )
        return [_label(value) for value in self.columns[column].tolist()]

    def rows(self, index: Index) -> "LabelledTexts":
        """Some rows: a slice, row numbers or a mask."""
        columns = {name: column[index] for name, column in self.columns.items()}
        text = replace(self.text, values=self.text.values[index])
        return replace(self, text=text, columns=columns, ids=self.ids[index])

    def with_texts(self, values: Shaped[np.ndarray, " n"]) -> "LabelledTexts":
        """The same rows with other texts."""
        return replace(self, text=replace(self.text, values=values))

    def with_column(self, name: str, values: Column) -> "LabelledTexts":
        """The same rows with a column more, or another in its place."""
        return replace(self, columns={**self.columns, name: _column(values)})

    def fingerprint(self) -> str:
        """A hash of texts, ids and columns: equal data hash equally, whatever the file."""
        digest = hashlib.blake2b(repr((self.text.columns, self.group, self.subgroup)).encode(), digest_size=16)
        for values in (self.text.values, self.ids, *(self.columns[name] for name in sorted(self.columns))):
            digest.update(repr(values.tolist()).encode("utf-8", "surrogatepass"))
        return digest.hexdigest()

    def schema(self) -> list[dict[str, Any]]:
        """The texts in one line: columns, how long they are on average, in which scripts, how many are missing."""
        lengths = [len(text) for text in self.text.values if text is not None]
        return [
            {
                "view": "text",
                "kind": "text",
                "columns": ", ".join(self.text.columns),
                "width": round(sum(lengths) / max(1, len(lengths))),
                "unit": f"characters ({scripts_of(self.text.values)})",
                "rows": len(lengths),
                "missing": 1 - len(lengths) / max(1, len(self)),
            }
        ]

    def split(self, shares: Mapping[str, float], seed: int = 0, group: str | None = None) -> dict[str, "LabelledTexts"]:
        """Divide the rows at random by shares that add up to 1.

        Rows of an equal value in the `group` column (default: the data's own) stay together, or else rows of equal
        texts. Raises `UserError` when a part would stay empty.
        """
        name = group or self.group
        if name is not None and name not in self.columns:
            raise UserError(f'{self.source}: no column "{name}" to group by; {nearest(name, self.columns)}')
        values = self.alike if name is None else self.columns[name]
        parts = split_rows(len(self), shares, seed, values, self.source, by=name or "texts")
        return {part: self.rows(rows) for part, rows in parts.items()}

    @cached_property
    def alike(self) -> Int[np.ndarray, " n"]:
        """A number per row, equal for equal texts; a row without a text is like no other."""
        codes = pa.array(self.text.values, pa.large_string()).dictionary_encode().indices.fill_null(-1)
        return connected([codes.to_numpy(zero_copy_only=False).astype(np.int64)])

    def warnings(self) -> list[str]:
        """What the reader noted and what looks wrong, in plain words."""
        found, missing = list(self.notes), int((~self.present).sum())
        if missing:
            found.append(f"{missing} of {len(self)} rows have no text and are passed over")
        strange = sum(STRANGE in text for text in self.text.values if text is not None)
        if strange:
            found.append(
                f"{strange} texts hold {STRANGE}, the mark of a wrong encoding; read the original file as UTF-8"
            )
        return found


def _column(values: Column) -> Shaped[np.ndarray, " n"]:
    """A column of numbers, or of objects where there are texts or gaps."""
    made = np.empty(len(values), dtype=object)
    made[:] = values.tolist() if isinstance(values, np.ndarray) else list(values)
    found = np.asarray(values)
    return found if found.dtype.kind in "iufb" and found.shape == made.shape else made


def _label(value: Any) -> str | None:
    if value is None or value != value or (isinstance(value, str) and not value.strip()):
        return None
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()


def _named(view: Mapping[str, str | Sequence[str]], table: pa.Table, source: str) -> tuple[str, ...]:
    """The columns that are named for the text."""
    if set(view) != {"text"}:
        raise UserError(f"{source}: labelled texts have one view; name its column with view.text=COLUMN")
    given = view["text"]
    names = tuple(part.strip() for part in given.split(",")) if isinstance(given, str) else tuple(given)
    for name in names:
        if name not in table.column_names:
            raise UserError(f'{source}: view.text: no column "{name}"; {nearest(name, table.column_names)}')
        if not is_text(table.schema.field(name).type):
            raise UserError(f'{source}: view.text: column "{name}" holds {table[name].type}, not texts')
    return names


def _proposed(table: pa.Table, source: str, aside: Sequence[str | None]) -> tuple[str, ...]:
    """The column that is called as texts are, or the only one of texts."""
    others = (*aside, *IDS, *LABELS)
    texts = [one.name for one in table.schema if is_text(one.type) and one.name not in others]
    known = [name for name in texts if name.lower() in NAMES]
    found = sorted(known, key=lambda name: NAMES.index(name.lower()))[:1] or (texts if len(texts) == 1 else [])
    if not found:
        raise UserError(
            f"{source}: the columns do not show which one holds the texts; name it: view.text=COLUMN "
            f"(columns: {', '.join(table.column_names)})"
        )
    return (found[0],)


def _ids(table: pa.Table, key: str, source: str) -> Shaped[np.ndarray, " n"]:
    """The id column, without gaps."""
    values = [_label(value) for value in table[key].to_pylist()]
    if None in values:
        raise UserError(f'{source}: row {values.index(None) + 1}, column "{key}": the id is missing')
    return np.asarray(plain(table[key]))
