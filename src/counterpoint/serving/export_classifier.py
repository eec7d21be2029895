"""A classifier of texts as a transformers folder, loaded in that library and compared before it is left."""

from pathlib import Path
from typing import Any

import torch

from counterpoint.errors import UserError, need
from counterpoint.pretrained.adapter import merged
from counterpoint.pretrained.classifiers import SequenceClassifier, write_classifier
from counterpoint.pretrained.lowrank import strengthen
from counterpoint.serving.export import Written
from counterpoint.serving.export_sentences import TEXTS, quiet_transformers
from counterpoint.training import Method

USE = """Read by transformers alone:

```python
from transformers import AutoModelForSequenceClassification, AutoTokenizer

model = AutoModelForSequenceClassification.from_pretrained("FOLDER")
tokenizer = AutoTokenizer.from_pretrained("FOLDER")
```"""


def write(method: Method, folder: Path) -> Written:
    """Write the folder, low-rank updates merged; raises `UserError` for a method that is no classifier of texts."""
    classifier: Any = getattr(method, "classifier", None)
    if not isinstance(classifier, SequenceClassifier):
        raise UserError(f"{method.name} is no classifier of texts; only such methods go to transformers")
    alpha: Any = getattr(method, "alpha", None)
    if alpha is not None:
        strengthen(classifier.network, alpha)
    write_classifier(folder, merged(classifier))
    return Written(USE, _difference(classifier, folder))


@torch.no_grad()
def _difference(classifier: SequenceClassifier, folder: Path) -> float:
    """How far logits of transformers are from ours."""
    transformers = need("transformers", "text")
    with quiet_transformers():
        model = transformers.AutoModelForSequenceClassification.from_pretrained(folder)
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    tokens = tokenizer(list(TEXTS), padding=True, truncation=True, return_tensors="pt")
    return float((model(**tokens).logits - classifier.logits(classifier.tokeniser(list(TEXTS)))).abs().max())
