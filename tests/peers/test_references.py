"""The stand-ins that a peer's own test files are given, against the published formulas written as loops.

Not every peer ships its tests, so these hold by default what `make conformance` holds where a peer does.
"""

import math
from collections.abc import Callable

import pytest
import torch
from adapters import lightly, metric_learning, open_clip
from torch import Tensor
from torch.nn.functional import cosine_similarity

CLASSES = torch.tensor([0, 0, 0, 1, 1, 2])


def need(make: Callable[[], object]) -> None:
    try:
        make()
    except ImportError as absent:
        pytest.skip(str(absent))


def points(n: int = 6, seed: int = 0) -> Tensor:
    return torch.randn(n, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).requires_grad_()


def logits(a: Tensor, b: Tensor, temperature: float) -> list[list[Tensor]]:
    return [[cosine_similarity(x, y, dim=0) / temperature for y in b] for x in a]


def same(found: Tensor, expected: Tensor, *inputs: Tensor) -> None:
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(torch.autograd.grad(found, inputs), torch.autograd.grad(expected, inputs))


@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_nt_xent_of_two_views_is_algorithm_1_of_simclr(temperature: float) -> None:
    need(lightly.nt_xent_loss)
    a, b = points(seed=1), points(seed=2)
    both = torch.cat([a, b])
    s = logits(both, both, temperature)
    total = torch.zeros(())
    for i in range(12):
        partner = (i + 6) % 12
        total = total - torch.log(s[i][partner].exp() / sum(s[i][k].exp() for k in range(12) if k != i))
    same(lightly.nt_xent_loss()(temperature)(a, b), total / 12, a, b)


def test_nt_xent_of_classes_takes_each_positive_against_the_negatives() -> None:
    pytest.importorskip("pytorch_metric_learning")
    x = points()
    s, terms = logits(x, x, 0.1), []
    for i, j in positives():
        negatives = sum(s[i][k].exp() for k in range(6) if CLASSES[k] != CLASSES[i])
        terms.append(-torch.log(s[i][j].exp() / (s[i][j].exp() + negatives)))
    same(metric_learning.nt_xent_loss()(0.1)(x, CLASSES), torch.stack(terms).mean(), x)


@pytest.mark.parametrize("own", [True, False])
def test_sup_con_is_equation_2(own: bool) -> None:
    pytest.importorskip("pytorch_metric_learning")
    x = points()
    keys, classes = (x, CLASSES) if own else (points(4, seed=5), torch.tensor([2, 1, 0, 3]))
    s, terms = logits(x, keys, 0.1), []
    for i in range(6):
        compared = [k for k in range(len(keys)) if not (own and k == i)]
        wanted = [k for k in compared if classes[k] == CLASSES[i]]
        if wanted:
            mass = torch.log(sum(s[i][k].exp() for k in compared))
            terms.append(sum(mass - s[i][k] for k in wanted) / len(wanted))
    loss = metric_learning.sup_con_loss()(0.1)
    found = loss(x, CLASSES) if own else loss(x, CLASSES, ref_emb=keys, ref_labels=classes)
    same(found, torch.stack(terms).mean(), x)


@pytest.mark.parametrize("angles", [1, 3])
@pytest.mark.parametrize("make", [metric_learning.nt_xent_loss, metric_learning.sup_con_loss])
def test_without_positives_or_negatives_the_loss_is_zero_and_has_a_gradient(make: object, angles: int) -> None:
    pytest.importorskip("pytorch_metric_learning")
    for classes in (torch.zeros(angles, dtype=torch.int64), torch.arange(angles)):
        x = points(angles)
        loss = make()(0.1)(x, classes)  # type: ignore[operator]
        loss.backward()
        assert loss == 0
        assert not x.grad.any()


@pytest.mark.parametrize(("weights", "epsilon"), [((25, 25, 1), 1e-4), ((10, 10, 2), 1e-5), ((5, 5, 5), 1e-6)])
def test_vicreg_is_its_code_written_out(weights: tuple[float, float, float], epsilon: float) -> None:
    pytest.importorskip("pytorch_metric_learning")
    a, b = points(seed=1), points(seed=2)
    n, d = a.shape
    terms = [((a - b) ** 2).sum() / (n * d), torch.zeros(()), torch.zeros(())]
    for view in (a, b):
        centred = view - view.mean(0)
        for i in range(d):
            deviation = torch.sqrt((centred[:, i] ** 2).sum() / (n - 1) + epsilon)
            terms[1] = terms[1] + torch.relu(1 - deviation) / (2 * d)
            for j in set(range(d)) - {i}:
                terms[2] = terms[2] + ((centred[:, i] * centred[:, j]).sum() / (n - 1)) ** 2 / d
    expected = sum(weight * term for weight, term in zip(weights, terms, strict=True))
    same(metric_learning.vicreg_loss()(*weights, eps=epsilon)(a, ref_emb=b), expected, a, b)


@pytest.mark.parametrize("rows", [(6, 6), (6, 3), (3, 6)])
@pytest.mark.parametrize("negative_only", [False, True])
def test_a_block_of_siglip_is_a_sum_over_pairs(rows: tuple[int, int], negative_only: bool) -> None:
    need(open_clip.siglip_loss)
    image, text = points(rows[0], seed=1), points(rows[1], seed=2)
    scale, bias = (torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in (10.0, -10.0))
    expected = torch.zeros(())
    for i in range(rows[0]):
        for j in range(rows[1]):
            sign = 1 if i == j and not negative_only else -1
            expected = expected - torch.nn.functional.logsigmoid(sign * (scale * image[i] @ text[j] + bias)) / rows[0]
    loss = open_clip.siglip_loss()(chunk_size=2)
    same(loss._loss(image, text, scale, bias, negative_only=negative_only), expected, image, text, scale, bias)


def positives() -> list[tuple[int, int]]:
    return [(i, j) for i in range(6) for j in range(6) if i != j and CLASSES[i] == CLASSES[j]]


def negatives() -> list[tuple[int, int]]:
    return [(i, j) for i in range(6) for j in range(6) if CLASSES[i] != CLASSES[j]]


def pairs(first: Tensor, second: Tensor) -> set[tuple[int, int]]:
    return set(zip(first.tolist(), second.tolist(), strict=True))


@pytest.mark.parametrize("distance", ["CosineSimilarity", "LpDistance"])
def test_multi_similarity_mines_the_pairs_of_its_definition(distance: str) -> None:
    distances = pytest.importorskip("pytorch_metric_learning.distances")
    measure, x = getattr(distances, distance)(), points().detach() / 2 + torch.nn.functional.one_hot(CLASSES, 4)
    near = measure(x) if measure.is_inverted else -measure(x)
    mined = metric_learning.multi_similarity_miner()(0.1, distance=measure)(x, CLASSES)
    nearest = {i: max((near[i, j] for a, j in negatives() if a == i), default=-math.inf) for i in range(6)}
    farthest = {i: min((near[i, j] for a, j in positives() if a == i), default=math.inf) for i in range(6)}
    assert pairs(*mined[:2]) == {(i, j) for i, j in positives() if near[i, j] < nearest[i] + 0.1}
    assert pairs(*mined[2:]) == {(i, j) for i, j in negatives() if near[i, j] > farthest[i] - 0.1}
    assert 0 < len(mined[0]) < len(positives())


@pytest.mark.parametrize("distance", ["CosineSimilarity", "LpDistance"])
def test_batch_hard_mines_the_farthest_positive_and_the_nearest_negative(distance: str) -> None:
    distances = pytest.importorskip("pytorch_metric_learning.distances")
    measure, x = getattr(distances, distance)(), points().detach()
    near = measure(x) if measure.is_inverted else -measure(x)
    miner = metric_learning.batch_hard_miner()(distance=measure)
    a, p, n = miner(x, CLASSES)
    assert a.tolist() == [0, 1, 2, 3, 4]
    for i, far, close in zip(a.tolist(), p.tolist(), n.tolist(), strict=True):
        assert near[i, far] == min(near[i, j] for b, j in positives() if b == i)
        assert near[i, close] == max(near[i, j] for b, j in negatives() if b == i)
    assert not any(len(part) for part in miner(x, torch.arange(6)))
    assert miner.hardest_triplet == 0
