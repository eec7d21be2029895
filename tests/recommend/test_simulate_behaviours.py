"""The shop with a known answer is as its knobs say; real logs are read as their recipes say."""

import os
from pathlib import Path

import numpy as np
import pytest

from counterpoint.errors import UserError
from counterpoint.recommend import behaviour_logs
from counterpoint.recommend.interactions import Interactions, Protocol
from counterpoint.recommend.simulate_behaviours import LOOKED, simulated

DATA = os.environ.get("COUNTERPOINT_DATA")


@pytest.mark.parametrize(("noise", "purchases", "drift"), [(0.0, 0.05, 0.0), (0.5, 0.2, 0.3), (1.0, 0.05, 1.0)])
def test_the_knobs_say_how_often(noise: float, purchases: float, drift: float) -> None:
    data, truth = simulated(users=200, events=50, noise=noise, purchases=purchases, drift=drift, seed=3)
    clicks = data.behaviours == 0
    assert clicks.sum() == 200 * 50
    assert truth.noisy[clicks].mean() == pytest.approx(noise, abs=0.02)
    assert not truth.noisy[~clicks].any()
    intended = clicks & ~truth.noisy
    assert (truth.topics[data.items[intended]] == truth.intents[intended]).all()
    if noise < 1:
        assert (~clicks).sum() / clicks.sum() == pytest.approx(purchases + 0.02, abs=0.02)
    changed = (np.diff(truth.intents) != 0) & (np.diff(data.users) == 0)
    assert changed.mean() == pytest.approx(drift * (0.5 * 0.9 + 0.5 * (1 / 10)), abs=0.1 + drift / 2)
    assert (changed.sum() == 0) == (drift == 0)


def test_a_purchase_is_of_a_late_click_or_its_complement() -> None:
    data, truth = simulated(users=50, events=30, purchases=0.2, seed=4)
    assert sorted(truth.complement) == list(range(200))
    assert (truth.topics[truth.complement] != truth.topics).all()
    own = other = 0
    for begin, end in zip(data.starts, data.starts[1:], strict=False):
        clicked: list[int] = []
        for event in range(begin, end):
            item = int(data.items[event])
            if data.behaviours[event] == 0:
                clicked += [] if truth.noisy[event] else [item]
                continue
            late = clicked[-LOOKED:]
            assert item in late or item in truth.complement[late]
            own, other = own + (item in late), other + (item in truth.complement[late])
    assert own == pytest.approx(other, rel=0.3)


def test_the_world_stays_and_the_users_change() -> None:
    (a, one), (b, two), (c, three) = (simulated(5, seed=seed, world=world) for seed, world in ((0, 0), (1, 0), (0, 1)))
    assert a.fingerprint() == simulated(5, seed=0)[0].fingerprint() != b.fingerprint()
    assert (one.complement == two.complement).all()
    assert (one.complement != three.complement).any()
    assert c.protocol == Protocol("buy", "kept")


def test_what_is_bought_later() -> None:
    random = np.random.default_rng(0)
    n = 300
    users, items, kinds = np.sort(random.integers(8, size=n)), random.integers(6, size=n), random.integers(3, size=n)
    labels = ("view", "buy", "cart")
    data = Interactions.of(
        users, items, behaviours=[labels[kind] for kind in kinds], labels=labels, protocol=Protocol("buy")
    )
    expected = [
        any(users[j] == users[i] and items[j] == items[i] and kinds[j] == 1 for j in range(i + 1, n)) for i in range(n)
    ]
    assert behaviour_logs.bought_later(data).tolist() == expected


@pytest.mark.skipif(
    not DATA or not (Path(DATA) / "multibehavior").is_dir(), reason="COUNTERPOINT_DATA has no RetailRocket"
)
def test_retail_rocket_asks_in_training_as_in_the_test() -> None:
    parts = behaviour_logs.retail_rocket()
    test = parts["test"]
    assert (len(test), int(test.asked.sum())) == (789, 700)
    assert test.protocol == Protocol("buy", "removed")
    for part in parts.values():
        assert not behaviour_logs.bought_later(part).any()
    assert (test.behaviours[test.asked] == test.labels.index("buy")).all()


def test_movielens_asks_for_ten_likes() -> None:
    pytest.importorskip("recbole", reason="recbole is not installed", exc_type=ImportError)
    test = behaviour_logs.movielens()["test"]
    counts = np.bincount(test.users[test.asked])
    assert counts.max() == 10
    assert len(test.items) == 100_000
    assert test.labels == ("dislike", "neutral", "like")


def test_data_that_are_not_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COUNTERPOINT_DATA", raising=False)
    with pytest.raises(UserError, match="set COUNTERPOINT_DATA"):
        behaviour_logs.retail_rocket.__wrapped__()
    monkeypatch.setattr(behaviour_logs, "files", lambda name: None)
    with pytest.raises(UserError, match="pip install --no-deps recbole"):
        behaviour_logs.movielens.__wrapped__()
