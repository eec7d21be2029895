"""Two processes train as one."""

from pathlib import Path

import pytest
import torch

from training import rank_jobs
from training.ranks import pair


@pytest.mark.parametrize("size", [4, 5])
def test_two_ranks_are_one(size: int) -> None:
    """Also where a parameter has no gradient in some steps, and with unequal shards."""
    alone = rank_jobs.branches(size)
    for found in pair().ask(rank_jobs.branches, size):
        for name, value in alone.items():
            assert torch.allclose(found[name], value, rtol=1e-12, atol=1e-14), name


@pytest.mark.parametrize(
    ("what", "line"),
    [
        ("loss 1 2", 'loss term "error" is nan at step 2 of phase "fit"'),
        ("loss 0 1", 'loss term "error" is nan at step 1 of phase "fit"'),
        ("gradient 1 1", 'the gradient of loss term "root" is not finite at step 1'),
    ],
)
def test_what_is_not_finite_on_one_rank_is_named_on_both(what: str, line: str) -> None:
    assert all(line in told for told in pair().ask(rank_jobs.spoiled, what))


def test_one_folder_one_voice_and_equal_statistics(tmp_path: Path) -> None:
    first, second = pair().ask(rank_jobs.toy, str(tmp_path / "run"))
    assert torch.equal(first["mean"], second["mean"])
    assert first["lines"] == second["lines"] == 12


def test_ctrl_c_on_one_rank_stops_both_after_the_same_step(tmp_path: Path) -> None:
    first, second = pair().ask(rank_jobs.stopped_on_one_rank, str(tmp_path / "run"))
    assert first["first"] == second["first"] == [0, 1, 2]
    assert first["then"] == second["then"] == [3, 4, 5]
    whole = pair().ask(rank_jobs.toy, str(tmp_path / "whole"))
    assert len(whole) == 2
