"""The result of a claim as one JSON file: everything the board shows and everything needed to doubt it."""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from counterpoint.evaluation.claim import Arm, Claim, Options, plain
from counterpoint.evaluation.outcome import Setting
from counterpoint.evaluation.significance import LEVEL, Interval, Verdict

Record = Mapping[str, Any]


@dataclass(frozen=True)
class Trial:
    """One try of the search: options of an arm and the mean measure on validation rows."""

    arm: str
    options: Options
    score: float


def describe(
    claim: Claim,
    quick: bool,
    verdict: Verdict,
    table: Mapping[tuple[str, Setting], Mapping[str, Interval]],
    records: Sequence[Record],
    trials: Sequence[Trial],
    draws: int,
) -> dict[str, Any]:
    """All of a verified claim, a function of the claim and of what its finished units recorded."""
    return {
        "name": claim.name,
        "quick": quick,
        "sentence": claim.sentence,
        "source": claim.source,
        "verdict": verdict.word,
        "predictions": [
            {
                "prediction": finding.name,
                "required": finding.required,
                **_numbers(finding.value),
                "verdict": finding.verdict,
            }
            for finding in verdict.findings
        ],
        "shown": _shown(claim),
        "arms": [_arm(claim, arm, records) for arm in claim.arms],
        "table": [_cell(arm, setting, values, records) for (arm, setting), values in table.items()],
        "seeds": list(claim.seeds),
        "search": [{"arm": t.arm, "options": plain(t.options), "score": _number(t.score)} for t in trials],
        "bootstrap": {"draws": draws, "level": LEVEL},
        "cut": claim.cut,
        "data": _data(records),
        "versions": _distinct([record["versions"] for record in records]),
        "cpus": os.cpu_count(),
        "hash": claim.hash,
        "seconds": sum(sum(record["seconds"].values()) for record in records),
        "date": max(record["finished"] for record in records)[:10],
    }


def _arm(claim: Claim, arm: Arm, records: Sequence[Record]) -> dict[str, Any]:
    """What an arm is; its options as they were used, with budget and search."""
    own = [record for record in records if record["unit"]["arm"] == arm.name]
    return {
        "name": arm.name,
        "method": arm.method,
        "role": arm.role,
        "about": arm.about,
        "training data changed by": plain(arm.data),
        "options": own[0]["unit"]["options"],
        "own budget": arm.budget is not None,
        "searched as": claim.search.source(arm.name) if claim.search else None,
    }


def _cell(arm: str, setting: Setting, values: Mapping[str, Interval], records: Sequence[Record]) -> dict[str, Any]:
    """One arm in one setting: measures over seeds, and mean seconds of a fit."""
    at = plain(dict(setting))
    fits = [
        record["seconds"]["fit"]
        for record in records
        if record["unit"]["arm"] == arm and dict(record["unit"]["setting"]) == at
    ]
    return {
        "arm": arm,
        "setting": at,
        "seeds": len(fits),
        "seconds": sum(fits) / len(fits),
        "measures": {name: _numbers(value) for name, value in values.items()},
    }


def _shown(claim: Claim) -> list[str]:
    """The measures that the predictions speak of, for the board."""
    named = [getattr(prediction, "measure", None) for prediction in claim.predictions]
    return list(dict.fromkeys(name for name in named if name is not None))


def _data(records: Sequence[Record]) -> list[dict[str, Any]]:
    """Rows and fingerprints of the data per seed and setting; a placebo's training rows are its own affair.

    Raises ValueError when arms were judged on different data.
    """
    found: dict[str, dict[str, Any]] = {}
    for record in records:
        where = {"seed": record["unit"]["seed"], "setting": dict(record["unit"]["setting"])}
        entry = found.setdefault(str(where), {**where, **record["data"]})
        if entry["test"] != record["data"]["test"]:
            raise ValueError(f"arms were judged on different data: {where}; it must follow from seed and setting")
    return list(found.values())


def _distinct(values: Sequence[Any]) -> list[Any]:
    return [value for place, value in enumerate(values) if value not in values[:place]]


def _numbers(value: Interval) -> dict[str, float | None]:
    return {"value": _number(value.estimate), "low": _number(value.low), "high": _number(value.high)}


def _number(value: float) -> float | None:
    """JSON has no NaN; null says that there is no number."""
    return value if math.isfinite(value) else None
