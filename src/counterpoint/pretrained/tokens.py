"""Texts as token numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from counterpoint.errors import need


@dataclass(frozen=True)
class Tokens:
    """Token numbers of n texts, filled up to the longest; which texts were cut to fit."""

    ids: Int[Tensor, "n l"]
    lengths: Int[Tensor, " n"]
    truncated: Bool[Tensor, " n"]

    def __len__(self) -> int:
        return len(self.ids)

    def rows(self, index: Int[Tensor, " k"]) -> "Tokens":
        """Some of the texts."""
        return Tokens(self.ids[index], self.lengths[index], self.truncated[index])

    def longest_first(self) -> tuple["Tokens", Int[Tensor, " n"]]:
        """The texts by falling length, and the index that brings their vectors back into the order they had."""
        order = self.lengths.argsort(descending=True, stable=True)
        return self.rows(order), order.argsort()

    def to(self, device: torch.device) -> "Tokens":
        """The same on a device."""
        return Tokens(self.ids.to(device), self.lengths.to(device), self.truncated.to(device))


class Tokeniser:
    """A tokenizer.json that cuts at `max_length` tokens and fills up with `padding`.

    `prompts` are texts put before others, by name. Two threads must not use one at the same time with different limits.
    """

    def __init__(self, json: str, max_length: int, padding: int, prompts: Mapping[str, str]) -> None:
        self.tokenizer = need("tokenizers", "text").Tokenizer.from_str(json)
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(max_length)
        self.padding, self.prompts = padding, dict(prompts)

    def prompted(self, texts: Sequence[str], prompt: str | None = None) -> list[str]:
        """The texts after the named prompt; a name that is not known puts nothing before them."""
        before = self.prompts.get(prompt or "", "")
        return [before + text for text in texts]

    def __call__(self, texts: Sequence[str]) -> Tokens:
        """Token numbers of texts; `truncated` tells which were cut."""
        made = self.tokenizer.encode_batch(list(texts))
        rows = [torch.tensor(one.ids, dtype=torch.int64) for one in made]
        ids = pad_sequence(rows, True, self.padding) if rows else torch.zeros(0, 0, dtype=torch.int64)
        lengths = torch.tensor([len(row) for row in rows], dtype=torch.int64)
        return Tokens(ids, lengths, torch.tensor([bool(one.overflowing) for one in made], dtype=torch.bool))

    def json(self) -> str:
        """The tokenizer.json again."""
        return str(self.tokenizer.to_str())
