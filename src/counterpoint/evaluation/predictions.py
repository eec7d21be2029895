"""What a claim predicts, as functions of outcomes that are positive when things are as predicted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np

from counterpoint.evaluation.outcome import Draw, Numbers, Outcomes, Setting


@runtime_checkable
class Prediction(Protocol):
    """One checkable sentence; a claim holds when all `required` ones do, the others inform."""

    @property
    def name(self) -> str:
        """The sentence."""

    @property
    def required(self) -> bool:
        """Whether the verdict depends on it."""

    @property
    def arms(self) -> tuple[str, ...]:
        """The arms it speaks of."""

    def __call__(self, outcomes: Outcomes, draw: Draw) -> Numbers:
        """Positive when as predicted, on one draw of rows and seeds, or on each of several."""


@dataclass(frozen=True, kw_only=True)
class _Common:
    """`where` keeps the settings with these values; the prediction is about their mean."""

    where: Mapping[str, Any] = field(default_factory=dict)
    required: bool = True
    name: str = ""

    def __post_init__(self) -> None:
        if not self.name:
            at = ", ".join(f"{key} = {value}" for key, value in self.where.items())
            object.__setattr__(self, "name", self._sentence() + (f" at {at}" if at else ""))

    def _sentence(self) -> str:
        raise NotImplementedError

    @property
    def arms(self) -> tuple[str, ...]:
        named: tuple[str | None, ...] = (getattr(self, "arm", None), getattr(self, "than", None))
        return tuple(name for name in named if name is not None)


@dataclass(frozen=True)
class Above(_Common):
    """A measure of an arm is above a value.

    >>> Above("top1", "clip", 0.5, where={"p": 1.0}).name
    'top1 of clip is above 0.5 at p = 1.0'
    """

    measure: str
    arm: str
    value: float

    def _sentence(self) -> str:
        return f"{self.measure} of {self.arm} is above {self.value:g}"

    def __call__(self, outcomes: Outcomes, draw: Draw) -> Numbers:
        values = [draw.mean(outcomes, self.arm, setting, self.measure) for setting in _settings(self, outcomes)]
        return _mean(values) - self.value


@dataclass(frozen=True)
class Better(_Common):
    """A measure of an arm exceeds that of another arm by more than `margin`.

    >>> Better("top1", "gated", than="clip").name
    'top1 of gated is above that of clip'
    """

    measure: str
    arm: str
    than: str
    margin: float = 0.0

    def _sentence(self) -> str:
        by = f" by more than {self.margin:g}" if self.margin else ""
        return f"{self.measure} of {self.arm} is above that of {self.than}{by}"

    def __call__(self, outcomes: Outcomes, draw: Draw) -> Numbers:
        return _mean([gap for _, gap in _gaps(self, outcomes, draw)]) - self.margin


@dataclass(frozen=True)
class Equivalent(_Common):
    """A measure of two arms differs by less than `within`."""

    measure: str
    arm: str
    than: str
    within: float

    def _sentence(self) -> str:
        return f"{self.measure} of {self.arm} is within {self.within:g} of that of {self.than}"

    def __call__(self, outcomes: Outcomes, draw: Draw) -> Numbers:
        return self.within - np.abs(_mean([gap for _, gap in _gaps(self, outcomes, draw)]))


@dataclass(frozen=True)
class Falls(_Common):
    """A measure of an arm falls along a number in the setting; the value is minus its slope."""

    measure: str
    arm: str
    along: str

    def _sentence(self) -> str:
        return f"{self.measure} of {self.arm} falls with {self.along}"

    def __call__(self, outcomes: Outcomes, draw: Draw) -> Numbers:
        points = [
            (dict(setting)[self.along], draw.mean(outcomes, self.arm, setting, self.measure))
            for setting in _settings(self, outcomes, self.along)
        ]
        return -_slope(points)


@dataclass(frozen=True)
class GapGrows(_Common):
    """The lead of an arm over another grows along a number in the setting; the value is its slope."""

    measure: str
    arm: str
    than: str
    along: str

    def _sentence(self) -> str:
        return f"{self.measure} of {self.arm} pulls away from that of {self.than} with {self.along}"

    def __call__(self, outcomes: Outcomes, draw: Draw) -> Numbers:
        return _slope([(dict(setting)[self.along], gap) for setting, gap in _gaps(self, outcomes, draw, self.along)])


def _settings(prediction: _Common, outcomes: Outcomes, along: str | None = None) -> list[Setting]:
    """The settings that all arms of a prediction ran in, that match its `where` and that name `along`."""
    ran = [{key.setting for key in outcomes if key.arm == arm} for arm in prediction.arms]
    found = [
        setting
        for setting in dict.fromkeys(key.setting for key in outcomes)
        if all(setting in settings for settings in ran)
        and prediction.where.items() <= dict(setting).items()
        and (along is None or along in dict(setting))
    ]
    if not found:
        raise ValueError(f'"{prediction.name}": no setting in which {" and ".join(prediction.arms)} ran fits it')
    return found


def _gaps(
    prediction: "Better | Equivalent | GapGrows", outcomes: Outcomes, draw: Draw, along: str | None = None
) -> list[tuple[Setting, Numbers]]:
    """Arm minus other arm, per setting."""
    measure, arm, than = prediction.measure, prediction.arm, prediction.than
    return [
        (setting, draw.mean(outcomes, arm, setting, measure) - draw.mean(outcomes, than, setting, measure))
        for setting in _settings(prediction, outcomes, along)
    ]


def _mean(values: Sequence[Numbers]) -> Numbers:
    return sum(values) / len(values)


def _slope(points: Sequence[tuple[float, Numbers]]) -> Numbers:
    """Least-squares slope; raises ValueError when there is only one x."""
    middle_x, middle_y = _mean([x for x, _ in points]), _mean([y for _, y in points])
    spread = sum((x - middle_x) ** 2 for x, _ in points)
    if spread == 0:
        raise ValueError("a trend needs at least two different settings")
    return sum((x - middle_x) * (y - middle_y) for x, y in points) / spread
