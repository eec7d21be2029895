"""How answers to a stream of questions are judged: right or wrong, in the first half and in the second."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from counterpoint.agents.answers import equivalent, rouge_l
from counterpoint.agents.questions import Questions
from counterpoint.evaluation import Mean, Outcome
from counterpoint.evaluation.outcome import Columns


@dataclass(frozen=True)
class Gain:
    """The mean of a column in the second half of the stream minus that in the first; rows without a value are left out.

    >>> Gain("correct")({"correct": np.array([0.0, 1.0]), "known": np.array([1, 1]), "half": np.array([1, 2])})
    1.0
    """

    column: str

    def __call__(self, columns: Columns) -> float:
        known = columns["known"] == 1
        halves = [columns[self.column][known & (columns["half"] == half)] for half in (1, 2)]
        return float(halves[1].mean() - halves[0].mean()) if all(map(len, halves)) else float("nan")


GAIN = {"gain": Gain("correct")}
"""The measure that a claim has to name, since it is no mean."""


def score(answer: Mapping[str, Any], reference: str, free: bool) -> float:
    """1 for an equivalent answer, else 0; for free texts ROUGE-L."""
    if free:
        return rouge_l(str(answer["text"]), reference)
    return float(answer["answer"] is not None and equivalent(str(answer["answer"]), reference))


def _teachers(row: Mapping[str, Any], reference: str, free: bool) -> float:
    """How right the Teacher alone was, who answers greedily."""
    said = [one for one in row["candidates"] if one["role"] == "teacher"]
    return score({"text": said[0]["answer"], **said[0]}, reference, free) if said else 0.0


def stream(method: Any, data: Questions) -> Outcome:
    """A row per question: `accuracy` (mean ROUGE-L for free texts), the Teacher's own, of the halves, and their `gain`.

    Questions that the method met while it learned keep the answers they were given then, before anything was learned
    from them; others are answered with the rules as they are. Without any known answer only agreement is measured.
    """
    method.require_fitted()
    met = {(one["id"], one["question"]): one for one in method.answers}
    fresh = [row for row in range(len(data)) if (str(data.ids[row]), data.texts[row]) not in met]
    if fresh:
        given = method.answer(data.rows(np.array(fresh)))
        met |= {(one["id"], one["question"]): one for one in given}
    told = [met[str(key), text] for key, text in zip(data.ids, data.texts, strict=True)]
    free, known = method.options.task == "open", data.known
    right = [score(one, a, free) if a is not None else 0.0 for one, a in zip(told, data.answers, strict=True)]
    first = [_teachers(one, a, free) if a is not None else 0.0 for one, a in zip(told, data.answers, strict=True)]
    cases = np.array([one["case"] for one in told])
    columns = {
        "correct": np.array(right),
        "teacher": np.array(first),
        "known": known.astype(np.int64),
        "known half": np.where(known, 1 + (np.arange(len(data)) >= len(data) / 2), 0),
        "half": 1 + (np.arange(len(data)) >= len(data) / 2).astype(np.int64),
        "agreement": np.array([one["agreement"] for one in told]),
        **{name: np.array([float(one[name]) for one in told]) for name in ("calls", "tokens")},
        **{case: (cases == case).astype(np.float64) for case in ("equal", "different", "mixed")},
    }
    measures: dict[str, Any] = {
        "accuracy": Mean("correct", where=("known", 1)),
        "teacher": Mean("teacher", where=("known", 1)),
        "first half": Mean("correct", where=("known half", 1)),
        "second half": Mean("correct", where=("known half", 2)),
        **GAIN,
    }
    if not known.any():
        measures = {}
    names = ("agreement", "calls", "tokens", *(() if free else ("equal", "mixed", "different")))
    return Outcome(data.ids, columns, {**measures, **{name: Mean(name) for name in names}})
