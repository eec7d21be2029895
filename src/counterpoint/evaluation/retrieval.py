"""Cross-view retrieval: at which rank the true candidate came, and what that says."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Ranks:
    """Where the true candidate of n queries came, ties included.

    `best` is 1 + how many candidates scored higher, `ties` how many scored the same. A tied block takes the
    ranks best, ..., best + ties - 1 and the true candidate is equally likely to have any of them (`ties`
    counts itself, so it is at least 1). Every number below is the expectation under that rule, so a
    constant score earns chance and no more.
    """

    best: Int[Tensor, " n"]
    ties: Int[Tensor, " n"]

    def mean(self) -> Float[Tensor, " n"]:
        """The expected rank: the middle of the tied block, so halves occur."""
        return self.best.double() + (self.ties.double() - 1) / 2

    def hits(self, k: int) -> Float[Tensor, " n"]:
        """The probability of being among the first k."""
        return ((k - self.best.double() + 1) / self.ties).clamp(0, 1)

    def reciprocal(self) -> Float[Tensor, " n"]:
        """The expected 1 / rank; digamma(x + 1) - digamma(x) = 1 / x sums it over the block."""
        best, ties = self.best.double(), self.ties.double()
        block = (torch.digamma(best + ties) - torch.digamma(best)) / ties
        return torch.where(self.ties == 1, 1 / best, block)


def ranks(scores: Float[Tensor, "n m"], target: Int[Tensor, " n"]) -> Ranks:
    """Rank the candidate `target[i]` among the m scores of query i; higher scores are better.

    Raises ValueError for scores that are not numbers, which would otherwise pass as perfect.

    >>> found = ranks(torch.tensor([[0.9, 0.1, 0.3], [0.5, 0.5, 0.1]]), torch.tensor([2, 0]))
    >>> found.mean()
    tensor([2.0000, 1.5000], dtype=torch.float64)
    """
    if bool(scores.isnan().any()):
        raise ValueError("scores contain NaN, so candidates cannot be ranked")
    true = scores.gather(1, target.long().unsqueeze(1))
    return Ranks(best=1 + (scores > true).sum(1), ties=(scores == true).sum(1))


def ranks_in_chunks(score: Callable[[Tensor], Tensor], target: Int[Tensor, " n"], *, chunk: int = 256) -> Ranks:
    """`ranks` without the n x m scores.

    `score` takes the numbers of a few queries and gives their scores of all m candidates. Memory is chunk x
    m. Candidates are not cut, because the same pair can round differently in two block shapes and a
    candidate would then lose to itself.

    >>> queries, candidates = torch.eye(4), torch.eye(4)
    >>> ranks_in_chunks(lambda rows: queries[rows] @ candidates.T, torch.arange(4), chunk=3).best
    tensor([1, 1, 1, 1])
    """
    parts = [ranks(score(rows), target[rows]) for rows in torch.split(torch.arange(len(target)), chunk)]
    return Ranks(best=torch.cat([p.best for p in parts]), ties=torch.cat([p.ties for p in parts]))


def retrieval_metrics(ranks: Ranks, k: Sequence[int] = (1, 5, 10)) -> dict[str, float]:
    """Top-k, mean reciprocal rank and median rank; fractions 0..1 but for the rank.

    Raises ValueError when there is no query.

    >>> retrieval_metrics(Ranks(torch.tensor([1, 2]), torch.tensor([1, 1])), k=(1,))
    {'top1': 0.5, 'mrr': 0.75, 'median_rank': 1.5}
    """
    if len(ranks.best) == 0:
        raise ValueError("retrieval needs at least one query")
    rows = retrieval_columns(ranks, k)
    median = rows.pop("rank").quantile(0.5)
    return {**{name: float(values.mean()) for name, values in rows.items()}, "median_rank": float(median)}


def retrieval_columns(ranks: Ranks, k: Sequence[int] = (1, 5, 10)) -> dict[str, Float[Tensor, " n"]]:
    """The same per query, as the columns of an `Outcome`: top1, ..., mrr and the expected rank."""
    hits = {f"top{count}": ranks.hits(count) for count in k}
    return {**hits, "mrr": ranks.reciprocal(), "rank": ranks.mean()}
