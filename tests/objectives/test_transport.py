"""Sinkhorn against POT and against its own unrolled iterations; SwAV against loops over its equations."""

from itertools import permutations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import gradcheck

from counterpoint.objectives.transport import Plan, prototype_codes, sinkhorn, sinkhorn_cost, swav


def problem(*shape: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """A cost and the weights of its rows and columns."""
    generator = torch.Generator().manual_seed(seed)
    cost = torch.rand(shape, generator=generator, dtype=torch.float64)
    weights = (torch.randn(*shape[:-2], size, generator=generator, dtype=torch.float64) for size in shape[-2:])
    rows, columns = (weight.softmax(-1).requires_grad_() for weight in (w.detach() for w in weights))
    return cost.requires_grad_(), rows, columns


def solved(cost: Tensor, rows: Tensor | None, columns: Tensor | None, epsilon: float | Tensor) -> Plan:
    return sinkhorn(cost, epsilon=epsilon, weight0=rows, weight1=columns, iterations=100_000, tolerance=1e-14)


def unrolled(cost: Tensor, rows: Tensor, columns: Tensor, epsilon: float | Tensor, steps: int) -> Tensor:
    """The plan by plain iterations that autograd records."""
    kernel = -cost / epsilon
    y = torch.zeros_like(columns)
    for _ in range(steps):
        x = rows.log() - (kernel + y).logsumexp(1)
        y = columns.log() - (kernel + x[:, None]).logsumexp(0)
    return (kernel + x[:, None] + y).exp()


@pytest.mark.parametrize("epsilon", [0.02, 0.2, 5.0])
@pytest.mark.parametrize("shape", [(5, 5), (4, 7), (1, 3)], ids=str)
def test_plan_and_value_are_those_of_pot(shape: tuple[int, int], epsilon: float) -> None:
    ot = pytest.importorskip("ot")
    cost, rows, columns = (value.detach() for value in problem(*shape))
    found = solved(cost, rows, columns, epsilon)
    options = {"method": "sinkhorn_log", "numItermax": 100_000, "stopThr": 1e-14}
    expected = ot.sinkhorn(rows.numpy(), columns.numpy(), cost.numpy(), epsilon, **options)
    torch.testing.assert_close(found.plan, torch.as_tensor(expected), rtol=1e-9, atol=1e-12)
    value = ot.sinkhorn2(rows.numpy(), columns.numpy(), cost.numpy(), epsilon, **options)
    torch.testing.assert_close(found.value, torch.as_tensor(value).reshape(()), rtol=1e-9, atol=1e-12)
    recovered = ((found.potential0[:, None] + found.potential1 - cost) / epsilon).exp()
    torch.testing.assert_close(recovered, found.plan)


@pytest.mark.parametrize("epsilon", [0.05, 1.0])
@pytest.mark.parametrize("shape", [(5, 5), (4, 6)], ids=str)
def test_gradients_are_those_of_the_unrolled_iterations(shape: tuple[int, int], epsilon: float) -> None:
    cost, rows, columns = problem(*shape)
    scale = torch.tensor(epsilon, dtype=torch.float64, requires_grad=True)
    pull = torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = solved(cost, rows, columns, scale)
    expected = unrolled(cost, rows, columns, scale, 3000)
    torch.testing.assert_close(found.plan, expected)
    inputs = (cost, rows, columns, scale)
    ours = torch.autograd.grad((found.plan * pull).sum() + found.value, inputs)
    theirs = torch.autograd.grad((expected * pull).sum() + (expected * cost).sum(), inputs)
    for one, other, name in zip(ours, theirs, ("cost", "rows", "columns", "epsilon"), strict=True):
        if name in ("rows", "columns"):  # the sums stay equal: only differences of these gradients mean anything
            one, other = one - one.mean(), other - other.mean()
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("epsilon", [0.1, 1.0])
def test_gradcheck(epsilon: float) -> None:
    cost, rows, columns = problem(3, 4)

    def plan(cost: Tensor, rows: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
        found = solved(cost, rows.softmax(0), columns.softmax(0), epsilon)
        return found.plan, found.value

    assert gradcheck(plan, (cost, rows, columns))


def test_gradient_where_the_solution_needs_no_iteration() -> None:
    """The rows and columns of a circulant cost are in balance from the start; the gradient's system is not."""
    offset = (torch.arange(5)[:, None] - torch.arange(5)) % 5
    cost = torch.tensor([0.0, 0.3, 0.9, 0.5, 0.2], dtype=torch.float64)[offset].requires_grad_()
    assert solved(cost, None, None, 0.1).iterations <= 2
    assert gradcheck(lambda cost: solved(cost, None, None, 0.1).plan, cost)


def test_nearly_free_of_entropy_it_is_the_assignment() -> None:
    """A cost of thousands of epsilons, in fp32: exp(-cost / epsilon) would be zero everywhere."""
    cost = 1 + torch.rand(5, 5, generator=torch.Generator().manual_seed(3))
    cost.requires_grad_()
    found = sinkhorn(cost, epsilon=5e-4, iterations=20_000)
    best = min(permutations(range(5)), key=lambda order: float(cost.detach()[range(5), order].sum()))
    assert (found.plan.argmax(1) == torch.tensor(best)).all()
    torch.testing.assert_close(found.value, cost.detach()[range(5), best].mean(), rtol=1e-3, atol=0)
    found.value.backward()
    assert cost.grad.isfinite().all()


def test_a_batch_is_its_problems_one_by_one() -> None:
    """Shared cost, weights per problem, and dimensions that broadcast."""
    cost, *_ = problem(4, 6)
    _, rows, columns = problem(3, 4, 6)
    found = solved(cost, rows, columns, 0.1)
    assert found.plan.shape == (3, 4, 6)
    gradient = torch.autograd.grad((found.plan**2).sum() + found.value.sum(), (cost, rows))
    singles = [solved(cost, rows[k], columns[k], 0.1) for k in range(3)]
    torch.testing.assert_close(found.plan, torch.stack([single.plan for single in singles]))
    alone = torch.autograd.grad(sum((s.plan**2).sum() + s.value for s in singles), (cost, rows))
    torch.testing.assert_close(gradient[0], alone[0])
    torch.testing.assert_close(*((g - g.mean(1, keepdim=True)) for g in (gradient[1], alone[1])))
    assert solved(cost, rows[:, None], columns[None], 0.5).value.shape == (3, 3)
    assert solved(cost[None][:0], None, None, 0.5).value.shape == (0,)


def test_weights_of_zero_carry_nothing() -> None:
    cost, rows, columns = (value.detach() for value in problem(5, 6))
    padded = torch.full((7, 8), 0.5, dtype=torch.float64)
    padded[:5, :6] = cost
    padded.requires_grad_()
    zeros = torch.zeros(2, dtype=torch.float64)
    found = solved(padded, torch.cat([rows, zeros]), torch.cat([columns, zeros]), 0.1)
    torch.testing.assert_close(found.plan[:5, :6], solved(cost, rows, columns, 0.1).plan)
    assert not found.plan[5:].any()
    assert not found.plan[:, 6:].any()
    (found.value + (found.plan**2).sum()).backward()
    assert padded.grad.isfinite().all()


@given(n=st.integers(1, 6), m=st.integers(1, 6), seed=st.integers(0, 99), epsilon=st.sampled_from([0.01, 0.1, 3.0]))
def test_marginals(n: int, m: int, seed: int, epsilon: float) -> None:
    """The columns are exact, the rows are as far off as `error` says, wherever it stops."""
    cost, rows, columns = (value.detach() for value in problem(n, m, seed=seed))
    found = sinkhorn(cost, epsilon=epsilon, weight0=rows, weight1=columns, iterations=7, tolerance=1e-9)
    torch.testing.assert_close(found.plan.sum(0), columns)
    torch.testing.assert_close((found.plan.sum(1) - rows).abs().sum(), found.error, rtol=1e-6, atol=1e-12)
    assert found.iterations <= 7
    assert found.error <= 1e-9 or found.iterations == 7


@pytest.mark.parametrize("scale", [0.5, 40.0], ids=["by products", "by logarithms"])
def test_the_cost_is_what_the_plan_minimises(scale: float) -> None:
    """All pairs of weights on one cost, small enough for products with its exponential and too large for that."""
    cost, rows, columns = (value.detach() for value in problem(3, 4, 6))
    cost = scale * cost[0]
    values = sinkhorn_cost(cost, rows[:, None], columns[None], epsilon=0.1, iterations=100_000, tolerance=1e-13)
    assert values.shape == (3, 3)
    for one in range(3):
        for other in range(3):
            found = solved(cost, rows[one], columns[other], 0.1)
            entropy = -torch.special.xlogy(found.plan, found.plan).sum()
            torch.testing.assert_close(values[one, other], found.value - 0.1 * entropy, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("scale", [1.0, 40.0], ids=["by products", "by logarithms"])
def test_gradients_of_the_cost(scale: float) -> None:
    cost, rows, columns = (value.detach().requires_grad_() for value in problem(2, 3, 4))

    def values(cost: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        options = {"epsilon": 0.1, "iterations": 100_000, "tolerance": 1e-14}
        return sinkhorn_cost(scale * cost[0], rows.softmax(1)[:, None], columns.softmax(1)[None], **options)

    assert gradcheck(values, (cost, rows, columns))


def test_a_cost_in_fp32_reaches_its_marginals_where_plain_exponentials_would_not() -> None:
    """Costs of 40 epsilons, and weights of zero, in the precision of training."""
    cost = 2 * torch.rand(20, 30, generator=torch.Generator().manual_seed(0))
    rows = torch.randn(8, 20, generator=torch.Generator().manual_seed(1)).mul(6).softmax(1)
    columns = torch.cat([torch.ones(8, 10) / 10, torch.zeros(8, 20)], dim=1)
    plan = sinkhorn(cost, epsilon=0.05, weight0=rows, weight1=columns, iterations=20_000, tolerance=1e-6).plan
    assert float((plan.sum(-1) - rows).abs().sum(-1).max()) < 5e-6
    torch.testing.assert_close(plan.sum(-2), columns, rtol=1e-5, atol=1e-7)
    moved = sinkhorn_cost(cost.requires_grad_(), rows.requires_grad_(), columns, epsilon=0.05, iterations=200)
    assert moved.isfinite().all()
    assert all(part.isfinite().all() for part in torch.autograd.grad(moved.sum(), (cost, rows)))


def test_with_no_tolerance_a_problem_does_not_depend_on_its_neighbours() -> None:
    cost, rows, columns = (value.detach() for value in problem(5, 4, 6))
    together = sinkhorn_cost(cost[0], rows, columns, epsilon=0.05, iterations=7)
    alone = torch.stack([sinkhorn_cost(cost[0], rows[k], columns[k], epsilon=0.05, iterations=7) for k in range(5)])
    torch.testing.assert_close(together, alone, rtol=1e-12, atol=1e-14)


def test_half_precision_is_raised() -> None:
    cost = torch.rand(4, 4).half()
    found = sinkhorn(cost, epsilon=0.1)
    assert found.plan.dtype == torch.float32
    torch.testing.assert_close(found.plan, sinkhorn(cost.float(), epsilon=0.1).plan)


def test_refusals_of_sinkhorn() -> None:
    cost = torch.rand(2, 2)
    with pytest.raises(ValueError, match="epsilon must be above 0"):
        sinkhorn(cost, epsilon=0.0)
    with pytest.raises(ValueError, match="at least one iteration"):
        sinkhorn(cost, epsilon=0.1, iterations=0)
    with pytest.raises(ValueError, match="negative"):
        sinkhorn(cost, epsilon=0.1, weight0=torch.tensor([-1.0, 2.0]))
    with pytest.raises(ValueError, match="equal sums"):
        sinkhorn(cost, epsilon=0.1, weight0=torch.ones(2))


def naive_codes(scores: Tensor, epsilon: float, iterations: int) -> Tensor:
    """Equations 3 to 5 with plain exponentials, in float64."""
    table = (scores.double() / epsilon).exp()
    for _ in range(iterations):
        table = table / table.sum(0, keepdim=True) / table.shape[1]
        table = table / table.sum(1, keepdim=True) / table.shape[0]
    return table * len(table)


def cosines(n: int, k: int, seed: int = 0) -> Tensor:
    return torch.rand(n, k, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 2 - 1


@pytest.mark.parametrize("iterations", [1, 3, 10])
@pytest.mark.parametrize("shape", [(8, 3), (3, 5), (1, 1)], ids=str)
def test_codes(shape: tuple[int, int], iterations: int) -> None:
    scores = cosines(*shape)
    expected = naive_codes(scores, 0.05, iterations)
    torch.testing.assert_close(prototype_codes(scores, iterations=iterations), expected)


def test_codes_are_the_transport_between_rows_and_prototypes() -> None:
    scores = cosines(6, 4)
    plan = solved(-scores, None, None, 0.3).plan
    torch.testing.assert_close(prototype_codes(scores, epsilon=0.3, iterations=500), plan * 6)


def test_codes_of_large_scores() -> None:
    """exp(50 / 0.05) overflows."""
    scores = cosines(6, 4)
    codes = prototype_codes(50 * scores.float())
    assert codes.isfinite().all()
    torch.testing.assert_close(codes.sum(1), torch.ones(6))
    torch.testing.assert_close(codes, prototype_codes(scores, epsilon=0.001).float(), rtol=1e-3, atol=1e-4)


def test_a_queue_shares_the_prototypes_out() -> None:
    scores, queue = cosines(5, 3), cosines(9, 3, seed=1)
    expected = naive_codes(torch.cat([scores, queue]), 0.05, 3)[:5]
    torch.testing.assert_close(prototype_codes(scores, queue=queue), expected)
    assert prototype_codes(scores[:0], queue=queue).shape == (0, 3)


def naive_swav(views: list[Tensor], givers: list[int], temperature: float, stored: list[Tensor]) -> Tensor:
    losses = []
    for giver, queue in zip(givers, stored, strict=True):
        codes = naive_codes(torch.cat([views[giver], queue]).detach(), 0.05, 3)
        for other, scores in enumerate(views):
            if other != giver:
                share = (scores / temperature).exp() / (scores / temperature).exp().sum(1, keepdim=True)
                losses.append(-(codes[: len(scores)] * share.log()).sum(1).mean())
    return torch.stack(losses).mean()


@pytest.mark.parametrize(("count", "assign"), [(2, None), (4, [0, 1]), (3, None)])
@pytest.mark.parametrize("queued", [False, True])
def test_swav(queued: bool, count: int, assign: list[int] | None) -> None:
    views = [cosines(6, 4, seed).requires_grad_() for seed in range(count)]
    givers = assign or list(range(count))
    stored = [cosines(7 if queued else 0, 4, seed + 9) for seed in givers]
    found = swav(*views, assign=assign, queues=stored if queued else None)
    expected = naive_swav(views, givers, 0.1, stored)
    torch.testing.assert_close(found.mean(), expected)
    gradients = (torch.autograd.grad(loss, views) for loss in (found.mean(), expected))
    torch.testing.assert_close(*gradients)


def test_refusals_of_swav() -> None:
    scores = cosines(4, 3)
    with pytest.raises(ValueError, match="two views"):
        swav(scores)
    with pytest.raises(ValueError, match="equal shape"):
        swav(scores, scores[:2])
    with pytest.raises(ValueError, match="positions among 2 views"):
        swav(scores, scores, assign=[2])
    with pytest.raises(ValueError, match="1 queues for 2 views"):
        swav(scores, scores, queues=[scores])
    with pytest.raises(ValueError, match="temperature"):
        swav(scores, scores, temperature=0.0)
    with pytest.raises(ValueError, match="epsilon must be above 0"):
        prototype_codes(scores, epsilon=0.0)
