"""A table that is sharded over two processes learns as the whole one does in one."""

import pytest
import torch

from objectives import sharded_jobs
from training.ranks import pair


@pytest.mark.parametrize("items", [40, 41, 1])
def test_two_ranks_hold_a_half_each_and_learn_as_one(items: int) -> None:
    """Steps of SASRec's network under a sampled softmax and AdamW, with equal and unequal shares of the batch."""
    alone = sharded_jobs.fitted(items)
    assert alone["held"] == items
    found = pair().ask(sharded_jobs.fitted, items)
    assert [one["held"] for one in found] == [-(-items // 2), items // 2]
    for one in found:
        for name in ("table", "losses", "layer"):
            torch.testing.assert_close(one[name], alone[name], rtol=1e-10, atol=1e-12, msg=name)
        assert one["moments"] == one["held"], "moments are kept for the rows of the shard alone"
    assert not torch.equal(alone["table"], sharded_jobs.begun(items))
    assert alone["losses"][-1] < alone["losses"][0] or items == 1
