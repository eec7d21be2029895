"""Sparse gradients: torch's own lazy rule as the oracle, AdamW where all rows are touched, ranks, clipping."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from counterpoint.training.lazy import LazyAdamW, average_sparse, numbers_of
from training import rank_jobs
from training.ranks import pair


def stepped(optimizer: Any, table: nn.Embedding, *steps: list[int]) -> Tensor:
    """The table after a step for each list of rows."""
    goal = torch.linspace(-1, 1, table.weight.numel()).view_as(table.weight)
    for rows in steps:
        optimizer.zero_grad()
        chosen = torch.tensor(rows)
        (table(chosen) - goal[chosen]).square().sum().backward()
        optimizer.step()
    return table.weight.detach().clone()


def made(sparse: bool = True) -> nn.Embedding:
    table = nn.Embedding(6, 3, sparse=sparse, dtype=torch.float64)
    with torch.no_grad():
        table.weight.copy_(torch.arange(18.0).view(6, 3).sin())
    return table


def test_it_is_sparse_adam_without_decay() -> None:
    ours, theirs = made(), made()
    steps = ([1, 2, 2], [0], [2, 5], [2])
    found = stepped(LazyAdamW(ours.parameters(), lr=0.1, weight_decay=0.0), ours, *steps)
    expected = stepped(torch.optim.SparseAdam(theirs.parameters(), lr=0.1), theirs, *steps)
    torch.testing.assert_close(found, expected)
    assert torch.equal(found[3], made().weight[3])


def test_with_all_rows_touched_it_is_adamw() -> None:
    ours, theirs = made(), made(sparse=False)
    rows = [*range(6), 2]
    found = stepped(LazyAdamW(ours.parameters(), lr=0.1, weight_decay=0.2), ours, rows, rows, rows)
    expected = stepped(torch.optim.AdamW(theirs.parameters(), lr=0.1, weight_decay=0.2), theirs, rows, rows, rows)
    torch.testing.assert_close(found, expected)


def test_dense_parameters_are_adamws_bit_for_bit() -> None:
    ours, theirs = made(sparse=False), made(sparse=False)
    found = stepped(LazyAdamW(ours.parameters(), lr=0.1, fused=True), ours, [1, 2], [3])
    expected = stepped(torch.optim.AdamW(theirs.parameters(), lr=0.1, fused=True), theirs, [1, 2], [3])
    assert torch.equal(found, expected)


def test_a_saved_state_goes_on() -> None:
    whole, cut = made(), made()
    expected = stepped(LazyAdamW(whole.parameters(), lr=0.1), whole, [1, 2], [2, 3], [1])
    first = LazyAdamW(cut.parameters(), lr=0.1)
    stepped(first, cut, [1, 2], [2, 3])
    second = LazyAdamW(cut.parameters(), lr=0.1)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    assert torch.equal(stepped(second, cut, [1]), expected)


def test_one_process_has_nothing_to_average() -> None:
    table = made()
    assert average_sparse([table.weight]) == [table.weight]
    table(torch.tensor([4, 4, 1])).sum().backward()
    assert table.weight.grad is not None
    held = table.weight.grad.to_dense()
    assert average_sparse([table.weight]) == []
    torch.testing.assert_close(table.weight.grad.to_dense(), held)
    torch.testing.assert_close(numbers_of(table.weight.grad), held[[1, 4]])


@pytest.mark.parametrize("clip", [None, 0.5])
@pytest.mark.parametrize("size", [2, 5, 6])
def test_two_ranks_are_one(size: int, clip: float | None) -> None:
    """Also where a rank's share is empty, and where the table is read whole in some steps."""
    alone = rank_jobs.looked_up(size, clip)
    for found in pair().ask(rank_jobs.looked_up, size, clip):
        torch.testing.assert_close(found, alone, rtol=1e-12, atol=1e-14)


def test_clipping_counts_sparse_gradients() -> None:
    assert not torch.equal(rank_jobs.looked_up(6, 0.05), rank_jobs.looked_up(6, None))
