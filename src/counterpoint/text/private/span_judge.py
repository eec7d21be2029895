"""How private spans are judged that a method finds: against gold, at its own threshold and at equal recall."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from counterpoint.errors import UserError
from counterpoint.evaluation import Mean, Outcome
from counterpoint.evaluation.outcome import Columns, Measure
from counterpoint.text.private.chunks import WORD, chunks
from counterpoint.text.private.locating import above
from counterpoint.text.private.spans import Span, SpannedTexts, iou, overlap

HIT = 0.5
"""Shared characters over those of either, from which a found span is a gold one."""
RECALLS = (0.5, 0.7)
"""Recalls at which detectors are compared."""
STEPS, MOST = 500, 120
"""Thresholds that are tried: so many to 1, and so many in all."""


@dataclass(frozen=True)
class F1:
    """2 tp / (2 tp + fp + fn) of three columns, in the rows of one domain if one is named; 0 where nothing is found."""

    at: str = ""
    domain: int | None = None

    def __call__(self, columns: Columns) -> float:
        tp, fp, fn = (_sum(columns, name + self.at, self.domain) for name in ("tp", "fp", "fn"))
        return 2 * tp / (2 * tp + fp + fn) if tp + fp + fn else float("nan")


@dataclass(frozen=True)
class Share:
    """The sum of one column over that of another, in the rows of one domain if one is named."""

    part: str
    whole: tuple[str, ...]
    domain: int | None = None

    def __call__(self, columns: Columns) -> float:
        whole = sum(_sum(columns, name, self.domain) for name in self.whole)
        return _sum(columns, self.part, self.domain) / whole if whole else float("nan")


def _sum(columns: Columns, name: str, domain: int | None) -> float:
    values = columns[name]
    return float(values.sum() if domain is None else values[columns["domain"] == domain].sum())


MEASURES: dict[str, Measure] = {
    "f1": F1(),
    "precision": Share("tp", ("tp", "fp")),
    "recall": Share("tp", ("tp", "fn")),
    "exact_f1": F1("_exact"),
    "leak": Share("leaked", ("gold",)),
    "contained": Share("contained", ("gold",)),
    "over_prediction": Share("astray", ("found",)),
    "ceiling": Share("reachable", ("gold",)),
    "domain": Mean("domain_right"),
    **{f"f1@{round(100 * at)}": F1(f"@{round(100 * at)}") for at in RECALLS},
    **{
        f"recall@{round(100 * at)}": Share(f"tp@{round(100 * at)}", (f"tp@{round(100 * at)}", f"fn@{round(100 * at)}"))
        for at in RECALLS
    },
    "f1_unseen": F1("_unseen"),
}
"""What `located` measures."""


def located(method: Any, data: SpannedTexts) -> Outcome:
    """Found spans against gold ones; a row per text.

    `f1`, `precision`, `recall`: a found span counts when it shares half or more of the characters of itself and an
    unused gold span together; `exact_f1` asks for equal ends. `leak` is the share of gold spans of which a word
    survives, `contained` the published recall (the gold span occurs in the found ones, joined), `over_prediction` the
    share of found spans that have no word in common with any gold one (published under the name of precision, which
    it is not), `ceiling` the share of gold spans that some chunk reaches, `domain` the share of texts whose domain is
    right. `f1@70` is at the strictest threshold whose recall over all texts is 70 %, `recall@70` the recall there (less
    where a detector never reaches it); `f1_unseen` is over texts none of whose gold spans occur in the training texts,
    where a column `seen` tells. Raises `UserError` when no text has a private span.
    """
    rows = np.flatnonzero(data.present)
    texts = [data.texts[row] for row in rows]
    gold = [data.spans[row] for row in rows]
    if not any(gold):
        raise UserError(f"{data.source}: no text has a private span, so nothing can be judged")
    scored = method.scored(texts)
    gammas = method.gammas()
    join = bool(getattr(method, "joins", False))
    found = [above(text, some, gammas, join) for text, some in zip(texts, scored, strict=True)]
    table = [_counts(text, some, spans) for text, some, spans in zip(texts, found, gold, strict=True)]
    columns = {name: np.array([row[name] for row in table], dtype=np.float64) for name in table[0]}
    seen = data.columns.get("seen")
    unseen = np.ones(len(rows)) if seen is None else np.array([not seen[row] for row in rows], dtype=np.float64)
    columns |= {f"{name}_unseen": columns[name] * unseen for name in ("tp", "fp", "fn")}
    swept = sweep(texts, scored, gold, join)
    for at in RECALLS:
        columns |= {f"{part}@{round(100 * at)}": values for part, values in swept.at_recall(at).items()}
    names = data.names
    columns["domain"] = np.array([names.index(str(data.domains[row])) for row in rows])
    columns["domain_right"] = np.array(
        [float(not some or some[0].domain == str(data.domains[row])) for some, row in zip(scored, rows, strict=True)]
    )
    return Outcome(data.ids[rows].astype(str), columns, MEASURES)


def _counts(text: str, found: Sequence[Any], gold: Sequence[Span]) -> dict[str, int]:
    """What one text adds to each sum."""
    pieces = [(one.start, one.end) for one in found]
    right, exact = matched(pieces, gold), len(set(pieces) & {(g.start, g.end) for g in gold})
    inside = " ".join(text[a:b] for a, b in pieces)
    candidates = chunks(text)
    different = len({(g.start, g.end) for g in gold})
    return {
        "tp": right,
        "fp": len(found) - right,
        "fn": len(gold) - right,
        "tp_exact": exact,
        "fp_exact": len(found) - exact,
        "fn_exact": different - exact,
        "gold": len(gold),
        "found": len(found),
        "leaked": sum(survives(text, span, pieces) for span in gold),
        "contained": sum(text[g.start : g.end] in inside for g in gold),
        "astray": sum(not _shares_word(text, one, gold) for one in pieces),
        "reachable": sum(any(iou(g, c) >= HIT for c in candidates) for g in gold),
    }


def matched(found: Sequence[tuple[int, int]], gold: Sequence[Span]) -> int:
    """How many found spans are gold ones, each used once, the best pairs first.

    >>> matched([(0, 4), (5, 9)], [Span(0, 3), Span(20, 22)])
    1
    """
    pairs = sorted(((iou(f, g), i, j) for i, f in enumerate(found) for j, g in enumerate(gold)), reverse=True)
    used: tuple[set[int], set[int]] = (set(), set())
    for value, i, j in pairs:
        if value >= HIT and i not in used[0] and j not in used[1]:
            used[0].add(i)
            used[1].add(j)
    return len(used[0])


def survives(text: str, span: Span, found: Sequence[tuple[int, int]]) -> bool:
    """Whether a word of a gold span is in no found one."""
    return any(
        all(overlap(word.span(), one) < word.end() - word.start() for one in found)
        for word in WORD.finditer(text, span.start, span.end)
    )


def _shares_word(text: str, one: tuple[int, int], gold: Sequence[Span]) -> bool:
    words = {word.group().lower() for word in WORD.finditer(text, *one)}
    return any(words & {word.group().lower() for word in WORD.finditer(text, g.start, g.end)} for g in gold)


@dataclass(frozen=True)
class Sweep:
    """For thresholds from strict to lax, and each text: how many spans are right, found, and gold."""

    levels: Float[np.ndarray, " t"]
    counts: Int[np.ndarray, "t n three"]

    def recall(self) -> Float[np.ndarray, " t"]:
        """The share of all gold spans that is found at each threshold."""
        right, _, gold = self.counts.sum(axis=1).T
        return np.asarray(right / np.maximum(gold, 1))

    def f1(self) -> Float[np.ndarray, " t"]:
        """2 tp / (2 tp + fp + fn) over all texts at each threshold."""
        right, found, gold = self.counts.sum(axis=1).T
        return np.asarray(2 * right / np.maximum(found + gold, 1))

    def at_recall(self, at: float) -> dict[str, Float[np.ndarray, " n"]]:
        """tp, fp and fn of each text at the strictest threshold with this recall, or the one with the most."""
        enough = np.flatnonzero(self.recall() >= at - 1e-9)
        right, found, gold = self.counts[enough[0] if len(enough) else int(self.recall().argmax())].T
        return {"tp": right.astype(float), "fp": (found - right).astype(float), "fn": (gold - right).astype(float)}


def sweep(texts: Sequence[str], scored: Sequence[Sequence[Any]], gold: Sequence[Sequence[Span]], join: bool) -> Sweep:
    """What at most 120 thresholds find, in steps of 0.002 or more between the levels there are."""
    levels = np.array([one.level for some in scored for one in some])
    steps = np.unique(np.floor(levels * STEPS) / STEPS)[::-1] if len(levels) else np.zeros(1)
    if len(steps) > MOST:
        steps = steps[np.linspace(0, len(steps) - 1, MOST).round().astype(int)]
    counts = np.zeros((len(steps), len(texts), 3), dtype=np.int64)
    for place, level in enumerate(steps.tolist()):
        for row, (text, some, spans) in enumerate(zip(texts, scored, gold, strict=True)):
            pieces = [(one.start, one.end) for one in above(text, some, level, join)]
            counts[place, row] = matched(pieces, spans), len(pieces), len(spans)
    return Sweep(steps, counts)


def best_threshold(swept: Sweep) -> tuple[float, float]:
    """The threshold with the best F1, the strictest of equals, and the recall there."""
    place = int(swept.f1().argmax())
    return float(swept.levels[place]), float(swept.recall()[place])
