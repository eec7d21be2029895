"""Texts with private spans: a row per text, which stretches of it are private, and which domain it is of."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Shaped

from counterpoint.errors import UserError, nearest
from counterpoint.rows import check_rows, split_rows
from counterpoint.text.clusters.statements import script_of
from counterpoint.text.labels.labelled import STRANGE
from counterpoint.text.pairs import Index

LONGEST = 2_000_000
"""Characters that one text may have."""


class Span(NamedTuple):
    """A stretch of a text, in characters from `start` up to `end`, and what it is."""

    start: int
    end: int
    label: str = "private"


def overlap(one: Sequence[Any], other: Sequence[Any]) -> int:
    """Characters that two stretches share.

    >>> overlap(Span(0, 5), Span(3, 9)), overlap((0, 2), (2, 4))
    (2, 0)
    """
    return int(max(0, min(one[1], other[1]) - max(one[0], other[0])))


def iou(one: Sequence[Any], other: Sequence[Any]) -> float:
    """Shared characters over those of either.

    >>> iou((0, 4), (2, 4))
    0.5
    """
    both = overlap(one, other)
    return float(both / (one[1] - one[0] + other[1] - other[0] - both))


@dataclass(frozen=True, eq=False)
class SpannedTexts:
    """Rows of one text each, None where it is missing, with its private spans in the order of the text.

    `domains` says for each row what kind of text it is; `group` names the column whose equal rows stay together when
    rows are divided.

    >>> data = SpannedTexts.of(["Ann is ill", None], [[(0, 3, "PERSON")], []], ["notes", "notes"])
    >>> len(data), data.said(0), data.names
    (2, ['Ann'], ['notes'])
    """

    texts: Shaped[np.ndarray, " n"]
    spans: tuple[tuple[Span, ...], ...]
    domains: Shaped[np.ndarray, " n"]
    columns: dict[str, Shaped[np.ndarray, " _"]]
    ids: Shaped[np.ndarray, " n"]
    source: str
    group: str | None = None
    notes: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        views = {"text": self.texts, "domain": self.domains}
        check_rows(self.source, self.ids, views, self.columns, self.group)
        for row, (text, spans) in enumerate(zip(self.texts, self.spans, strict=True)):
            _check(self.source, row + 1, text, spans)

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def of(
        cls,
        texts: Sequence[str | None],
        spans: Sequence[Sequence[tuple[int, int, str]]],
        domains: Sequence[str],
        columns: Mapping[str, Sequence[Any]] | None = None,
        ids: Sequence[Any] | None = None,
        source: str = "memory",
        group: str | None = None,
        notes: tuple[str, ...] = (),
    ) -> "SpannedTexts":
        """From lists; what is empty or blank is missing; equal spans are one; ids are row numbers unless given."""
        values = _objects([text if text and not text.isspace() else None for text in texts])
        sorted_spans = tuple(tuple(sorted({Span(*span) for span in some})) for some in spans)
        kept = {name: _objects(column) for name, column in (columns or {}).items()}
        rows = np.arange(len(values)) if ids is None else np.array([str(one) for one in ids])
        return cls(values, sorted_spans, _objects(domains), kept, rows, source, group, notes)

    @classmethod
    def read(
        cls,
        path: str | Path,
        *,
        text: str | None = None,
        spans: str | None = None,
        domain: str | None = None,
        id: str | None = None,
        group: str | None = None,
    ) -> "SpannedTexts":
        """Read CoNLL, presidio's JSON, CSV, TSV, JSON lines, Parquet or Arrow, or a folder of them, a domain per file.

        `text`, `spans`, `domain`, `id` and `group` name columns. Without `domain` a column "domain" is taken, else the
        file's name is the domain. Without `group` a column "template_id" is taken: texts of one template stay together.
        Raises `UserError` naming file and row for spans outside their text, and the line that is not UTF-8.
        """
        from counterpoint.text.private.span_files import read

        return read(Path(path), {"text": text, "spans": spans, "domain": domain, "id": id, "group": group})

    @property
    def present(self) -> Bool[np.ndarray, " n"]:
        """Which rows have a text."""
        return np.array([text is not None for text in self.texts], dtype=bool)

    @property
    def names(self) -> list[str]:
        """The domains there are, by name."""
        return sorted({str(name) for name in self.domains})

    @property
    def views(self) -> dict[str, Any]:
        """No views to choose: the text is what a row is."""
        return {}

    def said(self, row: int) -> list[str]:
        """The words of a row's private spans."""
        text = self.texts[row]
        return [text[span.start : span.end] for span in self.spans[row]]

    def rows(self, index: Index) -> "SpannedTexts":
        """Some rows: a slice, row numbers or a mask."""
        chosen = np.arange(len(self))[index].tolist()
        columns = {name: column[index] for name, column in self.columns.items()}
        spans = tuple(self.spans[row] for row in chosen)
        return replace(
            self,
            texts=self.texts[index],
            spans=spans,
            domains=self.domains[index],
            columns=columns,
            ids=self.ids[index],
        )

    def with_column(self, name: str, values: Sequence[Any]) -> "SpannedTexts":
        """The same rows with a column more."""
        return replace(self, columns={**self.columns, name: _objects(values)})

    def split(self, shares: Mapping[str, float], seed: int = 0, group: str | None = None) -> dict[str, "SpannedTexts"]:
        """Divide the rows at random by shares that add up to 1; equal texts, or rows of a group, stay together.

        Raises `UserError` when a part would stay empty.
        """
        name = group or self.group
        if name is not None and name not in self.columns:
            raise UserError(f'{self.source}: no column "{name}" to group by; {nearest(name, self.columns)}')
        values = self.texts if name is None else self.columns[name]
        parts = split_rows(len(self), shares, seed, values, self.source, by=name or "texts")
        return {part: self.rows(rows) for part, rows in parts.items()}

    def fingerprint(self) -> str:
        """A hash of texts, spans, domains, ids and columns, whatever the file."""
        digest = hashlib.blake2b(repr((self.spans, self.group)).encode("utf-8", "surrogatepass"), digest_size=16)
        for values in (self.texts, self.domains, self.ids, *(self.columns[name] for name in sorted(self.columns))):
            digest.update(repr(values.tolist()).encode("utf-8", "surrogatepass"))
        return digest.hexdigest()

    def schema(self) -> list[dict[str, Any]]:
        """The texts in one line: how long they are, how many are missing."""
        lengths = [len(text) for text in self.texts if text is not None]
        return [
            {
                "view": "text",
                "kind": "text",
                "columns": f"{sum(map(len, self.spans))} private spans",
                "width": round(sum(lengths) / max(1, len(lengths))),
                "unit": "characters",
                "rows": len(lengths),
                "missing": 1 - len(lengths) / max(1, len(self)),
            }
        ]

    @cached_property
    def scripts(self) -> dict[str, int]:
        """How many texts are mostly in which script, the commonest first."""
        return dict(Counter(script_of(text) for text in self.texts if text is not None).most_common())

    def warnings(self) -> list[str]:
        """What the reader noted and what looks wrong, in plain words."""
        found, missing = list(self.notes), int((~self.present).sum())
        if missing:
            found.append(f"{missing} of {len(self)} rows have no text and are passed over")
        strange = sum(STRANGE in text for text in self.texts if text is not None)
        if strange:
            found.append(f"{strange} texts hold {STRANGE}, the mark of a wrong encoding; read the original as UTF-8")
        foreign = {name: count for name, count in self.scripts.items() if name not in CASED}
        if foreign:
            listed = ", ".join(f"{name} {count}" for name, count in foreign.items())
            found.append(f"scripts without capitals or spaces, in which few chunks are found: {listed}")
        return found


CASED = ("latin", "greek", "cyrillic", "armenian", "none")
"""Scripts with capitals and spaces between words, by which chunks are found."""


def _objects(values: Sequence[Any] | Shaped[np.ndarray, " n"]) -> Shaped[np.ndarray, " n"]:
    made = np.empty(len(values), dtype=object)
    made[:] = values.tolist() if isinstance(values, np.ndarray) else list(values)
    return made


def _check(source: str, row: int, text: str | None, spans: Sequence[Span]) -> None:
    if text is not None and len(text) > LONGEST:
        raise UserError(f"{source}: row {row} has {len(text):,} characters, more than {LONGEST:,}; divide the text")
    for start, end, _ in spans:
        if text is None or not 0 <= start < end <= len(text):
            long = "no text" if text is None else f"{len(text)} characters"
            raise UserError(f"{source}: row {row}: a span from {start} to {end} is not in its text, which has {long}")
