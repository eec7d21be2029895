"""Frozen vectors of texts and words, and the words of documents counted: what topics are made of."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32

from counterpoint.errors import UserError, need
from counterpoint.pretrained.source import weights_hash
from counterpoint.pretrained.texts import TextEncoder

MANY = 100
"""Texts whose vectors are kept for the next who asks."""


@lru_cache(maxsize=2)
def encoder(base: str) -> TextEncoder:
    """A pretrained encoder that stays as it is: "static" (word vectors), "minilm", "e5", a folder or a hub id."""
    return TextEncoder.from_source(base)


def vectors_of(texts: Sequence[str], base: str) -> Float32[np.ndarray, "n d"]:
    """Unit vectors of texts; equal texts are encoded once, and the same many texts again not at all."""
    place = {text: row for row, text in enumerate(dict.fromkeys(texts))}
    found = (_kept if len(place) >= MANY else _encoded)(tuple(place), base)
    return np.ascontiguousarray(found[[place[text] for text in texts]])


def _encoded(texts: tuple[str, ...], base: str) -> Float32[np.ndarray, "n d"]:
    found: Any = encoder(base).encode(texts).numpy()
    return np.asarray(found)


_kept = lru_cache(maxsize=8)(_encoded)
"""Several methods ask for the vectors of one corpus, one after the other."""


def cut_share(texts: Sequence[str], base: str) -> float:
    """The share of texts that are longer than the encoder reads."""
    found = [encoder(base).tokenise(texts[start : start + 4096]).truncated for start in range(0, len(texts), 4096)]
    return float(torch.cat(found).float().mean()) if found else 0.0


def base_facts(base: str) -> dict[str, Any]:
    """What a run keeps of an encoder: its name, how wide its vectors are, and a hash of its weights."""
    found = encoder(base)
    return {"source": base, "width": found.width, "hash": weights_hash(found.base.state_dict())}


def check_base(facts: dict[str, Any]) -> None:
    """Raise `UserError` unless the encoder of a name is still the one that a run was fitted with."""
    if base_facts(facts["source"]) != facts:
        raise UserError(f'base "{facts["source"]}" is not the one that was fitted: its weights differ; restore it')


def counter(words: int, least: int, stop_words: str, texts: Sequence[str]) -> Any:
    """A fitted CountVectorizer of scikit-learn: the commonest `words` that `least` documents have.

    Raises `UserError` when no word is left.
    """
    text: Any = need("sklearn.feature_extraction.text", "eval")
    options: dict[str, Any] = {"stop_words": "english"} if stop_words == "english" else {}
    made = text.CountVectorizer(max_features=words, min_df=min(least, len(texts)), token_pattern=TOKEN, **options)
    try:
        return made.fit(texts)
    except ValueError:
        raise UserError(f"no word stands in {least} of the {len(texts)} documents; set least=1, or give more") from None


def counter_of(vocabulary: Sequence[str]) -> Any:
    """The same counting, of known words."""
    text: Any = need("sklearn.feature_extraction.text", "eval")
    return text.CountVectorizer(vocabulary=list(vocabulary), token_pattern=TOKEN)


TOKEN = r"(?u)\b[^\W\d_][\w'\u2019-]+\b"
"""What counts as a word: two letters or more, the first no digit."""
