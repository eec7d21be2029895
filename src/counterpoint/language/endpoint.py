"""Any OpenAI-compatible endpoint (vLLM, llama.cpp's server, Ollama, ...), through the official client."""

import json
import os
import random
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from counterpoint.errors import UserError, need
from counterpoint.language.chat import Ask, Failure, Reply

KEY = "OPENAI_API_KEY"
"""The environment variable that holds the key; it is read when a call is made and written nowhere."""
LONGEST_WAIT = 30.0


class Endpoint:
    """A model behind an address; up to `concurrency` calls run at once.

    A call that is late (`timeout` seconds), refused for its rate, broken or answered with junk is tried `attempts`
    times in all, after 0.5, 1, 2, ... seconds or as long as the server asks; then it is a `Failure`. A wrong key, an
    unknown model or a bad request raises `UserError` at once. Without a key in OPENAI_API_KEY a placeholder is sent,
    which local servers accept. `wait` is `time.sleep`, or a test's.
    """

    def __init__(
        self,
        model: str,
        address: str,
        *,
        concurrency: int = 8,
        attempts: int = 4,
        timeout: float = 60.0,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        self.name, self.model = f"{address}#{model}", model
        self.attempts, self.concurrency, self.wait = attempts, concurrency, wait
        self.openai: Any = need("openai", "agents")
        key = os.environ.get(KEY) or "none"
        self.client = self.openai.OpenAI(base_url=address, api_key=key, timeout=timeout, max_retries=0)

    def answer(self, asked: Sequence[Ask]) -> list[Reply | Failure]:
        """Answers in order, several at a time."""
        if len(asked) == 1:
            return [self._one(asked[0])]
        with ThreadPoolExecutor(max(1, min(self.concurrency, len(asked)))) as pool:
            return list(pool.map(self._one, asked))

    def _one(self, asked: Ask) -> Reply | Failure:
        last: Exception | None = None
        for attempt in range(self.attempts):
            if last is not None:
                self.wait(_pause(attempt, last))
            try:
                return _reply(self.client.chat.completions.create(**self._arguments(asked)))
            except (self.openai.AuthenticationError, self.openai.PermissionDeniedError):
                raise UserError(f"{self.name} refuses the key; set {KEY} to the right one") from None
            except (self.openai.NotFoundError, self.openai.BadRequestError, self.openai.UnprocessableEntityError) as e:
                raise UserError(f"{self.name} refuses the request: {_line(e)}") from None
            except (self.openai.OpenAIError, json.JSONDecodeError, _JunkError) as error:
                last = error
        return Failure(f"{self.name}: no answer in {self.attempts} attempts; the last: {_line(last)}")

    def _arguments(self, asked: Ask) -> dict[str, Any]:
        sampling = asked.sampling
        return {
            "model": self.model,
            "messages": [{"role": message.role, "content": message.text} for message in asked.messages],
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_tokens": sampling.max_tokens,
            "seed": sampling.seed,
            "logprobs": True,
            **({"stop": list(sampling.stop)} if sampling.stop else {}),
            # Not part of OpenAI's own interface; the local servers take it.
            **({"extra_body": {"top_k": sampling.top_k}} if sampling.top_k else {}),
        }


def _pause(attempt: int, error: Exception) -> float:
    """Seconds until the next attempt: twice as long each time, or what the server asks for."""
    asked = str(getattr(getattr(error, "response", None), "headers", {}).get("retry-after", ""))
    least = float(asked) if asked.replace(".", "", 1).isdigit() else 0.0
    return float(min(LONGEST_WAIT, max(least, 0.5 * 2 ** (attempt - 1) * (1 + 0.1 * random.random()))))


class _JunkError(Exception):
    """An answer that is none."""


def _reply(found: Any) -> Reply:
    try:
        choice = found.choices[0]
        text, usage = choice.message.content, found.usage
    except (AttributeError, IndexError, TypeError):
        raise _JunkError("an answer without a choice") from None
    if not isinstance(text, str):
        raise _JunkError("an answer without a text")
    content = getattr(choice.logprobs, "content", None)
    logprobs = None if content is None else tuple(float(token.logprob) for token in content)
    counted = (usage.prompt_tokens, usage.completion_tokens) if usage else (0, len(logprobs or ()))
    return Reply(text, logprobs, counted[0], counted[1], choice.finish_reason or "stop")


def _line(error: Exception | None) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]
