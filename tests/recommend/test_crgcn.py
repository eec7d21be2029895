"""CRGCN against dense matrices in float64, and that known and new users are the same to it."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, logsigmoid, normalize

from counterpoint.recommend.counts import Popularity
from counterpoint.recommend.crgcn import CRGCN
from counterpoint.recommend.histories import Histories, histories
from counterpoint.recommend.interactions import Interactions
from counterpoint.recommend.simulate_behaviours import simulated
from counterpoint.training import Clock, Trainer
from recommend.shop import ITEMS, shop

SMALL: dict[str, Any] = {"dim": 6, "batch_size": 8, "epochs": 1, "dropout": 0.0, "l2": 0.0}
CLOCK = Clock(0, "fit", 0, 0, 1)


def made(data: Interactions, **options: Any) -> CRGCN:
    method = CRGCN(**{**SMALL, **options})
    method.prepare(method.measure(data))
    return method.double().eval()


def dense(rows: list[tuple[int, int, int]], n: int, kind: int | None) -> Tensor:
    """1 where a user has an item, by one behaviour or by any."""
    found = torch.zeros(n, ITEMS, dtype=torch.float64)
    for user, item, done in rows:
        if kind in (None, done):
            found[user, item] = 1
    return found


def expected(method: CRGCN, data: Interactions, new: list[list[tuple[int, int]]]) -> tuple[Tensor, Tensor]:
    """Item vectors, and those of new users who join the graph without changing it, by the equations."""
    known = list(zip(data.users.tolist(), data.items.tolist(), data.behaviours.tolist(), strict=True))
    joined = [(user, item, kind) for user, events in enumerate(new) for item, kind in events]
    items = method.table.weight
    users, strangers = (
        (matrix / matrix.sum(1, keepdim=True).clamp(min=1)) @ items
        for matrix in (dense(known, len(data), None), dense(joined, len(new), None))
    )
    for kind in (0, 1):
        a, b = dense(known, len(data), kind), dense(joined, len(new), kind)
        of_items = a.sum(0).clamp(min=1)
        a, b = (one / (one.sum(1, keepdim=True).clamp(min=1) * of_items).sqrt() for one in (a, b))
        u, i, sums = users, items, [0.0, 0.0, 0.0]
        for _ in range(method.options.layers):
            steps = a @ i, a.T @ u, b @ i
            sums = [total + step for total, step in zip(sums, steps, strict=True)]
            u, i = steps[0], steps[1]
        users, items, strangers = (
            one + normalize(step, dim=1) for one, step in zip((users, items, strangers), sums, strict=True)
        )
    return items, strangers


@pytest.mark.parametrize("layers", [1, 3])
def test_vectors_are_the_equations(layers: int) -> None:
    data = shop(15, 3, target="buy")
    method = made(data, layers=layers)
    new = [[(3, 0), (3, 1), (7, 0)], [(1, 1)], [(2, 0), (2, 0)]]
    items, strangers = expected(method, data, new)
    given = Histories.of([[item for item, _ in one] for one in new], [[kind for _, kind in one] for one in new])
    torch.testing.assert_close(method.item_vectors(), items, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(method.vectors(given), strangers, rtol=1e-6, atol=1e-7)
    found, wanted = (
        torch.autograd.grad(part.square().mean() + part[0, 0], method.table.weight)[0]
        for part in (method.vectors(given), expected(method, data, new)[1])
    )
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-7)


def test_a_known_user_is_a_new_one_with_the_same_events() -> None:
    data = shop(15, 4, target="buy")
    method = made(data, max_length=50)
    all_of = histories(data, data.starts[:-1], data.starts[1:])
    known = [
        list(zip(one.items.tolist(), one.behaviours.tolist(), strict=True))
        for one in (data.rows(slice(n, n + 1)) for n in range(len(data)))
    ]
    torch.testing.assert_close(method.vectors(all_of), expected(method, data, known)[1], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("loss", ["softmax", "bpr"])
def test_the_losses(loss: Any) -> None:
    data = shop(15, 5, target="buy")
    method = made(data, loss=loss)
    batch = method.batch(data, torch.arange(9), torch.Generator())
    queries, items = method.vectors(batch.views["history"]), method.item_vectors()
    targets = batch.views["targets"]
    if loss == "softmax":
        wanted = cross_entropy(queries @ items.T, targets)
    else:
        drawn = torch.randint(ITEMS, (ITEMS,), generator=CLOCK.shared_rng("others"))[torch.arange(9)]
        gap = (queries * (items[targets] - items[drawn])).sum(1)[drawn != targets]
        wanted = -logsigmoid(gap).mean()
    torch.testing.assert_close(method.losses(batch, CLOCK)["next"], wanted)
    terms = made(data, loss=loss, l2=0.5).losses(batch, CLOCK)
    torch.testing.assert_close(terms["l2"], 0.5 * method.table.weight.square().sum())


def test_it_learns_what_is_bought() -> None:
    shape: dict[str, Any] = {"events": 20, "items": 40, "topics": 5, "purchases": 0.15, "drift": 0.0}
    train, test = (simulated(users=users, seed=seed, **shape)[0] for users, seed in ((150, 1), (100, 2)))
    method = CRGCN(dim=16, batch_size=64, epochs=4, optim={"lr": 0.01}).fit(train, trainer=Trainer(progress=False))
    popular = Popularity().fit(train)
    assert method.judge(method, test).value("ndcg10") > 1.5 * popular.judge(popular, test).value("ndcg10")
    assert np.isfinite(method.embed(test).numpy()).all()
