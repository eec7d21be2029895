"""A text method as a sentence-transformers folder, loaded in that library and compared before it is left."""

import copy
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from counterpoint.errors import UserError, need
from counterpoint.pretrained.lowrank import merge
from counterpoint.serving.export import Written, text_encoder
from counterpoint.training import Method
from counterpoint.training.clock import seeded

TEXTS = ("", "a", "What raises the risk?", "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich. " * 20)
"""What the vectors of both sides are compared on: nothing, little, and more than a short encoder reads."""


def write(method: Method, folder: Path) -> Written:
    """Write the folder; raises `UserError` for a method without a text encoder."""
    encoder = text_encoder(method)
    if encoder is None:
        raise UserError(f"{method.name} does not take texts; only methods of texts go to sentence-transformers")
    library = need("sentence_transformers", "export")
    # seeded: a pooler, never used, starts at random
    with tempfile.TemporaryDirectory() as plain, quiet_transformers(), seeded(0, "export"):
        _write_transformer(encoder, Path(plain))
        _sentence_transformer(library, encoder, plain).save(str(folder), create_model_card=False)
        read = library.SentenceTransformer(str(folder), device="cpu")
    difference = max(_difference(read, encoder, name) for name in (None, *encoder.tokeniser.prompts))
    return Written(_use(encoder), difference)


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Without the bars and remarks of transformers."""
    told = need("transformers", "text").logging
    level, bars = told.get_verbosity(), told.is_progress_bar_enabled()
    told.set_verbosity_error()
    told.disable_progress_bar()
    try:
        yield
    finally:
        told.set_verbosity(level)
        if bars:
            told.enable_progress_bar()


def _difference(read: Any, encoder: Any, prompt: str | None) -> float:
    theirs = torch.from_numpy(read.encode(list(TEXTS), prompt_name=prompt, show_progress_bar=False))
    return float((theirs - encoder.encode(list(TEXTS), prompt)).abs().max())


def _write_transformer(encoder: Any, folder: Path) -> None:
    """Weights, configuration and tokenizer as transformers keeps them."""
    transformers = need("transformers", "text")
    network = copy.deepcopy(encoder.base)
    merge(network)
    network.save_pretrained(folder)
    backend = need("tokenizers", "text").Tokenizer.from_str(_untruncated(encoder))
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=backend,
        model_max_length=encoder.facts["max_length"],
        pad_token=backend.id_to_token(encoder.facts["padding"]),
        model_input_names=["input_ids", "attention_mask"],
    )
    tokenizer.save_pretrained(folder)


def _untruncated(encoder: Any) -> str:
    """The tokenizer as JSON without a length of its own; the reader cuts at the folder's `max_seq_length`."""
    return json.dumps(json.loads(encoder.tokeniser.json()) | {"truncation": None, "padding": None})


def _sentence_transformer(library: Any, encoder: Any, folder: str) -> Any:
    """The same steps in that library: the network, the pooling, unit length."""
    parts = need("sentence_transformers.sentence_transformer.modules", "export")
    modules = [
        parts.Transformer(folder, max_seq_length=encoder.facts["max_length"]),
        parts.Pooling(encoder.width, pooling_mode=encoder.pooling),
        parts.Normalize(),
    ]
    return library.SentenceTransformer(modules=modules, prompts=dict(encoder.tokeniser.prompts), device="cpu")


def _use(encoder: Any) -> str:
    names = ", ".join(encoder.tokeniser.prompts)
    told = f"\n\nPrompts, by the name given to `encode(..., prompt_name=...)`: {names}." if names else ""
    return f"""```python
from sentence_transformers import SentenceTransformer

model = SentenceTransformer("FOLDER")
vectors = model.encode(["a text", "another"])
```{told}"""
