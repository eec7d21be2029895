"""Values of a query from its logits with all keys, block by block, against the whole matrix."""

from collections.abc import Iterator
from importlib import import_module

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from counterpoint.objectives import Embeddings, Ids, info_nce
from objectives import oracle

rowwise = import_module("counterpoint.objectives.rowwise")
N, M, D = 10, 8, 5


@pytest.fixture(params=[2**20, 17, 1], ids=["one block", "two rows", "a row"])
def block(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    monkeypatch.setattr(rowwise, "BLOCK", request.param)
    return request.param


def setting(name: str, dtype: torch.dtype = torch.float64) -> tuple[Embeddings, Embeddings, str]:
    generator = torch.Generator().manual_seed(1)
    of_queries, of_keys, itself = oracle.RELATIONS[name](N, M)
    a = F.normalize(torch.randn(N, D, generator=generator, dtype=dtype)).requires_grad_()
    b = F.normalize(torch.randn(M, D, generator=generator, dtype=dtype)).requires_grad_()
    queries = Embeddings(a, of_queries)
    return queries, queries if of_keys is of_queries else Embeddings(b, of_keys), itself


def sums(logits: Tensor, positive: Tensor, negative: Tensor) -> tuple[Tensor, ...]:
    """Something of every kind of pair, that no other treatment of them gives."""
    return (
        (logits.exp() * positive).sum(1),
        (logits.square() * negative).sum(1),
        positive.sum(1) * 100 + negative.sum(1),
    )


@pytest.mark.parametrize("name", oracle.RELATIONS)
def test_values_and_gradients_are_those_of_the_matrix(name: str, block: int) -> None:
    queries, keys, itself = setting(name)
    t = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    found = rowwise.rowwise(queries, keys, sums, temperature=t, itself=itself)
    table = oracle.kinds(queries.ids, keys.ids, itself)
    positive, negative = (
        torch.tensor([[this == kind for this in row] for row in table]) for kind in ("positive", "negative")
    )
    if keys.ids.log_weight is not None:
        negative = negative & (keys.ids.log_weight != -torch.inf)
    expected = sums(queries.vectors @ keys.vectors.T / t, positive, negative)
    assert found[2].tolist() == expected[2].tolist()
    for ours, theirs in zip(found[:2], expected[:2], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
        weight = torch.linspace(0.5, 2, N, dtype=torch.float64)
        inputs = (queries.vectors, keys.vectors, t)
        gradients = [torch.autograd.grad(side @ weight, inputs, retain_graph=True) for side in (ours, theirs)]
        torch.testing.assert_close(*gradients, rtol=1e-11, atol=1e-11)


def test_only_a_block_is_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of several blocks, nothing as large as a block of logits is kept for the backward pass."""
    monkeypatch.setattr(rowwise, "BLOCK", 64 * 8)
    queries = torch.randn(64, 4, requires_grad=True)
    kept: list[int] = []
    seen: list[int] = []

    def watched(logits: Tensor, positive: Tensor, negative: Tensor) -> tuple[Tensor, ...]:
        seen.append(logits.numel())
        return (logits.exp().sum(1),)

    with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x.numel()) or x, lambda x: x):
        (value,) = rowwise.rowwise(queries, queries, watched, temperature=1.0)
    assert max(kept) <= queries.numel()
    assert seen == [64 * 8] * 8
    value.sum().backward()
    assert seen == [64 * 8] * 16, "each block is made again"


def test_nothing_is_made_twice_without_a_gradient(block: int) -> None:
    queries, keys, itself = setting("in batch")
    with torch.no_grad():
        values = rowwise.rowwise(queries, keys, sums, temperature=0.3, itself=itself)
    assert not values[0].requires_grad


@pytest.mark.parametrize(("n", "m"), [(0, 3), (3, 0), (0, 0)])
def test_no_queries_or_no_keys(n: int, m: int) -> None:
    rows = [Embeddings(torch.rand(k, D), Ids(torch.arange(k), torch.arange(k))) for k in (n, m)]
    values = rowwise.rowwise(*rows, sums, temperature=1.0)
    assert [value.tolist() for value in values] == [[0] * n] * 3


def test_half_precision_and_autocast_are_raised() -> None:
    queries = F.normalize(torch.randn(6, D)).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        found = rowwise.rowwise(queries, queries, sums, temperature=0.1)[0]
    expected = ((queries.float() @ queries.float().T / 0.1).exp() * torch.eye(6)).sum(1)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_it_is_info_nce(block: int) -> None:
    queries, keys, _ = setting("in batch")

    def softmax(logits: Tensor, positive: Tensor, negative: Tensor) -> tuple[Tensor, ...]:
        return (logits.logsumexp(1) - (logits * positive).sum(1), positive.any(1))

    value, valid = rowwise.rowwise(queries, keys, softmax, temperature=0.2)
    expected = info_nce(queries, keys, temperature=0.2)
    assert valid.tolist() == expected.valid.tolist()
    torch.testing.assert_close(value[valid], expected.value[valid])
