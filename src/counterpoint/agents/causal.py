"""A causal language model that is trained: one of its own, or a pretrained one with low-rank updates."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from counterpoint.errors import UserError, need
from counterpoint.language.local import read_causal
from counterpoint.pretrained.lowrank import borrow
from counterpoint.pretrained.source import weights_hash

OWN = "own"
SPECIAL = ("<pad>", "<end>", "<unknown>", "<then>")
_WORD = re.compile(r"\w+|[^\w\s]")


@dataclass(frozen=True)
class Sequences:
    """Token numbers filled up to t, which of them are tokens, and which are to be predicted."""

    ids: Int[Tensor, "n t"]
    mask: Bool[Tensor, "n t"]
    target: Bool[Tensor, "n t"]

    def to(self, device: Any) -> "Sequences":
        """The same elsewhere."""
        return Sequences(self.ids.to(device), self.mask.to(device), self.target.to(device))


class Words:
    """Words and signs by number: the tokenizer of a model of its own."""

    def __init__(self, words: Sequence[str]) -> None:
        self.words = (*SPECIAL, *words)
        self.number = {word: place for place, word in enumerate(self.words)}

    @classmethod
    def found_in(cls, texts: Sequence[str]) -> list[str]:
        """The words of texts that occur twice or more, in the order of the alphabet."""
        counts = Counter(word for text in texts for word in _WORD.findall(text.casefold()))
        return sorted(word for word, count in counts.items() if count > 1)

    def encode(self, text: str) -> list[int]:
        """Numbers of a text's words; those that are not known are all alike."""
        return [self.number.get(word, 2) for word in _WORD.findall(text.casefold())]

    def decode(self, ids: Sequence[int]) -> str:
        """Words with spaces between, signs as they are mostly written."""
        text = " ".join(self.words[one] for one in ids if one >= len(SPECIAL))
        text = re.sub(r"\s+([.,;:=…\])\[(])", r"\1", text)
        return re.sub(r"([=\[(])\s+", r"\1", text)


class Causal(nn.Module):
    """A prompt in, a text out, and the log-probability of any text after a prompt.

    `facts` are what `measure` gave. With "own" the network is small, random at first and all of it learns; else the
    folder's, hub's or package's weights are borrowed and low-rank updates learn.
    """

    def __init__(self, facts: dict[str, Any], rank: int, width: int, layers: int) -> None:
        super().__init__()
        self.facts = facts
        if facts["base"] == OWN:
            self.words = Words(facts["words"])
            self.network = _own(len(self.words.words), width, layers)
            self.end = 1
            return
        tokenizer, network = read_causal(facts["base"])
        if weights_hash(network.state_dict()) != facts["hash"]:
            raise UserError(f'base "{facts["base"]}" is not the one that was fitted: its weights differ; restore it')
        self.tokenizer, self.network = tokenizer, network
        self.end = int(tokenizer.eos_token_id)
        head = network.get_output_embeddings()
        network.set_output_embeddings(nn.Identity())  # no update beside the head
        borrow(network, rank, facts["base"])
        network.set_output_embeddings(head)
        if head is not None:
            head.requires_grad_(False)
            head.borrowed = facts["base"]

    @classmethod
    def measure(cls, base: str, texts: Sequence[str]) -> dict[str, Any]:
        """What shapes the network: the words of some texts, or a hash of pretrained weights."""
        if base == OWN:
            return {"base": OWN, "words": Words.found_in(texts)}
        _, network = read_causal(base)
        return {"base": base, "hash": weights_hash(network.state_dict())}

    def encode(self, text: str) -> list[int]:
        """Token numbers of a text."""
        if self.facts["base"] == OWN:
            return self.words.encode(text)
        found: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return found

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token numbers, up to the end."""
        kept = list(ids)[: list(ids).index(self.end)] if self.end in ids else list(ids)
        if self.facts["base"] == OWN:
            return self.words.decode(kept)
        return str(self.tokenizer.decode(kept, skip_special_tokens=True)).strip()

    def sequences(self, prompts: Sequence[Sequence[int]], answers: Sequence[Sequence[int]]) -> Sequences:
        """Prompts with their answers, filled up at the end; the answers are to be predicted."""
        rows = [[*prompt, *answer] for prompt, answer in zip(prompts, answers, strict=True)]
        longest = max(map(len, rows), default=0)
        ids = torch.zeros(len(rows), longest, dtype=torch.int64)
        mask, target = torch.zeros_like(ids, dtype=torch.bool), torch.zeros_like(ids, dtype=torch.bool)
        for place, (row, prompt) in enumerate(zip(rows, prompts, strict=True)):
            ids[place, : len(row)] = torch.tensor(row)
            mask[place, : len(row)] = True
            target[place, len(prompt) : len(row)] = True
        return Sequences(ids, mask, target)

    def logprobs(self, given: Sequences) -> Float[Tensor, "n t"]:
        """log pi(token | what stands before it), 0 where nothing is to be predicted."""
        if not len(given.ids):
            return given.ids + 0 * next(p for p in self.parameters() if p.requires_grad).sum()
        logits = self.network(input_ids=given.ids, attention_mask=given.mask.long(), use_cache=False).logits[:, :-1]
        chosen = logits.log_softmax(-1).gather(2, given.ids[:, 1:, None])[:, :, 0]
        found = torch.cat([chosen.new_zeros(len(chosen), 1), chosen], dim=1)
        return found.masked_fill(~given.target, 0)

    @torch.no_grad()
    def write(
        self, prompts: Sequence[Sequence[int]], most: int, noise: Sequence[torch.Generator] | None = None
    ) -> list[list[int]]:
        """A continuation of each prompt, the likeliest token each time, or drawn with each row's own noise.

        A draw is the likeliest token of logits with Gumbel noise, so it depends on its own prompt and stream alone.
        """
        device, rows = next(self.parameters()).device, [list(prompt) for prompt in prompts]
        longest = max(map(len, rows), default=0)
        ids = torch.tensor([[0] * (longest - len(row)) + row for row in rows], dtype=torch.int64, device=device)
        mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows], device=device)
        made: list[list[int]] = [[] for _ in rows]
        done, state = torch.zeros(len(rows), dtype=torch.bool, device=device), None
        while rows and len(made[0]) < most and not bool(done.all()):
            place = (mask.cumsum(1) - 1).clamp(min=0)[:, -ids.shape[1] :]
            out = self.network(
                input_ids=ids, attention_mask=mask, position_ids=place, past_key_values=state, use_cache=True
            )
            logits, state = out.logits[:, -1], out.past_key_values
            if noise is not None:
                uniform = torch.stack(
                    [torch.rand(logits.shape[1], generator=one, dtype=torch.float64) for one in noise]
                )
                logits = logits - (-uniform.clamp(min=1e-300).log()).log().to(logits)
            token = logits.argmax(-1)
            for row, one in enumerate(token.tolist()):
                made[row].append(one)
            done |= token == self.end
            ids, mask = token[:, None], torch.cat([mask, mask.new_ones(len(rows), 1)], dim=1)
        return [row[: row.index(self.end) + 1] if self.end in row else row for row in made]


def _own(words: int, width: int, layers: int) -> nn.Module:
    """A small transformer with random weights."""
    transformers = need("transformers", "agents")
    config = transformers.LlamaConfig(
        vocab_size=words,
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=layers,
        num_attention_heads=2,
        max_position_embeddings=512,
        pad_token_id=0,
        eos_token_id=1,
        tie_word_embeddings=False,
    )
    network: nn.Module = transformers.LlamaForCausalLM(config)
    return network
