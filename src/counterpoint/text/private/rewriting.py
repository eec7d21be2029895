"""Texts with their private spans replaced, the budget that was spent on each, and how much it gives away."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from counterpoint.errors import UserError
from counterpoint.language import open_model
from counterpoint.text.private.locating import Found, joined
from counterpoint.text.private.privacy import PLACEHOLDER, Budget, Randomness, check_epsilon, statement
from counterpoint.text.private.vocabulary import Asked, Words
from counterpoint.text.private.writer import SpanWriter, Written

LENGTHS = 32
"""Draws for one span at most."""
TOGETHER = 512
"""Spans that are proposed for at a time; bounds the memory of their chances."""


@runtime_checkable
class Proposer(Protocol):
    """Whoever proposes: `draws` of the mechanism per span over `outcomes`, said in words by `mechanism`."""

    name: str
    mechanism: str
    draws: int

    @property
    def outcomes(self) -> int:
        """How many outcomes one draw has."""

    def propose(
        self, spans: Sequence[str], domains: Sequence[str], epsilon: float, randomness: Randomness
    ) -> list[str | None]:
        """A replacement for each span, `epsilon` spent on each; None where there is none."""


@dataclass(frozen=True)
class Replacement:
    """A found span, what stood there and what stands there now; `drawn` unless that is the placeholder."""

    found: Found
    original: str
    replacement: str
    drawn: bool


@dataclass(frozen=True)
class Promise:
    """What a statement is made of, beside the budgets: mechanism, number of outcomes, recalls, whether from a seed."""

    mechanism: str
    outcomes: int
    recalls: Mapping[str, float | None]
    seeded: bool

    def said(self, budgets: Sequence[Budget]) -> list[str]:
        """The statement."""
        return statement(budgets, self.mechanism, self.outcomes, self.recalls, self.seeded)


@dataclass(frozen=True)
class Rewritten:
    """A text with its private spans replaced."""

    original: str
    text: str
    replacements: tuple[Replacement, ...]
    budget: Budget
    promise: Promise

    @property
    def statement(self) -> list[str]:
        """What is guaranteed for this text, and what is not."""
        return self.promise.said([self.budget])

    def told(self) -> dict[str, Any]:
        """As JSON: the new text, places in the old one and scores of what was replaced, the budget.

        What stood there before is not told.
        """
        spans = [
            {
                "start": one.found.start,
                "end": one.found.end,
                "score": round(one.found.score, 4),
                "domain": one.found.domain,
                "replacement": one.replacement,
                "drawn": one.drawn,
            }
            for one in self.replacements
        ]
        return {"text": self.text, "spans": spans, "budget": self.budget.told()}


def promise(made: Sequence[Rewritten]) -> list[str]:
    """The statement on several texts that were rewritten together."""
    return made[0].promise.said([one.budget for one in made]) if made else []


def proposer_of(
    method: Any, name: str = "auto", length: int | None = None, vocabulary: Sequence[str] | None = None
) -> Proposer:
    """The proposer of a name; raises `UserError` for one that the run cannot have, or options that do not go together.

    An address is asked for phrases by domain alone; a model in this process is shown the spans.
    """
    if length is not None and not 1 <= length <= LENGTHS:
        raise UserError(f"length={length}: a replacement has 1 to {LENGTHS} words or tokens")
    trained = method.options.rewriter.used
    if name == "auto":
        name = "trained" if trained and vocabulary is None else "words"
    if vocabulary is not None and name != "words":
        raise UserError(f"a vocabulary is for the proposer words, not {name}; leave one of them out")
    if name == "words":
        return Words(vocabulary, length)
    if name == "trained":
        if not trained:
            raise UserError("this run has no rewriting model; fit it with rewriter.model=smollm2, or use words")
        return Written(method.writer, length or method.options.rewriter.length, method.options.rewriter.model)
    if name.startswith(("http://", "https://")):
        if length is not None:
            raise UserError("an address gives whole phrases, so length has no meaning; leave it out")
        return Asked(open_model(name)[0])
    return Written(SpanWriter(SpanWriter.measure(name), 1, 0.0), length, name)


def rewritten(
    texts: Sequence[str],
    found: Sequence[Sequence[Found]],
    proposer: Proposer,
    epsilon: float,
    recalls: Mapping[str, float | None],
    seed: int | None = None,
) -> list[Rewritten]:
    """Every found span replaced, by a draw or by the placeholder; never left as it was because something failed.

    Each occurrence is drawn for by itself. Raises `UserError` unless epsilon is a number above 0.
    """
    check_epsilon(epsilon)
    randomness = Randomness(seed)
    flat = [(text[one.start : one.end], one) for text, some in zip(texts, found, strict=True) for one in some]
    proposed = _proposed(proposer, [span for span, _ in flat], [one.domain for _, one in flat], epsilon, randomness)
    made, at = [], 0
    for text, some in zip(texts, found, strict=True):
        pieces = []
        for one in some:
            new = proposed[at]
            at += 1
            pieces.append(Replacement(one, text[one.start : one.end], new or PLACEHOLDER, bool(new)))
        drawn = sum(piece.drawn for piece in pieces)
        spent = Budget(epsilon, len(some), drawn, len(some) - drawn, proposer.draws)
        after = joined(text, some, [piece.replacement for piece in pieces])
        told = Promise(proposer.mechanism, proposer.outcomes, recalls, randomness.seeded)
        made.append(Rewritten(text, after, tuple(pieces), spent, told))
    return made


def _proposed(
    proposer: Proposer, spans: Sequence[str], domains: Sequence[str], epsilon: float, randomness: Randomness
) -> list[str | None]:
    """What is proposed for each span, some hundred at a time."""
    found: list[str | None] = []
    for start in range(0, len(spans), TOGETHER):
        some = slice(start, start + TOGETHER)
        found += _block(proposer, spans[some], domains[some], epsilon, randomness)
    return found


def _block(
    proposer: Proposer, spans: Sequence[str], domains: Sequence[str], epsilon: float, randomness: Randomness
) -> list[str | None]:
    """The same, None for all where proposing breaks off: a failure must not leave a span as it was."""
    try:
        found = proposer.propose(spans, domains, epsilon, randomness)
    except UserError:
        raise
    except (RuntimeError, OSError, ValueError, IndexError, KeyError, TypeError):
        return [None] * len(spans)
    if len(found) != len(spans):
        return [None] * len(spans)
    return [" ".join(text.split()) if isinstance(text, str) and text.strip() else None for text in found]


def given_away(
    method: Any, made: Sequence[Rewritten], pool: Mapping[str, Sequence[str]] | None = None
) -> dict[str, Shaped[Any, " n"]]:
    """How much each replacement tells: a value per replaced span.

    `s_leak` is 1 - cosine of original and replacement by the base encoder (higher: less told), `soi` that cosine cut to
    [0, 1] (lower is better), `dfs` the largest cosine of the replacement with a prototype of its domain, `hit` whether
    the original is the nearest to the replacement among the domain's spans (`pool`, and those of these texts): what an
    adversary who knows them all would say. Source: arXiv 2604.10145's code; the adversary is ours.
    """
    pieces = [one for text in made for one in text.replacements]
    if not pieces:
        return {name: torch.zeros(0).numpy() for name in ("s_leak", "soi", "dfs", "hit")}
    before, after = [one.original for one in pieces], [one.replacement for one in pieces]
    domains = [one.found.domain for one in pieces]
    original, new = method.meaning(before), method.meaning(after)
    cosines = (original * new).sum(dim=1)
    hit = torch.zeros(len(pieces))
    for domain in sorted(set(domains)):
        mine = torch.tensor([place for place, name in enumerate(domains) if name == domain])
        known = sorted({*(before[place] for place in mine.tolist()), *(pool or {}).get(domain, ())})
        nearest = _nearest(new[mine], method.meaning(known))
        hit[mine] = torch.tensor(
            [float(known[near] == before[place]) for near, place in zip(nearest, mine.tolist(), strict=True)]
        )
    return {
        "s_leak": (1 - cosines).numpy(),
        "soi": cosines.clamp(0, 1).numpy(),
        "dfs": method.likeness(after, domains).numpy(),
        "hit": hit.numpy(),
    }


def _nearest(rows: Float[Tensor, "n w"], known: Float[Tensor, "k w"]) -> list[int]:
    found: list[int] = (rows @ known.T).argmax(dim=1).tolist()
    return found
