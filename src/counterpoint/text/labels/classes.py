"""Classes of texts: labels against a classifier's own names, what it says of rows, and how that is judged."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from counterpoint.errors import UserError
from counterpoint.evaluation import Mean, Outcome, WorstGroup
from counterpoint.evaluation.outcome import Measure
from counterpoint.pretrained.classifiers import SequenceClassifier
from counterpoint.text.labels.labelled import LabelledTexts
from counterpoint.text.labels.masks import Leaning
from counterpoint.training import Predictions

MOST_CLASSES = 1000
UNLIKELY = 1e-12
"""The least probability that counts, so that one sure mistake does not make a mean infinite."""
PROBED = 200
"""Texts whose masked copies are made when a method is judged, the first ones: each costs k further passes."""
TEXTS = 1024
"""Texts tokenised at a time."""

MEASURES: dict[str, Measure] = {
    "accuracy": Mean("correct"),
    "wga": WorstGroup("correct", "subgroup"),
    "nll": Mean("nll"),
}
"""What `classified` measures; a claim that uses it gives these as its `measures`."""
GUARDED: dict[str, Measure] = MEASURES | {"mstps": Mean("shift", where=("probed", 1))}
"""What `guarded` measures."""


def classes_of(data: LabelledTexts, label: str) -> list[str]:
    """The different labels of a column, whole numbers by value and all else by name.

    Raises `UserError` when there is no such column, or it holds fewer than 2 or more than 1,000 classes.

    >>> classes_of(LabelledTexts.of(["a", "b", "c"], {"label": [10, 2, 2]}), "label")
    ['2', '10']
    """
    found = sorted({value for value in data.labels(label) if value is not None})
    if all(value.isdecimal() for value in found):
        found.sort(key=int)
    if not 2 <= len(found) <= MOST_CLASSES:
        what = f'one class only, "{found[0]}"' if len(found) == 1 else f"{len(found)} different values"
        raise UserError(
            f'{data.source}: column "{label}" holds {what}; a classifier is learned from 2 to {MOST_CLASSES:,} classes'
        )
    return found


def codes(data: LabelledTexts, label: str, classes: Sequence[str]) -> Int[np.ndarray, " n"]:
    """The number of each row's class, -1 where the label or the text is missing.

    Labels are the classes' names, whatever their case, or else their numbers from 0. Raises `UserError` naming the row
    of a label that is neither.

    >>> codes(LabelledTexts.of(["a", "b"], {"label": [1, 0]}), "label", ["NEGATIVE", "POSITIVE"]).tolist()
    [1, 0]
    """
    labels = [text if there else None for text, there in zip(data.labels(label), data.present, strict=True)]
    named = {name.lower(): place for place, name in enumerate(classes)}
    numbered = {str(place): place for place in range(len(classes))}
    known = {text for text in labels if text is not None}
    places = named if any(text.lower() in named for text in known) else numbered
    for row, text in enumerate(labels):
        if text is not None and text.lower() not in places:
            raise UserError(
                f'{data.source}: row {row + 1}, column "{label}": "{text}" is none of the classifier\'s classes '
                f"{', '.join(classes)}, nor a number from 0 to {len(classes) - 1}"
            )
    return np.array([-1 if text is None else places[text.lower()] for text in labels], dtype=np.int64)


def said_of(classifier: SequenceClassifier, data: LabelledTexts) -> Predictions:
    """The class and the probabilities of each row; nothing of rows without a text."""
    classes = classifier.classes
    whole = torch.full((len(data), len(classes)), torch.nan, dtype=torch.float64)
    there = np.flatnonzero(data.present)
    whole[torch.from_numpy(there)] = chances(classifier, data.text.values[there].tolist()).double().cpu()
    return Predictions.of_classes(classes, whole)


@torch.no_grad()
def chances(classifier: SequenceClassifier, texts: Sequence[str]) -> Float[Tensor, "n c"]:
    """The classes' probabilities of texts."""
    device = next(classifier.parameters()).device
    parts = [
        classifier.logits(classifier.tokeniser(texts[start : start + TEXTS]).to(device)).softmax(dim=1)
        for start in range(0, len(texts), TEXTS)
    ]
    return torch.cat(parts) if parts else torch.zeros(0, len(classifier.classes), device=device)


def classified(method: Any, data: LabelledTexts) -> Outcome:
    """One value per labelled row: right or not, and how unlikely the truth was said to be.

    `accuracy` is the share of right ones, `nll` the negative log-likelihood in nats, and `wga` the accuracy of the
    worst group: a class, or a class together with a value of the data's `subgroup`. Raises `UserError` when no row has
    both a text and a label.
    """
    rows, columns = _judged(method, data)
    return Outcome(_names(data.ids[rows]), columns, MEASURES)


def guarded(method: Any, data: LabelledTexts) -> Outcome:
    """`classified`, and for the first 200 rows how far one masked token moves what is said.

    `mstps` is the mean over texts of the largest |P(class | text) - P(class | text without a token)| among the k most
    salient tokens, by the method's own saliency and classes: lower is less dependence on a single token (arXiv
    2604.12277).
    """
    return probed(method, data)[0]


def probed(method: Any, data: LabelledTexts, most: int = PROBED) -> tuple[Outcome, Leaning, Int[np.ndarray, " few"]]:
    """`guarded` with so many rows at most that are probed, what the method leans on in them, and which they are."""
    rows, columns = _judged(method, data)
    few = rows[:most]
    found = method.leanings(data.rows(few))
    shift, asked = np.zeros(len(rows)), (np.arange(len(rows)) < len(few)).astype(np.int64)
    shift[: len(few)] = found.most.double().cpu().numpy()
    return Outcome(_names(data.ids[rows]), columns | {"shift": shift, "probed": asked}, GUARDED), found, few


def _judged(method: Any, data: LabelledTexts) -> tuple[Int[np.ndarray, " m"], dict[str, np.ndarray]]:
    """The rows with a text and a label, and what is said of them."""
    label, classes = method.facts["label"], method.facts["classes"]
    truth = codes(data, label, classes)
    rows = np.flatnonzero(truth >= 0)
    if not len(rows):
        raise UserError(f'{data.source}: no row has both a text and a value of "{label}" to be judged by')
    said = method.predict(data.rows(rows)).probabilities.numpy()
    truth = truth[rows]
    group = truth
    if data.subgroup is not None:
        values = np.array([str(value) for value in data.columns[data.subgroup][rows].tolist()])
        _, place = np.unique(values, return_inverse=True)
        group = truth * (int(place.max()) + 1) + place
    wanted = said[np.arange(len(rows)), truth]
    columns = {
        "truth": truth,
        "said": said.argmax(axis=1),
        "correct": (said.argmax(axis=1) == truth).astype(np.float64),
        "nll": -np.log(np.maximum(wanted, UNLIKELY)),
        "subgroup": group,
    }
    return rows, columns


def _names(ids: np.ndarray) -> np.ndarray:
    return ids.astype(str) if ids.dtype == object else ids
