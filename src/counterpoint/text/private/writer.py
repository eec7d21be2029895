"""A causal language model that rewrites one span at a time: sampled, drawn from privately, tuned on preferences."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from counterpoint.errors import UserError
from counterpoint.language import Prompt
from counterpoint.language.local import read_causal
from counterpoint.pretrained.lowrank import borrow
from counterpoint.pretrained.source import weights_hash
from counterpoint.text.private.privacy import Randomness, drawn, exponential

TOKENS = 6
"""Tokens of a replacement at most, whatever the span's length: what the budget of a span is divided by."""
PROMPTED = 48
"""Tokens of a span that the model is shown."""
BATCH = 16
PUBLIC = (
    "a headache", "the county court", "John Smith", "42 years old", "Main Street", "high blood pressure", "a blue car",
    "the defendant", "Monday morning", "a large company", "two children", "the hospital", "breach of contract",
    "New York", "a broken arm", "my sister",
)  # fmt: skip
"""Phrases of nobody, from which the range of logits is measured."""
ALLOWED = r"[A-Za-z \-]+"
"""What a token of the fixed vocabulary is made of."""
Choose = Callable[[Float[Tensor, "n v"], list[list[int]]], Int[Tensor, " n"]]


class SpanWriter(nn.Module):
    """A borrowed model with low-rank updates of all its linear layers but the head.

    `low` and `high` are where logits are clipped: the median and the largest of the allowed tokens' logits at the first
    place, over sixteen public phrases, by the model as it was. They depend on nothing private.
    """

    low: Tensor
    high: Tensor

    def __init__(self, facts: dict[str, Any], rank: int, dropout: float) -> None:
        super().__init__()
        tokenizer, network = read_causal(facts["source"])
        if weights_hash(network.state_dict()) != facts["hash"]:
            raise UserError(f'model "{facts["source"]}" is not the one that was fitted: its weights differ; restore it')
        self.tokenizer, self.network = tokenizer, network
        self.end = int(tokenizer.eos_token_id)
        self.prompt = Prompt.of("counterpoint.text", "rewrite_span")
        head = network.get_output_embeddings()
        network.set_output_embeddings(nn.Identity())  # no update beside the head
        borrow(network, rank, facts["source"], dropout=dropout)
        network.set_output_embeddings(head)
        if head is not None:
            head.requires_grad_(False)
            head.borrowed = facts["source"]
        self.allowed = self._allowed(network.config.vocab_size)
        if int(self.allowed.sum()) < 3:
            raise UserError(f'model "{facts["source"]}" has no tokens of plain letters to rewrite with; use another')
        low, high = self._range()
        self.register_buffer("low", torch.tensor(low))
        self.register_buffer("high", torch.tensor(high))

    @classmethod
    def measure(cls, source: str) -> dict[str, Any]:
        """What a run says of its model; raises `UserError` when it cannot be read."""
        _, network = read_causal(source)
        return {"source": source, "hash": weights_hash(network.state_dict())}

    def _allowed(self, size: int) -> Bool[Tensor, " v"]:
        """The fixed vocabulary: tokens of ASCII letters, spaces and hyphens, and the end."""
        import re

        known = min(size, len(self.tokenizer))
        texts = self.tokenizer.batch_decode([[number] for number in range(known)])
        fits = [bool(re.fullmatch(ALLOWED, text)) for text in texts]
        special = set(self.tokenizer.all_special_ids)
        kept = torch.tensor([fit and place not in special for place, fit in enumerate(fits)] + [False] * (size - known))
        kept[self.end] = True
        return kept

    def _range(self) -> tuple[float, float]:
        prompts = [self.encode(phrase, "text") for phrase in PUBLIC]
        seen: list[Tensor] = []

        def look(logits: Float[Tensor, "n v"], made: list[list[int]]) -> Int[Tensor, " n"]:
            seen.append(logits[:, self.allowed])
            return logits.argmax(dim=1)

        self.eval()
        self.write(prompts, 1, look)
        values = torch.cat([part.flatten() for part in seen])
        return float(values.median()), float(values.max())

    def encode(self, span: str, domain: str) -> list[int]:
        """The tokens of what the model is asked for one span; of a long span the first 48 are shown."""
        ids = self.tokenizer(span, add_special_tokens=False)["input_ids"]
        shown = self.tokenizer.decode(ids[:PROMPTED], skip_special_tokens=True)
        text = self.prompt.filled(span=shown, domain=domain)
        if self.tokenizer.chat_template is not None:
            turn = [{"role": "user", "content": text}]
            text = self.tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True)
        found: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return found

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token numbers up to the end, in one line."""
        kept = list(ids)[: list(ids).index(self.end)] if self.end in ids else list(ids)
        return " ".join(str(self.tokenizer.decode(kept, skip_special_tokens=True)).split())

    @torch.no_grad()
    def write(self, prompts: Sequence[Sequence[int]], most: int, choose: Choose) -> list[list[int]]:
        """A continuation of each prompt of up to so many tokens; `choose` takes the next one of each row."""
        made: list[list[int]] = []
        for start in range(0, len(prompts), BATCH):
            made += self._together(prompts[start : start + BATCH], most, choose)
        return made

    def _together(self, prompts: Sequence[Sequence[int]], most: int, choose: Choose) -> list[list[int]]:
        device = next(self.parameters()).device
        longest = max(map(len, prompts))
        ids = torch.tensor([[0] * (longest - len(row)) + list(row) for row in prompts], device=device)
        mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in prompts], device=device)
        made: list[list[int]] = [[] for _ in prompts]
        done, state = torch.zeros(len(prompts), dtype=torch.bool, device=device), None
        for _ in range(most):
            place = (mask.cumsum(1) - 1).clamp(min=0)[:, -ids.shape[1] :]
            out = self.network(
                input_ids=ids, attention_mask=mask, position_ids=place, past_key_values=state, use_cache=True
            )
            state = out.past_key_values
            token = choose(out.logits[:, -1], made).masked_fill(done, self.end)
            for row, one in enumerate(token.tolist()):
                if not done[row]:
                    made[row].append(one)
            done |= token == self.end
            if bool(done.all()):
                break
            ids, mask = token[:, None], torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1)
        return made

    def privately(
        self, spans: Sequence[str], domains: Sequence[str], epsilon: float, tokens: int, randomness: Randomness
    ) -> list[str]:
        """A replacement for each span, every token a draw of the exponential mechanism with epsilon / tokens.

        The end is one of the outcomes, so where a replacement ends is drawn, too; no draw is made again.
        """
        allowed = self.allowed.nonzero()[:, 0]
        low, high = float(self.low), float(self.high)

        def draw(logits: Float[Tensor, "n v"], made: list[list[int]]) -> Int[Tensor, " n"]:
            utility = logits[:, allowed.to(logits.device)].double().cpu().numpy()
            chosen = drawn(exponential(utility, low, high, epsilon / tokens), randomness)
            return allowed[torch.from_numpy(np.asarray(chosen))].to(logits.device)

        self.eval()
        prompts = [self.encode(span, domain) for span, domain in zip(spans, domains, strict=True)]
        return [self.decode(ids) for ids in self.write(prompts, tokens, draw)]

    def logprobs(self, prompts: Sequence[Sequence[int]], answers: Sequence[Sequence[int]]) -> Float[Tensor, " n"]:
        """log pi(answer | prompt) of each pair, summed over the answer's tokens."""
        learned = next(p for p in self.parameters() if p.requires_grad)
        if not prompts:
            return learned.new_zeros(0) + 0 * learned.sum()
        rows = [[*prompt, *answer] for prompt, answer in zip(prompts, answers, strict=True)]
        longest = max(map(len, rows))
        ids = torch.tensor([[*row, *[0] * (longest - len(row))] for row in rows], device=learned.device)
        mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows], device=learned.device)
        logits: Tensor = self.network(input_ids=ids, attention_mask=mask, use_cache=False).logits[:, :-1]
        chosen = logits.log_softmax(-1).gather(2, ids[:, 1:, None])[:, :, 0]
        asked = torch.zeros_like(mask[:, 1:])
        for row, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
            asked[row, len(prompt) - 1 : len(prompt) + len(answer) - 1] = 1
        return (chosen * asked).sum(dim=1)


class Written:
    """A rewriting model as a proposer: every token is drawn by the exponential mechanism on clipped logits."""

    def __init__(self, writer: SpanWriter, length: int | None, name: str) -> None:
        self.writer, self.draws, self.name = writer, TOKENS if length is None else length, name
        self.outcomes = int(writer.allowed.sum())
        self.mechanism = f"tokens of the language model {name}, which runs here and sees one span at a time, are drawn"

    def propose(
        self, spans: Sequence[str], domains: Sequence[str], epsilon: float, randomness: Randomness
    ) -> list[str | None]:
        """A replacement for each span; None where nothing was left of the drawn tokens."""
        if not spans:
            return []
        return [text or None for text in self.writer.privately(spans, domains, epsilon, self.draws, randomness)]
