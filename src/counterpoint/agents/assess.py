"""What a run of TF-TTCL shows of itself: each rule with its evidence, use and worth, cases, and costs."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from counterpoint.agents.judge import score
from counterpoint.agents.questions import Questions


def assess(method: Any, train: Questions, test: Questions, label: str | None = None) -> dict[str, Any]:
    """Rules with how often each was used and whether it helped, cases of the stream, and what was asked in all.

    `helped` is how much oftener questions that were given the rule were answered rightly than the other questions
    that came after it was made; where no answers are known, how much more their candidates agreed. It compares
    different questions, so it is a hint and no proof.
    """
    known = {
        (str(key), text): answer
        for key, text, answer in zip(train.ids, train.texts, train.answers, strict=True)
        if answer is not None
    }
    free = method.options.task == "open"
    rows: Sequence[Mapping[str, Any]] = method.answers
    worth: list[float | None] = []
    for one in rows:
        reference = known.get((one["id"], one["question"]))
        found = score(one, reference, free) if reference is not None else None
        worth.append(found if known else one["agreement"])
    cases = [one["case"] for one in rows]
    return {
        "rules": [{**rule, "helped": _helped(rule, rows, worth)} for rule in method.store.rows()],
        "rules by": "right answers" if known else "agreement",
        "cases": {case: cases.count(case) for case in dict.fromkeys(cases)},
        "costs": dict(method.tables()["costs"][0]),
    }


def _helped(rule: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], worth: Sequence[float | None]) -> float | None:
    """Mean worth of the questions after a rule was made that were given it, minus that of the others."""
    given: list[float] = []
    other: list[float] = []
    for one, value in list(zip(rows, worth, strict=True))[rule["step"] + 1 :]:
        if value is not None:
            (given if rule["id"] in one["rules"] else other).append(value)
    return float(np.mean(given) - np.mean(other)) if given and other else None
