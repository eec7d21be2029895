"""The wing's protocol: which documents a query finds, among all there are."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from counterpoint.errors import UserError
from counterpoint.evaluation.outcome import Mean, Outcome
from counterpoint.text.pairs import Pairs

K = 10
"""How deep nDCG and the reciprocal rank look."""
DEEP = 100
"""How deep the second recall looks."""
QUERIES = 256
"""Queries scored at a time."""


def retrieval(method: Any, pairs: Pairs) -> Outcome:
    """Queries find their documents; one value per query and measure.

    Queries are the different texts of the first view, documents those of the second and of the pool; relevant to a
    query is every document that stands in a row with it, all alike. `ndcg10` is the discounted gain of the first 10
    over the best possible, `mrr10` the reciprocal rank of the first relevant document (0 below 10), `recall10` and
    `recall100` the share of relevant documents found. Ties count by expectation over the orders of what is tied, so
    equal scores earn chance. Raises `UserError` when no row has both texts.
    """
    queries, documents, relevant, first = collected(pairs)
    asked, found = method.embed_texts(queries, "query"), method.embed_texts(documents, "document")
    columns = retrieval_columns(asked, found, relevant)
    ids = np.asarray([str(pairs.ids[row]) for row in first])
    return Outcome(ids, columns, {name: Mean(name) for name in columns})


def collected(pairs: Pairs) -> tuple[list[str], list[str], list[Int[np.ndarray, " _"]], list[int]]:
    """Queries, documents, the documents relevant to each query, and the first row of each query."""
    if len(pairs.positives) < 2:
        raise UserError(f"{pairs.source}: retrieval needs a view of queries and one of documents")
    one, other = (pairs.views[name] for name in pairs.positives[:2])
    both = np.flatnonzero(one.present & other.present).tolist()
    if not both:
        raise UserError(f"{pairs.source}: no row has both a {one.name} and a {other.name}, so nothing can be judged")
    texts = [text for text in other.values if text is not None]
    number = {text: place for place, text in enumerate(dict.fromkeys([*texts, *pairs.pool]))}
    answers: dict[str, dict[int, None]] = {}
    first: dict[str, int] = {}
    for row in both:
        answers.setdefault(one.values[row], {})[number[other.values[row]]] = None
        first.setdefault(one.values[row], row)
    return list(answers), list(number), [np.array(list(found)) for found in answers.values()], list(first.values())


def retrieval_columns(
    queries: Float[Tensor, "n d"], documents: Float[Tensor, "m d"], relevant: Sequence[Int[np.ndarray, " _"]]
) -> dict[str, Float[np.ndarray, " n"]]:
    """The measures of `retrieval` for each query; `relevant` gives the numbers of its documents, at least one.

    Raises ValueError for scores that are not numbers.

    >>> import torch
    >>> documents = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
    >>> retrieval_columns(documents[:1], documents, [np.array([0])])["ndcg10"]
    array([1.])
    """
    rows = []
    for start in range(0, len(queries), QUERIES):
        scores = queries[start : start + QUERIES] @ documents.T
        if bool(scores.isnan().any()):
            raise ValueError("scores contain NaN, so documents cannot be ranked")
        rows += [_measures(*pair) for pair in zip(scores.cpu().numpy(), relevant[start:], strict=False)]
    return {name: np.array([row[name] for row in rows]) for name in rows[0]} if rows else {}


def _measures(scores: Float[np.ndarray, " m"], relevant: Int[np.ndarray, " r"]) -> dict[str, float]:
    """One query's measures: expectations over the orders of documents that score the same."""
    place, share, unfound = _places(scores, relevant)
    discount = 1 / np.log2(np.arange(K) + 2)
    gain = float((share[:K] * discount[: len(share[:K])]).sum())
    best = float(discount[: len(relevant)].sum())
    return {
        f"ndcg{K}": gain / best,
        f"mrr{K}": float((np.diff(1 - unfound[: K + 1], prepend=0)[1:] / place[:K]).sum()),
        f"recall{K}": float(share[:K].sum()) / len(relevant),
        f"recall{DEEP}": float(share.sum()) / len(relevant),
    }


def _places(
    scores: Float[np.ndarray, " m"], relevant: Int[np.ndarray, " r"]
) -> tuple[Float[np.ndarray, " p"], Float[np.ndarray, " p"], Float[np.ndarray, " p1"]]:
    """For each of the first places: its number, the chance that a relevant document has it, and (with a place 0 before)
    the chance that none has come up to it.

    A block of tied documents shares out its relevant ones evenly over its places; within it, that none has come
    after t of m documents with r relevant ones is the chance of drawing t others without putting back.
    """
    deep = min(DEEP, len(scores))
    least = np.partition(scores, len(scores) - deep)[len(scores) - deep]
    values, counts = np.unique(scores[scores >= least], return_counts=True)
    good = np.searchsorted(values, scores[relevant])
    inside = scores[relevant] >= least
    hits = np.bincount(good[inside], minlength=len(values))
    share: list[float] = []
    unfound = [1.0]
    for size, hit in zip(counts[::-1].tolist(), hits[::-1].tolist(), strict=True):
        none = unfound[-1]
        for drawn in range(min(size, deep - len(share))):
            none *= max(0.0, (size - hit - drawn) / (size - drawn))
            share.append(hit / size)
            unfound.append(none)
    return np.arange(1, len(share) + 1.0), np.array(share), np.array(unfound)
