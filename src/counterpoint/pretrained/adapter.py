"""Low-rank updates of a classifier as files of peft, which puts them back beside it, or merged into its weights."""

import copy
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from counterpoint.files import atomic_path, write_json
from counterpoint.pretrained.classifiers import SequenceClassifier
from counterpoint.pretrained.lowrank import merge, updates


def write_adapter(folder: Path, classifier: SequenceClassifier, dropout: float = 0.0) -> None:
    """Write a classifier's updates at their strength: adapter_model.safetensors and adapter_config.json.

    The strength goes into one factor (peft's B), so that the product is scaled by it once. `dropout` is for whoever
    trains on. `base_model_name_or_path` is the source that the classifier was read from.
    """
    found = updates(classifier.network)
    first = next(iter(found.values()))
    rank = first.down.shape[0]
    tensors = {}
    for name, update in found.items():
        tensors[f"base_model.model.{name}.lora_A.weight"] = update.down.detach().cpu().contiguous()
        tensors[f"base_model.model.{name}.lora_B.weight"] = (update.strength * update.up).detach().cpu().contiguous()
    settings: dict[str, Any] = {
        "peft_type": "LORA",
        "task_type": None,  # SEQ_CLS would look for a head in these files; the head is the classifier's own
        "base_model_name_or_path": classifier.facts["source"],
        "r": rank,
        "lora_alpha": first.scale * rank,
        "lora_dropout": dropout,
        "target_modules": sorted({name.rpartition(".")[2] for name in found}),
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
    }
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_path(folder / "adapter_model.safetensors") as temporary:
        save_file(tensors, temporary, metadata={"format": "pt"})
    write_json(folder / "adapter_config.json", settings)


def merged(classifier: SequenceClassifier) -> SequenceClassifier:
    """A copy of a classifier with its updates, at their strength, inside plain layers."""
    found = SequenceClassifier.__new__(SequenceClassifier)
    found.__dict__.update(classifier.__dict__)
    found._modules = {"network": copy.deepcopy(classifier.network)}
    merge(found.network)
    return found
