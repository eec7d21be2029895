"""A causal language model of a few thousand random weights, in a folder as transformers leaves it."""

import atexit
import json
import tempfile
from functools import cache
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

WORDS = [
    "<pad>",
    "<end>",
    "<unk>",
    *(f"word{n}" for n in range(40)),
    *"0123456789",
    "Answer",
    ":",
    "Do",
    "Avoid",
    ";",
    ".",
]
_FOLDER = tempfile.TemporaryDirectory()
atexit.register(_FOLDER.cleanup)


@cache
def tiny_llama(seed: int = 0) -> str:
    """The folder of a model with the weights of this seed."""
    folder = Path(_FOLDER.name) / str(seed)
    folder.mkdir()
    config = LlamaConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=1024,
        initializer_range=0.5,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=None,
        tie_word_embeddings=True,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = LlamaForCausalLM(config)
    (folder / "config.json").write_text(json.dumps(config.to_dict() | {"architectures": ["LlamaForCausalLM"]}))
    state = {name: value for name, value in network.state_dict().items() if name != "lm_head.weight"}
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    words = Tokenizer(models.WordLevel({word: n for n, word in enumerate(WORDS)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", eos_token="<end>", unk_token="<unk>"
    ).save_pretrained(folder)
    return str(folder)
