"""A text encoder of a few thousand random weights, in a folder as transformers leaves it, and texts for it."""

import atexit
import json
import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from counterpoint.text.pairs import Pairs

WORDS = [f"word{number}" for number in range(60)]
_FOLDER = tempfile.TemporaryDirectory()
atexit.register(_FOLDER.cleanup)


@cache
def tiny(seed: int = 0, pooling: str | None = None, **prompts: str) -> str:
    """The folder of an encoder with the weights of this seed; with a pooling or prompts, as sentence-transformers."""
    folder = Path(_FOLDER.name) / f"{seed}-{pooling}-{len(prompts)}"
    config = BertConfig(
        vocab_size=len(WORDS) + 4,
        hidden_size=8,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=24,
        initializer_range=0.5,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = BertModel(config)
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config.to_dict()))
    save_file(network.state_dict(), folder / "model.safetensors")  # save_pretrained is for the first of several ranks
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    vocabulary = {word: number for number, word in enumerate([*special.values(), *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    ends = [("[CLS]", vocabulary["[CLS]"]), ("[SEP]", vocabulary["[SEP]"])]
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=24, **special).save_pretrained(folder)
    if pooling is not None:
        write_parts(folder, pooling, prompts)
    return str(folder)


def write_parts(folder: Path, pooling: str, prompts: dict[str, str]) -> None:
    """The files that sentence-transformers puts beside a transformer."""
    kinds = {"": "Transformer", "1_Pooling": "Pooling", "2_Normalize": "Normalize"}
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (path, kind) in enumerate(kinds.items())
    ]
    names = {"mean": "mean_tokens", "cls": "cls_token", "max": "max_tokens"}
    modes = {f"pooling_mode_{name}": mode == pooling for mode, name in names.items()}
    (folder / "1_Pooling").mkdir()
    (folder / "2_Normalize").mkdir()
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"word_embedding_dimension": 8, **modes}))
    (folder / "config_sentence_transformers.json").write_text(json.dumps({"prompts": prompts}))


def texts(rows: int, seed: int, least: int = 1, most: int = 14) -> list[str]:
    """Texts of different lengths, all different."""
    random = np.random.default_rng(seed)
    found: dict[str, None] = {}
    while len(found) < rows:
        found[" ".join(random.choice(WORDS, size=int(random.integers(least, most + 1))))] = None
    return list(found)


def claims(rows: int, seed: int, complete: bool = False) -> Pairs:
    """Pairs of texts in clusters of four texts that share two words, in two languages; unless complete, with gaps."""
    words, cluster = texts(2 * rows, seed, most=2), np.arange(rows) // 2
    topic = [f"word{c % 30} word{30 + 7 * c % 29}" for c in cluster]
    first: list[str | None] = [f"{one} {text}" for one, text in zip(topic, words[:rows], strict=True)]
    other: list[str | None] = [f"{text} {one}" for one, text in zip(topic, words[rows:], strict=True)]
    if not complete:
        other[3::7] = [None] * len(other[3::7])
        first[5::11] = [None] * len(first[5::11])
    columns = {"cluster": cluster, "language": np.array(["xx", "xx", "xx", "yy"])[np.arange(rows) % 4]}
    return replace(Pairs.of({"claim": first, "other": other}, columns), group="cluster")


def pairs(rows: int, seed: int, complete: bool = False) -> Pairs:
    """Queries and documents that begin with the query's words; unless complete, with gaps and a repeated query."""
    queries: list[str | None] = list(texts(rows, seed, least=2, most=6))
    more = texts(rows, seed + 1000, least=2)
    documents: list[str | None] = [f"{query} {text}" for query, text in zip(queries, more, strict=True)]
    if not complete:
        documents[3::5] = [None] * len(documents[3::5])
        queries[4::9] = [None] * len(queries[4::9])
        queries[1] = queries[0]
    return Pairs.of({"query": queries, "document": documents}, {"label": np.arange(rows) % 2})
