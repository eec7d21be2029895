"""A small shop with two behaviours and a pattern to be found; data for the tests of the wing and of all methods."""

import numpy as np
import pyarrow as pa
import torch

from counterpoint.recommend.histories import Histories, histories
from counterpoint.recommend.interactions import Interactions, Protocol

ITEMS = 20
KINDS = ("tea", "rice", "salt", "soap")
SESSIONS = [["i3", "i4"], [], [{"item": "i7", "behaviour": "view"}, "i8"]]


def catalogue() -> pa.Table:
    """Items i0, i1, ... with a title, a kind and tags."""
    numbers = range(ITEMS)
    return pa.table(
        {
            "id": [f"i{n}" for n in numbers],
            "title": [f"{KINDS[n % 4].capitalize()} {n}" for n in numbers],
            "kind": [KINDS[n % 4] for n in numbers],
            "tags": [["even" if n % 2 == 0 else "odd", KINDS[n % 4]] for n in numbers],
        }
    )


def new_items() -> pa.Table:
    """Two more items, which nobody took."""
    rows = {"id": ["n0", "n1"], "title": ["Tea new", "Soap new"], "kind": ["tea", "soap"], "tags": [["tea"], []]}
    return pa.table(rows, schema=pa.schema([*catalogue().schema]))


def shop(users: int, seed: int, complete: bool = False, target: str | None = None) -> Interactions:
    """Users who look around and buy what they looked at before; without `complete` some have but one event."""
    random = np.random.default_rng(seed)
    who, what, when, how = [], [], [], []
    for user in range(users):
        place, length = int(random.integers(ITEMS)), int(random.integers(3, 9))
        if not complete and user % 11 == 10:
            length = 1
        for step in range(length):
            place = (place + int(random.choice([1, 1, 1, 2, 7]))) % ITEMS
            who.append(f"u{user}")
            what.append(f"i{place}")
            when.append(step)
            how.append("buy" if random.random() < 0.4 else "view")
    return Interactions.of(who, what, when, how, catalogue(), ("view", "buy"), Protocol(target), "shop")


def histories_of(data: Interactions) -> Histories:
    """Everything that each user did."""
    return histories(data, data.starts[:-1], data.starts[1:]).where(torch.ones(len(data.items), dtype=torch.bool))
