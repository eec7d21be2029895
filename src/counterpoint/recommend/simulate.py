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


def departments(
    users: int, items: int = 40, kinds: int = 5, new: int = 8, seed: int = 0, noise: float = 0.2, length: int = 8
) -> Interactions:
    """People go round the kinds of items, taking any item of each; the last `new` items are only ever taken last.

    The next kind is known, the item in it is not, so nobody finds it first more often than once in items / kinds. With
    `noise`, that share of the events is of an item at random. The catalogue says each item's kind; a third of the users
    end at a new item of the right kind.

    >>> departments(1, items=6, kinds=3, new=3).catalogue["kind"].to_pylist()
    ['kind0', 'kind1', 'kind2', 'kind0', 'kind1', 'kind2']
    """
    random = np.random.default_rng(seed)
    kind = np.arange(items) % kinds
    old = [np.flatnonzero((kind == k) & (np.arange(items) < items - new)) for k in range(kinds)]
    fresh = [np.flatnonzero((kind == k) & (np.arange(items) >= items - new)) for k in range(kinds)]
    found = np.empty((users, length), dtype=np.int64)
    for user, first in enumerate(random.integers(0, kinds, size=users)):
        for step in range(length):
            wanted = (first + step) % kinds
            last = step == length - 1 and random.random() < 1 / 3 and len(fresh[wanted])
            among = fresh[wanted] if last else old[wanted]
            if not last and random.random() < noise:
                among = np.concatenate(old)
            found[user, step] = random.choice(among)
    return Interactions.of(
        [f"u{user}" for user in np.repeat(np.arange(users), length)],
        [f"i{item}" for item in found.ravel()],
        times=np.tile(np.arange(length), users),
        catalogue=pa.table({"id": [f"i{item}" for item in range(items)], "kind": [f"kind{k}" for k in kind]}),
        source="departments",
    )
