"""LightGCN against dense matrices and its own definition; ALS against implicit."""

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, softplus

from counterpoint.recommend.als import ALS
from counterpoint.recommend.histories import Histories
from counterpoint.recommend.interactions import Interactions
from counterpoint.recommend.lightgcn import RIDGE, LightGCN, Pairs, pairs_of
from counterpoint.training import Clock, Trainer
from recommend.shop import ITEMS, histories_of, shop

CLOCK = Clock(0, "fit pairs", 0, 0, 1)


def made(data: Interactions, **options: Any) -> LightGCN:
    method = LightGCN(**{"dim": 5, "batch_size": 16, "layers": 3, **options})
    method.prepare(method.measure(data))
    return method.double().eval()


def dense(data: Interactions) -> Tensor:
    """D^-1/2 A D^-1/2 of users and items, as numpy has it."""
    n = len(data) + ITEMS
    graph = np.zeros((n, n))
    graph[data.users, len(data) + data.items] = 1
    graph = graph + graph.T
    degree = graph.sum(1)
    scale = np.where(degree > 0, degree, 1) ** -0.5
    return torch.from_numpy(scale[:, None] * graph * scale)


def propagated(method: LightGCN, graph: Tensor, start: Tensor) -> Tensor:
    layers = [start]
    for _ in range(method.options.layers):
        layers.append(graph @ layers[-1])
    return torch.stack(layers).mean(0)


@pytest.mark.parametrize("users", ["learned", "items"])
@pytest.mark.parametrize("loss", ["bpr", "softmax"])
@pytest.mark.parametrize("target", [None, "buy"])
def test_the_loss_and_its_gradients_against_dense_matrices(users: str, loss: str, target: str | None) -> None:
    data = shop(15, 1, target=target)
    method = made(data, users=users, loss=loss, temperature=0.5, regularisation=0.3)
    batch = method.batch(data, torch.arange(20), torch.Generator())
    terms = method.losses(batch, CLOCK)
    weights = method.nodes.weight
    assert len(weights) == ITEMS + (len(data) if users == "learned" else 0)
    start = torch.cat([torch.zeros(len(data) + ITEMS - len(weights), 5, dtype=torch.float64), weights])
    vectors = propagated(method, dense(data), start)
    user, item, other = (batch.views[name] for name in ("user", "item", "other"))
    table = vectors[len(data) :]
    logits = vectors[user] @ table.T / 0.5
    rows = torch.arange(len(user))
    squares = start[user].square().sum() + start[len(data) + item].square().sum()
    if loss == "bpr":
        expected = softplus(logits[rows, other] - logits[rows, item]).mean()
        squares = squares + start[len(data) + other].square().sum()
    else:
        expected = cross_entropy(logits, item)
    torch.testing.assert_close(terms["next"], expected)
    torch.testing.assert_close(terms["l2"], 0.15 * squares / len(user))
    ways = terms["next"] + terms["l2"], expected + 0.15 * squares / len(user)
    torch.testing.assert_close(*(torch.autograd.grad(way, weights)[0] for way in ways))


@pytest.mark.parametrize("users", ["learned", "items"])
def test_a_history_is_a_user_who_joins_the_graph(users: str) -> None:
    """Who has the items of a history, the other degrees as they were, and starts from nothing or from an estimate."""
    data = shop(15, 2)
    method = made(data, users=users)
    start = method._start().detach()
    graph = dense(data)
    degree = (graph[len(data) :] > 0).sum(1)
    item = torch.tensor([3, 7, 8])
    joined = torch.zeros(len(start) + 1, len(start) + 1, dtype=torch.float64)
    joined[:-1, :-1] = graph
    joined[-1, len(data) + item] = 1 / (3 * degree[item]).double().sqrt()  # the others do not read the new user
    vectors = propagated(method, joined, torch.cat([start, torch.zeros(1, 5, dtype=torch.float64)]))
    expected = vectors[-1]
    if users == "learned":
        own = start[: len(data)].numpy() / 4
        said = (vectors[: len(data)]).numpy() - own
        extra = np.sqrt(RIDGE * np.square(said).sum(0).mean()) * np.identity(5)
        way = np.linalg.lstsq(np.concatenate([said, extra]), np.concatenate([own, np.zeros((5, 5))]), rcond=None)[0]
        expected = expected + expected @ torch.from_numpy(way)
    torch.testing.assert_close(method.vectors(Histories.of([[8, 3, 7, 3]]))[0], expected)
    torch.testing.assert_close(method.item_vectors(), vectors[len(data) : -1])


def test_without_vectors_of_their_own_known_users_are_their_items() -> None:
    data = shop(15, 3)
    method = made(data, users="items")
    vectors = propagated(method, dense(data), method._start())
    torch.testing.assert_close(method.vectors(histories_of(data)), vectors[: len(data)])


def test_only_wanted_pairs_are_learned_and_none_is_its_own_rival() -> None:
    data = shop(40, 4, target="buy")
    pairs = pairs_of(data)
    took = {(int(u), int(i)) for u, i in zip(data.users, data.items, strict=True)}
    bought = {(int(u), int(i)) for u, i, w in zip(data.users, data.items, data.wanted, strict=True) if w}
    assert {divmod(key, ITEMS) for key in pairs.keys.tolist()} == took
    assert {divmod(key, ITEMS) for key in pairs.wanted.tolist()} == bought
    for seed in range(3):
        other = pairs.not_taken(torch.Generator().manual_seed(seed))
        rivals = set(zip((pairs.wanted // ITEMS).tolist(), other.tolist(), strict=True))
        assert not rivals & took
    greedy = torch.arange(3)
    assert Pairs(greedy, greedy, 3).not_taken(torch.Generator()).tolist() == [-1, -1, -1]


def test_kept_vectors_follow_the_weights() -> None:
    """An optimiser may write weights without telling: each judgement has to see the newest."""
    data = shop(40, 5)
    seen: list[Tensor] = []

    class Watched(LightGCN):
        @staticmethod
        def judge(method: Any, data: Interactions) -> Any:
            seen.append(method.item_vectors().clone())
            assert method.item_vectors() is method.item_vectors()
            return LightGCN.judge(method, data)

    parts = data.divide("leave-one-out")
    method = Watched(dim=5, batch_size=16, epochs=3)
    method.fit(parts["train"], parts["validation"], Trainer(progress=False))
    with torch.no_grad():
        torch.testing.assert_close(method.item_vectors(), method._carried()[0])
    assert not torch.equal(seen[0], seen[1])
    torch.testing.assert_close(seen[-1], method.item_vectors())


def test_it_finds_items_of_the_same_people() -> None:
    """Two crowds with items of their own, of which everybody lacks some."""
    random = np.random.default_rng(0)
    users, items = [], []
    for user in range(60):
        crowd = user % 2
        for item in random.choice(10, size=6, replace=False):
            users.append(user)
            items.append(f"i{10 * crowd + item}")
    data = Interactions.of(users, items)
    method = LightGCN(dim=8, batch_size=64, epochs=30, optim={"lr": 0.02}).fit(data, trainer=Trainer(progress=False))
    for first in (0, 10):
        hits = method.recommend([[f"i{first}", f"i{first + 3}"]], k=8)[0]
        assert {int(hit["id"][1:]) // 10 for hit in hits} == {first // 10}


@pytest.mark.parametrize("weight", [1.0, 20.0])
def test_als_is_implicits(weight: float) -> None:
    als = pytest.importorskip("implicit.cpu.als")
    sparse = pytest.importorskip("scipy.sparse")
    data = shop(40, 5)
    took = sparse.csr_matrix((np.ones(len(data.items)), (data.users, data.items)), shape=(40, ITEMS))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = als.AlternatingLeastSquares(6, 0.1, weight, iterations=3, num_threads=1, random_state=0)
        theirs.fit(took, show_progress=False)
    method = ALS(dim=6, regularisation=0.1, weight=weight, iterations=3).fit(data)
    np.testing.assert_allclose(method.item_vectors(), theirs.item_factors, rtol=1e-6)
    vectors = theirs.recalculate_user(np.arange(40), took)
    np.testing.assert_allclose(method.vectors(histories_of(data)), vectors, rtol=2e-3, atol=2e-4)
    theirs.user_factors = vectors
    known = replace(data, user_ids=np.array([f"u{n}" for n in range(40)]))
    scores = method.scores(histories_of(known))
    scores[data.users, data.items] = -torch.inf
    ids, _ = theirs.recommend(np.arange(40), took, N=5, filter_already_liked_items=True)
    agree = (scores.topk(5).indices.numpy() == ids).mean()
    assert agree > 0.97, "rounding may exchange neighbours in a list, no more"


def test_als_solves_in_parts_as_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    method = ALS(dim=4, iterations=2).fit(shop(40, 5))
    given = histories_of(shop(20, 6))
    whole = method.vectors(given)
    monkeypatch.setattr("counterpoint.recommend.als.TOGETHER", 7)
    torch.testing.assert_close(method.vectors(given), whole)
