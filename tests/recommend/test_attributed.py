"""Items known by their attributes: what catalogues say, the two views, new items found, and the claim's parts."""

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch.nn.functional import cross_entropy, normalize

from counterpoint import load
from counterpoint.errors import UserError
from counterpoint.recommend import attributed, cold_claims
from counterpoint.recommend.attributed import AttributedSASRec
from counterpoint.recommend.attributes import alike, said_of, shares, vocabulary
from counterpoint.recommend.histories import histories
from counterpoint.recommend.interactions import Interactions
from counterpoint.recommend.sasrec import SASRec
from counterpoint.recommend.simulate import departments
from counterpoint.training import Clock
from recommend.shop import ITEMS, catalogue, new_items, shop

SMALL = {"dim": 8, "layers": 1, "epochs": 1, "batch_size": 8, "dropout": 0.0, "max_length": 5}


def made(data: Interactions, **options: Any) -> AttributedSASRec:
    method = AttributedSASRec(**{**SMALL, **options})
    method.prepare(method.measure(data))
    return method.eval()


def test_what_a_catalogue_says() -> None:
    table = catalogue().append_column("price", pa.array([1.5] * ITEMS)).append_column("year", pa.array([1999] * ITEMS))
    said = said_of(table)
    assert said[0] == ["0", "kind=tea", "tags=even", "tags=tea", "tea", "year=1999"]
    words = vocabulary(said)
    assert "0" not in words, "a word of one item tells nothing of others"
    matrix = shares(said, words)
    dense = torch.zeros(matrix.shape)
    dense[torch.repeat_interleave(matrix.crow.diff()), matrix.col] = matrix.value
    expected = torch.tensor([[word in one for word in words] for one in said]).float()
    torch.testing.assert_close(dense, expected / expected.sum(1, keepdim=True).sqrt())
    same = alike(matrix)
    assert torch.equal(same[:, None] == same, (expected[:, None] == expected).all(2))


def test_items_without_attributes_are_a_mistake_in_one_line() -> None:
    bare = Interactions.of([1, 1, 2, 2], ["a", "b", "a", "c"])
    with pytest.raises(UserError, match="items have no attributes that two of them share"):
        AttributedSASRec(**SMALL).fit(bare)


def unseen(data: Interactions, items: list[int]) -> Interactions:
    """The data without any event of some items."""
    return data.where(~np.isin(data.items, items)).asking(None)


def test_the_losses_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """In float64, history by history; hidden items are read and wanted by their attributes, new ones not at all."""
    data = unseen(shop(9, 1, complete=True), [2, 11])
    data = data.rows(data.lengths > 1)
    method = made(data, hide=0.5, contrast=0.7, contrast_temperature=0.3).double()
    batch = method.batch(data, torch.arange(len(method._instances(data))), torch.Generator())
    clock = Clock(0, "fit", 0, 0, 1)
    found = method.losses(batch, clock)
    draw = clock.shared_rng("hidden")
    hidden = torch.rand(ITEMS, generator=draw) < 0.5
    own, other = method.table.weight[:-1], method.by_attributes()
    known = torch.from_numpy(np.bincount(data.items, minlength=ITEMS) > 0)
    table = torch.where((hidden | ~known)[:, None], other, own)
    terms = []
    chosen = method._instances(data)
    for first, last in zip(chosen.first, chosen.last, strict=True):
        for event in range(first + 1, last + 1):
            states = method.encoder(table[data.items[first:event].astype(int)][None])
            logits = (states[0, -1] @ table.T)[known]
            goal = int(known[: data.items[event]].sum())
            terms.append(cross_entropy(logits, torch.tensor(goal)))
    torch.testing.assert_close(found["next"], torch.stack(terms).mean())

    rows = known.nonzero()[:, 0]
    a, b = normalize(own[rows], dim=1), normalize(other[rows], dim=1)
    same = (method.kinds[rows][:, None] == method.kinds[rows]) & ~torch.eye(len(rows), dtype=torch.bool)
    logits = (a @ b.T / 0.3).masked_fill(same, -torch.inf)
    both = [cross_entropy(one, torch.arange(len(rows))) for one in (logits, logits.T)]
    torch.testing.assert_close(found["contrast"], 0.7 * sum(both) / 2)
    gradient = torch.autograd.grad(found["next"] + found["contrast"], method.table.weight)[0]
    assert not gradient[[2, 11, ITEMS]].any(), "what nobody took, and padding, learn nothing"


def test_at_most_so_many_items_are_contrasted(monkeypatch: pytest.MonkeyPatch) -> None:
    data = shop(30, 0)
    method = made(data)
    monkeypatch.setattr(attributed, "CONTRASTED", 4)
    few = method._both_views(method.table.weight[:-1], method.by_attributes(), torch.Generator().manual_seed(0))
    monkeypatch.setattr(attributed, "CONTRASTED", 1000)
    all_ = method._both_views(method.table.weight[:-1], method.by_attributes(), torch.Generator().manual_seed(0))
    assert few["contrast"] < all_["contrast"]


def test_rare_and_new_items_are_known_by_their_attributes() -> None:
    data = unseen(shop(30, 0), [4])
    counts = np.bincount(data.items, minlength=ITEMS)
    for rare in (0, int(np.sort(counts)[5])):
        method = made(data, rare=rare)
        vectors, own, other = method.item_vectors(), method.table.weight[:-1], method.by_attributes()
        for item in range(ITEMS):
            torch.testing.assert_close(vectors[item], other[item] if counts[item] <= rare else own[item])


def test_new_items_are_found() -> None:
    """The simulator's new items are of a known kind: attributes find it, SASRec does not."""
    train, _, test = cold_claims.shops(0, users=150)
    options = {**SMALL, "dim": 16, "epochs": 5, "batch_size": 16, "optim": {"lr": 0.01}}
    ours, plain = AttributedSASRec(**options).fit(train), SASRec(**options).fit(train)
    found, theirs = (cold_claims.new_items(method, test).value("ndcg10 among new") for method in (ours, plain))
    assert found > 0.6 > theirs
    assert cold_claims.new_items(ours, test).value("ndcg10 new") > 0.2


def test_items_can_be_added_to_a_fitted_method(tmp_path: Any) -> None:
    data = shop(40, 0)
    method = AttributedSASRec(**SMALL).fit(data)
    grown = method.with_items(new_items())
    torch.testing.assert_close(grown.item_vectors()[:ITEMS], method.item_vectors())
    assert len(grown.items) == ITEMS + 2
    assert not torch.equal(grown.item_vectors()[ITEMS], grown.item_vectors()[ITEMS + 1])
    listed = [hit["id"] for hit in grown.recommend([["i3", "i4"]], k=ITEMS + 2, exclude_seen=False)[0]]
    assert {"n0", "n1"} <= set(listed)
    again = load(grown.save(tmp_path / "run"))
    torch.testing.assert_close(again.item_vectors(), grown.item_vectors())
    with pytest.raises(UserError, match='item "n1" is known already'):
        again.with_items(new_items())
    with pytest.raises(UserError, match='items have no column "colour"'):
        method.with_items(pa.table({"id": ["x"], "colour": ["red"]}))


# --- the claim's parts


def test_nobody_trains_on_what_is_asked() -> None:
    data = departments(200, seed=3)
    first, second = np.array([32, 33]), np.array([34, 35, 36])
    train, validation, test = cold_claims.with_new(data, first, second)
    assert not np.isin(train.items, np.r_[first, second]).any()
    assert not np.isin(validation.items, second).any()
    assert not np.isin(test.items, first).any()
    for part, fresh in ((validation, first), (test, second)):
        asked = part.items[part.asked]
        assert len(asked) == len(part)
        assert 0 < np.isin(asked, fresh).sum() < len(asked)
        assert not np.isin(part.items[~part.asked], np.r_[first, second]).any()
        given = histories(part, part.starts[:-1], part.starts[1:])
        assert int(given.lengths.min()) > 1
    lengths = dict(zip(train.user_ids.tolist(), train.lengths.tolist(), strict=True))
    for user, length in zip(test.user_ids.tolist(), test.lengths.tolist(), strict=True):
        assert lengths[user] < length


def test_the_placebo_has_other_attributes() -> None:
    data = departments(10, seed=0)
    other = cold_claims.shuffled_attributes(data, torch.Generator().manual_seed(0))
    assert other.item_ids.tolist() == data.item_ids.tolist()
    one, two = data.catalogue["kind"].to_pylist(), other.catalogue["kind"].to_pylist()
    assert sorted(one) == sorted(two)
    assert one != two


def test_content_by_hand() -> None:
    data = shop(20, 0)
    method = cold_claims.Content().fit(data)
    matrix = method.shares.matrix()
    dense = torch.zeros(matrix.shape)
    dense[torch.repeat_interleave(matrix.crow.diff()), matrix.col] = matrix.value
    given = histories(data, data.starts[:-1], data.starts[1:])
    parts = given.items.split(given.lengths.tolist())
    expected = torch.stack([dense[items[-5:]].sum(0) for items in parts])
    torch.testing.assert_close(method.scores(given), expected @ dense.T)


def test_new_targets_are_judged_among_new_items_too() -> None:
    train, _, test = cold_claims.shops(1, users=120)
    outcome = cold_claims.new_items(cold_claims.Content().fit(train), test)
    new = np.isin(test.items[test.asked], np.arange(36, 40))
    assert np.array_equal(outcome.columns["new"], new)
    assert outcome.value("ndcg10 among new") >= outcome.value("ndcg10 new")
    assert outcome.value("ndcg10 known") == pytest.approx(outcome.columns["ndcg10"][~new].mean())
    assert replace(test, protocol=test.protocol).fingerprint() == test.fingerprint()
