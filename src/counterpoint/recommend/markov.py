"""Which item follows which: transition counts, and the item graph's Markov chain with its knobs chosen."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor

from counterpoint.recommend.counts import Counting, SparseRows
from counterpoint.recommend.histories import Histories
from counterpoint.recommend.interactions import Interactions
from counterpoint.recommend.judge import next_item
from counterpoint.recommend.splits import hold_out
from counterpoint.training import Method, MethodConfig, Phase, rng

HELD = 2000
"""Training users whose last event is held out to choose the knobs."""
CUTOFF = 10
KNOBS = ("power", "decay", "last", "backward", "window")
Pairs = tuple[Int[np.ndarray, " p"], Int[np.ndarray, " p"], Float[np.ndarray, " p"]]


class Chain(Counting):
    """Scores of an item: the weights of its edges from the last events of a history, later ones counting more."""

    edges: SparseRows
    knobs: Tensor
    typed: bool = False

    def build(self: Any, facts: dict[str, Any]) -> None:
        """Room for the edges; a row per item, or per behaviour and item."""
        self._build_items(facts)
        rows = facts["items"] * (len(facts["behaviours"]) if self.typed else 1)
        self.edges = SparseRows(rows, facts["items"], facts.get("pairs", 0))
        self.register_buffer("knobs", torch.zeros(len(KNOBS), dtype=torch.float64))

    def scores(self, histories: Histories) -> Float[Tensor, "n v"]:
        """Sums of edge weights."""
        _, decay, last, *_ = self.knobs.tolist()
        given = histories.latest(int(last))
        back = given.starts[1:][given.owners] - 1 - torch.arange(len(given.items), device=given.items.device)
        weights = torch.full_like(back, decay, dtype=torch.float32).pow(back)
        rows = given.items + (given.behaviours * len(self.items) if self.typed else 0)
        return self.edges.spread(given.owners, rows, weights, len(given))

    def similarity(self, a: Int[Tensor, " n"], b: Int[Tensor, " m"]) -> Float[Tensor, "n m"]:
        """Cosines of the items' edges (of the last behaviour, where they are typed)."""
        base = (len(self.items.labels) - 1) * len(self.items) if self.typed else 0
        return self.edges.cosine(a + base, b + base)

    def _set(self, pairs: Pairs, knobs: Mapping[str, float]) -> None:
        self.knobs.copy_(torch.tensor([float(knobs[name]) for name in KNOBS], dtype=torch.float64))
        self.edges.fill(*pairs)


class Transitions(Chain, Method):
    """How often each (target) item came next after the last event, by its item and behaviour.

    Source: none; the typed-transition counts that a multi-behaviour method has to beat.

    >>> data = Interactions.of([1, 1, 2, 2, 3, 3], ["a", "b", "a", "b", "a", "c"])
    >>> Transitions().fit(data).recommend([["a"]], k=1)[0][0]["id"]
    'b'
    """

    class Config(MethodConfig):
        """Options of transition counts."""

        typed: bool = Field(True, description="a view and a purchase of an item are counted apart")

    options: Config

    def measure(self, data: Interactions) -> dict[str, Any]:
        """How many pairs occur."""
        self.typed = self.options.typed
        return super().measure(data) | {"pairs": len(pairs_of(data, 1, 0.0, self.typed)[0])}

    def build(self, facts: dict[str, Any]) -> None:
        """Room for the edges."""
        self.typed = self.options.typed
        super().build(facts)

    def phases(self, data: Interactions) -> Sequence[Phase]:
        """One pass that counts."""
        return self._whole(data, self._count)

    def _count(self, data: Interactions, seed: int) -> None:
        knobs = {"power": 0.0, "decay": 1.0, "last": 1, "backward": 0.0, "window": 1}
        self._set(pairs_of(data, 1, 0.0, self.typed), knobs)


class Markov(Chain, Method):
    """The item graph's Markov chain: edges between items up to `window` apart, weight 1 / distance, rows normalised.

    An edge back from the later item has `backward` of that weight; a row is divided by its sum to the `power`; the
    `last` events of a history count, each `decay` of the next. The knobs are chosen one after the other, as they stand
    in the options, by nDCG@10 on the last event of up to 2,000 training users, held out for that, counted afterwards.
    Source: the training-free anchor beside arXiv 2604.14114; the search is ours.

    >>> data = Interactions.of([1, 1, 1, 2, 2, 2], ["a", "b", "c", "a", "b", "c"])
    >>> Markov().fit(data).recommend([["a"]], k=1)[0][0]["id"]
    'b'
    """

    class Config(MethodConfig):
        """Options of the Markov chain: what is tried for each knob, the first being where the search starts."""

        power: tuple[float, ...] = Field((1.0, 0.5, 0.0), description="powers of the row sum that rows are divided by")
        decay: tuple[float, ...] = Field((0.8, 0.6, 0.4), description="shares that the event before counts")
        last: tuple[int, ...] = Field((10, 5, 20), description="numbers of events that count")
        backward: tuple[float, ...] = Field((0.5, 0.0), description="shares of the weight for the edge back")
        window: tuple[int, ...] = Field((3, 1), description="distances up to which items are joined")

    options: Config

    def measure(self, data: Interactions) -> dict[str, Any]:
        """How many pairs there may be."""
        widest = pairs_of(data, max(self.options.window), max(self.options.backward), typed=False)
        return super().measure(data) | {"pairs": len(widest[0])}

    def phases(self, data: Interactions) -> Sequence[Phase]:
        """One pass that chooses and counts."""
        return self._whole(data, self._count)

    def _count(self, data: Interactions, seed: int) -> None:
        knobs = self._choose(data, seed)
        self.note(**{name: float(value) for name, value in knobs.items()})
        self._set(self._pairs(data, knobs), knobs)

    def _pairs(self, data: Interactions, knobs: Mapping[str, float]) -> Pairs:
        """All pairs of the widest window with their weights under some knobs, zero where they do not count."""
        widest = pairs_of(data, max(self.options.window), max(self.options.backward), typed=False)
        rows, columns, weights = pairs_of(data, int(knobs["window"]), knobs["backward"], typed=False)
        items = np.int64(data.catalogue.num_rows)
        place = np.searchsorted(widest[0] * items + widest[1], rows * items + columns)
        full = np.zeros(len(widest[0]))
        full[place] = weights
        sums = np.bincount(widest[0], full, minlength=int(items))
        return widest[0], widest[1], full / np.maximum(sums[widest[0]], 1e-12) ** knobs["power"]

    def _choose(self, data: Interactions, seed: int) -> dict[str, float]:
        """The knobs, one after the other."""
        knobs = {name: getattr(self.options, name)[0] for name in KNOBS}
        if all(len(getattr(self.options, name)) == 1 for name in KNOBS):
            return knobs
        some = torch.randperm(len(data), generator=rng(seed, "held out"))[:HELD].numpy()
        rest, held = hold_out(data, np.isin(np.arange(len(data)), some))
        if held.asked is None or not held.asked.any():
            return knobs
        held = replace(held, protocol=replace(held.protocol, cutoffs=(CUTOFF,)))
        trial = Markov(**self.given)
        trial.prepare(trial.measure(rest))
        for name in KNOBS:
            tried = {}
            for value in getattr(self.options, name):
                these = knobs | {name: value}
                trial._set(trial._pairs(rest, these), these)
                tried[value] = next_item(trial, held).value(f"ndcg{CUTOFF}")
            knobs[name] = max(tried, key=lambda value: tried[value])
        return knobs


def pairs_of(data: Interactions, window: int, backward: float, typed: bool) -> Pairs:
    """Edges from (behaviour and) item to a wanted item up to `window` events away, with their summed weights.

    Forward an edge weighs 1 / distance, back that times `backward`. Sorted by row, then column.

    >>> data = Interactions.of([1, 1, 1], ["a", "b", "c"])
    >>> [column.tolist() for column in pairs_of(data, window=2, backward=0.0, typed=False)]
    [[0, 0, 1], [1, 2, 2], [1.0, 0.5, 1.0]]
    """
    items = data.items.astype(np.int64)
    rows = items + (data.behaviours.astype(np.int64) * data.catalogue.num_rows if typed else 0)
    wanted, users = data.wanted, data.users
    keys, weights = [np.zeros(0, dtype=np.int64)], [np.zeros(0)]
    for distance in range(1, window + 1):
        beside = users[:-distance] == users[distance:]
        for ahead in (True, False) if backward else (True,):
            to, start = (slice(distance, None), slice(None, -distance))[:: 1 if ahead else -1]
            kept = beside & wanted[to]
            keys.append((rows[start] * data.catalogue.num_rows + items[to])[kept])
            weights.append(np.full(len(keys[-1]), (1.0 if ahead else backward) / distance))
    pairs, place = np.unique(np.concatenate(keys), return_inverse=True)
    total = np.bincount(place.ravel(), np.concatenate(weights), minlength=len(pairs))
    return pairs // data.catalogue.num_rows, pairs % data.catalogue.num_rows, total
