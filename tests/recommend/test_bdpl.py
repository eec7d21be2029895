"""BDPL against its equations, history by history in plain loops, and what it does in a shop with a known answer."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import cosine_similarity, cross_entropy, leaky_relu

from counterpoint.recommend.bdpl import BDPL
from counterpoint.recommend.counts import Popularity
from counterpoint.recommend.histories import Histories, instances
from counterpoint.recommend.interactions import Interactions, Protocol
from counterpoint.recommend.simulate import cycles
from counterpoint.recommend.simulate_behaviours import simulated
from counterpoint.recommend.transition_graphs import nodes_of, stages_of, typed_graph
from counterpoint.training import Clock, Trainer

KINDS = ("view", "buy", "cart")
TARGET = 1
ITEMS = 9
CLOCK = Clock(0, "fit", 0, 0, 1)
ORDERS = {
    "aux_to_target": [(0, 0), (2, 0), (1, 0), (0, 2), (2, 2), (1, 2), (0, 1), (2, 1), (1, 1)],
    "target_to_aux": [(1, 1), (2, 1), (0, 1), (1, 2), (2, 2), (0, 2), (1, 0), (2, 0), (0, 0)],
}
ORDERS["parallel"] = ORDERS["aux_to_target"]
SMALL = {"dim": 6, "batch_size": 8, "epochs": 1, "max_length": 6, "recent": 3, "window": 2, "dropout": 0.0}


def shop(users: int, seed: int) -> Interactions:
    """Users who do three things with nine items; the target is not the last label."""
    random = np.random.default_rng(seed)
    lengths = random.integers(2, 9, size=users)
    n = int(lengths.sum())
    return Interactions.of(
        np.repeat(np.arange(users), lengths),
        [f"i{item:02}" for item in random.integers(ITEMS, size=n)],
        times=np.arange(n),
        behaviours=[KINDS[kind] for kind in random.choice(3, size=n, p=[0.4, 0.4, 0.2])],
        labels=KINDS,
        protocol=Protocol("buy", "kept"),
    )


def made(data: Interactions, **options: Any) -> BDPL:
    method = BDPL(**{**SMALL, **options})
    method.prepare(method.measure(data))
    return method.double().eval()


# --- the equations, one history at a time


def weights(items: list[int], kinds: list[int], window: int, a: int, b: int, nodes: list[int]) -> Tensor:
    """A_ab of one sequence over some nodes, rows normalised."""
    found = torch.zeros(len(nodes), len(nodes), dtype=torch.float64)
    for i in range(len(items)):
        for j in range(i + 1, min(len(items), i + window + 1)):
            if (kinds[i], kinds[j]) == (a, b):
                found[nodes.index(items[i]), nodes.index(items[j])] += 1 / (j - i)
    return found / found.sum(1, keepdim=True).clamp(min=1e-30)


def cascade(method: BDPL, x: Tensor, graph: dict[tuple[int, int], Tensor]) -> tuple[Tensor, Tensor]:
    state, auxiliary, target = x, x, x
    order = ORDERS[method.options.direction]
    for stage, (a, b) in enumerate(order):
        read = x if method.options.direction == "parallel" else state
        forth, back = method.cascade.forth[a * 3 + b], method.cascade.back[a * 3 + b]
        message = leaky_relu(graph[a, b] @ read @ forth + graph[a, b].T @ read @ back)
        state = state + torch.stack([row / row.norm() if row.any() else row for row in message])
        auxiliary = state if all(to == TARGET for _, to in order[stage + 1 :]) and b != TARGET else auxiliary
        target = state if all(to != TARGET for _, to in order[stage + 1 :]) and b == TARGET else target
    return auxiliary, target


def pooled(channel: Any, h: Tensor, mark: Tensor, place: Tensor, chosen: list[int], query: Tensor) -> Tensor:
    scores = []
    for t in chosen:
        key = channel.state.weight @ h[t] + channel.kind.weight @ mark[t] + channel.place.weight @ place[t]
        scores.append(query @ key.tanh())
    share = torch.stack(scores).softmax(0)
    return sum((share[i] * h[t] for i, t in enumerate(chosen)), torch.zeros_like(h[0]))


def naive(method: BDPL, items: list[int], kinds: list[int], graph: Any = None) -> dict[str, Any]:
    options = method.options
    items, kinds = items[-options.max_length :], kinds[-options.max_length :]
    if not options.auxiliary and TARGET in kinds:
        items, kinds = ([x for x, k in zip(column, kinds, strict=True) if k == TARGET] for column in (items, kinds))
    nodes = list(range(ITEMS)) if graph is not None else sorted(set(items))
    x = method.table.weight[nodes]
    stages = (x, x)
    if options.graph != "none":
        own = {(a, b): weights(items, kinds, options.window, a, b, nodes) for a in range(3) for b in range(3)}
        stages = cascade(method, x, own if graph is None else graph)
    mark = method.behaviours.weight[kinds]
    n = len(items)
    place = method.positions.weight[[n - 1 - t for t in range(n)]]
    found: dict[str, Any] = {}
    for name, window in (("long", range(n)), ("short", range(max(0, n - options.recent), n))):
        for view, stage in (("a", stages[0]), ("t", stages[1])):
            h = torch.stack([stage[nodes.index(item)] for item in items]) + mark
            chosen = [t for t in window if (kinds[t] == TARGET) == (view == "t")]
            channel = getattr(method, name)
            query = channel.query if name == "long" else h[-1]
            found[name, view] = pooled(channel, h, mark, place, chosen or list(window), query)
            found[name, view, "has"] = bool(chosen)
    long, short = (found[name, "a"] + found[name, "t"] for name in ("long", "short"))
    gate = torch.full_like(long, 0.5)
    if options.fusion == "gate":
        gate = torch.sigmoid(method.gate.weight @ torch.cat([long, short]) + method.gate.bias)
    return found | {"vector": gate * long + (1 - gate) * short}


def sequences(given: Histories) -> list[tuple[list[int], list[int]]]:
    pairs = pairwise(given.starts.tolist())
    return [(given.items[a:b].tolist(), given.behaviours[a:b].tolist()) for a, b in pairs]


def whole_graph(data: Interactions, window: int) -> dict[tuple[int, int], Tensor]:
    """The pooled graph: sums over users before rows are normalised."""
    found = {(a, b): torch.zeros(ITEMS, ITEMS, dtype=torch.float64) for a in range(3) for b in range(3)}
    for begin, end in pairwise(data.starts.tolist()):
        for i in range(begin, end):
            for j in range(i + 1, min(end, i + window + 1)):
                kind = int(data.behaviours[i]), int(data.behaviours[j])
                found[kind][data.items[i], data.items[j]] += 1 / (j - i)
    return {kind: one / one.sum(1, keepdim=True).clamp(min=1e-30) for kind, one in found.items()}


VARIANTS: list[dict[str, Any]] = [
    {},
    {"direction": "target_to_aux"},
    {"direction": "parallel"},
    {"graph": "none"},
    {"graph": "global"},
    {"fusion": "mean"},
    {"auxiliary": False},
    {"long_weight": 0.0, "short_weight": 0.3, "temperature": 0.5, "l2": 0.0},
]


@pytest.mark.parametrize("options", VARIANTS, ids=str)
def test_losses_are_the_equations(options: dict[str, Any]) -> None:
    """Every term and its gradient, with several prefixes of one user in the batch."""
    data = shop(12, 3)
    method = made(data, **options)
    rows = torch.arange(14)
    batch = method.batch(data, rows, torch.Generator())
    graph = whole_graph(data, 2) if method.options.graph == "global" else None
    told = [naive(method, *sequence, graph) for sequence in sequences(batch.views["history"])]
    users = data.users[instances(data, False, 6).last[rows.numpy()]]
    assert len(set(users)) < len(users)

    p = torch.stack([one["vector"] for one in told])
    expected = {"next": cross_entropy(p @ method.table.weight.T, batch.views["targets"])}
    for name in ("long", "short"):
        weight = getattr(method.options, f"{name}_weight")
        both = [i for i, one in enumerate(told) if one[name, "a", "has"] and one[name, "t", "has"]]
        terms = []
        for i in both:
            for one, other in (("a", "t"), ("t", "a")):
                cosines = {j: cosine_similarity(told[i][name, one], told[j][name, other], dim=0) for j in both}
                kept = [j for j in both if j == i or users[j] != users[i]]
                logits = torch.stack([cosines[j] / method.options.temperature for j in kept])
                terms += [] if len(kept) == 1 else [logits.logsumexp(0) - cosines[i] / method.options.temperature]
        if weight and terms:
            expected[name] = weight * torch.stack(terms).mean()
    if method.options.l2:
        expected["l2"] = method.options.l2 * sum((part**2).sum() for part in method.parameters())

    found = method.losses(batch, CLOCK)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-6, atol=1e-8)
    assert all(not float(found[name].detach()) for name in found.keys() - expected.keys())
    sums = [torch.stack(list(terms.values())).sum() for terms in (found, expected)]
    parts = dict(method.named_parameters())
    gradients = [torch.autograd.grad(total, list(parts.values()), allow_unused=True) for total in sums]
    for name, one, other in zip(parts, *gradients, strict=True):
        zero = torch.zeros_like(parts[name])
        one, other = (zero if grad is None else grad for grad in (one, other))
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-8, msg=lambda text, name=name: f"{name}: {text}")


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 4), st.integers(1, 3))
def test_graphs_of_many_histories_stand_beside_each_other(seed: int, window: int, kinds: int) -> None:
    """Each block is the dense graph of its history by hand, and nothing lies outside the blocks."""
    random = np.random.default_rng(seed)
    lengths = random.integers(0, 7, size=5)
    items = [random.integers(4, size=length).tolist() for length in lengths]
    done = [random.integers(kinds, size=length).tolist() for length in lengths]
    both = Histories.of(items, done)
    shown, node = nodes_of(both)
    graph = typed_graph(both, node, kinds, window)
    dense = torch.zeros(kinds * kinds, len(shown), len(shown), dtype=torch.float64)
    for number, (nodes, matrix) in enumerate(zip(graph.touched, graph.matrices, strict=True)):
        if len(nodes):
            dense[number][nodes[:, None], nodes] = matrix @ torch.eye(len(nodes), dtype=torch.float64)
            turned = matrix.T @ torch.eye(len(nodes), dtype=torch.float64)
            torch.testing.assert_close(turned, dense[number][nodes][:, nodes].T)
    expected = torch.zeros_like(dense)
    start = 0
    for one, kind in zip(items, done, strict=True):
        nodes = sorted(set(one))
        block = slice(start, start + len(nodes))
        assert shown[block].tolist() == nodes
        for a in range(kinds):
            for b in range(kinds):
                expected[a * kinds + b][block, block] = weights(one, kind, window, a, b, nodes)
        start += len(nodes)
    torch.testing.assert_close(dense, expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("direction", ["aux_to_target", "target_to_aux", "parallel"])
def test_the_order_of_the_cascade(direction: Any) -> None:
    assert stages_of(3, TARGET, direction) == ORDERS[direction]


# --- what is read, and what is not


@pytest.mark.parametrize("graph", ["user", "none", "global"])
def test_what_comes_later_and_who_else_is_there_change_nothing(graph: str) -> None:
    data = shop(12, 4)
    method = made(data, graph=graph)
    rows = torch.arange(len(instances(data, False, 6)))
    history = method.batch(data, rows, torch.Generator()).views["history"]
    whole = method.vectors(history)
    later = {user: int(data.starts[user + 1]) - 1 for user in range(len(data))}
    changed = data.items.copy()
    changed[list(later.values())] = (changed[list(later.values())] + 1) % ITEMS
    other = Interactions.of(
        data.users,
        data.item_ids[changed],
        data.times,
        np.array(KINDS)[data.behaviours],
        data.catalogue,
        KINDS,
        data.protocol,
    )
    again = method.vectors(method.batch(other, rows, torch.Generator()).views["history"])
    torch.testing.assert_close(again, whole)
    for place, (items, kinds) in enumerate(sequences(history)):
        alone = Histories.of([items], [kinds])
        torch.testing.assert_close(method.vectors(alone)[0], whole[place])
        longer = Histories.of([[0, 1, *items], [5]], [[2, 1, *kinds], [0]])
        if len(items) == 6:
            torch.testing.assert_close(method.vectors(longer)[0], whole[place])


def test_pairs_without_both_views_are_masked_out_and_counted() -> None:
    data = shop(12, 5)
    method = made(data)
    told = method.preferences(Histories.of([[1, 2], [1, 2], [3]], [[0, 1], [0, 2], [1]]))
    assert told.both_long.tolist() == told.both_short.tolist() == [True, False, False]
    batch = method.batch(data, torch.arange(10), torch.Generator())
    method.losses(batch, CLOCK)
    both = method.preferences(batch.views["history"]).both_long
    assert method.notes["long pairs"] == pytest.approx(float(both.double().mean()))


def test_prefixes_of_one_user_do_not_repel() -> None:
    items, kinds = ["i01", "i02", "i03", "i04"] * 2, ["view", "buy"] * 4
    data = Interactions.of(["u"] * 8, items, behaviours=kinds, labels=KINDS, protocol=Protocol("buy"))
    method = made(data)
    batch = method.batch(data, torch.tensor([1, 2, 3]), torch.Generator())
    losses = method.losses(batch, CLOCK)
    assert float(losses["long"].detach()) == float(losses["short"].detach()) == 0.0
    assert method.notes["long pairs"] == 1.0


def test_one_behaviour_is_enough() -> None:
    data = cycles(30, items=8, seed=0)
    method = BDPL(**SMALL).fit(data, trainer=Trainer(progress=False))
    told = method.preferences(Histories.of([[1, 2, 3]]))
    assert told.vector.isfinite().all()
    assert not told.both_long.any()


# --- what it learns


@pytest.fixture(scope="module")
def learned() -> dict[float, BDPL]:
    """Fits where intents never change, and where each click has a new one."""
    options: dict[str, Any] = {"dim": 16, "batch_size": 64, "epochs": 6, "max_length": 16, "recent": 3}
    found = {}
    for drift in (0.0, 1.0):
        data, _ = simulated(users=150, events=20, items=40, topics=5, purchases=0.15, drift=drift, seed=1)
        method = BDPL(**options, optim={"lr": 0.01}).fit(data, trainer=Trainer(progress=False))
        found[drift] = method
    return found


def test_it_learns_what_is_bought(learned: dict[float, BDPL]) -> None:
    shape: dict[str, Any] = {"events": 20, "items": 40, "topics": 5, "purchases": 0.15, "drift": 0.0}
    train, test = (simulated(users=users, seed=seed, **shape)[0] for users, seed in ((150, 1), (100, 2)))
    popular = Popularity().fit(train)
    method = learned[0.0]
    assert method.judge(method, test).value("ndcg10") > 2 * popular.judge(popular, test).value("ndcg10")


def test_the_gate_follows_drift(learned: dict[float, BDPL]) -> None:
    """Where the intent changes all the time, the short-term channel weighs more than where it never does."""
    shares = {}
    for drift, method in learned.items():
        data, truth = simulated(users=100, events=20, items=40, topics=5, purchases=0.15, drift=drift, seed=3)
        assert (truth.intents == truth.interests[data.users]).all() == (drift == 0.0)
        given = Histories.of(
            [data.items[a:b].tolist() for a, b in pairwise(data.starts.tolist())],
            [data.behaviours[a:b].tolist() for a, b in pairwise(data.starts.tolist())],
        )
        shares[drift] = float(method.gates(given).detach().mean())
    assert shares[0.0] > shares[1.0] + 0.02, shares


def test_without_clicks_only_purchases_are_read() -> None:
    method = made(shop(12, 6), auxiliary=False)
    a, b, c = method.vectors(Histories.of([[1, 2, 3], [4, 2, 5], [1, 7]], [[0, 1, 2], [2, 1, 0], [0, 2]]))
    torch.testing.assert_close(a, b)
    assert not torch.allclose(a, c), "nothing was bought: what was looked at is read"
