"""Proposals from a fixed public list of words or phrases: no language model, or one that never sees the span."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from counterpoint.errors import UserError
from counterpoint.language import Ask, ChatModel, Failure, Prompt
from counterpoint.pretrained.texts import TextEncoder
from counterpoint.text.private.privacy import Randomness, drawn, exponential

WORDS = 4000
"""Words of the public list: the commonest of WordLlama's tokens that are whole words of three letters or more."""
MOST = 100_000
PHRASES = 60
"""Phrases that an endpoint is asked for, once per domain."""
LONGEST = 60


@lru_cache(maxsize=1)
def static_encoder() -> TextEncoder:
    """WordLlama's word vectors, read once."""
    return TextEncoder.from_source("static").eval()


@lru_cache(maxsize=1)
def public_words() -> tuple[str, ...]:
    """The fixed vocabulary, the same for everybody and every run: lower-case words, the commonest first."""
    known = static_encoder().tokeniser.tokenizer.get_vocab()
    whole = sorted(
        (number, token[1:])
        for token, number in known.items()
        if token.startswith("▁")
        and len(token) > 3
        and token[1:].isascii()
        and token[1:].isalpha()
        and token[1:].islower()
    )
    return tuple(word for _, word in whole[:WORDS])


def read_vocabulary(path: Path) -> list[str]:
    """A public list of replacements, one per line; raises `UserError` for a list that is none."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as a list of words ({error})") from None
    words = list(dict.fromkeys(line.strip() for line in lines if line.strip()))
    if not 2 <= len(words) <= MOST:
        raise UserError(f"{path}: holds {len(words)} different words; a vocabulary has 2 to {MOST:,}, one per line")
    return words


class Words:
    """The exponential mechanism over a list of words: the utility is the cosine of meaning, clipped to [0, 1].

    Its range is 1 whatever the span is, which is the sensitivity. `length` words are drawn for a span, each with
    epsilon / length; the number is fixed, so it tells nothing of the span's. `uniform` draws without looking at the
    span, which costs no budget and is what the mechanism must beat.
    """

    mechanism = "words of a public list are drawn by the likeness of their meaning to the span's"

    def __init__(self, words: Sequence[str] | None = None, length: int | None = None, uniform: bool = False) -> None:
        self.words = public_words() if words is None else tuple(words)
        self.draws = 1 if length is None else length
        self.uniform, self.name, self.outcomes = uniform, "words", len(self.words)
        self._known: Tensor | None = None

    @property
    def known(self) -> Float[Tensor, "v w"]:
        """The unit vectors of the list."""
        if self._known is None:
            self._known = static_encoder().encode(list(self.words))
        return self._known

    def utility(self, spans: Sequence[str]) -> Float[np.ndarray, "n v"]:
        """Cosines of spans with the list."""
        if self.uniform:
            return np.zeros((len(spans), len(self.words)))
        return (static_encoder().encode(spans) @ self.known.T).double().numpy()

    def propose(
        self, spans: Sequence[str], domains: Sequence[str], epsilon: float, randomness: Randomness
    ) -> list[str | None]:
        """A replacement for each span."""
        if not spans:
            return []
        chances = exponential(self.utility(spans), 0.0, 1.0, epsilon / self.draws)
        found = [drawn(chances, randomness) for _ in range(self.draws)]
        return [" ".join(self.words[place] for place in row) for row in zip(*found, strict=True)]


class Asked:
    """Phrases that a language model is asked for by the domain alone, then drawn by the exponential mechanism here.

    The model is never shown a span or a text, so nothing is disclosed to it. How likely it finds a phrase (its mean
    log-probability per token, where it tells one) is the phrase's prior: that does not depend on any span, so the
    guarantee is the one of `Words` over a smaller list. Where the model gives no phrases, nothing is proposed.
    """

    mechanism = (
        "phrases that a language model gave for the domain, without seeing the text, are drawn by the likeness of "
        "their meaning to the span's"
    )

    def __init__(self, model: ChatModel) -> None:
        self.model, self.name, self.draws = model, model.name, 1
        self._lists: dict[str, tuple[Words, np.ndarray] | None] = {}
        self.why = ""

    @property
    def outcomes(self) -> int:
        """The longest list so far."""
        return max((made[0].outcomes for made in self._lists.values() if made is not None), default=0)

    def propose(
        self, spans: Sequence[str], domains: Sequence[str], epsilon: float, randomness: Randomness
    ) -> list[str | None]:
        """A replacement for each span; None for all of a domain whose phrases could not be had."""
        found: list[str | None] = [None] * len(spans)
        for domain in sorted(set(domains)):
            made = self._list(domain)
            mine = [place for place, name in enumerate(domains) if name == domain]
            if made is None:
                continue
            words, prior = made
            chances = exponential(words.utility([spans[place] for place in mine]), 0.0, 1.0, epsilon, prior)
            for place, chosen in zip(mine, drawn(chances, randomness).tolist(), strict=True):
                found[place] = words.words[chosen]
        return found

    def _list(self, domain: str) -> tuple[Words, np.ndarray] | None:
        """The phrases of a domain with their priors, asked for once."""
        if domain not in self._lists:
            prompt = Prompt.of("counterpoint.text", "public_phrases").filled(domain=domain, number=str(PHRASES))
            asks = [Ask.of(prompt, temperature=1.0, max_tokens=400, seed=seed) for seed in range(4)]
            replies = self.model.answer(asks)
            kept: dict[str, float] = {}
            for reply in replies:
                if isinstance(reply, Failure):
                    self.why = reply.why
                    continue
                sure = float(np.mean(reply.logprobs)) if reply.logprobs else 0.0
                for line in reply.text.splitlines():
                    phrase = line.strip(" \t-*•.0123456789)\"'")
                    if 0 < len(phrase) <= LONGEST and len(phrase.split()) <= 4:
                        kept[phrase] = max(sure, kept.get(phrase, -np.inf))
            prior = np.exp(np.array(list(kept.values())))
            self._lists[domain] = (Words(list(kept)), prior / prior.sum()) if len(kept) > 1 else None
            self.why = self.why or "too few phrases in its answers"
        return self._lists[domain]


def metric_private(texts: Sequence[str], epsilon: float, randomness: Randomness) -> list[str]:
    """Every word of texts replaced by the public word nearest to its vector with noise: what is to be compared with.

    The noise has density proportional to exp(-epsilon |z|): metric differential privacy, not the kind above; words
    without a vector stand as they are nowhere, they are drawn from noise alone. Source: arXiv 1910.08902, algorithm 1,
    with WordLlama's vectors at length 1.
    """
    words, known = public_words(), static_encoder().encode(list(public_words()))
    made = []
    for text in texts:
        pieces = text.split()
        if not pieces:
            made.append(text)
            continue
        vectors = static_encoder().encode(pieces).double().numpy()
        noise = _noise(len(pieces), vectors.shape[1], epsilon, randomness)
        near = torch.cdist(torch.from_numpy(vectors + noise), normalize(known, dim=1).double()).argmin(dim=1)
        made.append(" ".join(words[place] for place in near.tolist()))
    return made


def _noise(n: int, width: int, epsilon: float, randomness: Randomness) -> Float[np.ndarray, "n w"]:
    """Directions at random, lengths of a gamma distribution (width, 1 / epsilon)."""
    seed = (randomness.uniform(4) * 2**32).astype(np.uint32)
    generator = np.random.Generator(np.random.PCG64(seed))
    directions = generator.normal(size=(n, width))
    lengths = generator.gamma(width, 1 / epsilon, size=(n, 1))
    return np.asarray(directions / np.linalg.norm(directions, axis=1, keepdims=True) * lengths)
