"""Hard negatives beside the batch, and a queue of earlier keys, against masked logits."""

import pytest
import torch
import torch.nn.functional as F

from counterpoint.objectives import Embeddings, Ids
from counterpoint.objectives.infonce import moco, multiple_negatives
from objectives.test_infonce import D, as_rows, assert_same, views


def brute_mass(queries: torch.Tensor, keys: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
    """The log-sum-exp over the pairs that are kept."""
    return (queries @ keys.T / 0.1).masked_fill(~kept, -torch.inf).logsumexp(1)


@pytest.mark.parametrize("symmetric", [False, True])
def test_hard_negatives_of_a_query_of_its_own(symmetric: bool, path: str) -> None:
    """Query 0 has two, query 1 none, query 2 one that is its positive too, query 3 one."""
    a, b = views(4)
    hard = F.normalize(torch.randn(4, D, generator=torch.Generator().manual_seed(5), dtype=torch.float64))
    hard.requires_grad_()
    owner = torch.tensor([0, 3, 2, 0])
    of_hard = Ids(torch.arange(4) + 100, torch.tensor([-1, -1, 2, -1]), within=owner)
    loss = multiple_negatives(as_rows(a), as_rows(b), Embeddings(hard, of_hard), temperature=0.1, symmetric=symmetric)
    own = (owner == torch.arange(4)[:, None]) & (owner != 2)
    logits = a @ b.T / 0.1
    masses = [torch.logaddexp(logits.logsumexp(1), brute_mass(a, hard, own)), logits.logsumexp(0)]
    expected = torch.cat([mass - logits.diagonal() for mass in masses[: 1 + symmetric]])
    assert_same(loss.value, expected, a, b, hard)


def test_one_pair_and_a_hard_negative_are_a_loss() -> None:
    a, b = views(1)
    assert multiple_negatives(a, b, b, temperature=0.1).valid.tolist() == [True]
    assert multiple_negatives(a, b, b, temperature=0.1, symmetric=True).mean() > 0


def test_hard_negatives_without_ids_beside_ids() -> None:
    a, b = views(4)
    row = torch.arange(4)
    ids = Ids(row, row, exclude=row[:, None] // 2, within=row * 0)
    loss = multiple_negatives(Embeddings(a, ids), Embeddings(b, ids), b[:3], temperature=0.1)
    kept = (row[:, None] // 2 != row // 2) | torch.eye(4, dtype=torch.bool)
    mass = torch.logaddexp(brute_mass(a, b, kept), (a @ b[:3].T / 0.1).logsumexp(1))
    assert_same(loss.value, mass - (a * b).sum(1) / 0.1, a, b)


def test_hard_negatives_with_ids_need_queries_with_ids() -> None:
    a, b = views()
    with pytest.raises(ValueError, match="hard negatives"):
        multiple_negatives(a, b, as_rows(b), temperature=0.1)


def test_moco_is_the_own_key_against_the_queue(path: str) -> None:
    a, b = views(4)
    earlier = F.normalize(torch.randn(7, D, generator=torch.Generator().manual_seed(5), dtype=torch.float64))
    earlier.requires_grad_()
    of_queue = Ids(torch.tensor([9, 8, 2, 7, 6, 0, 5]), torch.tensor([9, 8, 2, 7, -1, 0, 1]))
    loss = moco(as_rows(a), as_rows(b), Embeddings(earlier, of_queue, everywhere=True), temperature=0.1)
    kept = of_queue.positive != torch.arange(4)[:, None]
    positive = (a * b.detach()).sum(1) / 0.1
    mass = torch.logaddexp(positive, brute_mass(a, earlier.detach(), kept))
    assert_same(loss.value, mass - positive, a)
    assert torch.autograd.grad(loss.mean(), (b, earlier), allow_unused=True) == (None, None)


def test_an_empty_queue_skips_all_rows() -> None:
    a, b = views(4)
    loss = moco(as_rows(a), as_rows(b), as_rows(b[:0]), temperature=0.1)
    assert loss.skipped == 4
    loss.mean().backward()
    assert not a.grad.any()
