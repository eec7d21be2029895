"""What SASRec reads: items alone, what was done with them too, or target events alone."""

from typing import Any

import torch
from torch.nn.functional import cross_entropy

from counterpoint.recommend.histories import Histories, instances
from counterpoint.recommend.sasrec import SASRec
from counterpoint.training import Clock
from recommend.shop import ITEMS, shop

SMALL = {"dim": 8, "layers": 1, "batch_size": 8, "dropout": 0.0, "max_length": 5}


def made(target: str | None, **options: Any) -> SASRec:
    data = shop(20, 1, target=target)
    method = SASRec(**{**SMALL, **options})
    method.prepare(method.measure(data))
    return method.double().eval()


def test_behaviours_tell_histories_of_the_same_items_apart() -> None:
    pair = Histories.of([[3, 7], [3, 7]], [[0, 0], [1, 0]])
    a, b = made("buy").vectors(pair)
    torch.testing.assert_close(a, b)
    method = made("buy", reads="behaviours")
    a, b = method.vectors(pair)
    assert not torch.allclose(a, b)
    read = method.table.weight[[3, 7]] + method.behaviours.weight[[1, 0]]
    torch.testing.assert_close(b, method.encoder(read[None])[0, -1])


def test_target_events_alone() -> None:
    """The vector is that of the purchases; somebody who bought nothing is read whole."""
    method, plain = made("buy", reads="target"), made("buy")
    plain.load_state_dict(method.state_dict())
    given = Histories.of([[1, 2, 3, 4, 5, 6, 7], [8, 9]], [[1, 0, 1, 0, 0, 0, 0], [0, 0]])
    torch.testing.assert_close(method.vectors(given), plain.vectors(Histories.of([[1, 3], [8, 9]])))


def test_only_target_events_are_learned_from() -> None:
    """What the phase sees are purchases in their order, each but the first a target once."""
    data = shop(30, 2, complete=True, target="buy")
    method = made("buy", reads="target")
    bought = data.where(data.wanted)
    plan = method.phases(data)[0].plan(torch.Generator().manual_seed(0))
    batch = method.phases(data)[0].batch(torch.arange(len(instances(bought, True, 5))), torch.Generator())
    targets = batch.views["targets"]
    assert sum(map(len, plan)) == len(instances(bought, True, 5))
    assert len(targets) == int((bought.lengths - 1).clip(min=0).sum())
    assert (targets >= 0).all()
    states, there = method._states(batch.views["history"])
    expected = cross_entropy(states[there] @ method.table.weight[:ITEMS].T, targets)
    torch.testing.assert_close(method.losses(batch, Clock(0, "fit", 0, 0, 1))["next"], expected)


def test_without_a_target_the_last_label_is_it() -> None:
    method = made(None, reads="target")
    assert method.items.target == 1
    a, b = method.vectors(Histories.of([[1, 2], [5, 2]], [[0, 1], [0, 1]]))
    torch.testing.assert_close(a, b)
