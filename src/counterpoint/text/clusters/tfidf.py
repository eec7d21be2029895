"""Texts as weighted counts of their runs of letters: what needs no pretrained encoder."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from counterpoint.errors import need
from counterpoint.text.clusters.claim2vec import parted
from counterpoint.text.clusters.statements import Statements
from counterpoint.text.pairs import Pairs


class CharacterTfidf:
    """TF-IDF of runs of 3 to 5 letters within words, weights from the training texts; to be compared with.

    It has what the protocol of clusters asks for, and no more. `terms` are the commonest runs that are counted. Source:
    scikit-learn's TfidfVectorizer with sublinear counts.

    >>> data = Pairs.of({"a": ["a red car", "it rains"], "b": ["the red car", "rain"]})
    >>> vectors = CharacterTfidf().fit(data).embed_texts(["red car", "red cars", "snow"])
    >>> bool(vectors[0] @ vectors[1] > 0.5), float(vectors[0] @ vectors[2])
    (True, 0.0)
    """

    def __init__(self, terms: int = 20_000, held: float = 0.15) -> None:
        self.terms, self.held = terms, held

    def fit(self, data: Pairs, validation: Any = None, trainer: Any = None) -> "CharacterTfidf":
        """Count the training texts; keep the development texts that claim2vec would keep."""
        text: Any = need("sklearn.feature_extraction.text", "eval")
        parts = parted(data, self.held)
        self.development = Statements.of(data.rows(parts["development"]))
        self.counts = text.TfidfVectorizer(
            analyzer="char_wb", ngram_range=(3, 5), max_features=self.terms, sublinear_tf=True, dtype=np.float32
        ).fit(Statements.of(data.rows(parts["train"])).texts)
        return self

    def embed_texts(self, texts: Sequence[str]) -> Float[Tensor, "n d"]:
        """Unit vectors; zero for a text of which no run is known."""
        return torch.from_numpy(self.counts.transform(list(texts)).toarray())
