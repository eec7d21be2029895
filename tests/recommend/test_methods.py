"""What only these methods can promise: SASRec's equations, the counts by hand, neighbours as implicit has them."""

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from counterpoint.errors import UserError
from counterpoint.recommend.counts import LastClick, Popularity
from counterpoint.recommend.histories import Histories, histories, instances
from counterpoint.recommend.interactions import Interactions, Protocol
from counterpoint.recommend.markov import Markov, Transitions, pairs_of
from counterpoint.recommend.neighbours import ItemKNN
from counterpoint.recommend.sasrec import SASRec
from counterpoint.recommend.simulate import cycles
from counterpoint.training import Clock, Trainer
from recommend.shop import ITEMS, shop

SMALL = {"dim": 8, "layers": 2, "epochs": 1, "batch_size": 8, "dropout": 0.0, "max_length": 5}
CLOCK = Clock(0, "fit", 0, 0, 1)


def made(data: Interactions, **options: Any) -> SASRec:
    method = SASRec(**{**SMALL, **options})
    method.prepare(method.measure(data))
    return method.eval()


def test_what_comes_later_and_padding_change_nothing() -> None:
    method = made(shop(20, 0))
    long, short = [3, 7, 1, 9, 4], [3, 7]
    together = method.vectors(Histories.of([long, short, [5]]))
    for place, history in enumerate((long, short, [5])):
        torch.testing.assert_close(together[place], method.vectors(Histories.of([history]))[0])
    items, _, there = Histories.of([long]).padded(ITEMS)
    states = method.encoder(method.table(items))
    torch.testing.assert_close(states[0, 1], together[1])
    assert there.all()


def test_only_the_latest_events_are_read() -> None:
    method = made(shop(20, 0))
    a, b = method.vectors(Histories.of([[9, 9, 1, 2, 3, 4, 5], [1, 2, 3, 4, 5]]))
    torch.testing.assert_close(a, b)


@pytest.mark.parametrize("positions", ["all", "last"])
@pytest.mark.parametrize("target", [None, "buy"])
def test_the_loss_is_a_softmax_over_all_items(positions: str, target: str | None) -> None:
    """By hand, history by history and event by event, in float64, with its gradient."""
    data = shop(9, 1, complete=True, target=target)
    method = made(data, positions=positions, temperature=0.5).double()
    chosen = instances(data, positions == "all", 5)
    batch = method.batch(data, torch.arange(len(chosen)), torch.Generator())
    found = method.losses(batch, CLOCK)["next"]
    terms = []
    for first, last in zip(chosen.first, chosen.last, strict=True):
        for event in range(first + 1, last + 1) if positions == "all" else [last]:
            if data.wanted[event]:
                state = method.vectors(histories(data, np.array([first]), np.array([event])))
                logits = state @ method.item_vectors().T / 0.5
                terms.append(cross_entropy(logits, torch.tensor([int(data.items[event])])))
    expected = torch.stack(terms).mean()
    torch.testing.assert_close(found, expected)
    gradients = [torch.autograd.grad(loss, method.table.weight)[0] for loss in (found, expected)]
    torch.testing.assert_close(*gradients)
    assert not gradients[0][-1].any(), "padding learns nothing"


def test_every_event_is_a_target_once_and_batches_are_short() -> None:
    data = shop(30, 2)
    targets = instances(data, True, 3).targets(data)
    assert len(targets) == (np.maximum(data.lengths - 1, 0)).sum()
    assert sorted(targets.tolist()) == sorted(data.items[np.concatenate([[0], np.diff(data.users)]) == 0][1:].tolist())
    method = made(data, max_length=50)
    plan = method.plan(data, torch.Generator().manual_seed(0))
    lengths = instances(data, True, 50).lengths
    assert sorted(torch.cat(list(plan)).tolist()) == list(range(len(lengths)))
    assert sum(int(lengths[rows].max()) * len(rows) for rows in plan) < 1.25 * int(lengths.sum())


def test_sasrec_learns_what_follows_what() -> None:
    parts = cycles(80, items=10, seed=0, length=8).divide("leave-one-out")
    method = SASRec(dim=16, epochs=6, batch_size=16, optim={"lr": 0.01}).fit(
        parts["train"], trainer=Trainer(progress=False)
    )
    assert method.judge(method, parts["test"]).value("hr5") > 0.95
    with pytest.raises(UserError, match="dim=9 is not divisible by heads=2"):
        SASRec(dim=9).fit(parts["train"])


# --- counts


def test_popularity_counts_the_target() -> None:
    data = Interactions.of(
        [1] * 5, list("aaabb"), behaviours=["see", "see", "see", "buy", "buy"], protocol=Protocol("buy")
    )
    assert Popularity().fit(data).wanted.tolist() == [0.0, 2.0]


def test_the_last_click_comes_first() -> None:
    data = Interactions.of([1, 1, 1, 2], list("abca"))
    method = LastClick().fit(data)
    scores = method.scores(Histories.of([[1, 2, 1], [0]]))
    assert scores.argsort(descending=True)[:, :2].tolist() == [[1, 2], [0, 1]]


def brute(data: Interactions, window: int, backward: float, typed: bool) -> dict[tuple[int, int], float]:
    found: dict[tuple[int, int], float] = {}
    for begin, end in zip(data.starts, data.starts[1:], strict=False):
        for i in range(begin, end):
            for j in range(i + 1, min(end, i + window + 1)):
                for a, b, weight in ((i, j, 1.0), (j, i, backward)):
                    if data.wanted[b] and weight:
                        row = int(data.items[a]) + (int(data.behaviours[a]) * ITEMS if typed else 0)
                        key = row, int(data.items[b])
                        found[key] = found.get(key, 0.0) + weight / (j - i)
    return found


@pytest.mark.parametrize("typed", [False, True])
@pytest.mark.parametrize("target", [None, "buy"])
def test_pairs_by_hand(typed: bool, target: str | None) -> None:
    data = shop(15, 3, target=target)
    rows, columns, weights = pairs_of(data, 3, 0.5, typed)
    expected = brute(data, 3, 0.5, typed)
    assert list(zip(rows.tolist(), columns.tolist(), strict=True)) == sorted(expected)
    np.testing.assert_allclose(weights, [expected[key] for key in sorted(expected)])


def test_markov_scores_by_hand() -> None:
    data = shop(15, 4)
    method = Markov(power=(0.5,), decay=(0.8,), last=(3,), backward=(0.5,), window=(2,)).fit(data)
    table = np.zeros((ITEMS, ITEMS))
    for (a, b), weight in brute(data, 2, 0.5, typed=False).items():
        table[a, b] = weight
    table /= np.sqrt(table.sum(1, keepdims=True)).clip(1e-6)
    found = method.scores(Histories.of([[9, 4, 5, 6], [2]]))
    np.testing.assert_allclose(found[0], table[6] + 0.8 * table[5] + 0.64 * table[4], rtol=1e-5)
    np.testing.assert_allclose(found[1], table[2], rtol=1e-5)


def test_markov_chooses_what_finds_held_out_events() -> None:
    """On rounds the one item before tells all, and edges back only mislead."""
    data = cycles(60, items=15, seed=1, noise=0.3, length=10)
    method = Markov(last=(10, 1), decay=(1.0,)).fit(data)
    assert method.knobs[3] == 0.0
    fixed = Markov(last=(10,), decay=(1.0,), power=(1.0,), backward=(0.5,), window=(3,)).fit(data)
    other = cycles(60, items=15, seed=2, noise=0.3, length=10)
    assert method.judge(method, other).value("ndcg10") > fixed.judge(fixed, other).value("ndcg10")


def test_transitions_tell_behaviours_apart() -> None:
    rows = [
        ("u", "a", "see"),
        ("u", "b", "see"),
        ("v", "a", "buy"),
        ("v", "c", "see"),
        ("w", "a", "buy"),
        ("w", "c", "see"),
    ]
    user, item, kind = (list(column) for column in zip(*rows, strict=True))
    data = Interactions.of(user, item, behaviours=kind, labels=["see", "buy"])
    event = {"item": "a", "behaviour": "see"}
    assert Transitions().fit(data).recommend([[event]], k=1)[0][0]["id"] == "b"
    assert Transitions(typed=False).fit(data).recommend([[event]], k=1)[0][0]["id"] == "c"


@pytest.mark.parametrize("weighting", ["cosine", "tfidf", "bm25"])
def test_neighbours_are_implicits(weighting: Any) -> None:
    knn = pytest.importorskip("implicit.nearest_neighbours")
    sparse = pytest.importorskip("scipy.sparse")
    data = shop(40, 5)
    took = sparse.csr_matrix((np.ones(len(data.items)), (data.users, data.items)), shape=(40, ITEMS))
    names = {"cosine": "CosineRecommender", "tfidf": "TFIDFRecommender", "bm25": "BM25Recommender"}
    theirs = getattr(knn, names[weighting])(K=ITEMS, num_threads=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs.fit(took, show_progress=False)
    full = theirs.similarity.toarray()
    np.fill_diagonal(full, 0)
    found = ItemKNN(neighbours=ITEMS, weighting=weighting).fit(data).scores(Histories.of([[3], [3, 3, 8]]))
    np.testing.assert_allclose(found[0], full[3], rtol=1e-5)
    np.testing.assert_allclose(found[1], full[3] + full[8], rtol=1e-5)
    few = ItemKNN(neighbours=5, weighting=weighting).fit(data).scores(Histories.of([[n] for n in range(ITEMS)])).numpy()
    np.testing.assert_allclose(np.sort(few, axis=1)[:, -5:], np.sort(full, axis=1)[:, -5:], rtol=1e-5)
    assert ((few > 0).sum(axis=1) <= 5).all()
