"""The nearest rows without error: products in bf16 where they are faster, settled in float64.

bf16 only proposes. A proposal is taken when the rounding of bf16 cannot have hidden a better row, a bound that is
computed for each query; the other queries are searched again in float32.
"""

import numpy as np
import torch
from jaxtyping import Float, Float32, Int, Int64
from torch import Tensor

from counterpoint.objectives.streamed import multiplies_bf16

ROWS = 8192  # rows scored at a time
QUERIES = 1024  # queries scored at a time
SETTLED = 64  # queries whose proposals are settled at a time
SPARE = 8  # rows kept beyond k in float32, whose sums may be off in the last digits
HALF_FROM = 32  # with fewer queries, rounding the rows costs more than it saves
UNIT = 2.0**-8  # what rounding to bf16 changes a number by, as a share of it, at most


def nearest(
    queries: Float32[np.ndarray, "n d"],
    vectors: Float32[np.ndarray, "m d"],
    rows: Int64[np.ndarray, " r"],
    k: int,
    half: bool | None = None,
) -> tuple[Float32[np.ndarray, "n k"], Int64[np.ndarray, "n k"]]:
    """The scores and row numbers of the k (or r) largest inner products among `rows`, best first.

    All vectors are unit vectors (or zero). Of equal scores the lower row comes first. `half`: propose in bf16;
    None: when the processor multiplies it natively and there are enough queries.

    >>> points = np.eye(3, dtype=np.float32)
    >>> scores, found = nearest(points[:1], points, np.array([1, 2]), k=1)
    >>> scores.tolist(), found.tolist()
    ([[0.0]], [[1]])
    """
    k = min(k, len(rows))
    if k == 0 or not len(queries):
        return np.zeros((len(queries), k), np.float32), np.zeros((len(queries), k), np.int64)
    half = (len(queries) >= HALF_FROM and multiplies_bf16()) if half is None else half
    parts = []
    for start in range(0, len(queries), QUERIES):
        asked = torch.from_numpy(np.ascontiguousarray(queries[start : start + QUERIES]))
        scores, found, sure = _search(asked, vectors, rows, k, half)
        if not sure.all():
            unsure = ~sure
            scores[unsure], found[unsure], _ = _search(asked[unsure], vectors, rows, k, False)
            half = bool(sure.float().mean() > 0.5)  # crowded vectors: bf16 would be wasted on the next queries too
        parts.append((scores.float().numpy(), found.numpy()))
    return np.concatenate([scores for scores, _ in parts]), np.concatenate([found for _, found in parts])


def _search(
    queries: Float32[Tensor, "n d"],
    vectors: Float32[np.ndarray, "m d"],
    rows: Int64[np.ndarray, " r"],
    k: int,
    half: bool,
) -> tuple[Float[Tensor, "n k"], Int[Tensor, "n k"], Tensor]:
    """Scores, rows, and for which queries it is certain that no other row is better."""
    keep = min(max(4 * k, k + 32) if half else k + SPARE, len(rows))
    coarse, place = _propose(queries.bfloat16() if half else queries, vectors, rows, keep)
    proposed = (
        torch.from_numpy(rows[place.numpy()]).sort(dim=1).values
    )  # so that the stable sort below prefers lower rows
    scores = _products(queries, vectors, proposed)
    order = scores.argsort(dim=1, descending=True, stable=True)[:, :k]
    scores = scores.gather(1, order)
    if not half or keep == len(rows):
        sure = torch.ones(len(queries), dtype=torch.bool)
    else:
        last = coarse[:, -1].double()
        inputs = UNIT * (2 + UNIT)  # by Cauchy-Schwarz, for unit vectors
        output = UNIT * (1 + 2 * UNIT) * last.abs() + queries.shape[1] * 2.0**-23
        sure = scores[:, -1] > last + inputs + output
    return scores, proposed.gather(1, order), sure


def _propose(
    queries: Float[Tensor, "n d"], vectors: Float32[np.ndarray, "m d"], rows: Int64[np.ndarray, " r"], keep: int
) -> tuple[Float[Tensor, "n c"], Int[Tensor, "n c"]]:
    """The largest products of the queries' precision, and their places among `rows`; never more than two blocks."""
    best, place = queries.new_zeros(len(queries), 0), torch.zeros(len(queries), 0, dtype=torch.int64)
    for start in range(0, len(rows), ROWS):
        block = torch.from_numpy(_taken(vectors, rows[start : start + ROWS])).to(queries.dtype)
        values = queries @ block.T
        full = best.shape[1] == keep
        values, found = _above(values, best[:, -1]) if full else values.topk(min(keep, len(block)), dim=1)
        best, place = torch.cat([best, values], dim=1), torch.cat([place, found + start], dim=1)
        if best.shape[1] > keep:
            best, order = best.topk(keep, dim=1)
            place = place.gather(1, order)
    return best, place


def _above(values: Float[Tensor, "n b"], floor: Float[Tensor, " n"]) -> tuple[Float[Tensor, "n c"], Int[Tensor, "n c"]]:
    """The values above each query's floor and their columns, filled up with -inf.

    Once some blocks have been seen they are few, and found in a fraction of the time of a top-k.
    """
    query, column = (values > floor[:, None]).nonzero(as_tuple=True)
    counts = query.bincount(minlength=len(values))
    slot = torch.arange(len(query)) - (counts.cumsum(0) - counts)[query]
    width = int(counts.max())
    kept = values.new_full((len(values), width), -torch.inf)
    columns = torch.zeros(len(values), width, dtype=torch.int64)
    kept[query, slot], columns[query, slot] = values[query, column], column
    return kept, columns


def _taken(vectors: Float32[np.ndarray, "m d"], rows: Int64[np.ndarray, " b"]) -> Float32[np.ndarray, "b d"]:
    """Some rows: without a copy when they follow each other."""
    first, last = int(rows[0]), int(rows[-1])
    return vectors[first : last + 1] if last - first + 1 == len(rows) else vectors[rows]


def _products(
    queries: Float32[Tensor, "n d"], vectors: Float32[np.ndarray, "m d"], rows: Int64[Tensor, "n c"]
) -> Float[Tensor, "n c"]:
    """Each query's products with rows of its own, every one summed in the same order so that equal rows stay equal."""
    parts = []
    for asked, found in zip(queries.split(SETTLED), rows.split(SETTLED), strict=True):
        taken = torch.from_numpy(np.asarray(vectors[found.numpy()])).double()
        parts.append((taken * asked.double()[:, None]).sum(dim=2))
    return torch.cat(parts)
