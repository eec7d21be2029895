"""One arm fitted with one seed in one setting: run once, kept on disk, used again while nothing it needs changes."""

import json
import platform
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal
from zipfile import BadZipFile

import numpy as np
import torch

from counterpoint import catalog
from counterpoint.errors import UserError
from counterpoint.evaluation.claim import Arm, Claim, digest, plain
from counterpoint.evaluation.outcome import Mean, Measure, Median, Outcome, Setting
from counterpoint.files import atomic_path, write_json
from counterpoint.training import Trainer, rng


@dataclass(frozen=True)
class Unit:
    """All that one fit depends on, in plain data: `options` are budget, arm and search together."""

    arm: str
    seed: int
    setting: Setting
    options: Mapping[str, Any]
    trainer: Mapping[str, Any]
    part: Literal["test", "validation"] = "test"

    def __str__(self) -> str:
        at = ", ".join(f"{name} = {value}" for name, value in self.setting)
        return f"{self.arm}, seed {self.seed}" + (f", {at}" if at else "")


@dataclass(frozen=True)
class Store:
    """Finished units of a claim in a folder, a JSON file and the columns as npz for each; no pickle."""

    claim: Claim
    folder: Path

    def path(self, unit: Unit) -> Path:
        """Where a unit's JSON goes; the hash in the name changes with anything the unit depends on."""
        arm = self.claim.arm(unit.arm)
        code = [self.claim.version, self.claim.data, self.claim.judge, arm.method, arm.data]
        key = digest([code, unit.options, unit.trainer, unit.setting, unit.seed, unit.part])
        return self.folder / f"{_slug(unit.arm)}-{unit.seed}-{key}.json"

    def has(self, unit: Unit) -> bool:
        """Whether a unit is finished and its files are whole."""
        try:
            self.outcome(unit)
        except (OSError, EOFError, ValueError, KeyError, TypeError, BadZipFile, zlib.error):
            return False
        return True

    def record(self, unit: Unit) -> dict[str, Any]:
        """What was written about a finished unit."""
        record: dict[str, Any] = json.loads(self.path(unit).read_text(encoding="utf-8"))
        return record

    def outcome(self, unit: Unit) -> Outcome:
        """The outcome of a finished unit."""
        record = self.record(unit)
        with self.path(unit).with_suffix(".npz").open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            columns = {name[7:]: arrays[name] for name in arrays.files if name.startswith("column:")}
            unit_ids = arrays["unit"] if "unit" in arrays.files else None
            measures = self._measures(record["measures"])
            return Outcome(arrays["ids"], columns, measures, unit_ids, record.get("strata"))

    def keep(self, unit: Unit, outcome: Outcome, facts: Mapping[str, Any]) -> None:
        """Write a finished unit; the JSON comes last and makes it count.

        Raises ValueError for a measure that could not be found again.
        """
        arrays = {"ids": outcome.ids, **{f"column:{name}": values for name, values in outcome.columns.items()}}
        if outcome.unit is not None:
            arrays["unit"] = outcome.unit
        measures = {name: _described(measure) for name, measure in outcome.measures.items()}
        self._measures(measures)
        path = self.path(unit)
        with atomic_path(path.with_suffix(".npz")) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, **arrays)
        write_json(path, {"unit": plain(unit), **facts, "strata": outcome.strata, "measures": measures})

    def _measures(self, described: Mapping[str, Any]) -> dict[str, Measure]:
        """Measures again, from what the record says or from the claim."""
        lost = [name for name, text in described.items() if text is None and name not in self.claim.measures]
        if lost:
            raise ValueError(f"claim {self.claim.name}: give the judge's {', '.join(lost)} in Claim.measures")
        return {name: self.claim.measures[name] if text is None else _revived(text) for name, text in described.items()}


def run(store: Store, unit: Unit) -> None:
    """Make the data, fit the arm, judge it, keep the outcome."""
    claim, arm = store.claim, store.claim.arm(unit.arm)
    train, validation, test = claim.data(unit.seed, **dict(unit.setting))
    if arm.data is not None:
        train = arm.data(train, rng(unit.seed, "placebo", arm.name))
    start = time.perf_counter()
    method = method_class(arm)(**unit.options)
    if hasattr(method, "calls"):
        method.calls = store.folder.parent / "calls.sqlite"  # arms that ask one model the same share its reply
    watched = validation if unit.options.get("keep") else None  # judged after each epoch only to stop early
    method.fit(train, watched, trainer=Trainer(seed=unit.seed, progress=False, **unit.trainer))
    fitted = time.perf_counter()
    outcome = claim.judge(method, test if unit.part == "test" else validation)
    facts = {
        "seconds": {"fit": fitted - start, "judge": time.perf_counter() - fitted},
        "data": {"train": _about(train), "validation": _about(validation), "test": _about(test)},
        "versions": versions(),
        "claim": claim.hash,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    store.keep(unit, outcome, facts)


def method_class(arm: Arm) -> Any:
    """The class of an arm: a name of the catalog, or "module:Class"."""
    return catalog.resolve(arm.method) if ":" in arm.method else catalog.row(arm.method).load()


def load_claim(target: str) -> Claim:
    """The claim of a method of the catalog, a further claim by its own name, or "module:NAME".

    Raises `UserError` when there is none.
    """
    further = catalog.further_claims()
    place = target if ":" in target else further.get(target) or catalog.row(target, also=further).claim
    if place is None:
        with_claims = sorted({*further, *(row.name for row in catalog.rows().values() if row.claim)})
        raise UserError(f"{target} has no claim to verify; these have one: {', '.join(with_claims)}")
    claim = catalog.resolve(place)
    if not isinstance(claim, Claim):
        raise UserError(f"{place} is not a counterpoint.evaluation.Claim")
    return claim


@cache
def versions() -> dict[str, Any]:
    """What the numbers were made with."""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "counterpoint": version("counterpoint"),
        "system": platform.system(),
        "machine": platform.machine(),
    }


def _described(measure: Measure) -> dict[str, Any] | None:
    """A measure as plain data, where it is one of ours."""
    text: dict[str, Any] | None = plain(measure) if isinstance(measure, Mean | Median) else None
    return text


def _revived(text: Mapping[str, Any]) -> Measure:
    where = None if text["where"] is None else (text["where"][0], text["where"][1])
    return Mean(text["column"], where) if text["type"] == "Mean" else Median(text["column"], where)


def _about(data: Any) -> dict[str, Any]:
    """How many rows, and their fingerprint, where the data says so."""
    rows = len(data) if hasattr(data, "__len__") else None
    return {"rows": rows, "fingerprint": data.fingerprint() if hasattr(data, "fingerprint") else None}


def _slug(name: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in name.lower())
