"""A view as a sequence of tokens: the words of a text, token features as given, or one token for any other view."""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from counterpoint.multimodal.kinds import KINDS
from counterpoint.multimodal.kinds.kind import Front, How, Index
from counterpoint.multimodal.kinds.tokens import TokenRows
from counterpoint.multimodal.table import View
from counterpoint.pretrained.texts import TextEncoder

WORD = re.compile(r"<\w+>|\w[\w']*|[^\w\s]")
MOST_WORDS = 30_000
"""The most frequent words of a view that have a vector of their own."""
LEAST = 2
"""How often a word must occur in training rows to have a vector of its own."""
LONGEST = 64
"""Words of a text that are read; what follows is left out."""


@dataclass(frozen=True)
class Tokens:
    """The tokens of one view of n rows, at most l of them each; `known` says which are there."""

    vectors: Float[Tensor, "n l d"]
    known: Bool[Tensor, "n l"]

    @property
    def present(self) -> Bool[Tensor, " n"]:
        """Rows with at least one token."""
        return self.known.any(dim=1)

    def pooled(self) -> Float[Tensor, "n d"]:
        """The mean of a row's tokens; zero where there is none."""
        total = (self.vectors * self.known[..., None]).sum(dim=1)
        mean: Tensor = total / self.known.sum(dim=1, keepdim=True).clamp(min=1)
        return mean

    @staticmethod
    def joined(parts: Sequence["Tokens"]) -> "Tokens":
        """The tokens of several views in one sequence."""
        return Tokens(torch.cat([p.vectors for p in parts], dim=1), torch.cat([p.known for p in parts], dim=1))


class Words(Front):
    """The words of a text as learned vectors, from `start` on; words that training rows hardly have share one."""

    def __init__(self, facts: Mapping[str, Any], width: int, start: Float[Tensor, "v w"] | None = None) -> None:
        super().__init__()
        self.width = facts.get("width", width)
        self.places = {word: place for place, word in enumerate(facts["words"], start=1)}
        self.key = hashlib.blake2b("\n".join(self.places).encode("utf-8", "surrogatepass")).hexdigest()
        self.vectors = nn.Embedding(len(self.places) + 1, self.width)
        if start is not None:
            self.vectors.weight.data[1:] = start

    def tensor(self, view: View, index: Index) -> Int[Tensor, "n l"]:
        """Numbers of words (0: rare), -1 behind the last one."""
        assert view.items is not None
        table: np.ndarray = view.items.once(("words", self.key), lambda: self._numbered(view))
        rows = table[view.values[index, 0]]
        longest = max(1, int((rows >= 0).sum(axis=1).max(initial=0)))
        return torch.from_numpy(rows[:, :longest].astype(np.int64))

    def _numbered(self, view: View) -> Int[np.ndarray, "m l"]:
        """A row per text of the view, and a last row for none."""
        assert view.items is not None
        texts = [[self.places.get(word, 0) for word in words_of(text)] for text in view.items.entries]
        table = np.full((len(texts) + 1, max([1, *map(len, texts)])), -1, dtype=np.int32)
        for row, numbers in enumerate(texts):
            table[row, : len(numbers)] = numbers
        return table

    def known(self, values: Int[Tensor, "n l"]) -> Bool[Tensor, "n l"]:
        """Which words are there."""
        return values >= 0

    def forward(self, values: Int[Tensor, "n l"]) -> Float[Tensor, "n l w"]:
        vectors: Tensor = self.vectors(values.clamp(min=0))
        return vectors


def words_of(text: str) -> list[str]:
    """The words and signs of a text in lower case, at most 64.

    >>> words_of("Oh great, <user> can't come #again")
    ['oh', 'great', ',', '<user>', "can't", 'come', '#', 'again']
    """
    return WORD.findall(text.lower())[:LONGEST]


def vocabulary(texts: Iterable[str], least: int = LEAST) -> list[str]:
    """The words that occur at least so often, most frequent first; words as frequent in the order of the alphabet.

    >>> vocabulary(["a b", "b c", "b"], least=1)
    ['b', 'a', 'c']
    """
    counts = Counter(word for text in texts for word in words_of(text))
    known = sorted((-count, word) for word, count in counts.items() if count >= least)
    return [word for _, word in known[:MOST_WORDS]]


def measure_tokens(view: View, how: How, static: bool = False) -> dict[str, Any]:
    """JSON facts of training rows, from which `token_front` is made; `static`: words start at WordLlama's vectors."""
    facts: dict[str, Any] = {"kind": view.kind}
    if view.kind == "text":
        assert view.items is not None
        used = view.values[view.values >= 0].tolist()
        facts["words"] = vocabulary(view.items.entries[number] for number in used)
        if static:
            found = how.bases[view.name] = TextEncoder.from_source("static").encode(facts["words"])
            facts["width"] = found.shape[1]
        return facts
    return facts | KINDS[view.kind].measure(view, how)


def token_front(facts: Mapping[str, Any], width: int, base: Any = None) -> Front:
    """The first part of a view's way to tokens; learned word vectors have `width` numbers."""
    if facts["kind"] == "text":
        return Words(facts, width, base)
    return KINDS[facts["kind"]].front(facts, base)


def tokens_of(front: Front, values: Tensor) -> Tokens:
    """What a front makes of a view's tensor: its tokens, or one token per row."""
    if isinstance(front, Words):
        return Tokens(front(values), front.known(values))
    if isinstance(front, TokenRows):
        return Tokens(front.scaled(values), front.known(values))
    return Tokens(front(values)[:, None], front.present(values)[:, None])
