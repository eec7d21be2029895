"""Which of several answers to one question is best, which is worst, and which is given."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from counterpoint.agents.answers import grouped

Case = Literal["equal", "different", "mixed", "open"]
NEAR = 1.1
"""Without similarities, answers of up to this many times the Teacher's perplexity stand with the Teacher."""


@dataclass(frozen=True)
class Candidate:
    """One answer: who gave it, the text, the answer in it (None: not found) and its perplexity."""

    role: Literal["teacher", "student"]
    text: str
    answer: str | None
    perplexity: float


@dataclass(frozen=True)
class Choice:
    """Places of candidates: the prediction, the best and the worst to learn from (None: nothing is learned)."""

    case: Case
    prediction: int
    best: int | None = None
    worst: int | None = None
    agreement: float = 1.0
    """The share of candidates that agree with the prediction."""


def closed(candidates: Sequence[Candidate], unsure: bool = False) -> Choice:
    """The choice among answers of which one is right.

    All equal: the one of least perplexity, and no worst. All different: the Teacher's, and nothing is learned. Else
    the one of least perplexity in the largest group (of equal groups that which holds the least perplexity) against
    the one of least perplexity outside, an error made with confidence; `unsure` takes the greatest outside instead.
    Source: arXiv 2604.13552, released code, closed-ended selection.

    >>> said = [Candidate("student", "", answer, ppl) for answer, ppl in (("7", 2.0), ("7", 1.5), ("8", 1.2))]
    >>> closed(said)
    Choice(case='mixed', prediction=1, best=1, worst=2, agreement=0.6666666666666666)
    """
    groups = grouped([one.answer for one in candidates])
    if len(groups) == len(candidates):
        return Choice("different", _teacher(candidates), agreement=1 / len(candidates))
    if len(groups) == 1:
        best = _least(candidates, groups[0])
        return Choice("equal", best, best)
    largest = max(map(len, groups))
    tied = [group for group in groups if len(group) == largest]
    consensus = min(tied, key=lambda group: candidates[_least(candidates, group)].perplexity)
    best = _least(candidates, consensus)
    outside = [place for place in range(len(candidates)) if place not in consensus]
    worst = _greatest(candidates, outside) if unsure else _least(candidates, outside)
    return Choice("mixed", best, best, worst, largest / len(candidates))


def open_ended(candidates: Sequence[Candidate], similarity: Sequence[float] | None, unsure: bool = False) -> Choice:
    """The choice among free texts: group A is the Teacher and those like it, B the rest.

    `similarity` is that of each candidate to the Teacher's text; the more similar half of the Students (rounded up)
    joins A. Without it, A are those whose perplexity is at most 1.1 times the Teacher's. Best and worst are those of
    least perplexity in A and in B. Without a Teacher's answer nothing is learned.
    Source: arXiv 2604.13552, released code, open-ended selection.
    """
    if candidates[0].role != "teacher":
        return Choice("open", _least(candidates, range(len(candidates))))
    students = list(range(1, len(candidates)))
    if similarity is None:
        bar = NEAR * candidates[0].perplexity
        near = [place for place in students if candidates[place].perplexity <= bar]
    else:
        near = sorted(students, key=lambda place: -similarity[place])[: math.ceil(len(students) / 2)]
    far = [place for place in students if place not in near]
    best = _least(candidates, [0, *near])
    worst = None if not far else _greatest(candidates, far) if unsure else _least(candidates, far)
    return Choice("open", best, best, worst, (1 + len(near)) / len(candidates))


def _teacher(candidates: Sequence[Candidate]) -> int:
    """The Teacher's place, or that of least perplexity when the Teacher gave no answer."""
    return 0 if candidates[0].role == "teacher" else _least(candidates, range(len(candidates)))


def _least(candidates: Sequence[Candidate], places: Sequence[int]) -> int:
    return min(places, key=lambda place: candidates[place].perplexity)


def _greatest(candidates: Sequence[Candidate], places: Sequence[int]) -> int:
    return max(places, key=lambda place: candidates[place].perplexity)
