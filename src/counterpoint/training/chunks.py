"""Batches larger than the memory for activations: the network runs on a few rows at a time, forward and backward."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from counterpoint.errors import UserError


def in_chunks(module: nn.Module, inputs: Any, size: int) -> Any:
    """`module(inputs)`, made `size` rows at a time; activations are kept of one chunk only and made again in backward.

    Values are those of the chunks one after the other, and gradients too, bit for bit: dropout draws and autocast are
    replayed. It costs a second forward pass. `inputs` and what the module returns are tensors with rows first, or
    dicts, lists, tuples and dataclasses of such; anything in them that is no tensor goes into every chunk. `size=0`
    runs the module as it is. Source: the gradient cache of arXiv 2101.06983, section 3, by recomputation (arXiv
    1604.06174).

    Raises `UserError` when the module sees or keeps something beyond its rows (BatchNorm, which normalises over the
    batch; a buffer that a forward pass changes), and ValueError when tensors differ in their number of rows.

    >>> encoder, rows = nn.Linear(3, 2), torch.rand(10, 3)
    >>> torch.allclose(in_chunks(encoder, rows, 4), encoder(rows))
    True
    """
    if size < 0:
        raise ValueError(f"chunks have at least one row (0: no chunks), not {size}")
    if size == 0:
        return module(inputs)
    _refuse_batch_norm(module)
    n = _length(inputs)
    before = _versions(module)
    starts = range(0, max(n, 1), size)
    made = [
        checkpoint(module, _part(inputs, slice(start, start + size)), use_reentrant=False, preserve_rng_state=True)
        for start in starts
    ]
    if torch.is_grad_enabled():
        _refuse_change(module, before)
    joined = _joined(made)
    if _length(joined) != n:
        raise ValueError(f"{type(module).__name__} made {_length(joined)} rows of {n}; chunks need one for each")
    return joined


def _refuse_batch_norm(module: nn.Module) -> None:
    for name, part in module.named_modules():
        if isinstance(part, _BatchNorm) and (part.training or part.running_mean is None):
            raise UserError(
                f'"{name or type(part).__name__}" normalises over the batch, which chunks would change; '
                "use LayerNorm or GroupNorm, or no chunks (size 0)"
            )


def _versions(module: nn.Module) -> dict[str, tuple[int, int]]:
    """What tells whether a buffer was written or replaced."""
    return {name: (id(b), -1 if b.is_inference() else b._version) for name, b in module.named_buffers()}


def _refuse_change(module: nn.Module, before: dict[str, tuple[int, int]]) -> None:
    """A buffer that forward writes would be written a second time when backward runs it again."""
    after = _versions(module)
    for name in after.keys() | before.keys():
        if after.get(name) != before.get(name):
            raise UserError(f'the forward pass changes the buffer "{name}", so it cannot be repeated; use no chunks')


def _parts(value: Any) -> dict[Any, Any] | None:
    """What a container holds, by name or position; None for anything else."""
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, list | tuple):
        return dict(enumerate(value))
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: getattr(value, f.name) for f in fields(value) if f.init}
    return None


def _like(value: Any, parts: dict[Any, Any]) -> Any:
    """A container of the same kind with other parts."""
    if isinstance(value, Mapping):
        return parts
    if isinstance(value, list | tuple):
        named = hasattr(value, "_fields")
        return type(value)(*parts.values()) if named else type(value)(parts.values())
    return type(value)(**parts)


def _part(value: Any, rows: slice) -> Any:
    """Some rows of every tensor."""
    if isinstance(value, Tensor):
        return value[rows] if value.ndim else value
    parts = _parts(value)
    return value if parts is None else _like(value, {name: _part(item, rows) for name, item in parts.items()})


def _joined(made: Sequence[Any]) -> Any:
    """The rows of every tensor, one chunk after the other."""
    first = made[0]
    if isinstance(first, Tensor):
        if first.ndim == 0:
            raise ValueError("chunks need a result per row; a module that returns one number cannot be put together")
        return torch.cat(list(made))
    parts = [_parts(one) for one in made]
    if parts[0] is None:
        return first
    return _like(first, {name: _joined([one[name] for one in parts if one is not None]) for name in parts[0]})


def _length(value: Any) -> int:
    """The number of rows that all tensors agree on."""
    lengths = {len(tensor) for tensor in _tensors(value) if tensor.ndim}
    if len(lengths) != 1:
        raise ValueError(f"chunks need tensors with the same number of rows, not {sorted(lengths) or 'none at all'}")
    return lengths.pop()


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    return [tensor for item in (_parts(value) or {}).values() for tensor in _tensors(item)]
