"""Word vectors without a network above them: a text is the mean of its tokens' vectors, which is quick."""

import json
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from jaxtyping import Float, Int
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from counterpoint.errors import UserError
from counterpoint.pretrained.source import Base

PACKAGE = "wordllama"
TYPE = "static"
"""The `model_type` of such a network's configuration."""
LONGEST = 2048
"""Tokens read of a text; the mean has no limit of its own."""


class WordTable(nn.Module):
    """A vector per token, called as a transformer is; the vectors do not depend on the other tokens."""

    def __init__(self, tokens: int, width: int) -> None:
        super().__init__()
        self.words = nn.Embedding(tokens, width)

    def get_input_embeddings(self) -> nn.Embedding:
        """The table."""
        return self.words

    def forward(self, inputs_embeds: Float[Tensor, "n l w"], attention_mask: Int[Tensor, "n l"]) -> SimpleNamespace:
        return SimpleNamespace(last_hidden_state=inputs_embeds)


def read_static() -> Base:
    """WordLlama's table of 32,000 x 256 and its tokenizer, out of the package; raises `UserError` when it is absent.

    Source: wordllama 0.4 (MIT), `l2_supercat_256`; texts are tokenised without special tokens, as its own code does.
    """
    found = find_spec(PACKAGE)  # importing the package would set up logging for the whole program
    if found is None or not found.submodule_search_locations:
        raise UserError(f"{PACKAGE} is not installed; run: pip install 'counterpoint[text]'")
    folder = Path(found.submodule_search_locations[0])
    try:
        table = load_file(folder / "weights" / "l2_supercat_256.safetensors")["embedding.weight"].float()
        text = (folder / "tokenizers" / "l2_supercat_tokenizer_config.json").read_text(encoding="utf-8")
        tokenizer = json.loads(text) | {"post_processor": None}
    except (OSError, KeyError, ValueError, SafetensorError):
        raise UserError(f"{folder}: not the weights of {PACKAGE} 0.4; install that version") from None
    tokens, width = table.shape
    config = {"model_type": TYPE, "vocab_size": tokens, "hidden_size": width, "max_position_embeddings": LONGEST}
    state = {"words.weight": table.clone()}
    return Base("static", config, state, json.dumps(tokenizer), 0, "mean", LONGEST, {})


def table_of(config: Mapping[str, Any]) -> WordTable:
    """A table of zeros of the size that a configuration says.

    >>> table_of({"vocab_size": 3, "hidden_size": 2}).words.weight.shape
    torch.Size([3, 2])
    """
    table = WordTable(config["vocab_size"], config["hidden_size"])
    nn.init.zeros_(table.words.weight)
    return table.to(torch.float32)
