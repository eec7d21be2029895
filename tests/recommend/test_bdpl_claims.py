"""The claims' own parts: placebo, supervision and judge; every arm takes the options that it is given."""

import numpy as np
import pytest
import torch

from counterpoint.claims.runner import _options
from counterpoint.claims.units import method_class
from counterpoint.evaluation import Claim
from counterpoint.recommend import bdpl_claims
from counterpoint.recommend.counts import LastClick
from counterpoint.recommend.judge import ask, for_method
from counterpoint.recommend.simulate_behaviours import simulated
from recommend.shop import shop

CLAIMS = [claim for claim in vars(bdpl_claims).values() if isinstance(claim, Claim)]


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.name)
@pytest.mark.parametrize("quick", [False, True])
def test_every_arm_takes_its_options(claim: Claim, quick: bool) -> None:
    said = claim.at(quick)
    for arm in said.arms:
        source = said.search.source(arm.name) if said.search else None
        for trial in said.search.trials[source] if said.search and source else ({},):
            assert method_class(arm)(**_options(said, arm, {source: trial} if source else {}))


def test_the_placebo_keeps_how_often_each_user_did_what() -> None:
    data = shop(30, 1, target="buy")
    other = bdpl_claims.shuffled_behaviours(data, torch.Generator().manual_seed(0))
    counts = [np.bincount(one.users * 2 + one.behaviours, minlength=60) for one in (data, other)]
    assert (counts[0] == counts[1]).all()
    assert (data.behaviours != other.behaviours).any()
    assert (data.items == other.items).all()


def test_learning_from_every_next_event_asks_for_the_target() -> None:
    data = shop(30, 1, target="buy")
    every = bdpl_claims.every_next(data, torch.Generator())
    assert every.wanted.all()
    method = LastClick().fit(every)
    assert method.items.labels[method.items.target] == "buy"
    given = for_method(method, data)
    assert given.wanted[np.concatenate(ask(given).targets)].all()


def test_answers_that_were_not_seen_just_now() -> None:
    data, _ = simulated(users=60, events=15, items=30, topics=3, seed=0)
    method = LastClick().fit(data)
    outcome = bdpl_claims.next_target(method, data)
    given = for_method(method, data)
    seen = []
    for first, last, (event,) in zip(*(lambda q: (q.first, q.last, q.targets))(ask(given)), strict=True):
        seen.append(given.items[event] in given.items[max(first, last - 10) : last])
    assert outcome.columns["just seen"].tolist() == seen
    assert outcome.value("ndcg10 elsewhere") == pytest.approx(outcome.columns["ndcg10"][~np.array(seen)].mean())
    assert outcome.value("ndcg10 elsewhere") < outcome.value("ndcg10")
