"""What a network reads of interactions: some histories side by side, and the stretches of them that it learns from."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from counterpoint.recommend.interactions import Interactions


@dataclass(frozen=True)
class Histories:
    """n histories one after the other: history i is the events from `starts[i]` to `starts[i + 1]`, oldest first.

    >>> Histories.of([[3, 1], [], [2]]).padded(9)[0]
    tensor([[3, 1],
            [9, 9],
            [2, 9]])
    """

    starts: Int[Tensor, " n1"]
    items: Int[Tensor, " e"]
    behaviours: Int[Tensor, " e"]

    @classmethod
    def of(cls, items: Sequence[Sequence[int]], behaviours: Sequence[Sequence[int]] | None = None) -> "Histories":
        """Histories from lists of item numbers (and behaviour numbers, default 0)."""
        starts = torch.tensor([0, *map(len, items)]).cumsum(0)
        said = [[0] * len(one) for one in items] if behaviours is None else behaviours
        flat, kinds = (torch.tensor([x for one in rows for x in one], dtype=torch.int64) for rows in (items, said))
        return cls(starts, flat, kinds)

    @classmethod
    def cat(cls, parts: Sequence["Histories"]) -> "Histories":
        """The histories of several, one after the other."""
        lengths = torch.cat([part.lengths for part in parts])
        starts = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])
        return cls(starts, torch.cat([part.items for part in parts]), torch.cat([part.behaviours for part in parts]))

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def lengths(self) -> Int[Tensor, " n"]:
        """How many events each has."""
        return self.starts.diff()

    @property
    def owners(self) -> Int[Tensor, " e"]:
        """The history of each event."""
        return torch.repeat_interleave(torch.arange(len(self), device=self.starts.device), self.lengths)

    def latest(self, most: int) -> "Histories":
        """The last events of each, at most so many."""
        after = self.starts[1:][self.owners] - torch.arange(len(self.items), device=self.items.device)
        return self.where(after <= most)

    def where(self, kept: Bool[Tensor, " e"]) -> "Histories":
        """Some of the events."""
        counts = torch.bincount(self.owners[kept], minlength=len(self))
        starts = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
        return Histories(starts, self.items[kept], self.behaviours[kept])

    def of_behaviour(self, kind: int) -> "Histories":
        """Their events of one behaviour; a history without any stays whole.

        >>> Histories.of([[3, 1], [2]], [[0, 1], [0]]).of_behaviour(1).items
        tensor([1, 2])
        """
        wanted = self.behaviours == kind
        some = torch.zeros(len(self), dtype=torch.bool, device=self.starts.device)
        some[self.owners[wanted]] = True
        return self.where(wanted | ~some[self.owners])

    def rows(self, rows: Int[Tensor, " k"]) -> "Histories":
        """Some of them, in rising order."""
        chosen = torch.zeros(len(self), dtype=torch.bool, device=self.starts.device)
        chosen[rows] = True
        kept = self.where(chosen[self.owners])
        return Histories(torch.cat([kept.starts[:1], kept.starts[1:][chosen]]), kept.items, kept.behaviours)

    def distinct(self) -> tuple["Histories", Int[Tensor, " e"]]:
        """Each item of a history once, in rising order and without its behaviour, and how often it was there.

        >>> Histories.of([[3, 1, 3]]).distinct()[1]
        tensor([1, 2])
        """
        most = int(self.items.max()) + 1 if len(self.items) else 1
        cells, counts = torch.unique(self.owners * most + self.items, return_counts=True)
        lengths = torch.bincount(cells // most, minlength=len(self))
        items = cells % most
        return Histories(torch.cat([lengths.new_zeros(1), lengths.cumsum(0)]), items, torch.zeros_like(items)), counts

    def padded(self, pad: int) -> tuple[Int[Tensor, "n l"], Int[Tensor, "n l"], Bool[Tensor, "n l"]]:
        """Items (`pad` behind the end of a history), behaviours (0 there), and where an event is; l is the longest."""
        longest = int(self.lengths.max()) if len(self) else 0
        place = torch.arange(longest, device=self.starts.device)
        there = place < self.lengths[:, None]
        event = (self.starts[:-1, None] + place).clamp(max=max(0, len(self.items) - 1))
        if not len(self.items):
            empty = torch.full_like(event, pad)
            return empty, torch.zeros_like(event), there
        return self.items[event].masked_fill(~there, pad), self.behaviours[event].masked_fill(~there, 0), there


def histories(
    data: Interactions, first: Int[np.ndarray, " n"], last: Int[np.ndarray, " n"], known: bool = False
) -> Histories:
    """The events from `first[i]` up to `last[i]`, which is left out; with `known`, so are items without a number."""
    lengths = last - first
    starts = np.concatenate([[0], lengths.cumsum()])
    events = np.repeat(first - starts[:-1], lengths) + np.arange(starts[-1])
    items, behaviours = (torch.from_numpy(column[events].astype(np.int64)) for column in (data.items, data.behaviours))
    found = Histories(torch.from_numpy(starts.astype(np.int64)), items, behaviours)
    return found.where(items >= 0) if known and len(items) and int(items.min()) < 0 else found


@dataclass(frozen=True, eq=False)
class Instances:
    """What is learned from, a row each: inputs are the events from `first` up to `last`, which is left out.

    With `each` the event after every input is a target, from `first + 1` to `last`; else `last` alone is.
    """

    first: Int[np.ndarray, " n"]
    last: Int[np.ndarray, " n"]
    each: bool

    def __len__(self) -> int:
        return len(self.first)

    @property
    def lengths(self) -> Int[Tensor, " n"]:
        """How many inputs each has."""
        return torch.from_numpy(self.last - self.first)

    def rows(self, rows: Int[Tensor, " k"]) -> "Instances":
        """Some of them."""
        return replace(self, first=self.first[rows.numpy()], last=self.last[rows.numpy()])

    def inputs(self, data: Interactions) -> Histories:
        """The inputs."""
        return histories(data, self.first, self.last)

    def targets(self, data: Interactions) -> Int[Tensor, " t"]:
        """The item after each input, in the inputs' order, or the one of each row; -1 where it is not wanted."""
        events = self.last
        if self.each:
            lengths = self.last - self.first
            starts = np.concatenate([[0], lengths.cumsum()])
            events = np.repeat(self.first + 1 - starts[:-1], lengths) + np.arange(starts[-1])
        return torch.from_numpy(np.where(data.wanted[events], data.items[events], -1).astype(np.int64))


@lru_cache(maxsize=4)
def instances(data: Interactions, each: bool, length: int) -> Instances:
    """All instances of training data, with at most `length` inputs.

    With `each`, histories are cut into stretches from their end, so that every event but the first of a user is a
    target once; else every wanted event with one before it is a row of its own.

    >>> data = Interactions.of([1, 1, 1, 1], ["a", "b", "c", "d"])
    >>> instances(data, True, 2).first.tolist(), instances(data, True, 2).last.tolist()
    ([1, 0], [3, 1])
    >>> instances(data, False, 2).first.tolist(), instances(data, False, 2).last.tolist()
    ([0, 0, 1], [1, 2, 3])
    """
    begin = data.starts[:-1].astype(np.int64)
    if each:
        targets = np.maximum(data.lengths - 1, 0)
        stretches = -(-targets // length)
        user = np.repeat(np.arange(len(data)), stretches)
        number = np.arange(len(user)) - np.repeat(stretches.cumsum() - stretches, stretches)
        last = begin[user] + targets[user] - number * length
        return Instances(np.maximum(begin[user], last - length), last, True)
    last = np.flatnonzero(data.wanted & (np.arange(len(data.items)) > begin[data.users]))
    return Instances(np.maximum(begin[data.users[last]], last - length), last, False)
