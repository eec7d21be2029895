"""Softmax over a table, towards a teacher, and on scores made elsewhere."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from counterpoint.objectives import (
    Embeddings,
    Ids,
    Relation,
    dense_nce,
    info_nce,
    soft_nce,
    softmax,
    softmax_over,
)
from objectives import oracle
from objectives.test_infonce import assert_same, setting, views


@given(
    n=st.integers(1, 12),
    v=st.integers(1, 9),
    temperature=st.sampled_from([1.0, 0.05, 0.005]),
    block=st.integers(1, 5),
)
def test_softmax_over_is_cross_entropy(n: int, v: int, temperature: float, block: int) -> None:
    generator = torch.Generator().manual_seed(n)
    queries = torch.randn(n, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    table = torch.randn(v, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    t = torch.tensor(temperature, dtype=torch.float64, requires_grad=True)
    target = torch.randint(-1, v, (n,), generator=generator)
    expected = F.cross_entropy(queries @ table.T / t, target, ignore_index=-1, reduction="none")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(softmax, "_row_blocks", lambda rows, table: softmax.blocks(len(rows), block))
        loss = softmax_over(queries, table, target, temperature=t)
        assert loss.valid.tolist() == (target >= 0).tolist()
        assert_same(loss.value, expected, queries, table, t)
        # equal weights, as in a mean, take the gradients made in forward
        ours = torch.autograd.grad(loss.mean(), (queries, table, t))
        mean = expected.sum() / (target >= 0).sum().clamp(min=1)
        for found, wanted in zip(ours, torch.autograd.grad(mean, (queries, table, t)), strict=True):
            torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-9 / temperature**2)


def test_softmax_over_makes_no_gradient_it_does_not_need() -> None:
    queries, table = (view.detach() for view in views())
    assert not softmax_over(queries, table, torch.arange(6)).value.requires_grad
    with torch.no_grad():
        softmax_over(queries.requires_grad_(), table, torch.arange(6))
    frozen = softmax_over(queries, table, torch.arange(6), temperature=0.1).mean()
    expected = F.cross_entropy(queries @ table.T / 0.1, torch.arange(6))
    torch.testing.assert_close(torch.autograd.grad(frozen, queries), torch.autograd.grad(expected, queries))


def test_a_target_is_in_the_table() -> None:
    with pytest.raises(ValueError, match="target 6"):
        softmax_over(torch.rand(1, 2), torch.rand(6, 2), torch.tensor([6]))


@pytest.mark.parametrize("name", ["in batch", "within", "exclude columns", "duplicates"])
@pytest.mark.parametrize("temperature", [0.5, 0.005])
def test_soft_nce_is_cross_entropy_to_the_teacher(name: str, temperature: float, path: str) -> None:
    queries, keys, _ = setting(name)
    teacher_queries, teacher_keys = (Embeddings(torch.rand_like(side.vectors), side.ids) for side in (queries, keys))
    table = oracle.kinds(queries.ids, keys.ids, "positive")
    dropped = torch.tensor([[this is None for this in row] for row in table])
    valid = torch.tensor(["negative" in row for row in table])
    teacher = (teacher_queries.vectors @ teacher_keys.vectors.T / 0.1).masked_fill(dropped, -torch.inf).softmax(1)
    logits = (queries.vectors @ keys.vectors.T / temperature).masked_fill(dropped, -1e9)
    expected = torch.where(valid, -(teacher.nan_to_num(0.0) * logits.log_softmax(1)).sum(1), 0)
    loss = soft_nce(
        queries,
        keys,
        teacher_queries,
        teacher_keys,
        temperature=temperature,
        teacher_temperature=0.1,
    )
    assert loss.valid.tolist() == valid.tolist()
    assert_same(loss.value, expected, queries.vectors, keys.vectors)


def test_a_sharp_teacher_is_a_label() -> None:
    a, b = views()
    loss = soft_nce(a, b, torch.eye(6), torch.eye(6), temperature=0.1, teacher_temperature=0.001)
    assert_same(loss.value, info_nce(a, b, temperature=0.1).value, a, b)


@pytest.mark.parametrize("name", oracle.RELATIONS)
def test_dense_nce_is_info_nce(name: str) -> None:
    queries, keys, itself = setting(name)
    scores = queries.vectors @ keys.vectors.T / 0.1
    dense = dense_nce(scores, Relation(queries.ids, keys.ids, itself))
    streamed = info_nce(queries, keys, temperature=0.1, itself=itself)
    assert dense.valid.tolist() == streamed.valid.tolist()
    assert_same(dense.value, streamed.value, queries.vectors, keys.vectors)


def test_dense_scores_have_the_shape_of_the_relation() -> None:
    ids = Ids(torch.arange(3), torch.arange(3))
    with pytest.raises(ValueError, match="relation"):
        dense_nce(torch.rand(3, 4), Relation(ids, ids))
