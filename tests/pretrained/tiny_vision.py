"""Vision models of a few thousand random weights, in folders as transformers leaves them, and pictures for them."""

import atexit
import io
import json
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from transformers import CLIPConfig, CLIPModel, ViTConfig, ViTModel

SIDE = 8
_FOLDER = tempfile.TemporaryDirectory()
atexit.register(_FOLDER.cleanup)
VISION = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
VISION |= {"image_size": SIDE, "patch_size": 4}


@cache
def tiny_vit(seed: int = 0) -> str:
    """A vision transformer without a text side."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = ViTModel(ViTConfig(**VISION, initializer_range=0.3), add_pooling_layer=False)
    return _saved(network, f"vit-{seed}")


@cache
def tiny_clip(seed: int = 0) -> str:
    """A model of pictures and texts in one space."""
    text = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        config = CLIPConfig(text_config={**text, "vocab_size": 20}, vision_config=VISION, projection_dim=6)
        network = CLIPModel(config)
    return _saved(network, f"clip-{seed}")


def _saved(network: torch.nn.Module, name: str) -> str:
    folder = Path(_FOLDER.name) / name
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(network.config.to_dict()))
    save_file({key: value.contiguous() for key, value in network.state_dict().items()}, folder / "model.safetensors")
    form = {"size": {"height": SIDE, "width": SIDE}, "image_mean": [0.5] * 3, "image_std": [0.25] * 3, "resample": 2}
    (folder / "preprocessor_config.json").write_text(json.dumps(form))
    return str(folder)


def png(colour: tuple[int, int, int] | np.ndarray, side: int = SIDE) -> bytes:
    """A picture of one colour, or of the numbers given, as a PNG."""
    given = np.asarray(colour, dtype=np.uint8)
    values = given if given.ndim == 3 else np.broadcast_to(given, (side, side, 3))
    made = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(values)).save(made, "PNG")
    return made.getvalue()


def pngs(rows: int, seed: int) -> list[bytes]:
    """Pictures of random pixels, all different."""
    random = np.random.default_rng(seed)
    return [png(random.integers(0, 256, size=(SIDE, SIDE, 3))) for _ in range(rows)]
