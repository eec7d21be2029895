"""A classifier of a few thousand random weights, in a folder as transformers leaves it, and labelled texts for it."""

import json
from functools import cache
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

from counterpoint.text.labels.labelled import LabelledTexts
from text import tiny

CLASSES = ("bad", "good")
SPECIAL = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}


@cache
def classifier(seed: int = 0, mask: bool = True, classes: tuple[str, ...] = CLASSES) -> str:
    """The folder of a classifier with the weights of this seed; without a mask token if so wished."""
    folder = Path(tiny._FOLDER.name) / f"classifier-{seed}-{mask}-{len(classes)}"
    special = {name: token for name, token in SPECIAL.items() if mask or name != "mask_token"}
    config = BertConfig(
        vocab_size=len(tiny.WORDS) + len(special),
        hidden_size=8,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=24,
        initializer_range=0.5,
        id2label=dict(enumerate(classes)),
        label2id={name: place for place, name in enumerate(classes)},
        architectures=["BertForSequenceClassification"],
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = BertForSequenceClassification(config)
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config.to_dict()))
    save_file(network.state_dict(), folder / "model.safetensors")
    vocabulary = {word: number for number, word in enumerate([*special.values(), *tiny.WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    ends = [("[CLS]", vocabulary["[CLS]"]), ("[SEP]", vocabulary["[SEP]"])]
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=24, **special).save_pretrained(folder)
    return str(folder)


def labelled(rows: int, seed: int, complete: bool = False) -> LabelledTexts:
    """Texts whose class is that of their first word; unless complete, with empty texts and missing labels.

    Two columns of labels, and a group that has nothing to do with them.
    """
    texts: list[str | None] = list(tiny.texts(rows, seed, least=3))
    first = [int(str(text).split()[0].removeprefix("word")) % 2 for text in texts]
    labels: list[str | None] = [CLASSES[place] for place in first]
    other: list[str | None] = [CLASSES[int(len(str(text)) % 2)] for text in texts]
    if not complete:
        texts[4::11] = [None] * len(texts[4::11])
        labels[::2] = [None] * len(labels[::2])
    texts[1] = texts[3]
    return LabelledTexts.of(texts, {"label": labels, "other": other, "where": np.arange(rows) % 3}, subgroup="where")
