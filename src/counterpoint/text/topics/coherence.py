"""How well a topic's words belong together, and how different topics are: NPMI, C_V, C_P and unique words.

Probabilities are shares of windows that slide over the reference documents, as in Roeder et al. 2015 (Exploring the
Space of Topic Coherence Measures); equal to gensim's on the same words.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from counterpoint.errors import need

EPSILON = 1e-12
WINDOWS = {"npmi": 10, "c_v": 110, "c_p": 70}
"""Words of a window, by measure: those of Roeder et al. 2015."""
BLOCK = 500
"""Documents whose windows exist at a time."""


@dataclass(frozen=True, eq=False)
class Seen:
    """The share of windows that hold both of two words, and each (on the diagonal)."""

    both: Float[np.ndarray, "w w"]
    place: dict[str, int]

    def of(self, words: Sequence[str]) -> Float[np.ndarray, "t t"]:
        """The shares among some words; 0 for words that no document has."""
        known = np.array([self.place.get(word, -1) for word in words])
        found: Float[np.ndarray, "t t"] = self.both[np.ix_(known, known)]
        found[known < 0] = found[:, known < 0] = 0
        return found


def windows(documents: Sequence[Sequence[str]], words: Sequence[str], size: int) -> Seen:
    """Count in how many windows of `size` words, one per start, words stand together; a short document is one window.

    >>> windows([["a", "b", "c"], ["a"]], ["a", "b"], 2).both.round(2).tolist()
    [[0.67, 0.33], [0.33, 0.67]]
    """
    sparse: Any = need("scipy.sparse", "eval")
    place = {word: number for number, word in enumerate(dict.fromkeys(words))}
    both, count = np.zeros((len(place), len(place))), 0
    for start in range(0, len(documents), BLOCK):
        cells: list[tuple[np.ndarray, np.ndarray]] = []
        at = 0
        for document in documents[start : start + BLOCK]:
            last = max(len(document) - size, 0)
            for position, word in enumerate(document):
                if (number := place.get(word)) is not None:
                    first = max(0, position - size + 1)
                    held = np.arange(at + first, at + min(position, last) + 1)
                    cells.append((held, np.full(len(held), number)))
            at += last + 1 if len(document) else 0
        count += at
        if not cells:
            continue
        rows, columns = (np.concatenate(part) for part in zip(*cells, strict=True))
        held = sparse.csr_array((np.ones(len(rows)), (rows, columns)), shape=(at, len(place)))
        held.data[:] = 1  # a word twice in a window is there once
        both += (held.T @ held).toarray()
    return Seen(both / max(1, count), place)


def coherence(topics: Sequence[Sequence[str]], documents: Sequence[Sequence[str]]) -> dict[str, list[float]]:
    """`npmi`, `c_v` and `c_p` of each topic (its top words, the first most), over documents given as lists of words.

    `npmi`: mean normalised pointwise mutual information of pairs of words, windows of 10. `c_v`: mean cosine of each
    word's vector of NPMIs with the sum over all words, windows of 110. `c_p`: mean Fitelson confirmation of each word
    by each that comes before it, windows of 70. On few documents they are of these documents, not of the language.
    """
    words = [word for topic in topics for word in topic]
    seen = {name: windows(documents, words, size) for name, size in WINDOWS.items()}
    return {
        "npmi": [_pairs(_npmi(seen["npmi"].of(topic))) for topic in topics],
        "c_v": [_indirect(_npmi(seen["c_v"].of(topic))) for topic in topics],
        "c_p": [_pairs(_fitelson(seen["c_p"].of(topic))) for topic in topics],
    }


def unique_words(topics: Sequence[Sequence[str]]) -> float:
    """UT: the share of different words among the top words of all topics.

    >>> unique_words([["a", "b"], ["a", "c"]])
    0.75
    """
    words = [word for topic in topics for word in topic]
    return len(set(words)) / max(1, len(words))


def _npmi(both: Float[np.ndarray, "t t"]) -> Float[np.ndarray, "t t"]:
    alone = np.diag(both)
    expected = np.outer(alone, alone)
    ratio = np.divide(both + EPSILON, expected, out=np.ones_like(both), where=expected > 0)
    return np.where(expected > 0, np.log(ratio) / -np.log(both + EPSILON), 0.0)


def _fitelson(both: Float[np.ndarray, "t t"]) -> Float[np.ndarray, "t t"]:
    """Entry (i, j), how far word j speaks for word i: (P(i|j) - P(i|not j)) / (P(i|j) + P(i|not j))."""
    alone = np.diag(both)
    given = both / np.maximum(alone, EPSILON)[None]
    without = np.maximum(alone[:, None] - both, 0) / np.maximum(1 - alone, EPSILON)[None]
    return np.asarray((given - without) / np.maximum(given + without, EPSILON))


def _pairs(values: Float[np.ndarray, "t t"]) -> float:
    """The mean over each word and each that comes before it."""
    below = np.tril_indices(len(values), -1)
    return float(values[below].mean()) if len(values) > 1 else 0.0


def _indirect(values: Float[np.ndarray, "t t"]) -> float:
    whole = values.sum(0)
    lengths = np.linalg.norm(values, axis=1) * np.linalg.norm(whole)
    return float((values @ whole / np.maximum(lengths, EPSILON)).mean())
