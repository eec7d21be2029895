"""Learned baselines: GRU4Rec's recurrence, CL4SRec's and DuoRec's contrasts, and the softmax over drawn items."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from conformance import fits
from counterpoint.recommend.cl4srec import CL4SRec
from counterpoint.recommend.duorec import DuoRec, others_alike
from counterpoint.recommend.gru4rec import GRU4Rec
from counterpoint.recommend.histories import Histories, histories, instances
from counterpoint.recommend.interactions import Interactions
from counterpoint.recommend.sampled import drawn_items, log_chances, sampled_softmax
from counterpoint.recommend.sasrec import SASRec
from counterpoint.recommend.simulate import cycles
from counterpoint.training import Clock, Trainer
from recommend.shop import ITEMS, shop
from training.ranks import pair

SMALL = {"dim": 8, "epochs": 1, "batch_size": 8, "dropout": 0.0, "max_length": 5}
CLOCK = Clock(0, "fit", 0, 0, 1)


def made(kind: type, data: Interactions, **options: Any) -> Any:
    method = kind(**{**SMALL, **options})
    method.prepare(method.measure(data))
    return method.double().eval()


def batch_of(method: Any, data: Interactions, rows: int) -> Any:
    return method.batch(data, torch.arange(rows), torch.Generator().manual_seed(0))


# --- GRU4Rec


def test_a_step_of_the_recurrence_by_hand() -> None:
    method = made(GRU4Rec, shop(20, 0), hidden=6, layers=1)
    found = method.vectors(Histories.of([[3, 7, 1]]))[0]
    cell = method.recurrent
    state = torch.zeros(6, dtype=torch.float64)
    for item in (3, 7, 1):
        into = cell.weight_ih_l0 @ method.table.weight[item] + cell.bias_ih_l0
        back = cell.weight_hh_l0 @ state + cell.bias_hh_l0
        reset = torch.sigmoid(into[:6] + back[:6])
        update = torch.sigmoid(into[6:12] + back[6:12])
        new = torch.tanh(into[12:] + reset * back[12:])
        state = (1 - update) * new + update * state
    torch.testing.assert_close(found, method.out(state))


@pytest.mark.parametrize("positions", ["all", "last"])
@pytest.mark.parametrize("target", [None, "buy"])
def test_grus_loss_is_a_softmax_over_all_items(positions: str, target: str | None) -> None:
    """By hand, event by event, each from its history alone; the latest events are read, padding teaches nothing."""
    data = shop(9, 1, complete=True, target=target)
    method = made(GRU4Rec, data, positions=positions, temperature=0.5, hidden=6, layers=2)
    chosen = instances(data, positions == "all", 5)
    found = method.losses(batch_of(method, data, len(chosen)), CLOCK)["next"]
    terms = []
    for first, last in zip(chosen.first, chosen.last, strict=True):
        for event in range(first + 1, last + 1) if positions == "all" else [last]:
            if data.wanted[event]:
                logits = method.scores(histories(data, np.array([first]), np.array([event]))) / 0.5
                terms.append(cross_entropy(logits, torch.tensor([int(data.items[event])])))
    expected = torch.stack(terms).mean()
    torch.testing.assert_close(found, expected)
    gradients = [torch.autograd.grad(loss, method.table.weight, retain_graph=True)[0] for loss in (found, expected)]
    torch.testing.assert_close(*gradients)
    assert not gradients[0][-1].any()


# --- drawn negatives


def naive_sampled(queries: Tensor, table: Tensor, targets: Tensor, items: Tensor, chance: Tensor, t: float) -> Tensor:
    """Row by row: the target against itself and every drawn item that is not it, each over k times its chance."""
    rows = []
    for query, target in zip(queries, targets.tolist(), strict=True):
        if target < 0:
            continue
        scores = table @ query / t
        total = scores[target].exp()
        for item in items.tolist():
            if item != target:
                total = total + scores[item].exp() / (len(items) * chance[item])
        rows.append(total.log() - scores[target])
    return torch.stack(rows).mean()


def test_the_sampled_softmax_by_hand_with_its_gradients() -> None:
    generator = torch.Generator().manual_seed(0)
    queries, table = (torch.randn(n, 4, generator=generator, dtype=torch.float64) for n in (7, 12))
    targets = torch.tensor([3, 0, -1, 11, 3, 5, 5])
    chance = torch.softmax(torch.randn(12, generator=generator, dtype=torch.float64), 0)
    items = drawn_items(chance.cumsum(0), 9, generator)
    assert set(items.tolist()) & set(targets.tolist())
    found, expected = [], []
    for side, grads in ((0, found), (1, expected)):
        q, w = queries.clone().requires_grad_(), table.clone().requires_grad_()
        if side:
            loss = naive_sampled(q, w, targets, items, chance, 0.7)
        else:
            own = w[targets.clamp(min=0)]
            loss = sampled_softmax(q, targets, own, items, w[items], chance.log()[items], 0.7).mean()
        grads += [loss.detach(), *torch.autograd.grad(loss, (q, w))]
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b)


def test_the_sum_over_drawn_items_is_right_on_average() -> None:
    generator = torch.Generator().manual_seed(1)
    query, table = torch.randn(1, 3, generator=generator), torch.randn(30, 3, generator=generator)
    chances = log_chances(torch.arange(30))
    scores = (table @ query[0]).exp()
    totals = []
    for _ in range(400):
        items = drawn_items(chances.exp().cumsum(0), 60, generator)
        one = sampled_softmax(query, torch.tensor([4]), table[4:5], items, table[items], chances[items])
        totals.append(float(one.value.exp()) * float(scores[4]))
    error = np.std(totals) / np.sqrt(len(totals))
    assert abs(np.mean(totals) - float(scores.sum())) < 4 * error
    assert error < 0.02 * float(scores.sum())


def test_items_are_drawn_by_the_logarithm_of_their_events() -> None:
    chances = log_chances(torch.tensor([0, 8, 98]))
    torch.testing.assert_close(chances.exp(), torch.tensor([2.0, 10, 100], dtype=torch.float64).log() / np.log(2000))
    drawn = (
        drawn_items(chances.exp().cumsum(0), 20_000, torch.Generator().manual_seed(0)).bincount(minlength=3) / 20_000
    )
    torch.testing.assert_close(drawn.double(), chances.exp(), atol=0.015, rtol=0)


def test_ranks_draw_the_same_negatives() -> None:
    variants: list[tuple[dict[str, Any], int, bool]] = [({"negatives": 5}, 31, False)]
    (alone, loss), *_ = fits.two_rank_fits("sasrec", variants)
    for number, ((found, theirs),) in enumerate(pair().ask(fits.two_rank_fits, "sasrec", variants)):
        assert number or theirs == pytest.approx(loss, rel=1e-9)
        for key, value in alone.items():
            np.testing.assert_allclose(found[key], value, rtol=1e-9, atol=1e-11, err_msg=key)


# --- contrasts


def naive_nt_xent(vectors: Tensor, row: Tensor, alike: Tensor, apart: list[Tensor], temperature: float) -> Tensor:
    """NT-Xent pair by pair: the mean over a row's positives; rows without a negative are left out."""
    scores = vectors @ vectors.T / temperature
    terms = []
    for i in range(len(vectors)):
        positive = [j for j in range(len(vectors)) if row[j] != row[i] and alike[i] == alike[j]]
        rest = [j for j in range(len(vectors)) if row[j] != row[i] and alike[i] != alike[j]]
        negative = [j for j in rest if all(column[i] != column[j] for column in apart)]
        if positive and negative:
            mass = torch.stack([scores[i, j].exp() for j in positive + negative]).sum().log()
            terms.append(mass - scores[i, positive].mean())
    return torch.stack(terms).mean()


@pytest.mark.parametrize("cosine", [False, True])
@pytest.mark.parametrize("positions", ["all", "last"])
def test_cl4srec_contrasts_two_altered_copies(positions: str, cosine: bool) -> None:
    data = shop(9, 1, complete=True)
    method = made(CL4SRec, data, positions=positions, cosine=cosine, contrast=0.3, contrast_temperature=0.5)
    with torch.no_grad():
        method.table.weight.mul_(20)
    batch = batch_of(method, data, 8)
    terms = method.losses(batch, CLOCK)
    plain = made(SASRec, data, positions=positions)
    plain.load_state_dict(method.state_dict())
    torch.testing.assert_close(terms["next"], plain.losses(batch_of(plain, data, 8), CLOCK)["next"])
    one, other = (method.vectors(batch.views[side]) for side in ("one", "other"))
    both = torch.cat([one, other])
    both = normalize(both, dim=1) if cosine else both
    user = torch.from_numpy(data.users[instances(data, positions == "all", 5).first[:8]]).repeat(2)
    n = torch.arange(8)
    expected = 0.3 * naive_nt_xent(both, torch.arange(16), n.repeat(2), [user], 0.5)
    torch.testing.assert_close(terms["contrast"], expected)
    blank = torch.autograd.grad(terms["contrast"], method.table.weight)[0][-1]
    assert blank.any(), "the vector that stands for hidden items learns"


@pytest.mark.parametrize("views", ["both", "dropout", "target"])
def test_duorec_contrasts_histories_that_want_the_same(views: str) -> None:
    data = shop(30, 1, complete=True)
    method = made(DuoRec, data, views=views, positions="last", contrast=0.3)
    with torch.no_grad():
        method.table.weight.mul_(20)
    batch = batch_of(method, data, 24)
    found = method.losses(batch, CLOCK)["contrast"]
    chosen = instances(data, False, 5)
    goal = torch.from_numpy(data.items[chosen.last].astype(np.int64))
    partner = torch.arange(24) if views == "dropout" else method.partners[1][:24]
    assert (goal[partner] == goal[:24]).all()
    read = torch.cat([torch.arange(24), partner])
    vectors = torch.stack(
        [method.vectors(histories(data, chosen.first[[r]], chosen.last[[r]]))[0] for r in read.tolist()]
    )
    user = torch.from_numpy(data.users[chosen.first])
    row = read * 2 + torch.arange(2).repeat_interleave(24)
    torch.testing.assert_close(found, 0.3 * naive_nt_xent(vectors, row, goal[read], [user[read]], 1.0))


def test_duorecs_second_pass_differs_by_dropout_alone() -> None:
    data = shop(20, 2, complete=True)
    method = made(DuoRec, data, views="dropout", dropout=0.3).train()
    batch = batch_of(method, data, 8)
    states = method._ends(batch.views["history"])
    (one, _), (other, _) = method._views(batch, states)
    assert one is states
    assert not torch.equal(one, other)


@settings(max_examples=50, deadline=None)
@given(labels=st.lists(st.integers(0, 4), min_size=1, max_size=12), seed=st.integers(0, 9))
def test_partners_are_others_of_the_same_label(labels: list[int], seed: int) -> None:
    label = torch.tensor(labels)
    found = others_alike(label, torch.Generator().manual_seed(seed))
    assert (label[found] == label).all()
    alone = label.bincount()[label] == 1
    assert ((found == torch.arange(len(label))) == alone).all()
    assert len(set(found.tolist())) == len(label), "everybody is somebody's partner"


def test_partners_are_drawn_anew_for_each_epoch() -> None:
    data = shop(40, 3)
    method = made(DuoRec, data)
    first = method.plan(data, torch.Generator().manual_seed(0)), method.partners[1]
    again = method.plan(data, torch.Generator().manual_seed(0)), method.partners[1]
    later = method.plan(data, torch.Generator().manual_seed(1)), method.partners[1]
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[1], later[1])
    plain = made(SASRec, data).plan(data, torch.Generator().manual_seed(0))
    assert [rows.tolist() for rows in first[0]] == [rows.tolist() for rows in plain]


@pytest.mark.parametrize("kind", [GRU4Rec, CL4SRec, DuoRec])
def test_they_learn_what_follows_what(kind: Any) -> None:
    parts = cycles(80, items=10, seed=0, length=8).divide("leave-one-out")
    options = {"dim": 16, "epochs": 8, "batch_size": 16, "optim": {"lr": 0.01}}
    method = kind(**options).fit(parts["train"], trainer=Trainer(progress=False))
    assert method.judge(method, parts["test"]).value("hr5") > 0.95


def test_a_softmax_over_drawn_items_learns_too() -> None:
    parts = cycles(80, items=ITEMS, seed=0, length=8).divide("leave-one-out")
    options = {"dim": 16, "epochs": 10, "batch_size": 16, "optim": {"lr": 0.01}, "negatives": 8}
    method = SASRec(**options).fit(parts["train"], trainer=Trainer(progress=False))
    assert method.judge(method, parts["test"]).value("hr5") > 0.95
