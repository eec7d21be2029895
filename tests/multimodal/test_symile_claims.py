"""Symile's claims: their data, their judge and the rule that nobody can exceed."""

from typing import Any

import numpy as np
import pytest
import torch

from counterpoint.multimodal import symile_claims as claims
from counterpoint.multimodal.table import Table
from counterpoint.training import Encoded


class Knows:
    """A method that scores a candidate by how many of the bits that XOR wants it has, or by nothing at all."""

    def __init__(self, knowing: bool) -> None:
        self.knowing = knowing

    def embed_views(self, table: Table, views: list[str]) -> Encoded:
        found = {name: torch.from_numpy(table.views[name].values) for name in views}
        return Encoded(found, {name: torch.ones(len(table), dtype=torch.bool) for name in views})

    def scores(self, given: Encoded, target: str, candidates: torch.Tensor) -> torch.Tensor:
        wanted = torch.stack(list(given.vectors.values())).sum(dim=0) % 2
        agree = (wanted[:, None] == candidates[None]).sum(dim=2).float()
        return agree if self.knowing else torch.zeros_like(agree)


@pytest.mark.parametrize("p_hat", [0.0, 0.5, 1.0])
def test_the_rule_reaches_what_enumeration_says(p_hat: float) -> None:
    train, _, test = claims.sweep_rows(0, p_hat)
    rule: Any = claims.BestRule().fit(train)
    found = claims.find_bits(rule, test).summary()
    assert found["top1"] == pytest.approx(claims._best(p_hat), abs=0.02)
    assert found["bits total"] == pytest.approx(claims.simulate.xor_information(p_hat, 5)["total"])
    knows = claims.find_bits(Knows(True), test)
    assert knows.summary()["top1"] == found["top1"]
    assert np.array_equal(knows.ids, test.ids)


def test_knowing_nothing_earns_chance_and_no_more() -> None:
    sweep, eight = claims.sweep_rows(0, 1.0)[2], claims.eight_rows(0)[2]
    assert claims.find_bits(Knows(False), sweep).summary() == {"top1": 1 / 32, "a_top1": 1 / 32}
    assert claims.find_bits(Knows(False), eight).summary() == {"top1": 0.5}
    assert claims.find_bits(Knows(True), eight).summary() == {"top1": 1.0}


def test_parts_are_the_rows_of_the_released_tests() -> None:
    for parts in (claims.sweep_rows(1, 0.3), claims.eight_rows(1)):
        assert [len(part) for part in parts] == [10_000, 1_000, 5_000]
        assert len(np.unique(np.concatenate([part.ids for part in parts]))) == 16_000


def test_the_placebo_breaks_what_the_views_share() -> None:
    train, _, _ = claims.sweep_rows(0, 1.0)
    broken = claims.shuffled_view(train, torch.Generator().manual_seed(0))
    a, b, c = (view.values for view in broken.views.values())
    assert (np.abs(a - b) == c).all(axis=1).mean() < 0.06
    assert (c == train.views["c"].values).all(axis=1).mean() < 0.06
