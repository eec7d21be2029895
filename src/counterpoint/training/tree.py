"""Nested state in one safetensors file: tensors as tensors, everything else as JSON in the header. No pickle."""

import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from counterpoint.errors import UserError
from counterpoint.files import atomic_path


def save_tree(path: str | os.PathLike[str], tree: Any) -> None:
    """Write a tree of dicts, lists, tuples, tensors, numbers, strings and None, atomically.

    >>> import tempfile; path = tempfile.mkdtemp() + "/a.safetensors"
    >>> save_tree(path, {"step": 3, "betas": (0.9, 0.95), "state": {0: torch.ones(2)}})
    >>> load_tree(path)
    {'step': 3, 'betas': (0.9, 0.95), 'state': {0: tensor([1., 1.])}}
    """
    tensors: dict[str, Tensor] = {}
    structure = json.dumps(_take_apart(tree, tensors))
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, metadata={"tree": structure})


def load_tree(path: str | os.PathLike[str]) -> Any:
    """Read what `save_tree` wrote; raises `UserError` when the file is damaged or is something else."""
    try:
        with safe_open(Path(path), framework="pt") as file:
            structure = (file.metadata() or {}).get("tree")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: cannot be read ({error}); the file is damaged or not ours") from None
    if structure is None:
        raise UserError(f"{path}: not written by this library (no tree in its header)")
    try:
        return _put_together(json.loads(structure), tensors)
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{path}: the tree in its header is damaged") from None


def _take_apart(value: Any, tensors: dict[str, Tensor]) -> Any:
    """JSON for everything but tensors, which are collected under numbered names."""
    if isinstance(value, Tensor):
        name = f"t{len(tensors)}"
        tensors[name] = value.detach().to("cpu", copy=True).contiguous()
        return {"tensor": name}
    if isinstance(value, dict):
        return {"dict": [[_take_apart(k, tensors), _take_apart(v, tensors)] for k, v in value.items()]}
    if isinstance(value, list | tuple):
        kind = "list" if isinstance(value, list) else "tuple"
        return {kind: [_take_apart(item, tensors) for item in value]}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"{type(value).__name__} is not state that can be saved")


def _put_together(value: Any, tensors: dict[str, Tensor]) -> Any:
    if not isinstance(value, dict):
        return value
    ((kind, inside),) = value.items()
    if kind == "tensor":
        return tensors[inside]
    if kind == "dict":
        return {_put_together(k, tensors): _put_together(v, tensors) for k, v in inside}
    return {"list": list, "tuple": tuple}[kind](_put_together(item, tensors) for item in inside)


def same(a: Any, b: Any) -> bool:
    """Whether two trees are equal, tensors bit for bit."""
    if isinstance(a, Tensor) or isinstance(b, Tensor):
        return isinstance(a, Tensor) and isinstance(b, Tensor) and torch.equal(a, b)
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return bool(a == b)
