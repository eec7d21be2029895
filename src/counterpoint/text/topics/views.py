"""A corpus as a topic model sees it: words counted, documents as vectors, and the same of their words for the goal."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Int

from counterpoint.errors import need
from counterpoint.text.topics.corpus import Corpus
from counterpoint.text.topics.goals import Finder, nearness
from counterpoint.text.topics.vectors import counter_of, vectors_of

FAINT = 1e-3
"""Least weight of a phrase, however unlike the goal it is: whoever chose it had a reason."""


@dataclass(frozen=True, eq=False)
class Side:
    """n texts as bags of v words (scipy's sparse rows) and as unit vectors."""

    counts: Any
    vectors: Float32[np.ndarray, "n d"]

    def dense(self, rows: Int[np.ndarray, " k"]) -> Float32[np.ndarray, "k v"]:
        """The counts of some rows."""
        return np.asarray(self.counts[rows].toarray(), dtype=np.float32)


@dataclass(frozen=True, eq=False)
class Views:
    """Documents, what they say to the goal (weighted words of their phrases), and which of them say anything."""

    text: Side
    goal: Side
    spoken: Bool[np.ndarray, " n"]


def phrases_of(corpus: Corpus, base: str, finder: Finder) -> list[dict[str, float]]:
    """Each document's phrases for the goal with the weight of each; empty for a document off the goal.

    Phrases that came with the corpus weigh by their cosine to the goal, those found here by their score.
    """
    key = ("phrases", base, finder)
    if key not in corpus.held:
        if corpus.candidates is None:
            found = [dict(kept) for kept in finder.scored(corpus, base)]
        else:
            given: list[Sequence[str]] = [row or () for row in corpus.candidates.tolist()]
            names = list(dict.fromkeys(phrase for row in given for phrase in row))
            near = nearness(names, corpus.goal, base) if names else np.zeros(0)
            weight = dict(zip(names, near.tolist(), strict=True))
            found = [{phrase: weight[phrase] for phrase in row} for row in given]
        corpus.held[key] = [{p: max(score, FAINT) for p, score in row.items()} for row in found]
    kept: list[dict[str, float]] = corpus.held[key]
    return kept


def documents(corpus: Corpus, vocabulary: Sequence[str], base: str) -> Side:
    """The documents themselves; one without a text has no words and no direction."""
    key = ("documents", base, tuple(vocabulary))
    if key not in corpus.held:
        texts = [text or "" for text in corpus.text.values]
        vectors = vectors_of(texts, base) * corpus.present[:, None]
        corpus.held[key] = Side(counter_of(vocabulary).transform(texts).tocsr(), vectors.astype(np.float32))
    side: Side = corpus.held[key]
    return side


def views(corpus: Corpus, vocabulary: Sequence[str], base: str, finder: Finder | None) -> Views:
    """Both sides; without a finder the documents stand on both (an ablation without a goal)."""
    text = documents(corpus, vocabulary, base)
    if finder is None:
        return Views(text, text, corpus.present)
    key = ("goal", base, finder, tuple(vocabulary))
    if key not in corpus.held:
        corpus.held[key] = _spoken(phrases_of(corpus, base, finder), vocabulary, base)
    return Views(text, *corpus.held[key])


def _spoken(rows: list[dict[str, float]], vocabulary: Sequence[str], base: str) -> tuple[Side, Bool[np.ndarray, " n"]]:
    """Phrases by their words, each word with its phrase's weight, and their weighted mean vector."""
    sparse: Any = need("scipy.sparse", "eval")
    place = {phrase: number for number, phrase in enumerate(dict.fromkeys(p for row in rows for p in row))}
    cells = [(at, place[phrase], weight) for at, row in enumerate(rows) for phrase, weight in row.items()]
    where = np.array([cell[:2] for cell in cells], dtype=np.int64).reshape(-1, 2).T
    weights = np.array([cell[2] for cell in cells], dtype=np.float32)
    chosen = sparse.csr_array((weights, (where[0], where[1])), shape=(len(rows), max(1, len(place))))
    counts = counter_of(vocabulary).transform(place or [""]).astype(np.float32)
    vectors = chosen @ vectors_of(list(place) or [""], base)
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    spoken = np.array([bool(row) for row in rows], dtype=bool)
    return Side((chosen @ counts).tocsr(), np.asarray(vectors / np.maximum(length, 1e-12), dtype=np.float32)), spoken
