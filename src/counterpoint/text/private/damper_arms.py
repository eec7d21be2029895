"""Arms of DAMPER's claims: prototypes made otherwise of one encoder, and ways to rewrite a text."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int

from counterpoint.evaluation import Mean, Outcome
from counterpoint.evaluation.outcome import Columns
from counterpoint.text.private.damper import Damper
from counterpoint.text.private.locating import Found, Remembered
from counterpoint.text.private.privacy import Randomness, drawn, exponential
from counterpoint.text.private.rewriting import Rewritten, given_away, rewritten
from counterpoint.text.private.spans import SpannedTexts
from counterpoint.text.private.vocabulary import Words, metric_private, static_encoder
from counterpoint.training import Trainer

_TRAINED: dict[Any, tuple[Damper, Remembered]] = {}
"""The last fitted encoders, by all they depend on; arms that differ in prototypes alone share one."""
MOST = 2


def trained(data: SpannedTexts, seed: int, **options: Any) -> tuple[Damper, Remembered]:
    """DAMPER fitted on texts, or the one fitted on the same a moment ago, and the vectors it made since."""
    key = data.fingerprint(), seed, repr(sorted(options.items()))
    if key not in _TRAINED:
        for old in list(_TRAINED)[: len(_TRAINED) + 1 - MOST]:
            del _TRAINED[old]
        made = Damper(**options).fit(data, trainer=Trainer(seed=seed, progress=False))
        _TRAINED[key] = made, Remembered(made.span_vectors)
    return _TRAINED[key]


class Variant:
    """DAMPER with prototypes, pooling or a level of its own over the encoder that all variants of a seed share."""

    def __init__(
        self, prototypes: str = "finch", level: int = -1, pool: str = "mean", join: bool = True, **options: Any
    ) -> None:
        self.changed = {"prototypes": prototypes, "level": level, "pool": pool, "join": join}
        self.joins = join
        self.given = options

    def fit(self, data: SpannedTexts, validation: Any = None, trainer: Trainer | None = None) -> "Variant":
        """Take the shared encoder, then make prototypes and thresholds."""
        self.method, self.remembered = trained(data, 0 if trainer is None else trainer.seed, **self.given)
        before = self.method.options
        self.method.options = before.model_copy(update=self.changed)
        self.method.settle(data)
        self.result = self.method.gammas(), self.method.vectors.clone(), self.method.counts.clone()
        return self

    def gammas(self) -> dict[str, float]:
        """The thresholds."""
        return self.result[0]

    def scored(self, texts: Sequence[str]) -> list[list[Found]]:
        """Scores by the variant's own prototypes."""
        self.method.options = self.method.options.model_copy(update=self.changed)
        self.method.vectors.copy_(self.result[1])
        self.method.counts.copy_(self.result[2])
        return self.method.scored(texts, self.remembered)


# Rewriting ------------------------------------------------------------------------------------------------


class Rewriting:
    """A fitted detector and what is put in the place of what it finds."""

    def __init__(self, how: str = "words", found_by: str = "damper", **options: Any) -> None:
        self.how, self.found_by, self.given = how, found_by, options

    def fit(self, data: SpannedTexts, validation: Any = None, trainer: Trainer | None = None) -> "Rewriting":
        """Fit the detector; the encoder of the method judges what is given away, whoever found the spans."""
        self.seed = 0 if trainer is None else trainer.seed
        self.method, _ = trained(data, self.seed, **self.given)
        self.detector: Any = self.method
        if self.found_by == "untuned":
            self.detector, _ = trained(data, self.seed, **{**self.given, "epochs": 0})
        return self

    def found(self, data: SpannedTexts) -> list[list[Found]]:
        """The spans that are found; none where every word is replaced."""
        every = self.how == "every word"
        located: list[list[Found]] = [[] for _ in range(len(data))] if every else self.detector.locate(list(data.texts))
        return located

    def rewritten(self, data: SpannedTexts, found: list[list[Found]], epsilon: float) -> list[Rewritten]:
        """The texts with their found spans replaced."""
        return rewritten(
            list(data.texts), found, Words(uniform=self.how == "uniform"), epsilon, {}, self._seed(epsilon)
        )

    def every_word(self, data: SpannedTexts, epsilon: float) -> list[str]:
        """The texts with all their words replaced."""
        return metric_private(list(data.texts), epsilon, Randomness(self._seed(epsilon)))

    def _seed(self, epsilon: float) -> int:
        return self.seed * 1000 + round(10 * epsilon)


EPSILONS = (1.0, 5.0, 25.0, 125.0)
"""Budgets of a span; for every word of a text, of a word."""


def _at(epsilon: float) -> str:
    return f"@{epsilon:g}"


def tradeoff(arm: Rewriting, data: SpannedTexts) -> Outcome:
    """What is left of texts and what is given away, at each budget; a row per text.

    `utility`: the text without its private words is found again, as the nearest of all texts without theirs, by the
    rewritten text (the share of texts found again; the words that are compared are the same for every arm). `leak`: the
    share of private words that are still in the rewritten text. `hit`, `s_leak`, `soi`, `dfs`: of a text's replaced
    spans, see `rewriting.given_away`; NaN for a text in which nothing was replaced, and for an arm that replaces
    everything.
    """
    public = [_without(text, gold) for text, gold in zip(data.texts, data.spans, strict=True)]
    method = arm.method
    wanted, found = method.meaning(public), arm.found(data)
    columns: dict[str, np.ndarray] = {}
    pool = {name: sorted({w for r in range(len(data)) if str(data.domains[r]) == name for w in data.said(r)})
            for name in data.names}  # fmt: skip
    for epsilon in EPSILONS:
        at = _at(epsilon)
        made = arm.rewritten(data, found, epsilon)
        texts = arm.every_word(data, epsilon) if arm.how == "every word" else [one.text for one in made]
        near = (method.meaning(texts) @ wanted.T).argmax(dim=1)
        same = [public[place] == public[row] for row, place in enumerate(near.tolist())]
        columns[f"utility{at}"] = np.array(same, dtype=np.float64)
        kept, total = zip(*(_kept(data.said(row), texts[row]) for row in range(len(data))), strict=True)
        columns[f"kept{at}"], columns["words"] = np.array(kept, dtype=np.float64), np.array(total, dtype=np.float64)
        if arm.how == "every word":
            continue
        told = given_away(method, made, pool)
        rows = np.repeat(np.arange(len(made)), [len(one.replacements) for one in made])
        number = np.bincount(rows, minlength=len(made)).astype(np.float64)
        columns[f"replaced{at}"] = number
        for name, values in told.items():
            columns[f"{name}{at}"] = np.bincount(rows, values, minlength=len(made))
    measures = {name: one for name, one in TRADEOFF.items() if set(_needed(one)) <= set(columns)}
    return Outcome(data.ids.astype(str), columns, measures)


def _needed(measure: Any) -> tuple[str, ...]:
    return (measure.column,) if isinstance(measure, Mean) else measure.columns


@dataclass(frozen=True)
class Ratio:
    """The sum of one column over that of another."""

    part: str
    whole: str

    @property
    def columns(self) -> tuple[str, ...]:
        """What it asks for."""
        return self.part, self.whole

    def __call__(self, columns: Columns) -> float:
        part, whole = (float(columns[name].sum()) for name in self.columns)
        return part / whole if whole else float("nan")


@dataclass(frozen=True)
class Rise:
    """A ratio of columns at the largest budget less that at the smallest."""

    name: str

    @property
    def ratios(self) -> tuple[Ratio, Ratio]:
        """At the largest and at the smallest budget."""
        first, last = (Ratio(self.name + _at(e), "replaced" + _at(e)) for e in (EPSILONS[0], EPSILONS[-1]))
        return last, first

    @property
    def columns(self) -> tuple[str, ...]:
        """What it asks for."""
        return tuple(name for ratio in self.ratios for name in ratio.columns)

    def __call__(self, columns: Columns) -> float:
        last, first = self.ratios
        return last(columns) - first(columns)


TRADEOFF: dict[str, Any] = {
    **{f"utility{_at(e)}": Mean(f"utility{_at(e)}") for e in EPSILONS},
    **{f"leak{_at(e)}": Ratio(f"kept{_at(e)}", "words") for e in EPSILONS},
    **{f"{name}{_at(e)}": Ratio(f"{name}{_at(e)}", f"replaced{_at(e)}")
       for name in ("hit", "s_leak", "soi", "dfs") for e in EPSILONS},
    "hit_rise": Rise("hit"),
    "soi_rise": Rise("soi"),
}  # fmt: skip
"""What `tradeoff` measures."""


def _without(text: str, gold: Sequence[Any]) -> str:
    """A text with its gold spans cut out."""
    parts, at = [], 0
    for span in gold:
        parts.append(text[at : max(at, span.start)])
        at = max(at, span.end)
    return " ".join("".join([*parts, text[at:]]).split()) or "."


def _kept(private: Sequence[str], text: str) -> tuple[int, int]:
    """How many words of private spans are still in a text, of how many."""
    words = [word for span in private for word in span.lower().split() if len(word) > 2]
    left = set(text.lower().split())
    bare = {word.strip(".,;:!?\"'()") for word in left} | left
    return sum(word in bare or word.strip(".,;:!?\"'()") in bare for word in words), len(words)


# Membership -----------------------------------------------------------------------------------------------


class Mechanism:
    """The exponential mechanism over public words; `understated` takes a quarter of its range for it."""

    def __init__(self, epsilon: float = 1.0, understated: bool = False) -> None:
        self.epsilon, self.understated = epsilon, understated

    def fit(self, data: SpannedTexts, validation: Any = None, trainer: Trainer | None = None) -> "Mechanism":
        """Nothing is learned."""
        self.seed = 0 if trainer is None else trainer.seed
        return self

    def chances(self, spans: Sequence[str]) -> np.ndarray:
        """The chance of each of 40 words that lie far apart in meaning, for each span."""
        words = Words(_apart(40))
        spent = 4 * self.epsilon if self.understated else self.epsilon
        return exponential(words.utility(spans), 0.0, 1.0, spent)


DRAWS, BLOCK = 100_000, 1_000


@lru_cache(maxsize=2)
def _apart(number: int) -> tuple[str, ...]:
    """Public words, each the farthest from those before it."""
    words = Words().words[:1000]
    vectors = static_encoder().encode(list(words))
    taken = [0]
    near = vectors @ vectors[0]
    while len(taken) < number:
        taken.append(int(near.argmin()))
        near = torch.maximum(near, vectors @ vectors[taken[-1]])
    return tuple(words[place] for place in taken)


def membership(arm: Mechanism, data: SpannedTexts) -> Outcome:
    """Whether outcomes tell two spans apart by no more than epsilon; a row per pair of spans.

    One span of a pair is a public word itself, where the utility is as large as it can be, the other is private.
    `exact`: the largest log-ratio of the chances, over all outcomes; `within`: whether that is at most epsilon.
    `empirical`: the largest log-ratio of the frequencies in 100,000 draws from each span, less what the draws can err
    (4 standard errors), over outcomes that came ten times or more; `within_empirical` the same for it. `guess`: how
    often the best attacker says from one draw which of the two it was, and `within_guess` whether that is at most
    e^epsilon / (1 + e^epsilon).
    """
    words = _apart(40)
    private = sorted({w for row in range(len(data)) for w in data.said(row)})[: len(words)]
    pairs = list(zip(words[: len(private)], private, strict=True))
    chances = [arm.chances(pair) for pair in pairs]
    rows = []
    for number, two in enumerate(chances):
        counts = [_counts(one, _seed(arm, number, side)) for side, one in enumerate(two)]
        exact = float(np.abs(np.log(two[0] / two[1])).max())
        often = (counts[0] >= 10) & (counts[1] >= 10)
        ratio = np.abs(np.log(counts[0][often] / counts[1][often]))
        error = np.sqrt(1 / counts[0][often] + 1 / counts[1][often])
        empirical = float((ratio - 4 * error).max(initial=0.0))
        guess = float(np.maximum(two[0], two[1]).sum() / 2)
        most = np.exp(arm.epsilon) / (1 + np.exp(arm.epsilon))
        rows.append((exact, empirical, guess, exact <= arm.epsilon + 1e-9, empirical <= arm.epsilon, guess <= most))
    names = ("exact", "empirical", "guess", "within", "within_empirical", "within_guess")
    columns = {
        name: np.array(values, dtype=np.float64) for name, values in zip(names, zip(*rows, strict=True), strict=True)
    }
    return Outcome(np.array([" / ".join(pair) for pair in pairs]), columns, {name: Mean(name) for name in names})


def _counts(chances: Float[np.ndarray, " v"], seed: int) -> Int[np.ndarray, " v"]:
    """How often each outcome comes in 100,000 draws."""
    randomness, counts = Randomness(seed), np.zeros(len(chances), dtype=np.int64)
    for _ in range(DRAWS // BLOCK):
        counts += np.bincount(drawn(chances[None].repeat(BLOCK, axis=0), randomness), minlength=len(chances))
    return counts


def _seed(arm: Mechanism, number: int, side: int) -> int:
    return arm.seed * 10_000 + 2 * number + side
