"""Seeded questions with a known answer, easy enough for a small language model to be right about half of the time."""

from datetime import date, timedelta

import numpy as np

from counterpoint.agents.questions import Questions

UNITS = (("feet", "inches", 12), ("hours", "minutes", 60), ("weeks", "days", 7), ("meters", "centimeters", 100))
MORE = (("minutes", "seconds", 60), ("dozen eggs", "eggs", 12), ("years", "months", 12), ("kilograms", "grams", 1000))
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def units(rows: int, seed: int) -> Questions:
    """How many small units are some large ones and a few small ones.

    >>> units(1, 0).texts[0], units(1, 0).answers[0]
    ('How many grams are 6 kilograms?', '6000')
    """
    random = np.random.default_rng(seed)
    texts, answers = [], []
    for _ in range(rows):
        large, small, factor = (*UNITS, *MORE)[int(random.integers(len(UNITS) + len(MORE)))]
        count = int(random.integers(2, 10))
        texts.append(f"How many {small} are {count} {large}?")
        answers.append(str(count * factor))
    return Questions.of(texts, answers, source=f"units({rows}, {seed})")


def weekdays(rows: int, seed: int) -> Questions:
    """Which day of the week it is some days before or after another.

    >>> weekdays(1, 0).texts[0]
    'Today is Saturday. Which day of the week is it in 4 days?'
    """
    random = np.random.default_rng(seed)
    texts, answers = [], []
    for _ in range(rows):
        day, step = int(random.integers(7)), int(random.integers(1, 5))
        texts.append(f"Today is {DAYS[day]}. Which day of the week is it in {step} day{'s' * (step > 1)}?")
        answers.append(DAYS[(day + step) % 7])
    return Questions.of(texts, answers, [DAYS] * rows, source=f"weekdays({rows}, {seed})")


def sums(rows: int, seed: int) -> Questions:
    """A thing bought some times, and another: what both cost together."""
    random = np.random.default_rng(seed)
    things = ("pen", "cup", "book", "lamp", "cake", "ball", "hat", "key")
    texts, answers = [], []
    for _ in range(rows):
        first, second = random.permutation(len(things))[:2]
        count, price, other = (int(random.integers(low, high)) for low, high in ((2, 6), (2, 10), (1, 10)))
        texts.append(
            f"A {things[first]} costs ${price} and a {things[second]} costs ${other}. "
            f"What do {count} {things[first]}s and one {things[second]} cost?"
        )
        answers.append(str(count * price + other))
    return Questions.of(texts, answers, source=f"sums({rows}, {seed})")


def later(rows: int, seed: int) -> Questions:
    """Which date it is some days after another."""
    random = np.random.default_rng(seed)
    texts, answers = [], []
    for _ in range(rows):
        start = date(2023, int(random.integers(1, 13)), int(random.integers(1, 28)))
        step = int(random.integers(1, 8))
        end = start + timedelta(days=step)
        texts.append(f"Which date is {step} days after {start:%B} {start.day}?")
        answers.append(f"{end:%B} {end.day}")
    return Questions.of(texts, answers, source=f"later({rows}, {seed})")
