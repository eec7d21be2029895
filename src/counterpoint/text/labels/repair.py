"""A shipped classifier before and after its guardrail: its folders, its judgement, the words it leaned on."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from counterpoint.errors import UserError
from counterpoint.evaluation import Outcome
from counterpoint.pretrained.adapter import merged, write_adapter
from counterpoint.pretrained.classifiers import write_classifier
from counterpoint.pretrained.lowrank import strengthen
from counterpoint.pretrained.tokens import Tokeniser
from counterpoint.text.labels.classes import PROBED, guarded
from counterpoint.text.labels.classifier import tokens_of
from counterpoint.text.labels.guardrail import GRID, ShortcutGuardrail
from counterpoint.text.labels.labelled import LabelledTexts
from counterpoint.text.labels.masks import Leaning, leaning
from counterpoint.training import Predictions

SHOWN = 12
"""Texts that are shown with their words marked."""
WORDS = 20
"""Words that are listed."""
LONGEST = 1200
"""Characters of a text that are shown."""
PARTS = (("before", 0.0), ("after", None))


def support_with(texts: LabelledTexts, support: LabelledTexts, label: str) -> LabelledTexts:
    """One set of rows to fit the guardrail on: first those of the support, then those of the texts, without labels.

    A support row that lacks its text or its label has neither then, so that rows keep their numbers. Raises
    `UserError` when the support has no such column, or no row with both a text and a label.
    """
    known = support.labels(label)
    few = np.array([text is not None for text in known], dtype=bool) & support.present
    if not few.any():
        raise UserError(f'{support.source}: no row has both a text and a value of "{label}"')
    kept = [text if there else None for text, there in zip(support.text.values, few, strict=True)]
    labels = [text if there else None for text, there in zip(known, few, strict=True)] + [None] * len(texts)
    values = [*kept, *texts.text.values]
    joined = LabelledTexts.of(values, {label: labels}, source=f"{support.source} beside {texts.source}")
    return replace(joined, notes=texts.notes)


def write_repaired(method: ShortcutGuardrail, folder: Path) -> dict[str, str]:
    """Write the updates for peft below `adapter` and the merged classifier for transformers below `merged`."""
    method.require_fitted()
    strengthen(method.classifier.network, method.alpha)
    write_adapter(folder / "adapter", method.classifier, method.options.dropout)
    write_classifier(folder / "merged", merged(method.classifier))
    return {"adapter": str(folder / "adapter"), "merged": str(folder / "merged")}


class AtStrength:
    """A guardrail at a strength of its own, for judges; 0 is the classifier as it was."""

    def __init__(self, method: ShortcutGuardrail, strength: float | None) -> None:
        self.method, self.strength = method, strength
        self.facts = method.facts

    def predict(self, data: LabelledTexts) -> Predictions:
        """The class of each text."""
        return self.method.predict(data, self.strength)

    def leanings(self, data: LabelledTexts) -> Leaning:
        """What each text's class leans on."""
        return self.method.leanings(data, self.strength)


def before_and_after(method: ShortcutGuardrail, data: LabelledTexts) -> tuple[Outcome, Outcome]:
    """What `guarded` says of labelled rows by the classifier as it was, and by the repaired one."""
    before, after = (guarded(AtStrength(method, strength), data) for _, strength in PARTS)
    return before, after


def shortcuts(method: ShortcutGuardrail, texts: LabelledTexts) -> dict[str, Any]:
    """What the report shows, as JSON: the calibration, the words that were leaned on, and texts with them marked.

    Of the first 200 texts. For each its k most salient tokens in the classifier as it was are masked one by one, before
    and after the repair; `mstps` is by each classifier's own most salient tokens.
    """
    part = texts.rows(np.flatnonzero(texts.present)[:PROBED])
    tokens, o = tokens_of(method.classifier, part), method.options
    found, shift = {}, {}
    positions = method.important_tokens(part)
    for name, strength in PARTS:
        chances = method.predict(part, strength).probabilities
        shift[name] = float(method.leanings(part, strength).most.mean())
        found[name] = (
            chances,
            leaning(method.classifier, tokens, o.k, method.never(), by=o.mask_by, positions=positions),
        )
    spans = [word_spans(method.classifier.tokeniser, text) for text in part.text.values]
    marks = {name: _marks(of, spans) for name, (_, of) in found.items()}
    return {
        "alpha": method.alpha,
        "grid": list(GRID),
        "right": method.right.tolist(),
        "support": int(method.asked),
        "texts": len(part),
        "k": o.k,
        "mstps": shift,
        "words": _words(part, marks),
        "examples": _examples(part, found, marks, method.facts["classes"]),
    }


def word_spans(tokeniser: Tokeniser, text: str) -> list[tuple[int, int] | None]:
    """For each token of a text where its word stands in it, from and to; None for a token that is no word."""
    made = tokeniser.tokenizer.encode(text)
    spans: dict[int, tuple[int, int]] = {}
    for word, (start, end) in zip(made.word_ids, made.offsets, strict=True):
        if word is not None:
            first, last = spans.get(word, (start, end))
            spans[word] = min(first, start), max(last, end)
    return [None if word is None else spans[word] for word in made.word_ids]


Marks = list[dict[tuple[int, int], float]]


def _marks(found: Leaning, spans: Sequence[Sequence[tuple[int, int] | None]]) -> Marks:
    """Per text, the words that were masked and what that cost; of the pieces of a word the one that cost most."""
    marks: Marks = []
    for row, places in enumerate(spans):
        of: dict[tuple[int, int], float] = {}
        for place, drop in zip(found.positions[row].tolist(), found.drop[row].tolist(), strict=True):
            span = places[place] if 0 <= place < len(places) else None
            if span is not None and abs(drop) >= abs(of.get(span, 0.0)):
                of[span] = drop
        marks.append(of)
    return marks


def _words(data: LabelledTexts, marks: dict[str, Marks]) -> list[dict[str, Any]]:
    """The words by what masking them costs in all texts together, before the repair."""
    cost: dict[str, dict[str, list[float]]] = {name: defaultdict(list) for name in marks}
    for name, of in marks.items():
        for text, places in zip(data.text.values, of, strict=True):
            for (start, end), drop in places.items():
                cost[name][text[start:end].lower()].append(abs(drop))
    order = sorted(cost["before"], key=lambda word: (-sum(cost["before"][word]), word))[:WORDS]
    return [
        {"word": word, "texts": len(cost["before"][word])}
        | {name: float(np.mean(of[word])) if of.get(word) else 0.0 for name, of in cost.items()}
        for word in order
    ]


def _examples(
    data: LabelledTexts, found: dict[str, Any], marks: dict[str, Marks], classes: Sequence[str]
) -> list[dict[str, Any]]:
    """The texts whose largest dependence on one word fell most, or rose; where nothing changed, depends most."""
    before, after = (found[name][1].most for name, _ in PARTS)
    gap = (before - after).abs() if bool((before != after).any()) else before
    shown = []
    for row in torch.argsort(gap, descending=True, stable=True)[:SHOWN].tolist():
        text = data.text.values[row]
        one: dict[str, Any] = {"id": str(data.ids[row]), "text": text[:LONGEST], "cut": len(text) > LONGEST}
        for name, (chances, _) in found.items():
            said = int(chances[row].argmax())
            places = [[a, b, drop] for (a, b), drop in sorted(marks[name][row].items()) if b <= LONGEST]
            one[name] = {"class": classes[said], "chance": float(chances[row, said]), "marks": places}
        shown.append(one)
    return shown
