"""A stream of questions, with the right answers where they are known."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Int, Shaped

from counterpoint.agents.records import read_records
from counterpoint.errors import UserError, nearest

QUESTIONS = ("question", "problem", "prompt", "input", "text")
"""Fields that are taken for the question, the first that a file has."""
ANSWERS = ("answer", "solution", "target", "label")
IDS = ("id", "_id")
MARK = "####"
"""What stands before the result in an answer of GSM8K; the reasoning before it is left out."""
Index = slice | Int[np.ndarray, " _"] | Bool[np.ndarray, " n"]


@dataclass(frozen=True, eq=False)
class Questions:
    """Questions in the order in which they come; answers are None where they are not known.

    `choices` are the answers among which one is right, () where anything may be said.

    >>> stream = Questions.of(["1 + 1?", "1 + 2?"], ["2", None])
    >>> len(stream), stream.known.tolist()
    (2, [True, False])
    """

    texts: Shaped[np.ndarray, " n"]
    answers: Shaped[np.ndarray, " n"]
    choices: tuple[tuple[str, ...], ...]
    ids: Shaped[np.ndarray, " n"]
    columns: dict[str, Shaped[np.ndarray, " _"]]
    source: str
    notes: tuple[str, ...] = ()
    usual_split = "stream"

    def __post_init__(self) -> None:
        if len(set(self.ids.tolist())) < len(self.ids):
            raise UserError(f"{self.source}: two questions have one id; make ids differ, or leave them out")

    @classmethod
    def of(
        cls,
        texts: Sequence[str],
        answers: Sequence[str | None] | None = None,
        choices: Sequence[Sequence[str]] | None = None,
        columns: Mapping[str, Any] | None = None,
        source: str = "memory",
    ) -> "Questions":
        """From lists; ids are row numbers."""
        answered = _objects(answers if answers is not None else [None] * len(texts))
        among = tuple(tuple(one) for one in choices) if choices is not None else ((),) * len(texts)
        kept = {name: np.asarray(column) for name, column in (columns or {}).items()}
        return cls(_objects(texts), answered, among, np.arange(len(texts)), kept, source)

    @classmethod
    def read(
        cls,
        path: str | Path,
        *,
        question: str | None = None,
        answer: str | None = None,
        choices: str | None = None,
        id: str | None = None,
    ) -> "Questions":
        """Read JSON lines, CSV, TSV or Parquet; GSM8K's files as they are.

        `question`, `answer`, `choices` and `id` name fields; without them a field called question, problem, prompt,
        input or text is the question, and one called answer, solution, target or label its answer, which may be
        absent. `choices` are a list, or texts with | between them. What stands before "####" in an answer is left out.
        Raises `UserError` naming the row that has no question, and a field that is absent.
        """
        path = Path(path)
        rows = read_records(path)
        names = list(dict.fromkeys(name for row in rows for name in row))
        for what, name in (("question", question), ("answer", answer), ("choices", choices), ("id", id)):
            if name is not None and name not in names:
                raise UserError(f"{path}: {what}={name}: no such field; {nearest(name, names)}")
        asked = question or next((name for name in QUESTIONS if name in names), None)
        if asked is None:
            raise UserError(f"{path}: which field holds the question? say question=FIELD (fields: {', '.join(names)})")
        told = answer or next((name for name in ANSWERS if name in names and name != asked), None)
        among = choices or ("choices" if "choices" in names else None)
        key = id or next((name for name in IDS if name in names), None)
        texts = [_question(row.get(asked), number, asked, path) for number, row in enumerate(rows, start=1)]
        used = {asked, told, among, key}
        kept = {n: _objects([row.get(n) for row in rows]) for n in names if n not in used}
        return cls(
            texts=_objects(texts),
            answers=_objects([None if told is None else _answer(row.get(told)) for row in rows]),
            choices=tuple(() if among is None else _choices(row.get(among)) for row in rows),
            ids=np.arange(len(rows)) if key is None else np.asarray([str(row.get(key)) for row in rows]),
            columns={name: column for name, column in kept.items() if not isinstance(column[0], dict | list)},
            source=str(path),
            notes=() if question else (f"questions are taken from {asked}, answers from {told or 'nowhere'}",),
        )

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def known(self) -> Bool[np.ndarray, " n"]:
        """Which rows have an answer."""
        return np.array([one is not None for one in self.answers], dtype=bool)

    @property
    def views(self) -> dict[str, Any]:
        """None: questions are not embedded."""
        return {}

    def rows(self, index: Index) -> "Questions":
        """Some questions: a slice, row numbers or a mask."""
        numbers = np.arange(len(self))[index]
        return replace(
            self,
            texts=self.texts[numbers],
            answers=self.answers[numbers],
            choices=tuple(self.choices[number] for number in numbers),
            ids=self.ids[numbers],
            columns={name: column[numbers] for name, column in self.columns.items()},
        )

    def shuffled(self, seed: int) -> "Questions":
        """The same questions in another order."""
        return self.rows(np.random.Generator(np.random.PCG64(seed)).permutation(len(self)))

    def divide(self, split: str, files: Mapping[str, "Questions"] | None = None) -> dict[str, "Questions"]:
        """Parts: "stream" learns from all and judges the answers given on the way; "first-N" learns from the first N.

        After first-N the others are answered with the rules as they are then. A test part with a file of its own takes
        the place of both. Raises `UserError` for another text.

        >>> parts = Questions.of(["a", "b", "c"]).divide("first-2")
        >>> len(parts["train"]), len(parts["test"])
        (2, 1)
        """
        parts: dict[str, Questions] = {"train": self, "test": self}
        first = split.removeprefix("first-")
        if first != split and first.isdigit() and 0 < int(first) < len(self):
            parts = {"train": self.rows(slice(0, int(first))), "test": self.rows(slice(int(first), None))}
        elif split != "stream":
            raise UserError(f"--split {split}: questions are divided by stream or first-N, N below {len(self)}")
        return {**parts, **(files or {})}

    def fingerprint(self) -> str:
        """A hash of ids, questions, answers and choices, in their order."""
        told = (self.ids.tolist(), self.texts.tolist(), self.answers.tolist(), self.choices)
        return hashlib.blake2b(repr(told).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()

    def schema(self) -> list[dict[str, Any]]:
        """The questions in one line."""
        return [
            {
                "view": "question",
                "kind": "text",
                "columns": f"{int(self.known.sum())} with an answer",
                "width": round(sum(map(len, self.texts)) / max(1, len(self))),
                "unit": "characters",
                "rows": len(self),
                "missing": 0.0,
            }
        ]

    def warnings(self) -> list[str]:
        """What the reader noted and what looks wrong, in plain words."""
        twice = len(self) - len(set(self.texts.tolist()))
        return [*self.notes, *([f"{twice} questions are asked more than once"] if twice else [])]


def _objects(values: Sequence[Any]) -> Shaped[np.ndarray, " n"]:
    made = np.empty(len(values), dtype=object)
    made[:] = list(values)
    return made


def _question(value: Any, number: int, name: str, path: Path) -> str:
    if not isinstance(value, str) or not value.strip():
        raise UserError(f'{path}: row {number}, field "{name}": no question; give one, or leave the row out')
    return value.strip()


def _answer(value: Any) -> str | None:
    """The result of an answer, after its reasoning; None where there is none.

    >>> _answer("48 / 2 = 24. #### 72"), _answer(" ")
    ('72', None)
    """
    text = "" if value is None else str(value).rpartition(MARK)[2].strip()
    return text or None


def _choices(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        return tuple(one.strip() for one in value.split("|") if one.strip())
    return tuple(str(one) for one in value) if isinstance(value, list | tuple) else ()
