"""Encoders of texts and pictures that learn with the rest: resumed bit for bit, equal on two ranks and in chunks."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from counterpoint.multimodal.encoders import PACE
from counterpoint.training import Optim, Run, Trainer
from multimodal.kinds.kinds_data import fitted, table, two_rank_state
from training.ranks import pair
from training.toys import CutRun, Interrupted

MODES = ("frozen", "lora", "full")


def same(one: Any, other: Any) -> bool:
    mine, theirs = one.state_dict(), other.state_dict()
    return mine.keys() == theirs.keys() and all(torch.equal(mine[k].nan_to_num(), theirs[k].nan_to_num()) for k in mine)


@pytest.mark.parametrize("mode", MODES)
def test_a_cut_fit_goes_on_bit_for_bit(mode: str, tmp_path: Path) -> None:
    options = {"hide": 0.2, "dropout": 0.1, "augment": 0.5}
    whole = fitted(mode, run=Run(tmp_path / "whole"), **options)
    with pytest.raises(Interrupted):
        fitted(mode, run=CutRun(tmp_path / "cut", 3), **options)
    assert same(fitted(mode, run=Run(tmp_path / "cut", resume=True), **options), whole)


@pytest.mark.parametrize("mode", MODES)
def test_two_ranks_are_one(mode: str) -> None:
    alone = two_rank_state(mode, 25)
    for found in pair().ask(two_rank_state, mode, 25):
        for key, value in alone.items():
            np.testing.assert_allclose(found[key], value, rtol=1e-8, atol=1e-10, err_msg=key)


@pytest.mark.parametrize("mode", ["lora", "full"])
def test_chunks_change_nothing(mode: str) -> None:
    whole = fitted(mode, trainer=Trainer(precision="64-true", progress=False))
    chunked = fitted(mode, trainer=Trainer(precision="64-true", progress=False, chunk=5))
    for key, value in whole.state_dict().items():
        torch.testing.assert_close(chunked.state_dict()[key], value, rtol=1e-6, atol=1e-8, equal_nan=True)


def test_what_learns_follows_the_mode() -> None:
    starts = {mode: fitted(mode, epochs=1, optim={"lr": 1e-12}) for mode in MODES}
    ends = {mode: fitted(mode) for mode in MODES}

    def moved(mode: str) -> set[str]:
        before, after = starts[mode].state_dict(), ends[mode].state_dict()
        return {k.split(".")[2] for k in after if ".front." in k and not torch.allclose(before[k], after[k], atol=1e-7)}

    assert moved("frozen") == {"view_ehr"}
    assert moved("lora") == moved("full") == {"view_ehr", "view_note", "view_scan"}
    assert not [k for k in ends["frozen"].state_dict() if "encoder.base" in k]


def test_the_rank_of_low_rank_updates_is_an_option() -> None:
    made = fitted("lora", epochs=1, lora_rank=3).state_dict()
    assert {len(values) for key, values in made.items() if key.endswith(".down")} == {3}


def test_pretrained_encoders_learn_at_their_own_pace() -> None:
    data = table()
    model = fitted("full", data, epochs=1)
    (fit, _) = model.phases(data)
    assert {name: group.lr_scale for name, group in fit.optim.groups.items()} == {
        "view_note.front": PACE["full"], "view_scan.front": PACE["full"],
    }  # fmt: skip
    own = fitted("full", data, epochs=1, optim=Optim(groups={"view_note": {"lr_scale": 0.5}}))
    assert set(own.phases(data)[0].optim.groups) == {"view_note", "view_scan.front"}


def test_augmentation_acts_in_training_alone() -> None:
    data = table()
    plain, changed = fitted("full", data), fitted("full", data, augment=0.9)
    assert not same(plain, changed)
    assert torch.equal(changed.embed(data), changed.embed(data))
    still = [fitted("frozen", data, augment=strength) for strength in (0.0, 0.9)]
    assert same(*still)
