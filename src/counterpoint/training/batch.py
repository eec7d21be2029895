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


def to_device(value: Any, device: torch.device) -> Any:
    """Move every tensor inside dataclasses, dicts, lists and tuples; everything else is left alone.

    >>> to_device({"a": [torch.zeros(2)]}, torch.device("cpu"))["a"][0].device.type
    'cpu'
    """
    if isinstance(value, Tensor):
        return value.to(device, non_blocking=True)
    if isinstance(value, dict):
        return {key: to_device(item, device) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(to_device(item, device) for item in value)
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{f.name: to_device(getattr(value, f.name), device) for f in fields(value) if f.init})
    return value
