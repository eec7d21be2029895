"""What may be done about one shipped classifier, as arms of the guardrail's claim."""

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from counterpoint.errors import UserError
from counterpoint.evaluation.claim import digest
from counterpoint.pretrained.classifiers import write_classifier
from counterpoint.text.labels.classifier import TextClassifier, tokens_of
from counterpoint.text.labels.guardrail import ShortcutGuardrail
from counterpoint.text.labels.labelled import LabelledTexts
from counterpoint.text.labels.masks import Leaning, masked, top_tokens
from counterpoint.training import Predictions, Trainer


@dataclass(frozen=True)
class Shift:
    """A shipped classifier, the labelled texts it was trained on, and the texts of its deployment.

    Of `deployed` only the support rows have a label.
    """

    folder: Path
    training: LabelledTexts
    deployed: LabelledTexts

    def __len__(self) -> int:
        return len(self.deployed)

    def fingerprint(self) -> str:
        """A hash of both sets of texts."""
        return digest([self.training.fingerprint(), self.deployed.fingerprint()])


def shipped(training: LabelledTexts, seed: int, **options: Any) -> Path:
    """The folder of a classifier plainly trained on these texts; it is kept, and used again for the same ones.

    It lies below the user's cache folder (XDG_CACHE_HOME, or ~/.cache), under a name that changes with all it depends
    on.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "counterpoint" / "classifiers"
    folder = cache / digest([training.fingerprint(), seed, options, torch.__version__])
    if (folder / "config.json").is_file():
        return folder
    method = TextClassifier(**options).fit(training, trainer=Trainer(seed=seed, progress=False))
    cache.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(dir=cache, prefix=".made"))
    write_classifier(made, method.classifier)
    try:
        os.replace(made, folder)
    except OSError as error:  # another process was quicker
        shutil.rmtree(made)
        if not (folder / "config.json").is_file():
            raise UserError(f"{folder}: cannot be written ({error.strerror})") from None
    return folder


class Shipped:
    """The classifier as it was shipped; the other arms put something in its place."""

    leans = True
    """Whether it can be asked what it leans on."""

    def __init__(self, **options: Any) -> None:
        self.options = options
        self.method: Any = None

    def fit(self, shift: Shift, validation: Any = None, trainer: Trainer | None = None) -> "Shipped":
        """Do what the arm does, with the deployment's texts or the training texts."""
        self.method = self.made(shift, trainer or Trainer(progress=False))
        return self

    def made(self, shift: Shift, trainer: Trainer) -> Any:
        """The method that stands in the arm."""
        return TextClassifier(base=str(shift.folder), epochs=0, **self.options).fit(shift.training, trainer=trainer)

    @property
    def facts(self) -> dict[str, Any]:
        """What the judge asks of a method."""
        found: dict[str, Any] = self.method.facts
        return found

    def predict(self, data: LabelledTexts) -> Predictions:
        """The class of each text."""
        found: Predictions = self.method.predict(data)
        return found

    def leanings(self, data: LabelledTexts) -> Leaning:
        """What each text's class leans on."""
        found: Leaning = self.method.leanings(data)
        return found


class Guarded(Shipped):
    """The shortcut guardrail, fitted on the deployment's texts."""

    def made(self, shift: Shift, trainer: Trainer) -> ShortcutGuardrail:
        """The guardrail of the shipped classifier."""
        return ShortcutGuardrail(classifier=str(shift.folder), **self.options).fit(shift.deployed, trainer=trainer)


class Retrained(Shipped):
    """A classifier trained anew on the training texts, with a guard of its own."""

    def made(self, shift: Shift, trainer: Trainer) -> TextClassifier:
        """The guarded training."""
        return TextClassifier(**self.options).fit(shift.training, trainer=trainer)


class Probed(Shipped):
    """The shipped classifier with a new last layer, solved on the few labels of the deployment."""

    def made(self, shift: Shift, trainer: Trainer) -> Any:
        """The classifier with its new layer."""
        method = super().made(shift, trainer)
        few = shift.deployed.rows(np.array([text is not None for text in shift.deployed.labels("label")]))
        method.solve(method.batch(few, torch.arange(len(few)), torch.Generator()), None)
        return method


class Masking(Shipped):
    """The shipped classifier, asked about texts whose k most salient words are all masked.

    It cannot be asked what it leans on: those words are hidden already.
    """

    leans = False

    def predict(self, data: LabelledTexts) -> Predictions:
        """The class of each text without its salient words."""
        classifier, k = self.method.classifier, 5
        tokens = tokens_of(classifier, data)
        positions = top_tokens(classifier.saliency(tokens), tokens, k, classifier.special())
        hidden = tokens
        for column in range(k):
            part = masked(hidden, positions[:, column : column + 1], classifier.mask)
            ids = hidden.ids.clone()
            ids[part.row] = part.tokens.ids
            hidden = type(hidden)(ids, hidden.lengths, hidden.truncated)
        with torch.no_grad():
            chances = classifier.logits(hidden).softmax(dim=1).double()
        return Predictions.of_classes(classifier.classes, chances)

    def leanings(self, data: LabelledTexts) -> Leaning:
        """No token of any text."""
        nothing = torch.full((len(data), 1), -1)
        return Leaning(nothing[:, 0], nothing, torch.full((len(data), 1), torch.nan))
