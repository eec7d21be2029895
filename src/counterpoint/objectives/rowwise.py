"""Losses that need the logits of a query with all keys at once, without an n x m matrix that lives.

Where a sum over keys is enough, `log_mass` is faster; this is for what sorts, mines or thresholds.
"""

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from counterpoint.objectives.engine import Comparison, Temperature
from counterpoint.objectives.relation import Itself, Keys, Queries, paired

BLOCK = 2**20
"""Logits that exist at a time: 4 MB in fp32."""

PerBlock: TypeAlias = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, ...]]
"""(logits "b m", positive "b m", negative "b m") of b queries -> some values " b" each."""


def rowwise(
    queries: Queries, keys: Keys, per_block: PerBlock, *, temperature: Temperature, itself: Itself = "positive"
) -> tuple[Tensor, ...]:
    """What `per_block` finds for each query, from its logits with all keys, a block of queries at a time.

    Memory is O((n + m) d + block): of several blocks only the values are kept, and each is made again in the backward
    pass, so `per_block` must be a function of its arguments alone. It always sees at least one key; pairs that are
    neither positive nor negative are not compared. A key whose `log_weight` is -inf is nobody's negative, other log
    weights are not read. Everything is in fp32 at least, under autocast too. Raises ValueError as `paired` does, and
    for a temperature that is not above 0.

    >>> def nearest(logits, positive, negative):
    ...     return logits.amax(1), negative.sum(1)
    >>> rowwise(torch.eye(3), torch.eye(3), nearest, temperature=0.5)
    (tensor([2., 2., 2.]), tensor([2, 2, 2]))
    """
    sides = Comparison.of(*paired(queries, keys), temperature, itself)
    relation, columns = sides.relation, sides.columns
    n, m = relation.shape
    left_out = None if relation.keys.log_weight is None else relation.keys.log_weight == -torch.inf

    def found(rows: Tensor, start: int) -> tuple[Tensor, ...]:
        with torch.autocast(rows.device.type, enabled=False):
            logits = rows @ columns.T
            positive, negative = relation.tile(slice(start, start + len(rows)), slice(0, m))
            if left_out is not None:
                negative = negative & ~left_out
            if not m:  # a key that is not compared with anything
                logits, positive, negative = (x.new_zeros(len(rows), 1) for x in (logits, positive, negative))
            return per_block(logits, positive, negative)

    size = max(1, BLOCK // max(m, 1))
    if n <= size:
        return found(sides.rows, 0)
    starts = range(0, n, size)
    made = [
        checkpoint(found, rows, start, use_reentrant=False, preserve_rng_state=False)
        for rows, start in zip(sides.rows.split(size), starts, strict=True)
    ]
    return tuple(torch.cat(parts) for parts in zip(*made, strict=True))
