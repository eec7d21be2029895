"""What CLEAR is measured against: no guidance, that of the nearest task, one for all, and that of a wrong task.

All take CLEAR's options, so that guidance comes from the same runs; those that learn nothing stop after reflecting.
Source: the card's baselines; none is the paper's.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from counterpoint.agents.clear import CLEAR
from counterpoint.agents.differ import guidance
from counterpoint.agents.trajectories import Trajectories
from counterpoint.training import Phase


class NoContext(CLEAR):
    """No guidance at all."""

    def phases(self, data: Trajectories) -> Sequence[Phase]:
        """Reflecting alone."""
        return super().phases(data)[:1]

    def advise(self, tasks: Sequence[str]) -> list[str]:
        """Nothing."""
        return [""] * len(tasks)


class Retrieval(NoContext):
    """The guidance of the nearest task whose runs were seen, by the cosine of MiniLM's vectors."""

    def advise(self, tasks: Sequence[str]) -> list[str]:
        """The first guidance of the nearest task."""
        known: dict[str, str] = {row["task"]: row["guidance"] for row in reversed(self.guidance)}

        def nearest(task: str) -> str:
            asked = self.embedder(task)
            return max(known, key=lambda other: float(self.embedder(other) @ asked))

        return [known[nearest(task)] for task in tasks]


class Playbook(NoContext):
    """One guidance for all tasks: what most reflections say."""

    def advise(self, tasks: Sequence[str]) -> list[str]:
        """The most frequent things to do, and of the others the most frequent things to avoid."""
        counts: dict[str, Counter[str]] = {"do": Counter(), "avoid": Counter()}
        for row in self.guidance:
            do, _, avoid = row["guidance"].partition("Avoid:")
            for bank, part in (("do", do.replace("Do:", "")), ("avoid", avoid)):
                counts[bank].update(one.strip() for one in part.strip().rstrip(".").split(";") if one.strip())
        listed = [name for name, _ in counts["do"].most_common()]
        against = [name for name, count in counts["avoid"].most_common() if count > counts["do"][name]]
        good = [name for name in listed if name not in against]
        return [guidance(good, against)] * len(tasks)


class WrongTask(CLEAR):
    """Placebo: the trained model's guidance, each for another of the tasks asked about."""

    def advise(self, tasks: Sequence[str]) -> list[str]:
        """Guidance, moved on by half of the tasks."""
        told: list[Any] = super().advise(tasks)
        half = max(1, len(told) // 2)
        return told[half:] + told[:half]
