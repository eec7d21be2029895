"""What is asked of a language model and what comes back, whoever answers."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol, runtime_checkable

FLOOR = -100.0
"""The least log-probability of a token that a perplexity counts (arXiv 2604.13552, released code)."""


@dataclass(frozen=True)
class Message:
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    text: str


@dataclass(frozen=True)
class Sampling:
    """How an answer is drawn: `temperature` 0 takes the likeliest token; `seed` tells draws of one prompt apart.

    `top_k` 0 and `top_p` 1 leave out nothing; `max_tokens` ends an answer; so does a text of `stop`.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    max_tokens: int = 256
    seed: int = 0
    stop: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not (self.temperature >= 0 and 0 < self.top_p <= 1 and self.top_k >= 0 and self.max_tokens > 0):
            raise ValueError(f"temperature >= 0, 0 < top_p <= 1, top_k >= 0 and max_tokens > 0, not {self}")


@dataclass(frozen=True)
class Ask:
    """A conversation to be continued.

    >>> Ask.of("Two words?").key("model") == Ask.of("Two words?").key("model")
    True
    """

    messages: tuple[Message, ...]
    sampling: Sampling = Sampling()

    @classmethod
    def of(cls, user: str, system: str | None = None, **sampling: Any) -> "Ask":
        """One text of a user, perhaps after a system text."""
        before = () if system is None else (Message("system", system),)
        return cls((*before, Message("user", user)), Sampling(**sampling))

    def key(self, model: str) -> str:
        """All that an answer depends on, as JSON."""
        return json.dumps({"model": model, **asdict(self)}, sort_keys=True, ensure_ascii=False)


@dataclass(frozen=True)
class Reply:
    """An answer: its text, the log-probability of each of its tokens (None where the model does not tell), its cost."""

    text: str
    logprobs: tuple[float, ...] | None
    prompt_tokens: int
    completion_tokens: int
    finish: str = "stop"
    """Why it ended: "stop", or "length" when `max_tokens` cut it."""


@dataclass(frozen=True)
class Failure:
    """No answer, after all attempts; says why in one line.

    `lasting` when asking again will not help, such as for a conversation that is longer than the model's context.
    """

    why: str
    lasting: bool = False


@runtime_checkable
class ChatModel(Protocol):
    """Whoever answers. `name` says all that tells it from other models."""

    name: str

    def answer(self, asked: Sequence[Ask]) -> list[Reply | Failure]:
        """An answer to each, in order; what cannot be answered is a `Failure`, never an exception of the network.

        Raises `UserError` for what no further attempt mends: a wrong key, an unknown model.
        """
        ...


def perplexity(reply: Reply) -> float:
    """exp of the mean negative log-probability of an answer's tokens; infinite where there are none.

    Source: arXiv 2604.13552, the released scoring.

    >>> perplexity(Reply("a b", (math.log(0.5), math.log(0.5)), 1, 2))
    2.0
    """
    if not reply.logprobs:
        return math.inf
    return math.exp(-sum(max(one, FLOOR) for one in reply.logprobs) / len(reply.logprobs))
