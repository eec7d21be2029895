"""What a method remembers between steps: keys of earlier batches, a slow copy of a network, near neighbours.

All of it is buffers that `after` or a `visit` phase writes, never `losses`: autograd refuses a backward pass over what
was changed since. They are in the checkpoint, so a resumed run goes on bit for bit, and not in the exported weights.
"""

import copy
from dataclasses import fields
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor, nn

from counterpoint.objectives.relation import Embeddings, Ids
from counterpoint.objectives.streamed import blocks

TILE = 2048
"""Rows and columns of the scores that `Neighbours` holds at a time."""


class Queue(nn.Module):
    """The last `size` keys with their ids, first in, first out; every rank holds all of them.

    A key's ids stay with it, so a query meets its own row again as `itself` says, positives stay positives and what
    `exclude` forbids stays forbidden. Make room for every fact the ids state: the number of columns of `exclude`,
    `within`, `log_weight`. Source: MoCo, arXiv 1911.05722, section 3.2. Raises ValueError unless `size` and `dim` are
    at least 1.

    >>> queue, row = Queue(size=3, dim=2), torch.arange(4)
    >>> queue.push(Embeddings(torch.rand(4, 2), Ids(row=row, positive=row)))
    >>> queue.keys().ids.row.sort().values
    tensor([1, 2, 3])
    """

    training_only = True
    vectors: Tensor
    oldest: Tensor
    filled: Tensor

    def __init__(
        self, size: int, dim: int, *, exclude: int = 0, within: bool = False, log_weight: bool = False
    ) -> None:
        super().__init__()
        if size < 1 or dim < 1:
            raise ValueError(f"a queue holds at least one key of one number, not {size} of {dim}")
        self.register_buffer("vectors", torch.zeros(size, dim))
        for name in ("row", "positive", *(["within"] if within else [])):
            self.register_buffer(name, torch.full((size,), -1))
        if exclude:
            self.register_buffer("exclude", torch.full((size, exclude), -1))
        if log_weight:
            self.register_buffer("log_weight", torch.zeros(size))
        self.register_buffer("oldest", torch.tensor(0))
        self.register_buffer("filled", torch.tensor(0))

    def __len__(self) -> int:
        return int(self.filled)

    def keys(self) -> Embeddings:
        """The keys so far, in no particular order; the memory is the queue's own, so use them before the next push."""
        stated = {name: column[: len(self)] for name, column in self._columns().items()}
        return Embeddings(self.vectors[: len(self)], Ids(**stated), everywhere=True)

    @torch.no_grad()
    def push(self, keys: Embeddings) -> None:
        """Put the keys of all ranks, in the order of the ranks, in the place of the oldest; every rank must call it.

        Of more keys than the queue is long the last ones stay. Raises ValueError when the ids state other facts than
        the queue has room for.
        """
        columns = self._columns()
        stated = {f.name for f in fields(Ids) if getattr(keys.ids, f.name) is not None}
        if stated != columns.keys():
            kept = sorted(columns)
            raise ValueError(f"the ids state {sorted(stated)} and this Queue keeps {kept}; say so when it is made")
        size = len(self.vectors)
        new = keys.gathered()[-size:]
        place = (self.oldest + torch.arange(len(new), device=self.oldest.device)) % size
        self.vectors[place] = new.vectors.to(self.vectors)
        for name, column in columns.items():
            column[place] = getattr(new.ids, name).to(column)
        self.oldest.add_(len(new)).remainder_(size)
        self.filled.add_(len(new)).clamp_(max=size)

    def _columns(self) -> dict[str, Tensor]:
        return {f.name: column for f in fields(Ids) if (column := getattr(self, f.name, None)) is not None}


class Momentum(nn.Module):
    """A copy of a module that follows it slowly: parameters averaged, buffers copied, no gradients.

    It runs in its source's mode (training or not). Source: MoCo, arXiv 1911.05722, equation 2; BYOL, arXiv 2006.07733,
    equation 1. Raises ValueError unless 0 <= decay <= 1.

    >>> encoder = nn.Linear(2, 2)
    >>> slow = Momentum(encoder, decay=0.99)
    >>> slow.update_()
    >>> slow(torch.rand(3, 2)).requires_grad
    False
    """

    training_only = True

    def __init__(self, module: nn.Module, decay: float) -> None:
        super().__init__()
        self.decay = _share(decay)
        self.average = copy.deepcopy(module).requires_grad_(False)
        self._source = (module,)  # in a tuple, so that it is not a submodule of this one too

    @property
    def source(self) -> nn.Module:
        """The module that is followed."""
        return self._source[0]

    def forward(self, *inputs: Any, **named: Any) -> Any:
        """What the copy makes of the inputs, without gradient."""
        for mine, theirs in zip(self.average.modules(), self.source.modules(), strict=True):
            mine.training = theirs.training
        with torch.no_grad():
            return self.average(*inputs, **named)

    @torch.no_grad()
    def update_(self, decay: float | None = None) -> None:
        """One step towards the source, in `after`; `decay` takes the place of the usual one, for a schedule."""
        step = 1 - (self.decay if decay is None else _share(decay))
        for mine, theirs in zip(self.average.parameters(), self.source.parameters(), strict=True):
            mine.lerp_(theirs, step)
        for buffer, of_source in zip(self.average.buffers(), self.source.buffers(), strict=True):
            buffer.copy_(of_source)


class Neighbours(nn.Module):
    """Which rows of the data lie nearest to each row: filled by a `visit` phase, read by `samplers.hard_negatives`.

    `put` the vectors of every batch, `search_` after the last. `index` is [rows, k], nearest first, -1 where there are
    no more. A row's own positives are left out. Row ids must be row numbers below `rows`. The vectors are compared by
    their products, exactly; memory is O(rows (dim + k)), and time O(rows^2 dim). Raises ValueError unless all three
    sizes are at least 1.

    >>> near, row = Neighbours(rows=3, dim=1, k=1), torch.arange(3)
    >>> near.put(Embeddings(torch.tensor([[-1.0], [2.0], [3.0]]), Ids(row=row, positive=row)))
    >>> near.search_()
    >>> near.index.flatten()
    tensor([1, 2, 1])
    """

    training_only = True
    vectors: Tensor
    positive: Tensor
    index: Tensor

    def __init__(self, rows: int, dim: int, k: int) -> None:
        super().__init__()
        if min(rows, dim, k) < 1:
            raise ValueError(f"rows, dim and k must be at least 1, not {rows}, {dim} and {k}")
        self.register_buffer("vectors", torch.full((rows, dim), torch.nan))  # NaN: not put yet
        self.register_buffer("positive", torch.full((rows,), -1))
        self.register_buffer("index", torch.full((rows, k), -1))

    @torch.no_grad()
    def put(self, rows: Embeddings) -> None:
        """Keep the vectors of some rows, of all ranks; every rank must call it."""
        found = rows.gathered()
        self.vectors[found.ids.row] = found.vectors.to(self.vectors)
        self.positive[found.ids.row] = found.ids.positive

    @torch.no_grad()
    def search_(self) -> None:
        """Find each row's neighbours among all rows that were put."""
        for i in blocks(len(self.vectors), TILE):
            self.index[i] = self._nearest(i)

    def _nearest(self, i: slice) -> Int[Tensor, "i k"]:
        n, k = self.index.shape
        row = torch.arange(n, device=self.index.device)
        best = self.vectors.new_full((i.stop - i.start, k), -torch.inf)
        found = torch.full_like(self.index[i], -1)
        for j in blocks(n, TILE):
            scores = self.vectors[i] @ self.vectors[j].T
            own = row[i, None] == row[j]
            positive = (self.positive[i, None] == self.positive[j]) & (self.positive[j] >= 0)
            scores = scores.masked_fill(own | positive | scores.isnan(), -torch.inf)
            best, place = torch.cat([best, scores], dim=1).topk(k)
            found = torch.cat([found, row[j].expand(len(scores), -1)], dim=1).gather(1, place)
        return found.masked_fill(best == -torch.inf, -1)


def _share(decay: float) -> float:
    if not 0 <= decay <= 1:
        raise ValueError(f"decay is a share from 0 to 1, not {decay}")
    return decay
