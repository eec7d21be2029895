"""Plans hold every row once, in batches of the asked size."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from counterpoint.errors import UserError
from counterpoint.training import rng
from counterpoint.training.samplers import in_order, shuffled


@given(st.integers(2, 60), st.integers(2, 20), st.integers(0, 3))
def test_every_row_once_and_no_batch_of_one(n: int, size: int, seed: int) -> None:
    if n < size:
        with pytest.raises(UserError, match=rf"{n} training rows .* batch_size={n}"):
            shuffled(n, size, rng(seed))
        return
    batches = shuffled(n, size, rng(seed))
    assert sorted(torch.cat(batches).tolist()) == list(range(n))
    assert all(len(rows) == size for rows in batches[:-1])
    assert 2 <= len(batches[-1]) <= size + 1
    assert torch.equal(torch.cat(batches), torch.cat(shuffled(n, size, rng(seed))))


def test_another_stream_gives_another_order() -> None:
    assert not torch.equal(torch.cat(shuffled(50, 10, rng(0))), torch.cat(shuffled(50, 10, rng(1))))


def test_in_order() -> None:
    assert [rows.tolist() for rows in in_order(5, 2)] == [[0, 1], [2, 3], [4]]
