"""Margins, triplets and thresholds against loops over pairs, and against a public library."""

import math
from importlib import import_module
from types import ModuleType

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from counterpoint.objectives import Embeddings, Ids, RowLoss
from counterpoint.objectives.mining import contrastive_margin, multi_similarity, triplet
from objectives import oracle

rowwise = import_module("counterpoint.objectives.rowwise")
N, M, D = 10, 8, 5
# a set with itself leaves its own pairs out, two sets hold them positive: what the losses take from their arguments
NAMES = sorted(set(oracle.RELATIONS) - {"queue", "private rows", "all masked"})


def setting(name: str) -> tuple[Embeddings, Embeddings, list[list[str | None]]]:
    generator = torch.Generator().manual_seed(1)
    of_queries, of_keys, itself = oracle.RELATIONS[name](N, M)
    a, b = (F.normalize(torch.randn(n, D, generator=generator, dtype=torch.float64)) for n in (N, M))
    queries = Embeddings(a.requires_grad_(), of_queries)
    keys = queries if of_keys is of_queries else Embeddings(b.requires_grad_(), of_keys)
    table = oracle.kinds(queries.ids, keys.ids, itself)
    if keys.ids.log_weight is not None:
        left_out = [j for j, weight in enumerate(keys.ids.log_weight.tolist()) if weight == -math.inf]
        table = [
            [None if j in left_out and this == "negative" else this for j, this in enumerate(row)] for row in table
        ]
    return queries, keys, table


def distances(queries: Embeddings, keys: Embeddings, distance: str) -> Tensor:
    difference = queries.vectors[:, None] - keys.vectors[None]
    if distance == "euclidean":
        return difference.square().sum(-1).clamp(min=1e-300).sqrt()
    return 1 - queries.vectors @ keys.vectors.T


def triplets(d: list[Tensor], row: list[str | None], mining: str) -> list[tuple[Tensor, Tensor]]:
    """(distance to the positive, to the negative) of every triplet of a query that is picked."""
    positive = [d[j] for j, this in enumerate(row) if this == "positive"]
    negative = [d[j] for j, this in enumerate(row) if this == "negative"]
    if not positive or not negative:
        return []
    if mining == "all":
        return [(p, n) for p in positive for n in negative]
    if mining == "semihard":
        farther = [(p, [n for n in negative if n > p]) for p in positive]
        return [(p, min(among)) for p, among in farther if among]
    return [((max if mining == "hard" else min)(positive), min(negative))]


def assert_same(loss: RowLoss, values: list[Tensor | None], *inputs: Tensor) -> None:
    assert loss.valid.tolist() == [value is not None for value in values]
    expected = torch.stack([torch.zeros((), dtype=torch.float64) if value is None else value for value in values])
    assert expected.requires_grad
    torch.testing.assert_close(loss.value, expected, rtol=1e-9, atol=1e-9)
    weight = torch.linspace(0.5, 2, len(expected), dtype=torch.float64)
    found, wanted = (
        torch.autograd.grad(x @ weight, inputs, allow_unused=True, materialize_grads=True)
        for x in (loss.value, expected)
    )
    torch.testing.assert_close(found, wanted, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("block", [2**20, 17], ids=["one block", "blocks"])
@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
@pytest.mark.parametrize("mining", ["all", "hard", "semihard", "easy"])
@pytest.mark.parametrize("name", NAMES)
def test_triplet_is_a_loop(name: str, mining: str, distance: str, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rowwise, "BLOCK", block)
    queries, keys, table = setting(name)
    values: list[Tensor | None] = []
    for d, row in zip(distances(queries, keys, distance), table, strict=True):
        picked = triplets(list(d), row, mining)
        values.append(sum((0.4 + p - n).clamp(min=0) for p, n in picked) / len(picked) if picked else None)
    if all(value is None for value in values):
        assert not triplet(queries, keys, margin=0.4, mining=mining, distance=distance).valid.any()
        return
    loss = triplet(queries, keys, margin=0.4, mining=mining, distance=distance)
    assert_same(loss, values, queries.vectors, keys.vectors)


@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
@pytest.mark.parametrize("name", NAMES)
def test_contrastive_margin_is_a_loop(name: str, distance: str) -> None:
    queries, keys, table = setting(name)
    values: list[Tensor | None] = []
    for d, row in zip(distances(queries, keys, distance), table, strict=True):
        pull = [d[j] ** 2 / 2 for j, this in enumerate(row) if this == "positive"]
        push = [(1.1 - d[j]).clamp(min=0) ** 2 / 2 for j, this in enumerate(row) if this == "negative"]
        values.append(sum(pull) / len(pull) + sum(push) / len(push) if pull and push else None)
    loss = contrastive_margin(queries, keys, margin=1.1, distance=distance)
    if any(value is not None for value in values):
        assert_same(loss, values, queries.vectors, keys.vectors)
    else:
        assert not loss.valid.any()


@pytest.mark.parametrize("epsilon", [None, 0.1, -0.3])
@pytest.mark.parametrize("name", NAMES)
def test_multi_similarity_is_a_loop(name: str, epsilon: float | None) -> None:
    queries, keys, table = setting(name)
    values: list[Tensor | None] = []
    for s, row in zip(queries.vectors @ keys.vectors.T, table, strict=True):
        positive = [s[j] for j, this in enumerate(row) if this == "positive"]
        negative = [s[j] for j, this in enumerate(row) if this == "negative"]
        if not positive or not negative:
            values.append(None)
            continue
        if epsilon is not None:
            farthest, nearest = min(positive), max(negative)
            negative = [x for x in negative if x > farthest - epsilon]
            positive = [x for x in positive if x < nearest + epsilon]
        pull = 1 + sum((-2 * (x - 0.4)).exp() for x in positive) + 0 * s.sum()
        push = 1 + sum((30 * (x - 0.4)).exp() for x in negative) + 0 * s.sum()
        values.append(pull.log() / 2 + push.log() / 30)
    loss = multi_similarity(queries, keys, alpha=2.0, beta=30.0, base=0.4, epsilon=epsilon)
    if any(value is not None for value in values):
        assert_same(loss, values, queries.vectors, keys.vectors)
    else:
        assert not loss.valid.any()


# --- a public library -------------------------------------------------------------------------------------------


def peer() -> list[ModuleType]:
    return [pytest.importorskip(f"pytorch_metric_learning.{part}") for part in ("losses", "miners", "reducers")]


def labelled(n: int = 24, classes: int = 4) -> tuple[Tensor, Tensor, Embeddings]:
    """Raw vectors for the peer, which normalises them, and the same rows for us."""
    vectors = torch.randn(n, D, generator=torch.Generator().manual_seed(5), requires_grad=True)
    labels = torch.arange(n) % classes
    return vectors, labels, Embeddings(F.normalize(vectors), Ids(torch.arange(n), labels))


def assert_peer(ours: Tensor, theirs: Tensor, vectors: Tensor) -> None:
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
    gradients = [torch.autograd.grad(side, vectors)[0] for side in (ours, theirs)]
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("margin", [0.05, 0.4])
def test_all_triplets_are_those_of_pytorch_metric_learning(margin: float) -> None:
    losses, _, reducers = peer()
    vectors, labels, rows = labelled()
    theirs = losses.TripletMarginLoss(margin=margin, reducer=reducers.MeanReducer())(vectors, labels)
    assert_peer(triplet(rows, rows, margin=margin, distance="euclidean").mean(), theirs, vectors)


def test_hard_triplets_are_those_of_pytorch_metric_learning() -> None:
    losses, miners, reducers = peer()
    vectors, labels, rows = labelled()
    picked = miners.BatchHardMiner()(vectors, labels)
    theirs = losses.TripletMarginLoss(margin=0.2, reducer=reducers.MeanReducer())(vectors, labels, picked)
    assert_peer(triplet(rows, rows, mining="hard", distance="euclidean").mean(), theirs, vectors)


@pytest.mark.parametrize("mined", [True, False])
def test_multi_similarity_is_that_of_pytorch_metric_learning(mined: bool) -> None:
    losses, miners, _ = peer()
    vectors, labels, rows = labelled()
    picked = miners.MultiSimilarityMiner(0.1)(vectors, labels) if mined else None
    theirs = losses.MultiSimilarityLoss(alpha=2, beta=50, base=0.5)(vectors, labels, picked)
    assert_peer(multi_similarity(rows, rows, epsilon=0.1 if mined else None).mean(), theirs, vectors)


# --- edges ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mining", ["all", "hard", "semihard", "easy"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_equal_vectors_have_a_finite_gradient(mining: str, dtype: torch.dtype) -> None:
    vectors = torch.ones(6, D, dtype=dtype, requires_grad=True)
    rows = Embeddings(vectors, Ids(torch.arange(6), torch.arange(6) % 2))
    loss = triplet(rows, rows, mining=mining, distance="euclidean")
    loss.value.sum().backward()
    assert vectors.grad is not None
    assert vectors.grad.isfinite().all()
    if mining != "semihard":
        torch.testing.assert_close(loss.value.double(), torch.full((6,), 0.2, dtype=torch.float64), atol=2e-3, rtol=0)


def test_a_common_offset_does_not_cost_digits() -> None:
    near = torch.randn(12, D, generator=torch.Generator().manual_seed(2))
    ids = Ids(torch.arange(12), torch.arange(12) % 3)
    here, far = (
        triplet(rows, rows, distance="euclidean").mean()
        for rows in (Embeddings(near, ids), Embeddings(near + 1000, ids))
    )
    torch.testing.assert_close(here, far, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("mining", ["all", "hard", "semihard", "easy"])
def test_a_nan_stays_visible(mining: str) -> None:
    vectors = torch.randn(6, D, generator=torch.Generator().manual_seed(2))
    vectors[2] = torch.nan
    rows = Embeddings(vectors, Ids(torch.arange(6), torch.arange(6) % 2))
    assert triplet(rows, rows, mining=mining).mean().isnan()


def test_extreme_similarities_do_not_overflow() -> None:
    vectors = (100 * torch.randn(8, D, generator=torch.Generator().manual_seed(2))).requires_grad_()
    rows = Embeddings(vectors, Ids(torch.arange(8), torch.arange(8) % 2))
    loss = multi_similarity(rows, rows).mean()
    loss.backward()
    assert loss.isfinite()
    assert vectors.grad is not None
    assert vectors.grad.isfinite().all()


@pytest.mark.parametrize("labels", [[0, 0, 0], [0, 1, 2]], ids=["one class", "all alone"])
def test_nothing_to_tell_apart_is_skipped(labels: list[int]) -> None:
    vectors = torch.eye(3, requires_grad=True)
    rows = Embeddings(vectors, Ids(torch.arange(3), torch.tensor(labels)))
    for loss in (triplet(rows, rows), triplet(rows, rows, mining="hard"), multi_similarity(rows, rows)):
        assert loss.skipped == 3
        (gradient,) = torch.autograd.grad(loss.mean(), vectors)
        assert not gradient.any()


def test_unknown_words_are_named() -> None:
    # the check of types in the tests comes before our own
    with pytest.raises((ValueError, TypeError), match="hardest"):
        triplet(torch.eye(2), torch.eye(2), mining="hardest")
    with pytest.raises((ValueError, TypeError), match="manhattan"):
        triplet(torch.eye(2), torch.eye(2), distance="manhattan")
