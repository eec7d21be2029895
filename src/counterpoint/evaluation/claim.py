"""What a paper says, as data: arms on one budget and predictions over their outcomes."""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import numpy as np
import torch

from counterpoint.errors import nearest
from counterpoint.evaluation.outcome import Measure, Outcome, setting_of
from counterpoint.evaluation.predictions import Prediction

Options = Mapping[str, Any]
Role = Literal["method", "baseline", "ablation", "placebo", "reference"]


@dataclass(frozen=True)
class Arm:
    """A method or baseline with options; a placebo may also change the training data.

    `method` is a name of the catalog, or "module:Class" for something that is only ever compared with
    (chance, raw features). `budget` replaces the claim's budget (equal seconds instead of equal steps; {}
    for a closed form); the result shows it. `only` restricts the arm to settings that have these values.
    `about` is a phrase for the reader.
    """

    name: str
    method: str
    options: Options = field(default_factory=dict)
    role: Role = "method"
    data: Callable[[Any, torch.Generator], Any] | None = None
    budget: Options | None = None
    only: tuple[Options, ...] | None = None
    about: str = ""

    def runs_in(self, setting: Options) -> bool:
        """Whether the arm takes part in a setting."""
        return self.only is None or any(part.items() <= setting.items() for part in self.only)


@dataclass(frozen=True)
class Search:
    """Knobs chosen on validation rows before the claim is judged, equally many trials for every arm.

    `trials` are option sets per arm; the one with the highest `measure` on validation rows, averaged over
    `seeds` in `setting`, is used for all seeds and settings of the arm. `follows` gives an arm the choice
    made for another (a placebo, an ablation). `budget` replaces the claim's for the search.
    """

    trials: Mapping[str, Sequence[Options]]
    measure: str
    setting: Options = field(default_factory=dict)
    seeds: tuple[int, ...] = (0,)
    follows: Mapping[str, str] = field(default_factory=dict)
    budget: Options | None = None

    def source(self, arm: str) -> str | None:
        """The arm whose choice this arm uses: itself, another, or None when nothing is chosen for it."""
        name = self.follows.get(arm, arm)
        return name if name in self.trials else None


@dataclass(frozen=True)
class Claim:
    """What the paper says, as data.

    `data(seed, **setting)` makes (train, validation, test) and `judge(method, test)` their outcome; both
    are named functions of a module. `measures` are the judge's that are not the mean of a column of the
    same name. `quick` holds the fields that `verify --quick` replaces ({"seeds": (0,), "budget": {"epochs":
    2}}). `cut` says what is smaller than in the paper. Raise `version` when the code behind `data`, `judge`
    or a method changes what results mean: finished arms are then run again.

    Raises ValueError when there is nothing to compare with (no placebo and no baseline), when an arm's
    options touch the budget, when a prediction names an unknown arm, or when arms are not searched alike.
    """

    name: str
    sentence: str
    source: str
    arms: tuple[Arm, ...]
    predictions: tuple[Prediction, ...]
    data: Callable[..., tuple[Any, Any, Any]]
    judge: Callable[[Any, Any], Outcome]
    measures: Mapping[str, Measure] = field(default_factory=dict)
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    settings: tuple[Options, ...] = field(default_factory=lambda: ({},))
    budget: Options = field(default_factory=dict)
    search: Search | None = None
    cut: str = ""
    quick: Mapping[str, Any] = field(default_factory=dict)
    version: int = 1

    def __post_init__(self) -> None:
        _check_arms(self)
        _check_predictions(self)
        _check_search(self)
        _unique("seeds", self.seeds)
        _unique("settings", [setting_of(setting) for setting in self.settings])
        known = {part.name for part in dataclasses.fields(self)} - {"quick"}
        if unknown := set(self.quick) - known:
            raise ValueError(f"claim {self.name}: quick replaces fields of the claim, not {sorted(unknown)}")
        _ = self.hash

    def at(self, quick: bool) -> "Claim":
        """The claim itself, or its quick form."""
        return dataclasses.replace(self, **self.quick, quick={}) if quick else self

    def arm(self, name: str) -> Arm:
        """An arm by name; raises ValueError with the nearest one."""
        known = {arm.name: arm for arm in self.arms}
        if name not in known:
            raise ValueError(f'claim {self.name}: unknown arm "{name}"; {nearest(name, known)}')
        return known[name]

    def budget_of(self, arm: Arm) -> Options:
        """What an arm may spend: its own budget, else the claim's."""
        return self.budget if arm.budget is None else arm.budget

    @property
    def hash(self) -> str:
        """A hash of everything the claim says, the same on every machine."""
        return digest(self)


def digest(value: Any) -> str:
    """Sixteen hexadecimal digits that depend on the content alone.

    >>> digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    True
    """
    return hashlib.blake2b(json.dumps(plain(value), sort_keys=True).encode(), digest_size=8).hexdigest()


def plain(value: Any) -> Any:
    """A value as JSON has it; functions by their name, dataclasses by type and fields.

    Raises ValueError for a lambda, an inner function or anything without a stable text.
    """
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, Sequence):
        return [plain(part) for part in value]
    if isinstance(value, partial):
        return {"call": plain(value.func), "args": plain(value.args), "options": plain(value.keywords)}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {part.name: plain(getattr(value, part.name)) for part in dataclasses.fields(value)}
        return {"type": type(value).__qualname__, **fields}
    name = f"{getattr(value, '__module__', '')}:{getattr(value, '__qualname__', '<unnamed>')}"
    if "<" in name:
        raise ValueError(f"{value!r} has no stable name; claims take plain data and functions of a module")
    return name


def _unique(what: str, values: Sequence[Any]) -> None:
    if not values or len(set(values)) != len(values):
        raise ValueError(f"{what} must be given, each once, not {list(values)}")


def _check_arms(claim: Claim) -> None:
    _unique("arms", [arm.name for arm in claim.arms])
    roles = {arm.role for arm in claim.arms}
    if not roles & {"placebo", "baseline"} or "method" not in roles:
        raise ValueError(f"claim {claim.name}: needs a method, and a placebo or a baseline beside it")
    for arm in claim.arms:
        if both := set(arm.options) & set(claim.budget):
            raise ValueError(
                f"claim {claim.name}: options of {arm.name} touch the budget ({', '.join(sorted(both))}); "
                "use Arm.budget, which the result shows"
            )
        if not any(arm.runs_in(setting) for setting in claim.settings):
            raise ValueError(f"claim {claim.name}: {arm.name} runs in none of the settings")


def _check_predictions(claim: Claim) -> None:
    _unique("predictions", [prediction.name for prediction in claim.predictions])
    for prediction in claim.predictions:
        for name in prediction.arms:
            claim.arm(name)
    if not any(prediction.required for prediction in claim.predictions):
        raise ValueError(f"claim {claim.name}: no prediction is required, so nothing could fail")


def _check_search(claim: Claim) -> None:
    """Every arm trained on a budget gets the same number of trials, or follows one that does."""
    if claim.search is None:
        return
    for name in (*claim.search.trials, *claim.search.follows, *claim.search.follows.values()):
        claim.arm(name)
    if len({len(trials) for trials in claim.search.trials.values()}) != 1:
        raise ValueError(f"claim {claim.name}: every arm needs the same number of search trials")
    for arm in claim.arms:
        trained = arm.role != "reference" and bool(claim.budget_of(arm))
        if trained and claim.search.source(arm.name) is None:
            raise ValueError(f"claim {claim.name}: {arm.name} is trained but its knobs are not searched")
