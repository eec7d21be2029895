"""Symile against naive loops, and its schemes against each other."""

from importlib import import_module
from itertools import product

import pytest
import torch
import torch.nn.functional as F

from counterpoint.objectives import Embeddings, Ids, clip, multilinear, symile
from objectives.test_infonce import assert_same


def views(count: int, n: int = 5, dtype: torch.dtype = torch.float64) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(count)
    return [F.normalize(torch.randn(n, 4, generator=generator, dtype=dtype)).requires_grad_() for _ in range(count)]


def naive_n_squared(vectors: list[torch.Tensor], scale: torch.Tensor) -> torch.Tensor:
    """Mean over anchors of -log(e^true / sum over all combinations), one product at a time."""
    n = len(vectors[0])
    losses = []
    for anchor in range(len(vectors)):
        values = []
        for i in range(n):
            logits = []
            for others in product(range(n), repeat=len(vectors) - 1):
                places = [*others[:anchor], i, *others[anchor:]]
                logits.append(scale * torch.stack([v[k] for v, k in zip(vectors, places, strict=True)]).prod(0).sum())
            true = scale * torch.stack([v[i] for v in vectors]).prod(0).sum()
            values.append(torch.stack(logits).logsumexp(0) - true)
        losses.append(torch.stack(values))
    return torch.stack(losses).mean(0)


def naive_n(vectors: list[torch.Tensor], scale: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Shuffled others as columns, the diagonal overwritten with the true combination."""
    n = len(vectors[0])
    losses = []
    for anchor, queries in enumerate(vectors):
        columns = torch.ones_like(queries)
        for other, vector in enumerate(vectors):
            if other != anchor:
                columns = columns * vector[torch.randperm(n, generator=generator)]
        true = torch.stack(vectors).prod(0).sum(1)
        logits = torch.where(torch.eye(n, dtype=torch.bool), true[:, None], queries @ columns.T)
        losses.append(F.cross_entropy(scale * logits, torch.arange(n), reduction="none"))
    return torch.stack(losses).mean(0)


def naive_pair(vectors: list[torch.Tensor], scale: torch.Tensor) -> torch.Tensor:
    """The other views kept together, against every candidate of the target."""
    losses = []
    for target, candidates in enumerate(vectors):
        together = torch.stack([v for i, v in enumerate(vectors) if i != target]).prod(0)
        logits = scale * together @ candidates.T
        losses.append(F.cross_entropy(logits, torch.arange(len(logits)), reduction="none"))
    return torch.stack(losses).mean(0)


@pytest.mark.parametrize("count", [3, 4])
@pytest.mark.parametrize("scale", [1.0, 200.0, 5000.0])
@pytest.mark.parametrize("negatives", ["n", "n_squared", "pair"])
def test_is_the_naive_loop(
    negatives: str, scale: float, count: int, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if path != "whole":
        monkeypatch.setattr(import_module("counterpoint.objectives.combinations"), "SLAB", 40)
    vectors = views(count)
    learned = torch.tensor(scale, dtype=torch.float64, requires_grad=True)
    seed = 5
    loss = symile(vectors, scale=learned, negatives=negatives, generator=torch.Generator().manual_seed(seed))
    if negatives == "n":
        expected = naive_n(vectors, learned, torch.Generator().manual_seed(seed))
    else:
        expected = {"n_squared": naive_n_squared, "pair": naive_pair}[negatives](vectors, learned)
    assert loss.valid.all()
    assert_same(loss.value, expected, *vectors, learned)


@pytest.mark.parametrize("negatives", ["n", "n_squared", "pair"])
def test_with_two_views_every_scheme_is_clip(negatives: str) -> None:
    a, b = views(2)
    loss = symile([a, b], scale=10.0, negatives=negatives)
    assert_same(loss.mean()[None], clip(a, b, 0.1).mean()[None], a, b)


@pytest.mark.parametrize("negatives", ["n", "n_squared", "pair"])
def test_single_precision(negatives: str) -> None:
    vectors = views(3, dtype=torch.float32, n=40)
    doubles = [vector.detach().double() for vector in vectors]
    for half in (False, True):
        given = [vector.bfloat16() for vector in vectors] if half else vectors
        doubles = [vector.detach().double() for vector in given]
        found, exact = (
            symile(side, scale=20.0, negatives=negatives, generator=torch.Generator().manual_seed(0)).value
            for side in (given, doubles)
        )
        assert found.dtype == torch.float32
        torch.testing.assert_close(found.double(), exact, rtol=1e-5, atol=1e-5)


def test_pair_reads_the_ids() -> None:
    a, b, c = views(3)
    rows = Ids(torch.arange(5), torch.tensor([0, 1, 2, 3, 3]))
    loss = symile([Embeddings(v, rows) for v in (a, b, c)], scale=4.0, negatives="pair")
    logits = 4 * torch.stack([(b * c) @ a.T, (a * c) @ b.T, (a * b) @ c.T])
    same = rows.positive[:, None] == rows.positive
    expected = logits.logsumexp(2) - torch.where(same, logits, 0).sum(2) / same.sum(1)
    assert_same(loss.value, expected.mean(0), a, b, c)


@pytest.mark.parametrize("negatives", ["n_squared", "pair"])
def test_the_mean_over_single_anchors_is_the_loss(negatives: str) -> None:
    vectors = views(3)
    single = [symile(vectors, scale=4.0, negatives=negatives, anchors=(anchor,)).value for anchor in range(3)]
    some = symile(vectors, scale=4.0, negatives=negatives, anchors=(2, 0)).value
    assert_same(torch.stack(single).mean(0), symile(vectors, scale=4.0, negatives=negatives).value, *vectors)
    assert_same(some, (single[0] + single[2]) / 2, *vectors)


def test_a_single_shuffled_anchor() -> None:
    vectors = views(3)
    found = symile(vectors, scale=4.0, negatives="n", generator=torch.Generator().manual_seed(1), anchors=(0,))
    generator = torch.Generator().manual_seed(1)
    columns = vectors[1][torch.randperm(5, generator=generator)] * vectors[2][torch.randperm(5, generator=generator)]
    true = multilinear(*vectors)
    logits = torch.where(torch.eye(5, dtype=torch.bool), true[:, None], vectors[0] @ columns.T)
    assert_same(found.value, F.cross_entropy(4 * logits, torch.arange(5), reduction="none"), *vectors)


def test_one_row_is_skipped() -> None:
    for negatives in ("n", "n_squared", "pair"):
        loss = symile(views(3, n=1), scale=1.0, negatives=negatives, generator=torch.Generator())
        assert loss.skipped == 1
        assert loss.mean() == 0


def test_gradcheck() -> None:
    vectors = views(3, n=3)
    scale = torch.tensor(3.0, dtype=torch.float64, requires_grad=True)

    def value(scale: torch.Tensor, *vectors: torch.Tensor) -> torch.Tensor:
        return symile(vectors, scale=scale, negatives="n_squared").value

    assert torch.autograd.gradcheck(value, (scale, *vectors))


def test_refused() -> None:
    a, b, c = views(3)
    with pytest.raises(ValueError, match="two views or more"):
        symile([a], scale=1.0, negatives="pair")
    with pytest.raises(ValueError, match="generator"):
        symile([a, b, c], scale=1.0, negatives="n")
    for anchors in ((), (3,), (-1,)):
        with pytest.raises(ValueError, match="anchors are positions"):
            symile([a, b, c], scale=1.0, negatives="pair", anchors=anchors)
    other = Embeddings(b, Ids(torch.arange(1, 6), torch.arange(5)))
    same = Embeddings(a, Ids(torch.arange(5), torch.arange(5)))
    with pytest.raises(ValueError, match="same rows"):
        symile([same, other, same], scale=1.0, negatives="pair")


def test_multilinear_broadcasts() -> None:
    a, b, c = views(3)
    torch.testing.assert_close(multilinear(a[:, None], b[None], c[None]), torch.einsum("id,jd,jd->ij", a, b, c))
