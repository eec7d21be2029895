"""Language models that answer by a script, for tests alone."""

import hashlib
import re
from collections.abc import Callable, Sequence

import numpy as np

from counterpoint.agents import environment
from counterpoint.agents.questions import Questions
from counterpoint.agents.trajectories import Trajectories
from counterpoint.language import Ask, Failure, Reply, register

Said = tuple[str, float] | Failure


class Scripted:
    """Answers by a function of what is asked: a text and the log-probability of each of its two tokens."""

    def __init__(self, say: Callable[[Ask], Said], name: str = "scripted") -> None:
        self.say, self.name = say, name
        self.asked: list[Ask] = []

    def answer(self, asked: Sequence[Ask]) -> list[Reply | Failure]:
        self.asked += asked
        found: list[Reply | Failure] = []
        for one in asked:
            said = self.say(one)
            found.append(said if isinstance(said, Failure) else Reply(said[0], (said[1], said[1]), 10, 2))
        return found


def role(ask: Ask) -> str:
    """Who is asked, by the prompt."""
    first = ask.messages[0].text
    for name, mark in (
        ("tutor", "<variants>"),
        ("paraphrase", "nothing but the new question"),
        ("positive", "made the answer good"),
        ("negative", "error of the bad answer"),
        ("teacher", "You answer questions"),
        ("reflector", "two runs"),
    ):
        if mark in first:
            return name
    return "student"


def dice(ask: Ask, name: str) -> int:
    """A number that depends on all that is asked."""
    return int.from_bytes(hashlib.blake2b(ask.key(name).encode(), digest_size=6).digest(), "big")


def careless(name: str) -> Scripted:
    """Adds two numbers, wrongly one time in three, and writes rules of a few words."""

    def say(ask: Ask) -> Said:
        thrown, who = dice(ask, name), role(ask)
        sure = -0.05 - (thrown % 97) / 100
        numbers = [int(one) for one in re.findall(r"\d+", ask.messages[-1].text)[:2]]
        if who == "tutor":
            lines = [
                f"<variant><text>sum {numbers[0]} and {numbers[1]}, word{thrown % 9 + n}</text>"
                f"<probability>0.{(thrown >> n) % 9}</probability></variant>"
                for n in range(6)
            ]
            return "<variants>" + "".join(lines), sure
        if who == "paraphrase":
            return f"sum {numbers[0]} and {numbers[1]}, word{thrown % 9}", sure
        if who == "reflector":
            return f"Do: word{thrown % 5}; word{thrown % 7}. Avoid: word{thrown % 3}.", sure
        if who in ("positive", "negative"):
            return f"word{thrown % 4} word{thrown // 7 % 3}", sure
        return f"word{thrown % 5} so. Answer: {sum(numbers) + (thrown % 3 == 0) * (thrown % 2 + 1)}", sure

    return Scripted(say, name)


def register_all() -> None:
    """Let the careless models be opened by name."""
    for name in ("careless", "careless-too"):
        register(name, lambda name=name: careless(name))


def sums(rows: int, seed: int, complete: bool = False) -> Questions:
    """Sums of two numbers; unless complete, some without an answer."""
    numbers = np.random.default_rng(seed).integers(1, 90, size=(rows, 2))
    texts = [f"What is {a} + {b}? word{n} word{(a + b) % 7}" for n, (a, b) in enumerate(numbers)]
    answers: list[str | None] = [str(a + b) for a, b in numbers]
    if not complete:
        answers[2::5] = [None] * len(answers[2::5])
    return Questions.of(texts, answers)


def attempts(rows: int, seed: int, complete: bool = False) -> Trajectories:
    """Four runs of each of some tasks in the text world; unless complete, some tasks ended all alike."""
    chosen = environment.templates()
    start = 7 * seed % len(chosen)
    made = environment.runs([chosen[(start + 3 * n) % len(chosen)] for n in range(-(-rows // 4))], 1, 4, seed)
    outcomes = made.outcomes[:rows].copy()
    places = np.arange(rows)
    if complete:
        outcomes += (places % 4) * 1e-3
    else:
        outcomes[(places // 4) % 5 == 1] = 1.0
    return Trajectories.of(
        made.tasks[:rows].tolist(),
        made.steps[:rows],
        outcomes.tolist(),
        columns={"template": made.columns["template"][:rows]},
    )


register_all()
