"""Rows of texts that belong together: the data of the text wing."""

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
from counterpoint.text.scripts import scripts_of

NEGATIVE = "negative"
"""A view whose name begins so holds hard negatives of the row's first view."""
Index = slice | Int[np.ndarray, " k"] | Bool[np.ndarray, " n"]


@dataclass(frozen=True, eq=False)
class Texts:
    """One text of every row, None where it is missing; `columns` names the file's columns it was joined from."""

    name: str
    columns: tuple[str, ...]
    values: Shaped[np.ndarray, " n"]

    @cached_property
    def present(self) -> Bool[np.ndarray, " n"]:
        """Which rows have it."""
        return np.array([text is not None for text in self.values], dtype=bool)


@dataclass(frozen=True, eq=False)
class Pairs:
    """Rows of two or more texts that say the same, or answer each other; further columns are kept beside them.

    The first view asks, the second answers, in what judges them; views named `negative...` are hard negatives of the
    row's first view. `pool` holds texts that are no row's answer and compete with the answers when retrieval is judged.
    `columns`, `ids`, `source`, `group` and `notes` are as in a table of numbers.

    >>> pairs = Pairs.of({"query": ["why is the sky blue", "who"], "document": ["Rayleigh scattering", None]})
    >>> len(pairs), pairs.views["document"].present.tolist()
    (2, [True, False])
    """

    views: dict[str, Texts]
    columns: dict[str, Shaped[np.ndarray, " _"]]
    ids: Shaped[np.ndarray, " _"]
    source: str
    group: str | None = None
    pool: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        views = {name: view.values for name, view in self.views.items()}
        check_rows(self.source, self.ids, views, self.columns, self.group)

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def of(
        cls,
        views: Mapping[str, Sequence[str | None]],
        columns: Mapping[str, Any] | None = None,
        source: str = "memory",
        pool: Sequence[str] = (),
    ) -> "Pairs":
        """Pairs from lists of texts; ids are row numbers."""
        made = {name: Texts(name, (name,), _objects(texts)) for name, texts in views.items()}
        rows = len(next(iter(made.values())).values) if made else 0
        kept = {name: np.asarray(values) for name, values in (columns or {}).items()}
        return cls(made, kept, np.arange(rows), source, pool=tuple(pool))

    @classmethod
    def of_records(cls, records: Sequence[Any], facts: Mapping[str, Any], source: str = "records") -> "Pairs":
        """Rows to be embedded by a fitted method with these facts: a text of its first view, or {view: text or null}.

        Raises `UserError` naming the record that is neither.
        """
        known = list(facts["views"])
        rows = [_record(record, number, known, source) for number, record in enumerate(records, start=1)]
        names = [name for name in known if any(name in row for row in rows)]
        return cls.of({name: [row.get(name) for row in rows] for name in names or known[:1]}, source=source)

    @classmethod
    def read(
        cls,
        path: str | Path,
        *,
        view: Mapping[str, str | Sequence[str]] | None = None,
        id: str | None = None,
        group: str | None = None,
        corpus: str | None = None,
        least_views: int = 2,
    ) -> "Pairs":
        """Read a file or a retrieval collection; see `counterpoint.text.readers.read`."""
        from counterpoint.text.readers import read

        return read(path, view=view, id=id, group=group, corpus=corpus, least_views=least_views)

    @property
    def negatives(self) -> tuple[str, ...]:
        """The views that are hard negatives."""
        return tuple(name for name in self.views if name.startswith(NEGATIVE))

    @property
    def positives(self) -> tuple[str, ...]:
        """The views that belong together."""
        return tuple(name for name in self.views if not name.startswith(NEGATIVE))

    @cached_property
    def numbers(self) -> dict[str, Int[np.ndarray, " n"]]:
        """For each view a number per row, equal for equal texts of any view; -1 where the text is missing."""
        flat = np.concatenate([view.values for view in self.views.values()])
        codes = pa.array(flat, pa.large_string()).dictionary_encode().indices.fill_null(-1)
        parts = np.split(codes.to_numpy(zero_copy_only=False).astype(np.int64), len(self.views))
        return dict(zip(self.views, parts, strict=True))

    @cached_property
    def clusters(self) -> Int[np.ndarray, " n"]:
        """A number per row, equal for rows that say the same: with one group, or joined by equal texts.

        Joining goes over any number of steps, so that no text is in two clusters; hard negatives do not join.

        >>> Pairs.of({"a": ["x", "y", "z"], "b": ["y", "w", "v"]}).clusters.tolist()
        [0, 0, 2]
        """
        columns = [self.numbers[name] for name in self.positives]
        if self.group is not None:
            above = 1 + max(int(numbers.max(initial=-1)) for numbers in columns)
            codes = pa.array(self.columns[self.group], from_pandas=True).dictionary_encode().indices
            group = codes.fill_null(-1 - above).to_numpy(zero_copy_only=False).astype(np.int64)
            columns.append(group + above)
        return connected(columns)

    def clusters_of(self, view: str) -> Int[np.ndarray, " n"]:
        """The cluster of each text of a view, such as hard negatives; -1 where the text stands in no cluster."""
        known = np.full(max(int(numbers.max(initial=-1)) for numbers in self.numbers.values()) + 2, -1)
        for name in self.positives:
            there = self.numbers[name] >= 0
            known[self.numbers[name][there]] = self.clusters[there]
        return np.asarray(known[self.numbers[view]])  # a missing text is number -1: the last place, which no text has

    @cached_property
    def repeats(self) -> bool:
        """Whether any text occurs more than once."""
        every = np.concatenate(list(self.numbers.values()))
        return len(np.unique(every[every >= 0])) < int((every >= 0).sum())

    @property
    def shown(self) -> dict[str, Shaped[np.ndarray, " n"]]:
        """What people are shown of a row beside its id: its texts."""
        return {name: view.values for name, view in self.views.items()}

    def rows(self, index: Index) -> "Pairs":
        """The pairs of some rows: a slice, row numbers or a mask."""
        views = {name: replace(view, values=view.values[index]) for name, view in self.views.items()}
        columns = {name: column[index] for name, column in self.columns.items()}
        return replace(self, views=views, columns=columns, ids=self.ids[index])

    def with_texts(self, name: str, values: Shaped[np.ndarray, " n"]) -> "Pairs":
        """The same rows with other texts in one view."""
        return replace(self, views={**self.views, name: replace(self.views[name], values=values)})

    def among(self, pool: Sequence[str]) -> "Pairs":
        """The same rows, with other texts beside the answers when retrieval is judged."""
        return replace(self, pool=tuple(pool))

    def fingerprint(self) -> str:
        """A hash of view names, columns, texts, ids and pool: equal data hash equally, whatever the file.

        >>> one, other = Pairs.of({"a": ["x"]}), Pairs.of({"a": ["y"]})
        >>> one.fingerprint() == one.rows(slice(None)).fingerprint(), one.fingerprint() == other.fingerprint()
        (True, False)
        """
        digest = hashlib.blake2b(digest_size=16)
        for view in self.views.values():
            digest.update(repr((view.name, view.columns)).encode())
            for text in view.values:
                digest.update(b"\0" if text is None else b"\1" + text.encode("utf-8", "surrogatepass") + b"\0")
        digest.update(repr((self.ids.tolist(), self.pool)).encode("utf-8", "surrogatepass"))
        return digest.hexdigest()

    def schema(self) -> list[dict[str, Any]]:
        """One line per view: columns, how long texts are on average, in which scripts, how many are missing."""
        return [
            {
                "view": view.name,
                "kind": "hard negatives" if view.name in self.negatives else "text",
                "columns": ", ".join(view.columns),
                "width": round(sum(map(len, view.values[view.present])) / max(1, int(view.present.sum()))),
                "unit": f"characters ({scripts_of(view.values)})",
                "rows": int(view.present.sum()),
                "missing": 1 - float(view.present.mean()) if len(self) else 0.0,
            }
            for view in self.views.values()
        ]

    def split(self, shares: Mapping[str, float], seed: int = 0, group: str | None = None) -> dict[str, "Pairs"]:
        """Divide the rows at random by shares that add up to 1, so that no text is on two sides.

        Rows with an equal value in the `group` column (default: the data's own) stay together, or else rows joined
        by equal texts over any number of steps. Where that joins more than half of the rows (a collection in which
        every document answers several queries), rows of an equal first text stay together: held-out queries over
        the same documents. Raises `UserError` when a part would stay empty.

        >>> pairs = Pairs.of({"a": ["x", "x", "y", "z"], "b": ["1", "2", "2", "3"]})
        >>> {name: len(part) for name, part in pairs.split({"train": 0.75, "test": 0.25}).items()}
        {'train': 3, 'test': 1}
        """
        name = group or self.group
        if name is not None and name not in self.columns:
            raise UserError(f'{self.source}: no column "{name}" to group by; {nearest(name, self.columns)}')
        values = self._together[0] if name is None else self.columns[name]
        parts = split_rows(len(self), shares, seed, values, self.source, by=name or "texts")
        return {part: self.rows(rows) for part, rows in parts.items()}

    @cached_property
    def _together(self) -> tuple[Int[np.ndarray, " n"], bool]:
        """Which rows stay together, and whether that keeps every text on one side."""
        joined = connected(list(self.numbers.values()))
        if np.bincount(joined).max(initial=0) <= max(1, len(self) / 2):
            return joined, True
        return connected([self.numbers[next(iter(self.views))]]), False

    def warnings(self) -> list[str]:
        """What the reader noted and what looks wrong, in plain words."""
        found = list(self.notes)
        for name, view in self.views.items():
            if not view.present.any():
                found.append(f'view "{name}" is missing in every row; leave it out')
            elif len(self) > 1 and view.present.all() and len(set(view.values)) == 1:
                found.append(f'view "{name}" is the same in every row; nothing can be learned from it')
        if self.group is None and len(self.positives) > 1 and not self._together[1]:
            first = self.positives[0]
            found.append(
                f'texts join more than half of the rows, so a split keeps only rows of an equal "{first}" together; '
                "the other texts may be on both sides"
            )
        return found


def connected(columns: Sequence[Int[np.ndarray, " n"]]) -> Int[np.ndarray, " n"]:
    """A number per row, equal for rows joined by equal numbers in any column, over any number of steps.

    Negative numbers are equal to nothing.

    >>> connected([np.array([0, 0, 1, 2]), np.array([5, 6, 6, -1])]).tolist()
    [0, 0, 0, 3]
    """
    group = np.arange(len(columns[0]))
    known = [numbers >= 0 for numbers in columns]
    while True:
        least = np.full(max(int(numbers.max(initial=-1)) for numbers in columns) + 1, len(group))
        for numbers, there in zip(columns, known, strict=True):
            np.minimum.at(least, numbers[there], group[there])
        before, group = group, group.copy()
        for numbers, there in zip(columns, known, strict=True):
            group[there] = np.minimum(group[there], least[numbers[there]])
        group = group[group]
        if np.array_equal(group, before):
            return group


def next_of_cluster(texts: Shaped[np.ndarray, " n"], clusters: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
    """For each text the row of the next different text of its cluster, in a ring; -1 where there is none, or no text.

    >>> next_of_cluster(np.array(["a", "b", "a", "c"], dtype=object), np.array([0, 0, 0, 1])).tolist()
    [1, 0, 1, -1]
    """
    members: dict[int, dict[str, int]] = {}
    for row, (text, cluster) in enumerate(zip(texts.tolist(), clusters.tolist(), strict=True)):
        if text is not None:
            members.setdefault(cluster, {}).setdefault(text, row)
    following: dict[str, int] = {}
    for rows in members.values():
        if len(rows) > 1:
            following |= dict(zip(rows, [*list(rows.values())[1:], next(iter(rows.values()))], strict=True))
    return np.array([following.get(text, -1) for text in texts], dtype=np.int64)


def picked(values: Shaped[np.ndarray, " n"], rows: Int[np.ndarray, " k"]) -> Shaped[np.ndarray, " k"]:
    """The values of some rows, None for a negative one.

    >>> picked(np.array(["a", "b"]), np.array([1, -1])).tolist()
    ['b', None]
    """
    made = np.empty(len(rows), dtype=object)
    made[rows >= 0] = values[rows[rows >= 0]]
    return made


def _objects(texts: Sequence[str | None]) -> Shaped[np.ndarray, " n"]:
    values = np.empty(len(texts), dtype=object)
    values[:] = [text if text and not text.isspace() else None for text in texts]
    return values


def _record(record: Any, number: int, known: Sequence[str], source: str) -> dict[str, str | None]:
    if isinstance(record, str):
        return {known[0]: record}
    if not isinstance(record, Mapping):
        raise UserError(f"{source}: record {number} is neither a text nor texts by view; views: {', '.join(known)}")
    for name, text in record.items():
        if name not in known:
            raise UserError(f'{source}: record {number}: unknown view "{name}"; {nearest(str(name), known)}')
        if text is not None and not isinstance(text, str):
            raise UserError(f'{source}: record {number}: "{name}" is not a text')
    return dict(record)
