"""What one fitted arm did on one test set, row by row, so that rows and seeds can be drawn again."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

from counterpoint.errors import nearest

Array = NDArray[Any]
Columns = Mapping[str, Array]
Measure = Callable[[Columns], float]
Numbers: TypeAlias = float | Float[np.ndarray, " draws"]
"""A number, or one for each of several draws."""
Setting = tuple[tuple[str, Any], ...]
"""One setting of a claim's data, {"p": 0.5} as (("p", 0.5),), so that it can be a key."""


@dataclass(frozen=True)
class Mean:
    """The mean of one column, in the rows where another column has a value if `where` says so; else NaN.

    >>> Mean("hit", where=("kind", 1))({"hit": np.array([1.0, 0.0]), "kind": np.array([1, 2])})
    1.0
    """

    column: str
    where: tuple[str, Any] | None = None

    def __call__(self, columns: Columns) -> float:
        values = _chosen(columns, self.column, self.where)
        return float(values.mean()) if len(values) else float("nan")

    def over(
        self, columns: Columns, rows: Int[np.ndarray, " all"], starts: Int[np.ndarray, " draws"]
    ) -> Float[np.ndarray, " draws"]:
        """The mean for each of several draws, whose rows stand one after the other from `starts` on."""
        values = np.asarray(columns[self.column], dtype=np.float64)
        if self.where is None:
            return np.add.reduceat(values[rows], starts) / np.diff(starts, append=len(rows))
        chosen = columns[self.where[0]] == self.where[1]
        count = np.add.reduceat(chosen[rows], starts, dtype=np.int64)
        total = np.add.reduceat(np.where(chosen, values, 0.0)[rows], starts)
        return np.where(count > 0, total / np.maximum(count, 1), np.nan)


@dataclass(frozen=True)
class Median:
    """The median of one column, chosen as in `Mean`."""

    column: str
    where: tuple[str, Any] | None = None

    def __call__(self, columns: Columns) -> float:
        values = _chosen(columns, self.column, self.where)
        return float(np.median(values)) if len(values) else float("nan")


def _chosen(columns: Columns, column: str, where: tuple[str, Any] | None) -> Array:
    values = columns[column]
    return values if where is None else values[columns[where[0]] == where[1]]


@dataclass(frozen=True, eq=False)
class Outcome:
    """One fitted arm on one test set: columns of n rows, and measures as functions of (resampled) columns.

    `ids` name the rows; `unit` groups rows that come together (the views of one thing, the frames of a
    sequence) and are drawn together. `strata` names a column whose values all keep their number of rows when
    rows are drawn (collections of a few large rows each, which a draw could miss altogether). Measures need not
    be means. Raises ValueError for columns of different length or of Python objects, and for unknown strata.

    >>> columns = {"hit": np.array([1, 0, 1, 1])}
    >>> Outcome(ids=np.arange(4), columns=columns, measures={"top1": Mean("hit")}).summary()
    {'top1': 0.75}
    """

    ids: Array
    columns: Columns
    measures: Mapping[str, Measure]
    unit: Array | None = None
    strata: str | None = None

    def __post_init__(self) -> None:
        named = {"ids": self.ids, **self.columns} | ({} if self.unit is None else {"unit": self.unit})
        for name, values in named.items():
            if values.shape != (len(self.ids),):
                raise ValueError(f'"{name}" has shape {values.shape}, but there are {len(self.ids)} rows')
            if values.dtype == object:
                raise ValueError(f'"{name}" holds Python objects; use numbers or strings of numpy')
        if self.strata is not None and self.strata not in self.columns:
            raise ValueError(f'strata "{self.strata}" are not a column; {nearest(self.strata, self.columns)}')

    def value(self, measure: str, columns: Columns | None = None) -> float:
        """One measure, over the columns as `taken` at some rows, or over all rows once."""
        if measure not in self.measures:
            raise ValueError(f'unknown measure "{measure}"; {nearest(measure, self.measures)}')
        return self.measures[measure](self.columns if columns is None else columns)

    def taken(self, rows: Array | None) -> Columns:
        """The columns at the given row numbers (repeats allowed), each taken once and only when asked for."""
        return self.columns if rows is None else _Taken(self.columns, rows)

    def summary(self) -> dict[str, float]:
        """Every measure over all rows."""
        return {name: self.value(name) for name in self.measures}


class _Taken(Mapping[str, Array]):
    """Columns at some rows; a column is taken when a measure first asks for it."""

    def __init__(self, columns: Columns, rows: Array) -> None:
        self.columns, self.rows = columns, rows
        self._known: dict[str, Array] = {}

    def __getitem__(self, name: str) -> Array:
        if name not in self._known:
            self._known[name] = self.columns[name][self.rows]
        return self._known[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns)

    def __len__(self) -> int:
        return len(self.columns)


class Key(NamedTuple):
    """Which outcome of a claim: of this arm, fitted with this seed, in this setting."""

    arm: str
    seed: int
    setting: Setting = ()


Outcomes = Mapping[Key, Outcome]


def setting_of(setting: Mapping[str, Any]) -> Setting:
    """A setting as part of a key.

    >>> setting_of({"p": 0.5, "kind": "swap"})
    (('kind', 'swap'), ('p', 0.5))
    """
    return tuple(sorted(setting.items()))


class Draw:
    """One resampling: a weight per seed (they sum to 1) and the drawn rows per seed and setting.

    Where no rows are given, all are taken once. All arms see the same draw. Values are remembered, since several
    predictions ask for the same ones.
    """

    def __init__(self, weights: Mapping[int, Numbers], rows: Mapping[tuple[int, Setting], Any] | None = None) -> None:
        self.weights, self.rows = weights, rows or {}
        self._known: dict[tuple[Key, Outcome, str], Numbers] = {}
        self._taken: dict[tuple[Key, Outcome], Any] = {}

    def mean(self, outcomes: Outcomes, arm: str, setting: Setting, measure: str) -> Numbers:
        """The weighted mean over seeds of a measure of one arm in one setting."""
        keys = [(Key(arm, seed, setting), weight) for seed, weight in self.weights.items()]
        return sum(weight * self._value(key, outcomes[key], measure) for key, weight in keys)

    def _value(self, key: Key, outcome: Outcome, measure: str) -> Numbers:
        place = (key, outcome, measure)
        if place not in self._known:
            self._known[place] = self._measured(key, outcome, measure)
        return self._known[place]

    def _measured(self, key: Key, outcome: Outcome, measure: str) -> Numbers:
        if (key, outcome) not in self._taken:
            self._taken[key, outcome] = outcome.taken(self.rows.get((key.seed, key.setting)))
        return outcome.value(measure, self._taken[key, outcome])


class Draws(Draw):
    """Several resamplings at once: what is asked of them comes as one number per draw."""

    def __init__(self, draws: Sequence[Draw]) -> None:
        super().__init__(
            {seed: np.array([draw.weights[seed] for draw in draws]) for seed in draws[0].weights},
            {place: [draw.rows[place] for draw in draws] for place in draws[0].rows},
        )
        self._joined: dict[tuple[int, Setting], tuple[Array, Array]] = {}

    def _measured(self, key: Key, outcome: Outcome, measure: str) -> Numbers:
        place = (key.seed, key.setting)
        found = outcome.measures.get(measure)
        if isinstance(found, Mean):
            return found.over(outcome.columns, *self._in_line(place))
        if (key, outcome) not in self._taken:
            self._taken[key, outcome] = [outcome.taken(rows) for rows in self.rows[place]]
        return np.array([outcome.value(measure, taken) for taken in self._taken[key, outcome]])

    def _in_line(self, place: tuple[int, Setting]) -> tuple[Array, Array]:
        """The rows of all draws one after the other, and where each draw begins."""
        if place not in self._joined:
            lengths = np.array([len(rows) for rows in self.rows[place]])
            self._joined[place] = np.concatenate(self.rows[place]), np.cumsum(lengths) - lengths
        return self._joined[place]
