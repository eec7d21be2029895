"""Texts to unit vectors: a pretrained transformer, its tokenizer and its pooling, run in sub-batches of like length."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any, Literal, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import normalize

from counterpoint.errors import UserError, nearest, need
from counterpoint.pretrained.source import Base, read_base
from counterpoint.pretrained.static import TYPE, table_of
from counterpoint.pretrained.tokens import Tokeniser, Tokens

Pooling = Literal["mean", "cls", "max"]

TOKENS = 4096
"""Most tokens, padding included, that go through the network together; bounds the memory of a pass."""
LEAST = 16
"""Rows that a sub-batch has before it may be closed for the sake of less padding."""
NEAR = 0.7
"""Such a sub-batch is closed before a row that is shorter than this share of its longest."""
TEXTS = 4096
"""Texts tokenised at a time by `encode`."""


class TextEncoder(nn.Module):
    """A pretrained encoder of texts; vectors have length 1.

    `facts` say all that shapes the network (`Base.facts`: configuration, pooling, longest text, padding, prompts). The
    weights are random, and `tokeniser` is absent without `tokenizer` (a tokenizer.json as text), until they are loaded:
    `from_source` does both. `dropout` acts in training alone. Raises `UserError` for a pooling that is not known.
    """

    def __init__(self, facts: Mapping[str, Any], tokenizer: str | None, dropout: float = 0.0) -> None:
        super().__init__()
        self.facts = dict(facts)
        self.base = _network(facts["config"], dropout)
        self.pooling: Pooling = facts["pooling"]
        if self.pooling not in get_args(Pooling):
            raise UserError(f'pooling "{self.pooling}" is not supported; {nearest(self.pooling, get_args(Pooling))}')
        self.tokeniser: Tokeniser
        if tokenizer is not None:
            self.load_tokenizer(tokenizer)

    def load_tokenizer(self, tokenizer: str) -> None:
        """Take a tokenizer.json, given as text."""
        facts = self.facts
        self.tokeniser = Tokeniser(tokenizer, facts["max_length"], facts["padding"], facts["prompts"])

    @classmethod
    def from_source(
        cls, source: str, *, pooling: Pooling | None = None, max_length: int | None = None, dropout: float = 0.0
    ) -> "TextEncoder":
        """An encoder with its weights from a folder, a name on the Hugging Face hub, "minilm", "e5" or "static".

        `pooling` and `max_length` (tokens) default to what the source says. Raises `UserError` when the source cannot
        be read, or has a part that is not supported.
        """
        base = read_base(source)
        return cls.of(base, base.facts(pooling, max_length), dropout).eval()

    @classmethod
    def of(cls, base: Base, facts: Mapping[str, Any], dropout: float = 0.0) -> "TextEncoder":
        """An encoder of these facts with the weights and the tokenizer of a base that was read before."""
        encoder = cls(facts, base.tokenizer, dropout)
        try:
            encoder.base.load_state_dict(base.state)
        except RuntimeError:
            raise UserError(f"{base.source}: its weights do not fit its configuration; get its files again") from None
        return encoder

    @property
    def width(self) -> int:
        """Numbers in a vector."""
        return int(self.facts["config"]["hidden_size"])

    def tokenise(self, texts: Sequence[str], prompt: str | None = None) -> Tokens:
        """Token numbers of texts after the named prompt ("query", "document"), cut at the longest text's tokens."""
        return self.tokeniser(self.tokeniser.prompted(texts, prompt))

    def words(self, ids: Int[Tensor, "n l"]) -> Float[Tensor, "n l w"]:
        """The word vectors of token numbers, before the first layer."""
        found: Tensor = self.base.get_input_embeddings()(ids)  # type: ignore[operator]
        return found

    def pooled(self, words: Float[Tensor, "n l w"], mask: Int[Tensor, "n l"]) -> Float[Tensor, "n d"]:
        """Unit vectors of texts, given as word vectors filled up to l tokens; `mask` is 1 for tokens, 0 for filling."""
        hidden = self.base(inputs_embeds=words, attention_mask=mask).last_hidden_state
        inside = mask.unsqueeze(2).to(hidden.dtype)
        if self.pooling == "mean":
            vectors = (hidden * inside).sum(dim=1) / inside.sum(dim=1).clamp(min=1)
        elif self.pooling == "max":
            vectors = hidden.masked_fill(inside == 0, -torch.inf).amax(dim=1)
        else:
            vectors = hidden[:, 0]
        return normalize(vectors, dim=1)

    def forward(self, tokens: Tokens) -> Float[Tensor, "n d"]:
        """Unit vectors, in the order of the texts.

        The texts are sorted by length and run in sub-batches filled only up to their own longest, which changes
        neither vectors nor gradients (but for rounding, and the stream of dropout). While learning, words are looked up
        for all at once: the gradient of a look-up is as large as the word table.
        """
        if not len(tokens):
            return next(self.parameters()).new_zeros(0, self.width)
        ordered, back = tokens.longest_first()
        lengths = ordered.lengths.tolist()
        cuts = sub_batches(lengths)
        if torch.is_grad_enabled():
            words: Iterable[Tensor] = self.words(ordered.ids).split([cut.stop - cut.start for cut in cuts])
        else:
            words = (self.words(ordered.ids[cut, : lengths[cut.start]]) for cut in cuts)
        parts = []
        for some, part in zip(cuts, words, strict=True):
            filled = part[:, : lengths[some.start]]
            mask = torch.arange(filled.shape[1], device=filled.device) < ordered.lengths[some, None]
            parts.append(self.pooled(filled, mask.long()))
        return torch.cat(parts)[back]

    @torch.no_grad()
    def encode(self, texts: Sequence[str], prompt: str | None = None, bf16: bool = False) -> Float[Tensor, "n d"]:
        """Unit vectors of texts on the encoder's device, without gradient.

        `bf16` makes the products in bfloat16, about half the time where the processor has it, for an error of some
        thousandths. All texts are sorted by length together, so give many at once.
        """
        parameter = next(self.parameters())
        vectors = parameter.new_zeros(len(texts), self.width)
        order = sorted(range(len(texts)), key=lambda row: -len(texts[row]))
        with torch.autocast(parameter.device.type, torch.bfloat16) if bf16 else nullcontext():
            for start in range(0, len(order), TEXTS):
                rows = order[start : start + TEXTS]
                tokens = self.tokenise([texts[row] for row in rows], prompt)
                vectors[torch.tensor(rows, device=parameter.device)] = self(tokens.to(parameter.device)).to(vectors)
        return vectors


def sub_batches(lengths: Sequence[int]) -> list[slice]:
    """Cuts of rows sorted longest first, so that little is filled up and no cut is too large or too small.

    >>> sub_batches([64] * 16 + [10] * 16)
    [slice(0, 16, None), slice(16, 32, None)]
    """
    starts = [0]
    for row, length in enumerate(lengths):
        rows, longest = row - starts[-1], lengths[starts[-1]]
        full = longest * (rows + 1) > TOKENS
        if rows and (full or (rows >= LEAST and length < NEAR * longest)):
            starts.append(row)
    return [slice(start, end) for start, end in zip(starts, [*starts[1:], len(lengths)], strict=True)]


def _network(config: Mapping[str, Any], dropout: float) -> nn.Module:
    """The transformer of a configuration: random weights, fused attention, no pooling layer of its own."""
    if config["model_type"] == TYPE:
        return table_of(config)
    transformers = need("transformers", "text")
    rates = {name: dropout for name, value in config.items() if "dropout" in name and isinstance(value, float)}
    made = transformers.AutoConfig.for_model(**{**config, **rates})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network: nn.Module = transformers.AutoModel.from_config(made, attn_implementation="sdpa", dtype=torch.float32)
    if getattr(network, "pooler", None) is not None:
        network.register_module("pooler", None)
    return network
