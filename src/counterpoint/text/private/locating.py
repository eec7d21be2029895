"""Which chunks of texts are private: scores against prototypes, the domain of a text, overlaps."""

import bisect
import heapq
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from counterpoint.text.private.chunks import Chunk, chunks, remainders

Pool = Literal["mean", "max"]


@dataclass(frozen=True)
class Found:
    """A stretch of a text that is taken for private: its score, and the domain whose prototypes gave it.

    `level` is the lowest of its score and the scores of the chunks it was cut out of: the gamma up to which it is
    found.
    """

    start: int
    end: int
    score: float
    level: float
    domain: str


@dataclass(frozen=True)
class Prototypes:
    """Unit vectors of each domain, filled up to the most that one has; `count` says how many each has."""

    vectors: Float[Tensor, "d k w"]
    count: Int[Tensor, " d"]

    def likeness(self, vectors: Float[Tensor, "n w"], pool: Pool) -> Float[Tensor, "n d"]:
        """Cosines of unit vectors with each domain's prototypes, their mean or the largest.

        The prototypes are means of unit vectors, brought to length 1.
        """
        dots = torch.einsum("nw,dkw->ndk", vectors, self.vectors)
        there = torch.arange(self.vectors.shape[1], device=dots.device) < self.count[:, None]
        if pool == "max":
            return dots.masked_fill(~there, -1.0).amax(dim=2)
        return (dots * there).sum(dim=2) / self.count.clamp(min=1)


Scores = Callable[[Sequence[str]], Float[Tensor, "n d"]]
"""The score of each text in each domain."""


class Remembered:
    """Vectors of texts that are made once each, since chunks come again."""

    def __init__(self, make: Scores) -> None:
        self.make = make
        self.kept: dict[str, Float[Tensor, " w"]] = {}

    def __call__(self, texts: Sequence[str]) -> Float[Tensor, "n w"]:
        new = [text for text in dict.fromkeys(texts) if text not in self.kept]
        if new or not texts:
            made = self.make(new)
            self.kept.update(zip(new, made, strict=True))
            if not texts:
                return made
        return torch.stack([self.kept[text] for text in texts])


def locate(texts: Sequence[str], score: Scores, vote: Scores, domains: Sequence[str]) -> list[list[Found]]:
    """All non-overlapping chunks of each text with their scores, in the order of the text.

    The domain of a text is the one whose `vote`, summed over its chunks, is largest; its scores count. Where chunks
    overlap the higher score wins, and what is left of the loser is scored anew. Those with `level` of gamma or more are
    what a threshold of gamma finds. Source: arXiv 2604.10145's code, steps E and F.
    """
    cut = [chunks(text) for text in texts]
    known: dict[str, Float[Tensor, " d"]] = {}

    def told(asked: Sequence[str]) -> None:
        new = [text for text in dict.fromkeys(asked) if text not in known]
        known.update(zip(new, score(new), strict=True))

    told([text[a:b] for text, some in zip(texts, cut, strict=True) for a, b in some])
    votes = _votes([[text[a:b] for a, b in some] for text, some in zip(texts, cut, strict=True)], vote)
    running, found = [], [[] for _ in texts]  # type: ignore[var-annotated]
    for row, (text, some) in enumerate(zip(texts, cut, strict=True)):
        place = votes[row]
        values = [float(known[text[a:b]][place]) for a, b in some]
        running.append((row, place, _resolved(text, some, values, domains[place])))
    asked: dict[int, list[str]] = {row: [] for row, *_ in running}
    while running:
        told([text for texts_of_row in asked.values() for text in texts_of_row])
        still, wanted = [], {}
        for row, place, steps in running:
            answer = [float(known[text][place]) for text in asked[row]]
            try:
                wanted[row] = steps.send(answer) if answer else next(steps)
                still.append((row, place, steps))
            except StopIteration as done:
                found[row] = done.value
        running, asked = still, wanted
    return found


def _votes(pieces: Sequence[Sequence[str]], vote: Scores) -> list[int]:
    """The number of each text's domain; of equal ones, and for a text without chunks, the first."""
    different = {text: place for place, text in enumerate(dict.fromkeys(t for some in pieces for t in some))}
    scores = vote(list(different))
    return [int(scores[[different[text] for text in some]].sum(dim=0).argmax()) if some else 0 for some in pieces]


def _resolved(
    text: str, some: Sequence[Chunk], values: Sequence[float], domain: str
) -> Generator[list[str], list[float], list[Found]]:
    """Take chunks by falling level; asks for the scores of what is left of those that overlap a taken one."""
    queue = [(-value, a, b, value) for (a, b), value in zip(some, values, strict=True)]
    heapq.heapify(queue)
    seen, taken = set(some), list[Found]()
    places: list[Chunk] = []  # of what is taken, in the order of the text
    while queue:
        lowered, start, end, value = heapq.heappop(queue)
        first = bisect.bisect_left(places, (start, start))
        first -= first > 0 and places[first - 1][1] > start
        blocking = places[first : bisect.bisect_left(places, (end, end))]
        if not blocking:
            taken.append(Found(start, end, value, -lowered, domain))
            bisect.insort(places, (start, end))
            continue
        left = [piece for piece in remainders(text, (start, end), blocking) if piece not in seen]
        seen.update(left)
        if left:
            scores = yield [text[a:b] for a, b in left]
            for (a, b), score in zip(left, scores, strict=True):
                heapq.heappush(queue, (-min(score, -lowered), a, b, score))
    return sorted(taken, key=lambda one: one.start)


def above(text: str, found: Sequence[Found], gamma: float | Mapping[str, float], join: bool) -> list[Found]:
    """What a threshold finds, one for all domains or one each; with `join`, neighbours are one.

    Neighbours have nothing but blanks between them; what they are joined to has the lower score and level.

    >>> found = [Found(0, 3, 0.9, 0.9, "a"), Found(4, 7, 0.8, 0.8, "a")]
    >>> [(one.start, one.end) for one in above("Ann Lee", found, 0.5, join=True)]
    [(0, 7)]
    """
    kept = [one for one in found if one.level >= (gamma if isinstance(gamma, float) else gamma[one.domain])]
    made: list[Found] = []
    for one in kept:
        last = made[-1] if made else None
        if join and last is not None and text[last.end : one.start].isspace():
            score, level = min(last.score, one.score), min(last.level, one.level)
            made[-1] = Found(last.start, one.end, score, level, one.domain)
        else:
            made.append(one)
    return made


def joined(text: str, pieces: Sequence[Any], replacements: Sequence[str]) -> str:
    """A text with stretches replaced; they do not overlap and stand in order.

    >>> joined("Ann is ill", [Found(0, 3, 1.0, 1.0, "notes")], ["someone"])
    'someone is ill'
    """
    parts, at = [], 0
    for one, new in zip(pieces, replacements, strict=True):
        parts += [text[at : one.start], new]
        at = one.end
    return "".join([*parts, text[at:]])
