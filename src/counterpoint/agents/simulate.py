"""Seeded questions with a known answer, easy enough for a small language model to be right some of the time."""

import numpy as np

from counterpoint.agents.questions import Questions

UNITS = (("feet", "inches", 12), ("hours", "minutes", 60), ("weeks", "days", 7), ("meters", "centimeters", 100))
MORE = (("minutes", "seconds", 60), ("dozen eggs", "eggs", 12), ("years", "months", 12), ("kilograms", "grams", 1000))


def units(rows: int, seed: int) -> Questions:
    """How many small units are some large ones; a question may be asked more than once.

    >>> units(1, 0).texts[0], units(1, 0).answers[0]
    ('How many months are 7 years?', '84')
    """
    random = np.random.default_rng(seed)
    texts, answers = [], []
    for _ in range(rows):
        large, small, factor = (*UNITS, *MORE)[int(random.integers(len(UNITS) + len(MORE)))]
        count = int(random.integers(2, 10))
        texts.append(f"How many {small} are {count} {large}?")
        answers.append(str(count * factor))
    return Questions.of(texts, answers, source=f"units({rows}, {seed})")


def plus(rows: int, seed: int) -> Questions:
    """The sum of two numbers from 2 to 29.

    >>> plus(1, 0).texts[0], plus(1, 0).answers[0]
    ('What is 25 + 19?', '44')
    """
    numbers = np.random.default_rng(seed).integers(2, 30, size=(rows, 2)).tolist()
    return Questions.of(
        [f"What is {a} + {b}?" for a, b in numbers], [str(a + b) for a, b in numbers], source=f"plus({rows}, {seed})"
    )


def larger(rows: int, seed: int) -> Questions:
    """Which of two numbers is larger."""
    numbers = [
        row for row in np.random.default_rng(seed).integers(10, 100, size=(2 * rows, 2)).tolist() if row[0] != row[1]
    ]
    pairs = numbers[:rows]
    return Questions.of(
        [f"Which number is larger, {a} or {b}?" for a, b in pairs],
        [str(max(pair)) for pair in pairs],
        [[str(a), str(b)] for a, b in pairs],
        source=f"larger({rows}, {seed})",
    )
