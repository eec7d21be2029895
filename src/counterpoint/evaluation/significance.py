"""How sure a number is: a paired bootstrap over rows and seeds, and verdicts from it.

Every draw is shared by all arms: the same seeds and the same test rows, so that what is common to two arms
cancels. Rows are drawn with replacement (whole units where an outcome has `unit`), the same ones wherever
the rows are the same.

Few seeds are the weak point of a bootstrap: with 3 of them the plain percentile interval covers three
quarters of the time instead of 95 %. So the drawn weights of the seeds are spread by sqrt(s / (s - 1)) * t
/ 1.96, t the quantile of Student's distribution with s - 1 degrees of freedom, which is the interval a
t-test would have given them. Like a t-interval it may leave the range of the measure, and it is too wide
rather than too narrow when seeds differ by the noise of their rows alone. With one seed the interval speaks
of rows alone.
"""

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Literal

import numpy as np
from jaxtyping import Float

from counterpoint.evaluation.outcome import Array, Draw, Draws, Key, Numbers, Outcome, Outcomes, Setting
from counterpoint.evaluation.predictions import Better, Prediction

Word = Literal["holds", "fails", "inconclusive"]
LEVEL = 0.95
DRAWS = 1000
BLOCK = 2**19
"""Rows that are drawn at a time: 4 MB of row numbers."""
T_975 = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23, 2.20, 2.18, 2.16, 2.14, 2.13)
"""The 0.975 quantile of Student's t for 1, 2, ... degrees of freedom; the last serves all above."""


@dataclass(frozen=True)
class Interval:
    """An estimate from all rows and seeds, with its interval from resampled ones."""

    estimate: float
    low: float
    high: float


@dataclass(frozen=True)
class Finding:
    """A prediction after the run: how far things are as predicted (positive: they are), and the verdict."""

    name: str
    required: bool
    value: Interval
    verdict: Word


@dataclass(frozen=True)
class Verdict:
    """What a claim came to: its findings, and one word for them."""

    word: Word
    findings: tuple[Finding, ...]


def interval(values: Float[np.ndarray, " draws"], level: float = LEVEL) -> tuple[float, float]:
    """The percentile interval of bootstrap values; NaN, NaN when one of them is not a number.

    >>> interval(np.arange(101.0), level=0.5)
    (25.0, 75.0)
    """
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def resample(outcomes: Outcomes, draws: int = DRAWS, seed: int = 0) -> Iterator[Draw]:
    """Yield draws of rows and seeds, a function of `seed`.

    Raises ValueError when arms were judged on different rows, because they could not be paired.
    """
    generator = np.random.default_rng(seed)
    groups = _same_rows(outcomes)
    pickers = {group: _picker(outcome) for group, outcome in dict(groups.values()).items()}
    seeds = sorted({key.seed for key in outcomes})
    for _ in range(draws):
        weights = _weights(len(seeds), generator)
        drawn = {group: pick(generator) for group, pick in pickers.items()}
        rows = {place: drawn[group] for place, (group, _) in groups.items()}
        yield Draw(dict(zip(seeds, weights, strict=True)), rows)


def bootstrap(
    values: Sequence[Callable[[Draw], Numbers]], outcomes: Outcomes, draws: int = DRAWS, seed: int = 0
) -> list[Interval]:
    """Estimate and interval of each function of a draw, all on the same draws.

    Raises ValueError when a setting lacks a seed for some arm.
    """
    seeds = sorted({key.seed for key in outcomes})
    for arm, setting in {(key.arm, key.setting) for key in outcomes}:
        if missing := [s for s in seeds if Key(arm, s, setting) not in outcomes]:
            raise ValueError(f"{arm} has no outcome for seeds {missing} in setting {dict(setting)}")
    whole = Draw(dict.fromkeys(seeds, 1 / len(seeds)))
    drawn = [np.stack([value(some) for value in values], axis=1) for some in _together(outcomes, draws, seed)]
    spread = np.concatenate(drawn)
    return [Interval(float(value(whole)), *interval(spread[:, i])) for i, value in enumerate(values)]


def compare(a: Outcome, b: Outcome, measure: str, draws: int = DRAWS, seed: int = 0) -> Interval:
    """The paired difference a - b of a measure for one run of each on the same rows."""
    outcomes = {Key("a", 0): a, Key("b", 0): b}
    return bootstrap([partial(Better(measure, "a", "b"), outcomes)], outcomes, draws, seed)[0]


def summary_with_intervals(outcome: Outcome, draws: int = DRAWS, seed: int = 0) -> dict[str, Interval]:
    """Every measure of one run with its interval over rows."""
    outcomes = {Key("run", 0): outcome}
    found = bootstrap([_cell(outcomes, "run", (), name) for name in outcome.measures], outcomes, draws, seed)
    return dict(zip(outcome.measures, found, strict=True))


def table(outcomes: Outcomes, draws: int = DRAWS, seed: int = 0) -> dict[tuple[str, Setting], dict[str, Interval]]:
    """Every measure of each arm in each setting, over seeds and rows."""
    measures = {(key.arm, key.setting): tuple(outcome.measures) for key, outcome in outcomes.items()}
    cells = [(arm, setting, name) for (arm, setting), names in measures.items() for name in names]
    found = bootstrap([_cell(outcomes, *cell) for cell in cells], outcomes, draws, seed)
    result: dict[tuple[str, Setting], dict[str, Interval]] = {place: {} for place in measures}
    for (arm, setting, name), value in zip(cells, found, strict=True):
        result[arm, setting][name] = value
    return result


def decide(predictions: Sequence[Prediction], outcomes: Outcomes, draws: int = DRAWS, seed: int = 0) -> Verdict:
    """Judge each prediction by its whole interval, and the claim by the required ones.

    A prediction holds when its interval lies above 0, fails when it lies below 0, and is inconclusive
    otherwise. The claim fails when a required prediction fails, holds when all of them hold, and is
    inconclusive otherwise.
    """
    found = bootstrap([partial(prediction, outcomes) for prediction in predictions], outcomes, draws, seed)
    findings = tuple(
        Finding(prediction.name, prediction.required, value, _word(value))
        for prediction, value in zip(predictions, found, strict=True)
    )
    return Verdict(_conjunction([finding.verdict for finding in findings if finding.required]), findings)


def _word(value: Interval) -> Word:
    if value.low > 0:
        return "holds"
    return "fails" if value.high < 0 else "inconclusive"


def _conjunction(words: Sequence[Word]) -> Word:
    if "fails" in words:
        return "fails"
    return "holds" if words and set(words) == {"holds"} else "inconclusive"


def _together(outcomes: Outcomes, draws: int, seed: int) -> Iterator[Draws]:
    """The draws in order, as many at a time as `BLOCK` rows allow."""
    singles = resample(outcomes, draws, seed)
    rows = sum(len(outcome.ids) for outcome in dict(_same_rows(outcomes).values()).values())
    while some := list(islice(singles, max(1, BLOCK // max(1, rows)))):
        yield Draws(some)


def _cell(outcomes: Outcomes, arm: str, setting: Setting, measure: str) -> Callable[[Draw], Numbers]:
    return lambda draw: draw.mean(outcomes, arm, setting, measure)


def _weights(seeds: int, generator: np.random.Generator) -> list[float]:
    """How often each seed is drawn, as shares that sum to 1, spread for the small number of seeds."""
    if seeds == 1:
        return [1.0]
    shares = generator.multinomial(seeds, np.full(seeds, 1 / seeds)) / seeds
    spread = math.sqrt(seeds / (seeds - 1)) * T_975[min(seeds - 1, len(T_975)) - 1] / 1.96
    weights: list[float] = (1 / seeds + spread * (shares - 1 / seeds)).tolist()
    return weights


def _same_rows(outcomes: Outcomes) -> Mapping[tuple[int, Setting], tuple[str, Outcome]]:
    """For each seed and setting, a digest of its rows (ids, units, strata) and an outcome that has them."""
    groups: dict[tuple[int, Setting], tuple[str, Outcome]] = {}
    for key, outcome in outcomes.items():
        strata = None if outcome.strata is None else outcome.columns[outcome.strata]
        parts = [part for part in (outcome.ids, outcome.unit, strata) if part is not None]
        content = b"".join(str(part.dtype).encode() + part.tobytes() for part in parts)
        digest = hashlib.blake2b(content).hexdigest()
        if groups.setdefault((key.seed, key.setting), (digest, outcome))[0] != digest:
            raise ValueError(
                f"arms were judged on different rows ({key.arm}, seed {key.seed}, {dict(key.setting)}); "
                "the data must be a function of seed and setting alone"
            )
    return groups


def _picker(outcome: Outcome) -> Callable[[np.random.Generator], Array]:
    """A function that draws rows, or whole units of rows, with replacement, in each stratum as many as it has."""
    every = np.arange(len(outcome.ids))
    if outcome.strata is None:
        return _drawn_from(every, outcome.unit)
    column = outcome.columns[outcome.strata]
    parts = [every[column == value] for value in np.unique(column)]
    pickers = [_drawn_from(part, None if outcome.unit is None else outcome.unit[part]) for part in parts]
    return lambda generator: np.concatenate([pick(generator) for pick in pickers])


def _drawn_from(rows: Array, unit: Array | None) -> Callable[[np.random.Generator], Array]:
    n = len(rows)
    if unit is None:
        return lambda generator: rows[generator.integers(n, size=n)]
    _, unit_of_row, sizes = np.unique(unit, return_inverse=True, return_counts=True)
    members = np.split(rows[np.argsort(unit_of_row, kind="stable")], np.cumsum(sizes)[:-1])
    units = len(members)
    return lambda generator: np.concatenate([members[one] for one in generator.integers(units, size=units)])
