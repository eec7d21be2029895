"""A language model that compares two runs of a task and writes guidance."""

from pathlib import Path

from counterpoint.agents.dialogue import prompt
from counterpoint.agents.differ import Pair
from counterpoint.agents.trajectories import Trajectories
from counterpoint.errors import UserError
from counterpoint.language import Ask, Failure, fenced, open_model

STEP = 200
"""Characters of an observation that the reflector is shown."""
TOKENS = 80


class Reflector:
    """Guidance from a good run against a bad one, written by a language model; runs are shown as data."""

    def __init__(self, model: str, cache: Path | None) -> None:
        self.chat, _ = open_model(model, cache)

    def write(self, data: Trajectories, pair: Pair, common: set[str]) -> str:
        """One line of guidance; raises `UserError` when the model does not answer."""
        shown = [f"Task:\n{fenced(str(data.tasks[pair.good]))}", f"Good run:\n{fenced(_lines(data, pair.good))}"]
        if pair.bad is not None:
            shown.append(f"Bad run:\n{fenced(_lines(data, pair.bad))}")
        (reply,) = self.chat.answer([Ask.of(prompt("reflector").filled(runs="\n".join(shown)), max_tokens=TOKENS)])
        if isinstance(reply, Failure):
            raise UserError(f"{reply.why}; when the model is back, go on with --resume")
        return " ".join(reply.text.split())


def _lines(data: Trajectories, row: int) -> str:
    return "\n".join(f"{step.action} -> {' '.join(step.observation.split())[:STEP]}" for step in data.steps[row])
