"""The exponential mechanism, what it spends, and what exactly that guarantees."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from counterpoint.errors import UserError

PLACEHOLDER = "[removed]"
"""What stands for a span that could not be rewritten; always the same, so it says nothing of the span."""


class Randomness:
    """Uniform numbers in [0, 1): the operating system's, or, from a seed, the same again.

    Whoever knows the seed can undo the draws, so seeds are for tests and repetition alone.

    >>> Randomness(3).uniform(2).tolist() == Randomness(3).uniform(2).tolist()
    True
    """

    def __init__(self, seed: int | None = None) -> None:
        self.seeded = seed is not None
        self._own = None if seed is None else np.random.Generator(np.random.PCG64(seed))

    def uniform(self, number: int) -> Float[np.ndarray, " n"]:
        """So many numbers, each with 53 random bits."""
        if self._own is not None:
            return self._own.random(number)
        bits = np.frombuffer(os.urandom(8 * number), dtype=np.uint64) >> np.uint64(11)
        return bits.astype(np.float64) * 2.0**-53


def check_epsilon(epsilon: float) -> None:
    """Raise `UserError` unless a budget is a finite number above 0."""
    if not 0 < epsilon < float("inf"):
        raise UserError(
            f"epsilon={epsilon:g} must be a number above 0, such as 3: the budget spent on each private span"
        )


def exponential(
    utility: Float[np.ndarray, "n v"],
    low: float,
    high: float,
    epsilon: float,
    prior: Float[np.ndarray, " v"] | None = None,
) -> Float[np.ndarray, "n v"]:
    """Chances of each of v outcomes for n inputs: proportional to prior exp(epsilon u / (2 (high - low))).

    The utility is clipped to [low, high], so no two inputs differ by more than high - low in it, and for any two of
    them the chances of any outcome differ by a factor of e^epsilon at most. `prior` must not depend on the inputs. With
    a single token of a language model this is sampling at temperature 2 (high - low) / epsilon from clipped logits.
    Source: McSherry and Talwar 2007, theorem 6; arXiv 2604.10145's code, its temperature with n = 1.

    >>> chances = exponential(np.array([[0.0, 9.0], [1.0, 0.0]]), 0.0, 1.0, epsilon=2.0)
    >>> bool((chances[0] / chances[1] <= np.exp(2.0)).all()), chances.round(3).tolist()
    (True, [[0.269, 0.731], [0.731, 0.269]])
    """
    check_epsilon(epsilon)
    if not high > low:
        raise ValueError(f"the utility's range must not be empty: {low} to {high}")
    scaled = epsilon * (np.clip(utility.astype(np.float64), low, high) - low) / (2 * (high - low))
    weights = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    weights = weights if prior is None else weights * prior
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def drawn(chances: Float[np.ndarray, "n v"], randomness: Randomness) -> Int[np.ndarray, " n"]:
    """One outcome per row, by the inverse of its cumulated chances."""
    places = randomness.uniform(len(chances)) * (cumulated := chances.cumsum(axis=1))[:, -1]
    found = (cumulated <= places[:, None]).sum(axis=1)
    return np.asarray(np.minimum(found, chances.shape[1] - 1))


@dataclass(frozen=True)
class Budget:
    """What one text cost: spans found, how many were drawn anew, how many got the placeholder.

    `epsilon` was spent on each span, in `draws` draws of epsilon / draws each.
    """

    epsilon: float
    spans: int
    drawn: int
    placeholders: int
    draws: int

    @property
    def total(self) -> float:
        """The epsilon of all spans together, by sequential composition.

        Spans with the placeholder count, since draws may have come before it: an upper bound.
        """
        return self.epsilon * self.spans

    def told(self) -> dict[str, float | int]:
        """As JSON."""
        return {
            "epsilon_per_span": self.epsilon,
            "draws_per_span": self.draws,
            "epsilon_per_draw": self.epsilon / self.draws,
            "spans": self.spans,
            "drawn": self.drawn,
            "placeholders": self.placeholders,
            "epsilon_total": self.total,
        }


def statement(
    budgets: Sequence[Budget], mechanism: str, outcomes: int, recalls: Mapping[str, float | None], seeded: bool
) -> list[str]:
    """What is guaranteed and what is not, a sentence or two each; `mechanism` says what was drawn from."""
    spans, drawn_, lost = (sum(getattr(one, name) for one in budgets) for name in ("spans", "drawn", "placeholders"))
    one = budgets[0] if budgets else None
    epsilon, draws = (one.epsilon, one.draws) if one else (0.0, 1)
    most = max((budget.total for budget in budgets), default=0.0)
    each = f"{draws} draw{'s' if draws > 1 else ''} of epsilon {epsilon / draws:g}"
    known = ", ".join(f"{name} {100 * value:.0f} %" for name, value in recalls.items() if value is not None)
    said = [
        f"Guaranteed: {mechanism}. Each replacement is {each} by the exponential mechanism over {outcomes} fixed "
        f"outcomes, {epsilon:g} in all. For two texts that are found alike (as many spans, same order, same domain) "
        f"and differ in the words of one, no replacement is more than e^{epsilon:g} times as likely for one as for the "
        "other.",
        f"Spent: {drawn_} of {spans} found spans were drawn anew, {lost} have the placeholder {PLACEHOLDER}; the most "
        f"for one text is epsilon {most:g}, the sum over its spans, which is what bounds somebody who knows that they "
        "belong together.",
        "Not guaranteed: everything outside the found spans is passed on as it was, private words that were not found "
        "included. "
        + (
            f"Of the private spans of held-out texts were found: {known}."
            if known
            else "How many are missed is not known."
        ),
        "Not guaranteed: the number of spans, their places and the domain are seen, and depend on the text; finding "
        "them is not private. What stands around a span may give it away.",
        "Not guaranteed: by chance a replacement can equal the original; refusing that would tell something. The "
        "encoder, prototypes and preferences were learned from the training spans without differential privacy.",
        "The guarantee is of the mechanism in exact arithmetic; chances are 64-bit floating-point numbers.",
    ]
    if seeded:
        said.append(
            "No guarantee against anybody who knows the seed: draws were made from it, not from secret randomness."
        )
    return said
