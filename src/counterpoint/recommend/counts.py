"""What needs no learning: what is popular, and what was clicked last."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from counterpoint.recommend.histories import Histories
from counterpoint.recommend.interactions import Interactions
from counterpoint.recommend.recommender import Recommender
from counterpoint.training import Clock, Method, MethodConfig, Phase
from counterpoint.training.samplers import in_order


class Counting(Recommender):
    """A recommender that counts over all events at once, the same on every rank."""

    phase: Any

    def _whole(self, data: Interactions, count: Callable[[Interactions, int], None]) -> Sequence[Phase]:
        """One pass: `count` is called with the data and the seed."""

        def visit(batch: Any, clock: Clock) -> None:
            count(data, clock.seed)

        plan = in_order(len(data), max(1, len(data)))
        return [self.phase("count", data, visit=visit, plan=lambda generator: plan, batch=lambda rows, generator: rows)]

    def similarity(self, a: Int[Tensor, " n"], b: Int[Tensor, " m"]) -> Float[Tensor, "n m"]:
        """1 for the same item, else 0: nothing is known of others."""
        return (a[:, None] == b[None]).to(torch.float32)


class Wanted(Counting):
    """A recommender that knows how many (target) events each item has."""

    wanted: Tensor

    def build(self: Any, facts: dict[str, Any]) -> None:
        """A count per item."""
        self._build_items(facts)
        self.register_buffer("wanted", torch.zeros(facts["items"]))

    def phases(self, data: Interactions) -> Sequence[Phase]:
        """One pass that counts."""
        return self._whole(data, self._count)

    def _count(self, data: Interactions, seed: int) -> None:
        counts = np.bincount(data.items[data.wanted], minlength=data.catalogue.num_rows)
        self.wanted.copy_(torch.from_numpy(counts.astype(np.float32)))


class Popularity(Wanted, Method):
    """What most (target) events are of, for everybody alike.

    Source: none; the least that a recommender has to beat.

    >>> data = Interactions.of([1, 1, 2], ["a", "b", "b"])
    >>> Popularity().fit(data).recommend([["a"]])[0][0]["id"]
    'b'
    """

    Config = MethodConfig

    def scores(self, histories: Histories) -> Float[Tensor, "n v"]:
        """The counts."""
        return self.wanted.expand(len(histories), -1)


class LastClick(Wanted, Method):
    """The items of the history itself, the latest first, then what is popular.

    Source: none; in shops people often buy what they looked at last, and whoever removes seen items is left with
    popularity.

    >>> data = Interactions.of([1, 1, 2], ["a", "b", "c"])
    >>> [hit["id"] for hit in LastClick().fit(data).recommend([["a", "b"]], exclude_seen=False)[0][:2]]
    ['b', 'a']
    """

    Config = MethodConfig

    def scores(self, histories: Histories) -> Float[Tensor, "n v"]:
        """1 and more for items of the history, by how late they come; below 1 for all others."""
        scores = (self.wanted / (self.wanted.max() + 1)).repeat(len(histories), 1).flatten()
        place = torch.arange(len(histories.items), device=scores.device) - histories.starts[:-1][histories.owners]
        cell = histories.owners * len(self.items) + histories.items
        latest = scores.scatter_reduce(0, cell, place.to(scores.dtype) + 1, "amax")
        return latest.view(len(histories), -1)


class SparseRows(nn.Module):
    """Sparse weights from r rows to v items, of which `pairs` are not zero."""

    starts: Tensor
    columns: Tensor
    weights: Tensor

    def __init__(self, rows: int, items: int, pairs: int) -> None:
        super().__init__()
        self.items = items
        self.register_buffer("starts", torch.zeros(rows + 1, dtype=torch.int64))
        self.register_buffer("columns", torch.zeros(pairs, dtype=torch.int64))
        self.register_buffer("weights", torch.zeros(pairs))

    def fill(
        self, rows: Int[np.ndarray, " p"], columns: Int[np.ndarray, " p"], weights: Float[np.ndarray, " p"]
    ) -> None:
        """Take weights by row, in rising order of rows."""
        counts = np.bincount(rows, minlength=len(self.starts) - 1)
        self.starts.copy_(torch.from_numpy(np.concatenate([[0], counts.cumsum()])))
        self.columns.copy_(torch.from_numpy(columns.astype(np.int64)))
        self.weights.copy_(torch.from_numpy(weights.astype(np.float32)))

    def spread(
        self, owners: Int[Tensor, " e"], rows: Int[Tensor, " e"], weights: Float[Tensor, " e"], n: int
    ) -> Float[Tensor, "n v"]:
        """For each of n owners the weighted sum of its rows."""
        lengths = self.starts.diff()[rows]
        place = torch.arange(int(lengths.sum()), device=rows.device)
        entry = torch.repeat_interleave(torch.arange(len(rows), device=rows.device), lengths)
        pair = place - (lengths.cumsum(0) - lengths)[entry] + self.starts[rows][entry]
        cell = owners[entry] * self.items + self.columns[pair]
        total = torch.bincount(cell, (self.weights[pair] * weights[entry]).double(), minlength=n * self.items)
        return total.view(n, self.items).to(self.weights.dtype)

    def cosine(self, a: Int[Tensor, " n"], b: Int[Tensor, " m"]) -> Float[Tensor, "n m"]:
        """How alike the weights of rows are."""
        one, other = (
            self.spread(torch.arange(len(x), device=x.device), x, x.new_ones(len(x)).float(), len(x)) for x in (a, b)
        )
        product = one @ other.T
        length = one.norm(dim=1)[:, None] * other.norm(dim=1)[None]
        found: Tensor = product / length.clamp(min=1e-12)
        return found
