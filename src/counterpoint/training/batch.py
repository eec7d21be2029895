"""A batch of rows, and its views once they are vectors: conveniences that most methods use."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool, Float
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


@dataclass(frozen=True)
class Encoded:
    """Unit vectors of each view, and which rows have it; an absent view's vectors mean nothing."""

    vectors: dict[str, Float[Tensor, "n d"]]
    present: dict[str, Bool[Tensor, " n"]]

    def __len__(self) -> int:
        return len(next(iter(self.vectors.values())))

    def only(self, names: Mapping[str, Any] | tuple[str, ...] | list[str]) -> "Encoded":
        """Some of the views."""
        return Encoded({n: self.vectors[n] for n in names}, {n: self.present[n] for n in names})

    def rows(self, index: Any) -> "Encoded":
        """Some of the rows."""
        return Encoded({n: v[index] for n, v in self.vectors.items()}, {n: p[index] for n, p in self.present.items()})


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
