"""Documents and the goal that their topics shall answer, with the phrases of each that speak to it, where known."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from counterpoint.errors import UserError
from counterpoint.text.labels.labelled import Column, LabelledTexts
from counterpoint.text.pairs import Index

PLAIN = (".txt", ".text")
"""Endings of files that hold a document per line."""
Phrases = tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Corpus(LabelledTexts):
    """n documents, None where one is missing, and a goal in natural language, such as "what is bothering people?".

    `candidates` hold for each document the phrases that speak to the goal, none for a document that does not, and None
    where nobody has looked; without any, a method looks itself.

    >>> corpus = Corpus.about("what hurts?", ["my back hurts", "a sunny day"], candidates=[("back",), ()])
    >>> len(corpus), corpus.rows(slice(1)).candidates.tolist()
    (2, [('back',)])
    """

    goal: str = ""
    candidates: Shaped[np.ndarray, " _"] | None = None
    held: dict[Any, Any] = field(default_factory=dict, repr=False)
    """What methods made of these documents, kept as long as they are."""

    @classmethod
    def about(
        cls,
        goal: str,
        texts: Sequence[str | None],
        columns: Mapping[str, Column] | None = None,
        candidates: Sequence[Phrases | None] | None = None,
        source: str = "memory",
    ) -> "Corpus":
        """From lists; what is empty or blank is missing; ids are row numbers."""
        plain = LabelledTexts.of(texts, columns, source)
        found = None if candidates is None else _objects(candidates)
        return cls(plain.text, plain.columns, plain.ids, source, goal=goal, candidates=found)

    @classmethod
    def read(  # type: ignore[override]  # topics know no subgroups
        cls,
        path: str | Path,
        *,
        view: Mapping[str, str | Sequence[str]] | None = None,
        id: str | None = None,
        group: str | None = None,
        goal: str = "",
        goals: str | None = None,
    ) -> "Corpus":
        """Read CSV, TSV, JSON lines, Parquet or Arrow, or a plain text file (.txt) with a document per line.

        `view`, `id` and `group` name columns as for labelled texts. `goal` says what the topics shall answer; `goals`
        names a file of JSON lines with each document's phrases, as `goals.by_model` writes it. Raises `UserError` for
        what cannot be read, and naming the line of a text file that is not UTF-8.

        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "a.txt"
        >>> _ = path.write_text("my back hurts\\n\\na sunny day\\n")
        >>> Corpus.read(path, goal="what hurts?").present.tolist()
        [True, False, True]
        """
        from counterpoint.text.topics.goals import read_goals

        path = Path(path)
        if path.suffix.lower() in PLAIN:
            made = cls._of_lines(path)
        else:
            plain = LabelledTexts.read(path, view=view, id=id, group=group)
            made = cls(plain.text, plain.columns, plain.ids, plain.source, plain.group, notes=plain.notes)
        made = replace(made, goal=" ".join(goal.split()))
        return made if goals is None else read_goals(made, goals)

    @classmethod
    def _of_lines(cls, path: Path) -> "Corpus":
        """A document per line; a blank line is a document without a text."""
        if not path.is_file():
            raise UserError(f"{path}: there is no such file")
        lines: list[str] = []
        for number, line in enumerate(path.read_bytes().splitlines(), start=1):
            try:
                lines.append(line.decode("utf-8-sig" if number == 1 else "utf-8"))
            except UnicodeDecodeError:
                raise UserError(
                    f"{path}: line {number} is not UTF-8; convert the file, for example with iconv"
                ) from None
        if not any(line.strip() for line in lines):
            raise UserError(f"{path}: has no text in any line")
        return cls.about("", lines, source=str(path))

    def rows(self, index: Index) -> "Corpus":
        """Some documents: a slice, row numbers or a mask."""
        columns = {name: column[index] for name, column in self.columns.items()}
        text = replace(self.text, values=self.text.values[index])
        candidates = None if self.candidates is None else self.candidates[index]
        return replace(self, text=text, columns=columns, ids=self.ids[index], candidates=candidates, held={})

    def towards(self, goal: str, candidates: Sequence[Phrases | None] | None = None) -> "Corpus":
        """The same documents with another goal; phrases for the old one are dropped."""
        return replace(self, goal=goal, candidates=None if candidates is None else _objects(candidates), held={})

    def fingerprint(self) -> str:
        """A hash of texts, ids, columns, goal and phrases."""
        phrases = None if self.candidates is None else self.candidates.tolist()
        digest = hashlib.blake2b(super().fingerprint().encode(), digest_size=16)
        digest.update(repr((self.goal, phrases)).encode("utf-8", "surrogatepass"))
        return digest.hexdigest()

    def warnings(self) -> list[str]:
        """What the reader noted and what looks wrong, in plain words."""
        found = super().warnings()
        if self.candidates is not None:
            known = [row for row in self.candidates.tolist() if row is not None]
            silent = len(self) - len(known)
            off = sum(not row for row in known)
            found.append(f"{off} of {len(self)} documents do not speak to the goal, as their phrases were given")
            if silent:
                found.append(f"{silent} of {len(self)} documents have no phrases given and count as off the goal")
        return found


def _objects(values: Sequence[Any]) -> Shaped[np.ndarray, " n"]:
    """An array whose entries are the values, tuples included."""
    made = np.empty(len(values), dtype=object)
    for row, value in enumerate(values):
        made[row] = None if value is None else tuple(value)
    return made
