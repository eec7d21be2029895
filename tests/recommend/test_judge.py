"""The judgement against a full sort in plain Python, whatever the protocol."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from counterpoint.errors import UserError
from counterpoint.recommend import judge
from counterpoint.recommend.assess import assess
from counterpoint.recommend.counts import Popularity
from counterpoint.recommend.histories import Histories
from counterpoint.recommend.interactions import Interactions, Protocol
from counterpoint.recommend.judge import ask, next_item, rank, tie_order
from recommend.shop import ITEMS, catalogue, shop


class Fixed(Popularity):
    """Scores that depend on the last item and the length, few different ones, so that ties are everywhere."""

    blocks: list[int]

    def scores(self, histories: Histories) -> torch.Tensor:
        self.blocks = [*getattr(self, "blocks", []), len(histories)]
        last = histories.items[histories.starts[1:] - 1]
        return torch.stack(
            [torch.from_numpy(told(int(i), int(n))) for i, n in zip(last, histories.lengths, strict=True)]
        )


def told(last: int, length: int) -> np.ndarray:
    return np.random.default_rng((last, length)).integers(0, 6, size=ITEMS).astype(np.float32)


def oracle(data: Interactions, k: int) -> dict[str, list[float]]:
    """hr, ndcg and mrr of every question by sorting everything."""
    order = tie_order(ITEMS).numpy()
    found: dict[str, list[float]] = {"hr": [], "ndcg": [], "mrr": []}
    questions = ask(data)
    for user, first, last, events in zip(
        questions.user, questions.first, questions.last, questions.targets, strict=True
    ):
        history = data.items[first:last]
        scores = told(int(history[-1]), len(history))
        out = set(history.tolist()) if data.protocol.seen == "removed" else set()
        if data.candidates is not None:
            out |= set(range(ITEMS)) - set(data.candidates[user].tolist())
        listed = [i for i in sorted(range(ITEMS), key=lambda i: (-scores[i], order[i])) if i not in out][:k]
        right = set(data.items[events].tolist())
        gains = [1 / np.log2(place + 2) for place, item in enumerate(listed) if item in right]
        best = sum(1 / np.log2(place + 2) for place in range(min(k, len(right))))
        found["hr"].append(float(bool(gains)))
        found["ndcg"].append(sum(gains) / best)
        found["mrr"].append(next((1 / (place + 1) for place, item in enumerate(listed) if item in right), 0.0))
    return found


@pytest.mark.parametrize("seen", ["removed", "kept"])
@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("candidates", [False, True])
def test_equal_to_a_full_sort(seen: Any, together: bool, candidates: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judge, "BLOCK", 0)
    parts = shop(40, 1, complete=True).divide("last-2")
    data = replace(parts["test"], protocol=Protocol(seen=seen, together=together, cutoffs=(3, 5, 30)))
    if candidates:
        drawn = np.random.default_rng(0).permuted(np.tile(np.arange(ITEMS), (40, 1)), axis=1)[:, :8]
        data = replace(data, candidates=drawn)
    method = Fixed().fit(parts["train"])
    outcome = next_item(method, data)
    expected = oracle(data, 5)
    for measure, values in expected.items():
        np.testing.assert_allclose(outcome.columns[f"{measure}5"], values, err_msg=measure)
    assert max(method.blocks) == 16, "scores of users x items exist a block at a time"
    assert ("map5" in outcome.measures) == together
    assert (outcome.unit is None) == together
    assert list(outcome.measures)[:3] == ["ndcg5", "hr5", "mrr5"]


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = shop(40, 2).divide("leave-one-out")
    method = Fixed().fit(parts["train"])
    whole = next_item(method, parts["test"]).columns
    monkeypatch.setattr(judge, "BLOCK", 0)
    for name, values in next_item(method, parts["test"]).columns.items():
        assert np.array_equal(values, whole[name])


def test_data_without_questions_are_asked_for_their_last_events() -> None:
    data = shop(12, 3)
    method = Popularity().fit(data)
    outcome = next_item(method, data)
    assert len(outcome.ids) == (data.lengths > 1).sum()
    assert next_item(method, data.asking_last()).summary() == outcome.summary()


def test_what_the_method_does_not_know_cannot_be_found_and_is_counted() -> None:
    method = Popularity().fit(shop(12, 3))
    other = Interactions.of(["a", "a", "b", "b"], ["i1", "new", "new", "i2"], behaviours=["view"] * 4)
    outcome = next_item(method, other)
    assert outcome.columns["cold"].tolist() == [True, False]
    assert outcome.columns["hr20"].tolist() == [0.0, 1.0]
    assert assess(method, other, other)["asked"]["unknown items"] == 1
    with pytest.raises(UserError, match='unknown behaviour "looked"'):
        next_item(method, Interactions.of(["a", "a"], ["i1", "i2"], behaviours=["looked"] * 2))
    with pytest.raises(UserError, match="nothing can be asked"):
        next_item(method, Interactions.of(["a"], ["i1"], behaviours=["view"]))


def test_the_order_of_items_in_the_file_does_not_matter() -> None:
    parts = shop(30, 4).divide("leave-one-out")
    method = Fixed().fit(parts["train"])
    order = np.random.default_rng(0).permutation(ITEMS)
    data, turned = parts["test"], catalogue().take(order)
    moved = replace(data, items=np.argsort(order)[data.items].astype(np.int32), catalogue=turned)
    assert next_item(method, moved).summary() == next_item(method, data).summary()


def test_segments() -> None:
    data = Interactions.of(
        [*"aaa", *"bbb", *"ccccccc"],
        [*"xyz", *"xyw", *"xyxyxyq"],
        catalogue=None,
    )
    parts = data.divide("leave-one-out")
    method = Popularity().fit(parts["train"])
    outcome = next_item(method, parts["test"])
    assert outcome.columns["cold"].all(), "z, w and q are asked for only"
    assert outcome.columns["short"].tolist() == [True, True, False]
    assert "ndcg10 head" not in outcome.measures
    assert "ndcg10 short" in outcome.measures


def test_the_record_names_everything_that_moves_a_number() -> None:
    parts = shop(30, 5).divide("leave-one-out")
    method = Popularity().fit(parts["train"])
    found = assess(method, parts["train"], parts["test"])
    json.dumps(found, allow_nan=False)
    assert {"ranking", "candidates", "seen", "ties", "target", "questions", "cutoffs"} <= set(found["protocol"])
    lists = rank(method, parts["test"], 10).lists
    assert found["lists"]["coverage"] == len(np.unique(lists)) / ITEMS
    counts = method.items.counts.numpy()
    assert found["lists"]["popularity"] == pytest.approx(counts[lists].mean())
    assert found["users"][0]["listed"][0].startswith(("Tea", "Rice", "Salt", "Soap"))
    again = replace(parts["test"], protocol=Protocol(seen="kept"))
    assert assess(method, parts["train"], again)["protocol"]["seen"] == "kept"


def test_equal_scores_earn_chance() -> None:
    class Flat(Popularity):
        def scores(self, histories: Histories) -> torch.Tensor:
            return torch.zeros(len(histories), len(self.items))

    data = Interactions.of(np.repeat(np.arange(400), 2), np.random.default_rng(0).integers(0, 50, 800))
    data = replace(data, protocol=Protocol(seen="kept"))
    found = next_item(Flat().fit(data), data).value("hr10")
    assert found == pytest.approx(10 / 50, abs=0.06)
