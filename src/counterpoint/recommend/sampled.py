"""A softmax over all items, estimated from a few of them."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from counterpoint.objectives import Embeddings, Ids, RowLoss, against, log_mass


def log_chances(counts: Int[Tensor, " v"]) -> Float[Tensor, " v"]:
    """The log of each item's chance to be drawn: in proportion to log(2 + its events), so that none is left out.

    >>> log_chances(torch.tensor([0, 6, 6])).exp()
    tensor([0.1429, 0.4286, 0.4286], dtype=torch.float64)
    """
    weights = (2 + counts.to(torch.float64)).log()
    return (weights / weights.sum()).log()


def drawn_items(ends: Float[Tensor, " v"], k: int, generator: torch.Generator) -> Int[Tensor, " k"]:
    """k items, each drawn from all of them by the running sum of their chances.

    >>> ends = log_chances(torch.tensor([1, 1])).exp().cumsum(0)
    >>> drawn_items(ends, 5, torch.Generator().manual_seed(0)).shape
    torch.Size([5])
    """
    place = torch.rand(k, generator=generator, dtype=torch.float64).to(ends.device) * ends[-1]
    return torch.searchsorted(ends, place).clamp(max=len(ends) - 1)


def sampled_softmax(
    queries: Float[Tensor, "n d"],
    targets: Int[Tensor, " n"],
    own: Float[Tensor, "n d"],
    items: Int[Tensor, " k"],
    vectors: Float[Tensor, "k d"],
    log_chance: Float[Tensor, " k"],
    temperature: float = 1.0,
) -> RowLoss:
    """Cross-entropy over all items, the sum over those that are not the target estimated from k drawn ones.

    `own` are the targets' vectors, `vectors` those of the drawn `items`, which are the same for all rows and on all
    ranks. A drawn item counts 1 / (k times its chance), so that the sum is right on average; one that is a row's target
    is left out there; the target itself counts once. A row with a negative target is skipped. Source: importance
    sampling of the partition function, arXiv 1412.2007, section 3.1, with the correction of the drawn items alone.

    >>> table, row, chance = torch.ones(3, 2), torch.zeros(1, 2), torch.full((2,), 1 / 3).log()
    >>> sampled_softmax(row, torch.tensor([0]), table[:1], torch.tensor([1, 2]), table[1:], chance).value.exp()
    tensor([4.])
    """
    nobody = torch.full_like(targets, -1)
    asking = Embeddings(queries, Ids(nobody, targets))
    weight = -(log_chance + torch.tensor(len(items)).log()).to(queries.dtype)
    offered = Embeddings(vectors, Ids(torch.full_like(items, -1), items, log_weight=weight), everywhere=True)
    positive = (queries * own).sum(1) / temperature
    mass = log_mass(asking, offered, temperature=temperature, over="negatives")
    return against(positive, positive, mass, valid=targets >= 0)
