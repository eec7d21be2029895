"""Ranked lists and what they are worth: the first k of all candidates, and the usual measures at cut-offs."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

MEASURES = ("hr", "recall", "ndcg", "mrr", "precision", "map")
GROUP = 32
"""Candidates that are looked at together: whoever is among the best k is in one of the k groups of highest maximum."""


def top_k(
    scores: Float[Tensor, "n m"], k: int, order: Int[Tensor, " m"]
) -> tuple[Int[Tensor, "n k2"], Float[Tensor, "n k2"]]:
    """The first k candidates of each row and their scores, best first; of equal scores the one lower in `order` first.

    `order` is a permutation of the candidates. A candidate that scores -inf is not listed: its place holds -1. Exact:
    rows in which a tie crosses the k-th place are looked at a second time. Raises ValueError for scores that are not
    numbers.

    >>> top_k(torch.tensor([[0.1, 0.7, 0.7, 0.7]]), 2, torch.tensor([3, 2, 1, 0]))[0]
    tensor([[3, 2]])
    """
    m = scores.shape[1]
    k = min(k, m)
    values, index = _largest(scores, min(k + 1, m))
    if bool(values.isnan().any()):
        raise ValueError("scores contain NaN, so candidates cannot be ranked")
    if k < m:
        crossed = ((values[:, k] == values[:, k - 1]) & (values[:, k] > -torch.inf)).nonzero()[:, 0]
        values, index = values[:, :k], index[:, :k]
        if len(crossed):
            rows, last = scores[crossed], values[crossed, k - 1, None]
            place = order.expand_as(rows).masked_fill(rows < last, m).masked_fill(rows > last, -1)
            index = index.index_put((crossed,), place.topk(k, dim=1, largest=False).indices)
            values = scores.gather(1, index)
    by_order = order[index].argsort(dim=1)
    index, values = index.gather(1, by_order), values.gather(1, by_order)
    best = values.argsort(dim=1, descending=True, stable=True)
    index, values = index.gather(1, best), values.gather(1, best)
    return index.masked_fill(values == -torch.inf, -1), values


def _largest(scores: Float[Tensor, "n m"], k: int) -> tuple[Float[Tensor, "n k"], Int[Tensor, "n k"]]:
    """`scores.topk(k)`, of many candidates from the groups of highest maximum alone, which takes one pass over them.

    With equal values, which of them are named may differ from `topk`.
    """
    groups = scores.shape[1] // GROUP
    if groups < 4 * k:
        return scores.topk(k, dim=1)
    apart = scores[:, : groups * GROUP].unflatten(1, (groups, GROUP))
    best = apart.amax(2).topk(k, dim=1, sorted=False).indices
    rest = torch.arange(groups * GROUP, scores.shape[1], device=scores.device).expand(len(scores), -1)
    among = torch.cat([(best[:, :, None] * GROUP + torch.arange(GROUP, device=best.device)).flatten(1), rest], dim=1)
    values, place = scores.gather(1, among).topk(k, dim=1)
    return values, among.gather(1, place)


def ranking_columns(
    hits: Bool[np.ndarray, "n k"],
    relevant: Int[np.ndarray, " n"],
    cutoffs: Sequence[int],
    which: Sequence[str] = MEASURES,
) -> dict[str, Float[np.ndarray, " n"]]:
    """Measures of each list at each cut-off, as columns `hr10`, `ndcg10`, ...

    `hits` says which places of a list hold a relevant item, `relevant` how many there are (at least one, found or
    not). `hr` is whether any is found, `recall` the share found, `precision` the share of the places, `mrr` the
    reciprocal place of the first (0 when none is found), `map` the mean precision at the places of relevant items and
    `ndcg` the discounted gain, the last two over the best that the cut-off allows. The definitions are RecBole's
    (arXiv 2011.01731). Raises ValueError for a cut-off below 1 or longer than the lists, or a row without anything
    relevant.

    >>> found = ranking_columns(np.array([[False, True, False]]), np.array([1]), [3], ["hr", "mrr"])
    >>> {name: float(values[0]) for name, values in found.items()}
    {'hr3': 1.0, 'mrr3': 0.5}
    """
    if cutoffs and (min(cutoffs) < 1 or max(cutoffs) > hits.shape[1]):
        raise ValueError(f"cut-offs {list(cutoffs)} for lists of {hits.shape[1]}")
    if len(relevant) and int(relevant.min()) < 1:
        raise ValueError("a list without anything relevant cannot be judged")
    place = np.arange(1, hits.shape[1] + 1)
    found = hits.cumsum(axis=1)
    gain = (hits / np.log2(place + 1)).cumsum(axis=1)
    ideal = (1 / np.log2(place + 1)).cumsum()
    precise = (hits * found / place).cumsum(axis=1)
    first = np.where(found[:, -1] > 0, hits.argmax(axis=1) + 1, np.inf)
    columns: dict[str, Float[np.ndarray, " n"]] = {}
    for k in cutoffs:
        best = np.minimum(relevant, k)
        values = {
            "hr": (found[:, k - 1] > 0).astype(np.float64),
            "recall": found[:, k - 1] / relevant,
            "ndcg": gain[:, k - 1] / ideal[best - 1],
            "mrr": np.where(first <= k, 1 / first, 0.0),
            "precision": found[:, k - 1] / k,
            "map": precise[:, k - 1] / best,
        }
        columns |= {f"{name}{k}": values[name] for name in which}
    return columns


def gini(counts: Int[np.ndarray, " m"]) -> float:
    """How unequally something is spread over m items: 0 when evenly, towards 1 when on one of many; NaN when nowhere.

    >>> gini(np.array([5, 5])), gini(np.array([0, 0, 0, 8]))
    (0.0, 0.75)
    """
    total = int(counts.sum())
    if not total:
        return float("nan")
    m = len(counts)
    place = np.arange(1, m + 1)
    return float(((2 * place - m - 1) * np.sort(counts)).sum() / (m * total))
