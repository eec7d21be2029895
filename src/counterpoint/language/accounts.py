"""What calls cost."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from time import perf_counter

from counterpoint.language.chat import Ask, ChatModel, Failure, Reply


@dataclass
class Accounts:
    """A model that keeps count of calls, tokens, failures and seconds; prices are per million tokens.

    >>> class Echo:
    ...     name = "echo"
    ...     def answer(self, asked):
    ...         return [Reply(one.messages[-1].text, None, 3, 1) for one in asked]
    >>> model = Accounts(Echo(), price_in=2.0, price_out=10.0)
    >>> _ = model.answer([Ask.of("a"), Ask.of("b")])
    >>> model.calls, model.prompt_tokens, model.cost
    (2, 6, 3.2e-05)
    """

    model: ChatModel
    price_in: float | None = None
    price_out: float | None = None
    name: str = field(init=False)
    calls: int = 0
    failures: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0

    def __post_init__(self) -> None:
        self.name = self.model.name

    def answer(self, asked: Sequence[Ask]) -> list[Reply | Failure]:
        """The model's answers, counted."""
        before = perf_counter()
        replies = self.model.answer(asked)
        self.seconds += perf_counter() - before
        self.calls += len(replies)
        for reply in replies:
            if isinstance(reply, Failure):
                self.failures += 1
            else:
                self.prompt_tokens += reply.prompt_tokens
                self.completion_tokens += reply.completion_tokens
        return replies

    @property
    def cost(self) -> float | None:
        """What the tokens cost, in the unit of the prices; None without prices."""
        if self.price_in is None or self.price_out is None:
            return None
        return (self.prompt_tokens * self.price_in + self.completion_tokens * self.price_out) / 1e6

    def told(self) -> dict[str, float | int | None]:
        """All counts."""
        named = ("calls", "failures", "prompt_tokens", "completion_tokens", "seconds", "cost")
        return {name: getattr(self, name) for name in named}
