"""Weights as safetensors with their facts as JSON, and in words how vectors follow from them."""

from importlib.metadata import version
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from counterpoint.errors import UserError
from counterpoint.files import atomic_path, write_json, write_text
from counterpoint.serving.export import Written, text_encoder
from counterpoint.training import Method
from counterpoint.training.runs import without


def write(method: Method, folder: Path) -> Written:
    """Write model.safetensors and facts.json, for texts tokenizer.json; a table of the tensors goes into the card.

    Parts borrowed from a pretrained model are written too, so that nothing else is needed. Raises `UserError` when the
    method does not say how its tensors are used (`recipe`).
    """
    recipe: str | None = getattr(method, "recipe", None)
    if recipe is None:
        raise UserError(f"{method.name} does not say how vectors follow from its tensors; it cannot be exported so")
    state = without(method.state_dict(), method, "training_only")
    tensors = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in state.items()}
    with atomic_path(folder / "model.safetensors") as temporary:
        save_file(tensors, temporary, metadata={"format": "pt", "method": method.name})
    if (encoder := text_encoder(method)) is not None:
        write_text(folder / "tokenizer.json", encoder.tokeniser.json())
    facts = {
        "format": 1,
        "counterpoint": version("counterpoint"),
        "method": method.name,
        "options": method.options.model_dump(mode="json"),
        "facts": method.facts,
    }
    write_json(folder / "facts.json", facts)
    lines = [f"| `{name}` | {' x '.join(map(str, t.shape)) or 'one number'} |" for name, t in tensors.items()]
    table = "\n".join(["| Tensor | Shape |", "| --- | --- |", *lines])
    use = "`facts.json` holds the options and the facts that sized the network, `model.safetensors` its tensors."
    read = load_file(folder / "model.safetensors")
    same = all(torch.allclose(read[name], t, rtol=0, atol=0, equal_nan=True) for name, t in tensors.items())
    return Written(f"{use}\n\n{recipe}\n\n{table}", difference=0.0 if same else float("inf"))
