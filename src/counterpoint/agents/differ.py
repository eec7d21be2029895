"""Contrastive reflection: what separates a good run of a task from a bad one, in words, without its constants."""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from counterpoint.agents.trajectories import Step, Trajectories

COMMON = 3
"""Tasks that must hold an action word for word for it to be no constant of one of them."""
LISTED = 8
"""Kinds of steps that guidance lists at most on each side."""


_ARGUMENT = re.compile(r"^[^\[(=:]*[\[(=:]")


@dataclass(frozen=True)
class Pair:
    """A good and a bad run of a task, as rows; `bad` is None where only good ones are looked at."""

    task: str
    good: int
    bad: int | None


def common_actions(data: Trajectories) -> set[str]:
    """Actions that several tasks hold word for word and that name nothing of a task: no digit, no words of its text.

    >>> runs = [[("buy now=yes", ""), (f"get={name}", "")] for name in "abc"]
    >>> common_actions(Trajectories.of(["get a", "get b", "get c"], runs, [1.0] * 3))
    {'buy now=yes'}
    """
    tasks: dict[str, set[str]] = defaultdict(set)
    named: set[str] = set()
    for task, text, run in zip(data.task_ids, data.tasks, data.steps, strict=True):
        plain = _plain(str(text))
        for step in run:
            action = _plain(step.action)
            tasks[action].add(str(task))
            about = _ARGUMENT.sub("", action).strip("])} ")
            if any(letter.isdigit() for letter in about) or (about != action and about in plain):
                named.add(action)
    return {action for action, where in tasks.items() if len(where) >= COMMON and action not in named}


def kind(action: str, common: set[str]) -> str:
    """An action without what is particular to a task: all behind its first bracket, colon or equals sign.

    >>> kind("delete id=17", set()), kind("click[Buy Now]", {"click[buy now]"}), kind("search[red shoes]", set())
    ('delete id=…', 'click[buy now]', 'search[…]')
    """
    text = _plain(action)
    if text in common:
        return text
    found = _ARGUMENT.match(text)
    if not found:
        return re.sub(r"\S*\d\S*", "…", text)
    return found[0] + "…" + {"[": "]", "(": ")"}.get(found[0][-1], "")


def kinds(run: Sequence[Step], common: set[str]) -> list[str]:
    """The kinds of a run's steps, each once, in their order."""
    return list(dict.fromkeys(kind(step.action, common) for step in run))


def pairs(data: Trajectories, rows: Sequence[int], most: int, contrast: bool = True) -> list[Pair]:
    """Good and bad runs of one task, those of the largest difference in outcome first, each run at most once on a side.

    Of equal outcomes the shorter good run comes first. Without a difference there is no pair; `contrast` off gives the
    best runs alone, if they are better than the worst outcome possible, 0.
    """
    order = sorted(rows, key=lambda row: (-data.outcomes[row], len(data.steps[row]), row))
    task = str(data.task_ids[rows[0]])
    if not contrast:
        return [Pair(task, row, None) for row in order[:most] if data.outcomes[row] > 0]
    found: list[Pair] = []
    for good, bad in zip(order, reversed(order), strict=True):
        if len(found) < most and data.outcomes[good] > data.outcomes[bad]:
            found.append(Pair(task, good, bad))
    return found


def borrowed(data: Trajectories, rows: Sequence[int], near: Sequence[int], most: int) -> list[Pair]:
    """A task's best run beside runs of other tasks that ended better or worse, the largest difference first."""
    own = max(rows, key=lambda row: (data.outcomes[row], -row))
    gaps = {row: float(data.outcomes[own] - data.outcomes[row]) for row in near}
    order = sorted((row for row in near if gaps[row]), key=lambda row: -abs(gaps[row]))
    task = str(data.task_ids[own])
    return [Pair(task, *((own, row) if gaps[row] > 0 else (row, own))) for row in order[:most]]


def guidance(do: Iterable[str], avoid: Iterable[str] = ()) -> str:
    """What to do and what to avoid, as one line.

    >>> guidance(["login", "delete id=…"], ["delete name=…"])
    'Do: login; delete id=…. Avoid: delete name=….'
    """
    parts = (("Do", list(do)[:LISTED]), ("Avoid", list(avoid)[:LISTED]))
    return " ".join(f"{head}: {'; '.join(listed)}." for head, listed in parts if listed)


def differ(data: Trajectories, pair: Pair, common: set[str], bare: bool = False) -> str:
    """Guidance from a pair: the steps of the good run, and of the bad one those to avoid, that the good one lacks.

    The reflector is a rule, not a language model: it needs no call and copies no constant. A good run alone gives its
    own steps. `bare` leaves out the steps that both runs have: the difference alone is left, which may be empty.
    Source: a reconstruction; arXiv 2604.07487 compares good and bad runs of a task by an agent that reflects.
    """
    good = kinds(data.steps[pair.good], common)
    bad = [] if pair.bad is None else kinds(data.steps[pair.bad], common)
    do = [one for one in good if one not in bad] if bare else good
    return guidance(do, [one for one in bad if one not in good])


def agreement(text: str, run: Sequence[Step], common: set[str]) -> float:
    """How far a run did as guidance says: the share of what it lists to do that was done, minus that of what to avoid.

    >>> agreement("Do: login; list. Avoid: buy.", [Step("login", ""), Step("buy", "")], set())
    -0.5
    """
    done = set(kinds(run, common))
    do, _, avoid = text.casefold().partition("avoid:")
    found = [re.findall(r"[^;]+", part.replace("do:", "").strip().rstrip(".")) for part in (do, avoid)]
    shares = [float(np.mean([one.strip() in done for one in part])) if part else 0.0 for part in found]
    return shares[0] - shares[1]


def _plain(action: str) -> str:
    return " ".join(action.casefold().split())
