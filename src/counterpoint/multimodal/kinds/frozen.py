"""Vectors of a frozen encoder as the numbers of a view: made once per item, then scaled as any vector is."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor

from counterpoint.multimodal.items import Items, Made
from counterpoint.multimodal.kinds.kind import Index
from counterpoint.multimodal.kinds.numbers import Standardise, moments
from counterpoint.multimodal.table import View

Features = Callable[[Items, Mapping[str, Any]], Made]


class Frozen(Standardise):
    """Scaled vectors that a frozen encoder makes of items; the encoder is no part of the network."""

    rows = 2048

    def __init__(self, facts: Mapping[str, Any], features: Features) -> None:
        super().__init__(facts)
        self.facts, self.features = facts, features

    def tensor(self, view: View, index: Index) -> Float[Tensor, "n d"]:
        """Vectors of some rows, NaN for a row without an item."""
        assert view.items is not None
        return torch.from_numpy(vectors_of(view, index, self.features(view.items, self.facts)))


def vectors_of(view: View, index: Index, made: Made) -> Float32[np.ndarray, "n ..."]:
    """What was made of each row's one item, NaN where it has none."""
    numbers = view.values[index, 0]
    known = numbers >= 0
    found = np.full((len(numbers), *made.values.shape[1:]), np.nan, dtype=np.float32)
    found[known] = made.rows(numbers[known])
    return found


def measure_frozen(view: View, facts: dict[str, Any], made: Made, scaled: bool) -> dict[str, Any]:
    """Facts with what scales the vectors of these rows, which are all made here."""
    shape = (len(view.values), made.values.shape[1])
    return facts | moments(shape, lambda rows: vectors_of(view, rows, made), scaled)
