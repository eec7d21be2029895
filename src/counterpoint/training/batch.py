"""A batch of rows: a convenience that most methods use."""

from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor

from counterpoint.objectives.relation import Ids


@dataclass
class Batch:
    """n rows: their ids, named views aligned with the rows, and `context` that is not row-shaped.

    `context` is also where `losses` leaves what `after` needs (keys for a queue).
    """

    ids: Ids
    views: dict[str, Any]
    context: dict[str, Any] = field(default_factory=dict)


def to_device(value: Any, device: torch.device, dtype: torch.dtype | None = None) -> Any:
    """Move every tensor inside dataclasses, dicts, lists and tuples; everything else is left alone.

    With `dtype`, floating-point tensors get it.

    >>> to_device({"a": [torch.zeros(2)]}, torch.device("cpu"))["a"][0].device.type
    'cpu'
    """
    if isinstance(value, Tensor):
        return value.to(device, dtype if value.is_floating_point() else None, non_blocking=True)
    if isinstance(value, dict):
        return {key: to_device(item, device, dtype) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(to_device(item, device, dtype) for item in value)
    if is_dataclass(value) and not isinstance(value, type):
        moved = {f.name: to_device(getattr(value, f.name), device, dtype) for f in fields(value) if f.init}
        return replace(value, **moved)
    return value
