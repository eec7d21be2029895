"""Interactions with a known answer."""

import numpy as np
import pyarrow as pa

from counterpoint.recommend.interactions import Interactions


def cycles(users: int, items: int = 12, seed: int = 0, noise: float = 0.0, length: int = 8) -> Interactions:
    """Every user goes round a circle of items, i0, i1, ..., from a random place; the next item is known.

    With `noise`, that share of the events is of an item at random, after which the round goes on where it was.

    >>> cycles(1, items=5, seed=0, length=4).item_ids.tolist()
    ['i0', 'i1', 'i2', 'i3', 'i4']
    """
    random = np.random.default_rng(seed)
    steps = (random.integers(0, items, size=(users, 1)) + np.arange(length)) % items
    found = np.where(random.random((users, length)) < noise, random.integers(0, items, size=steps.shape), steps)
    who = np.repeat(np.arange(users), length)
    return Interactions.of(
        [f"u{user}" for user in who],
        [f"i{item}" for item in found.ravel()],
        times=np.tile(np.arange(length), users),
        catalogue=pa.table({"id": [f"i{item}" for item in range(items)]}),
        source="cycles",
    )
