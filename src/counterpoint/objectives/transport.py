"""Entropic optimal transport, and the prototype codes of SwAV, which are one of its plans.

Sinkhorn's iterations run in the log domain, so no cost is too large for its `epsilon`; where a cost is so small that
exponentials of it cannot leave the range of the numbers, the same steps are matrix products. They keep nothing for
the backward pass, which solves the linear system of the plan's marginals by the same alternation; the value that the
plan minimises needs not even that.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from counterpoint.objectives.engine import Temperature
from counterpoint.objectives.ranks import gather, world
from counterpoint.objectives.relation import RowLoss
from counterpoint.objectives.streamed import log_sum

SPAN, SPAN_64 = 41.0, 300.0
"""How far the entries of a kernel may lie apart, in fp32 and fp64, where exponentials take the place of logarithms:
less than half of what the exponents hold, so that a factor and what it is multiplied with both fit."""


@dataclass(frozen=True)
class Plan:
    """How much of each row goes to each column, and what it costs; see `sinkhorn`."""

    plan: Float[Tensor, "*batch n m"]
    value: Float[Tensor, "*batch"]
    """The cost of the transport, the sum of `plan * cost`, without the entropy."""
    potential0: Float[Tensor, "*batch n"]
    potential1: Float[Tensor, "*batch m"]
    """`plan = exp((potential0 + potential1 - cost) / epsilon)`; without gradient."""
    error: Float[Tensor, "*batch"]
    """How much weight, in sum, the rows of the plan are off; the columns are exact."""
    iterations: int


def sinkhorn(
    cost: Float[Tensor, "*#batch n m"],
    *,
    epsilon: Temperature,
    weight0: Float[Tensor, "*#batch n"] | None = None,
    weight1: Float[Tensor, "*#batch m"] | None = None,
    iterations: int = 1000,
    tolerance: float = 1e-6,
) -> Plan:
    """The entropic transport plan between weights of rows and of columns, in the log domain.

    It minimises `sum(plan * cost) - epsilon * entropy(plan)`. Weights are uniform by default, may hold zeros,
    and must have equal sums; dimensions before the last broadcast, a batch of problems is solved at once. It
    stops once every `Plan.error` is at most `tolerance`, or after `iterations`: look at the error. Plan and
    value are differentiable in cost, epsilon and weights, once, as at the solution: memory O(n m), whatever
    the number of iterations; a gradient of weights is meant for changes that keep the sums equal.

    Raises ValueError for an epsilon not above 0, no iteration, negative weights, or sums that differ by more
    than 1e-3 of their size. Source: arXiv 1306.0895, algorithm 1; in the log domain arXiv 1803.00567, section 4.4.

    >>> found = sinkhorn(torch.tensor([[0.0, 1.0], [1.0, 0.0]]), epsilon=0.05)
    >>> found.plan
    tensor([[5.0000e-01, 1.0306e-09],
            [1.0306e-09, 5.0000e-01]])
    """
    size = epsilon.detach() if isinstance(epsilon, Tensor) else epsilon
    _check_iterations(size, iterations)
    cost = _full(cost)
    *_, n, m = cost.shape
    of_rows = cost.new_full((n,), 1 / max(n, 1)) if weight0 is None else weight0.to(cost)
    of_columns = cost.new_full((m,), 1 / max(m, 1)) if weight1 is None else weight1.to(cost)
    _check_weights(of_rows, of_columns)
    batch = torch.broadcast_shapes(cost.shape[:-2], of_rows.shape[:-1], of_columns.shape[:-1])
    kernel = cost / -epsilon
    of_rows, of_columns = of_rows.expand(*batch, n), of_columns.expand(*batch, m)
    x, y, error, steps, plan = _solve(kernel.detach(), of_rows.detach(), of_columns.detach(), iterations, tolerance)
    kernel = kernel.expand(*batch, n, m)
    made = (kernel.detach() + x[..., None] + y[..., None, :]).exp_() if plan is None else plan()
    found: Tensor = _Plan.apply(kernel, of_rows, of_columns, made, iterations, tolerance)  # type: ignore[no-untyped-call]
    value = torch.linalg.vecdot(found.flatten(-2), cost.flatten(-2))
    return Plan(found, value, x * size, y * size, error, steps)


def sinkhorn_cost(
    cost: Float[Tensor, "n m"],
    weight0: Float[Tensor, "*#batch n"],
    weight1: Float[Tensor, "*#batch m"],
    *,
    epsilon: float,
    iterations: int = 100,
    tolerance: float = 0.0,
) -> Float[Tensor, "*batch"]:
    """What the entropic plan minimises, `sum(plan * cost) - epsilon * entropy(plan)`, for many weights on one cost.

    The weights broadcast: (b, 1, n) with (b, m) gives all pairs of their rows. Its gradients (the potentials for the
    weights, the plan for the cost) need no plan per problem and no solve of their own, so memory is O(problems (n + m))
    and all problems share one matrix product per half-step. With a tolerance of 0 every problem takes all
    `iterations`, whatever stands beside it. Raises ValueError as `sinkhorn` does.
    Source: arXiv 1306.0895; the gradients by the envelope theorem (arXiv 1803.00567, proposition 4.6).

    >>> sinkhorn_cost(torch.tensor([[0.0, 1.0], [1.0, 0.0]]), torch.tensor([[1.0, 0.0]]), torch.eye(2), epsilon=0.05)
    tensor([0., 1.])
    """
    _check_iterations(epsilon, iterations)
    cost = _full(cost)
    weight0, weight1 = weight0.to(cost), weight1.to(cost)
    _check_weights(weight0, weight1)
    values: Tensor = _Cost.apply(cost, weight0, weight1, epsilon, iterations, tolerance)  # type: ignore[no-untyped-call]
    return values


@torch.no_grad()
def prototype_codes(
    scores: Float[Tensor, "n k"],
    *,
    epsilon: float = 0.05,
    iterations: int = 3,
    queue: Float[Tensor, "q k"] | None = None,
) -> Float[Tensor, "n k"]:
    """Soft assignments of rows to k prototypes that use all prototypes equally, over the rows of all ranks.

    Each row sums to one; that each prototype gets an equal share is approached by a few Sinkhorn iterations.
    `scores` are usually cosines; `queue` holds those of stored rows, the same on every rank, that only help
    to share the prototypes out. No gradient. Raises ValueError for an epsilon not above 0 or no iteration.
    Source: SwAV, arXiv 2006.09882, equations 3 to 5.

    >>> prototype_codes(torch.tensor([[1.0, 0.9], [1.0, 0.0]])).round()
    tensor([[0., 1.],
            [1., 0.]])
    """
    _check_iterations(epsilon, iterations)
    n = len(scores)
    logits = _full(scores if queue is None else torch.cat([scores, queue])) / epsilon
    for _ in range(iterations):
        used = gather(log_sum(logits[:n], 0)[None], [1] * world())
        logits = (logits - log_sum(torch.cat([used, logits[n:]]), 0)).log_softmax(1)
    return logits[:n].exp()


def swav(
    *scores: Float[Tensor, "_ k"],
    temperature: Temperature = 0.1,
    epsilon: float = 0.05,
    iterations: int = 3,
    assign: Sequence[int] | None = None,
    queues: Sequence[Float[Tensor, "q k"]] | None = None,
) -> RowLoss:
    """SwAV: the codes of one view predicted from the scores of every other view, the mean over such pairs.

    `scores` are the products of a view's vectors with the prototypes, for two views or more of the same rows.
    `assign` are the positions of the views that give codes, all by default (the large crops of multi-crop);
    `queues` hold, for each of them, scores of stored rows: see `prototype_codes`. Raises ValueError for fewer
    than two views, views of different shape, a position that is no view, another number of queues, or a
    temperature not above 0.
    Source: arXiv 2006.09882, equations 1 and 2.

    >>> swav(torch.eye(3), torch.eye(3)).value
    tensor([9.0875e-05, 9.0875e-05, 9.0875e-05])
    """
    if len(scores) < 2 or len({view.shape for view in scores}) > 1:
        raise ValueError(f"swav needs two views or more of equal shape, not {[tuple(view.shape) for view in scores]}")
    givers = range(len(scores)) if assign is None else sorted(set(assign))
    if not givers or not set(givers) <= set(range(len(scores))):
        raise ValueError(f"assign holds positions among {len(scores)} views, not {assign}")
    if queues is not None and len(queues) != len(givers):
        raise ValueError(f"{len(queues)} queues for {len(givers)} views that give codes")
    if not isinstance(temperature, Tensor) and not temperature > 0:
        raise ValueError(f"a temperature is above 0, not {temperature}")
    logs = [(_full(view) / temperature).log_softmax(1) for view in scores]
    losses = []
    for place, giver in enumerate(givers):
        stored = None if queues is None else queues[place]
        codes = prototype_codes(scores[giver], epsilon=epsilon, iterations=iterations, queue=stored)
        losses += [-(codes * log).sum(1) for view, log in enumerate(logs) if view != giver]
    value = torch.stack(losses).mean(0)
    return RowLoss(value, torch.ones_like(value, dtype=torch.bool))


@torch.no_grad()
def _solve(
    kernel: Tensor, of_rows: Tensor, of_columns: Tensor, iterations: int, tolerance: float
) -> tuple[Tensor, Tensor, Tensor, int, Callable[[], Tensor] | None]:
    """(x, y, error, iterations) such that exp(kernel + x + y) has the wanted marginals, the columns' exactly.

    Last what makes this plan of factors at hand, if they are.
    """
    top = _top(kernel)
    if top is not None:
        table = (kernel - top).exp_()
        u, v, error, step = _by_products(table, of_rows, of_columns, iterations, tolerance)
        x, y = u.log(), v.log().sub_(top)
        if not bool(u.isinf().any() | v.isinf().any()):
            return x, y, error, step, lambda: (table * u[..., None]).mul_(v[..., None, :])
    log_rows, log_columns = of_rows.log(), of_columns.log()
    fresh = log_rows - kernel.logsumexp(-1)
    step, done = 0, False
    while not done:
        step, x = step + 1, fresh
        y = log_columns - (kernel + x[..., None]).logsumexp(-2)
        fresh = log_rows - (kernel + y[..., None, :]).logsumexp(-1)
        off = torch.where(of_rows > 0, of_rows * (x - fresh).expm1(), 0)
        error = off.abs().sum(-1)
        done = step >= iterations or bool((error <= tolerance).all())
    return x, y, error, step, None


def _by_products(
    table: Tensor, of_rows: Tensor, of_columns: Tensor, iterations: int, tolerance: float
) -> tuple[Tensor, Tensor, Tensor, int]:
    """The same alternation on exp(x) and exp(y), each half-step a product with exp(kernel), shared by all problems.

    Only for kernels whose entries are near enough to each other that no factor can leave the range of the dtype.
    """

    def product(table: Tensor, factor: Tensor) -> Tensor:
        if table.ndim == 2:
            found = table.mv(factor) if factor.ndim == 1 else factor @ table.mT
        else:
            found = (table @ factor[..., None])[..., 0]
        return found.clamp_(min=torch.finfo(found.dtype).tiny)

    fresh = of_rows / product(table, torch.ones_like(of_columns))
    step, done = 0, False
    while not done:
        step, u = step + 1, fresh
        v = of_columns / product(table.mT, u)
        seen = product(table, v)
        fresh, done = of_rows / seen, step >= iterations
        # Looked at in every other step, as it costs half of one where problems are small.
        if done or (tolerance > 0 and (step == 1 or step % 2 == 0)):
            error = (u * seen).sub_(of_rows).abs_().sum(-1)
            done = done or bool((error <= tolerance).all())
    return u, v, error, step


def _top(kernel: Tensor) -> Tensor | None:
    """The largest entry, where the others are not too far below it to be told from zero."""
    if not kernel.numel():
        return None
    least, top = torch.aminmax(kernel)
    return top if bool(top - least <= (SPAN if kernel.dtype == torch.float32 else SPAN_64)) else None


def _plans(kernel: Tensor, x: Tensor, y: Tensor, weight: Tensor) -> Tensor:
    """The weighted sum of the plans exp(kernel + x + y) of many problems on one kernel."""
    top = _top(kernel)
    if top is None:
        plans = (kernel + x[..., None] + y[..., None, :]).exp()
        return (weight[..., None, None] * plans).flatten(0, -3).sum(0)
    # A constant moved from x to y leaves every plan as it is, and makes both factors finite.
    shift = x.amax(-1, keepdim=True).clamp(min=torch.finfo(x.dtype).min)
    left = (weight[..., None] * (x - shift).exp()).flatten(0, -2)
    right = (y + shift + top).exp().flatten(0, -2)
    return (left.T @ right) * (kernel - top).exp()


class _Cost(torch.autograd.Function):
    """The dual value at the solution; backward, what moves it: potentials and the sum of plans."""

    @staticmethod
    def forward(
        ctx: Any, cost: Tensor, of_rows: Tensor, of_columns: Tensor, epsilon: float, iterations: int, tolerance: float
    ) -> Tensor:
        kernel = cost / -epsilon
        batch = torch.broadcast_shapes(of_rows.shape[:-1], of_columns.shape[:-1])
        rows, columns = of_rows.expand(*batch, -1), of_columns.expand(*batch, -1)
        x, y, *_ = _solve(kernel, rows, columns, iterations, tolerance)
        f, g = (torch.where(part > 0, epsilon * logs, 0) for part, logs in ((rows, x), (columns, y)))
        ctx.save_for_backward(kernel, of_rows, of_columns, f, g, x, y)
        return (f * rows).sum(-1) + (g * columns).sum(-1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        kernel, of_rows, of_columns, f, g, x, y = ctx.saved_tensors
        d_cost = None
        if ctx.needs_input_grad[0]:
            d_cost = _plans(kernel, x, y, gradient)
        pulled = gradient[..., None]
        return d_cost, _as(pulled * f, of_rows), _as(pulled * g, of_columns), None, None, None


def _as(gradient: Tensor, like: Tensor) -> Tensor:
    """Summed over the dimensions in which the other was broadcast."""
    return gradient.sum_to_size(like.shape)


class _Plan(torch.autograd.Function):
    """A plan that is made: exp(kernel + x + y), where x and y are what the kernel and the marginals make them."""

    @staticmethod
    def forward(
        ctx: Any,
        kernel: Tensor,
        of_rows: Tensor,
        of_columns: Tensor,
        made: Tensor,
        iterations: int,
        tolerance: float,
    ) -> Tensor:
        plan = made.view_as(made)
        ctx.save_for_backward(plan)
        ctx.iterations, ctx.tolerance = iterations, tolerance
        return plan

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """With D = plan * gradient: `plan` row sums * u + plan v = D 1 and plan' u + column sums * v = D' 1."""
        (plan,) = ctx.saved_tensors
        pull = plan * gradient
        inverse0, inverse1 = (_inverse(plan.sum(side)) for side in (-1, -2))
        u, v = pull.sum(-1) * inverse0, torch.zeros_like(inverse1)
        for _ in range(ctx.iterations):
            before = v
            v = (pull.sum(-2) - (plan * u[..., None]).sum(-2)) * inverse1
            u = (pull.sum(-1) - (plan * v[..., None, :]).sum(-1)) * inverse0
            size = u.abs().amax(-1) + v.abs().amax(-1)
            if bool(((v - before).abs().amax(-1) <= ctx.tolerance * size).all()):
                break
        return pull - plan * (u[..., None] + v[..., None, :]), u, v, None, None, None


def _inverse(sums: Tensor) -> Tensor:
    return torch.where(sums > 0, 1 / sums, 0)


def _check_iterations(epsilon: float | Tensor, iterations: int) -> None:
    if not epsilon > 0:
        raise ValueError(f"epsilon must be above 0, not {float(epsilon)}")
    if iterations < 1:
        raise ValueError(f"there must be at least one iteration, not {iterations}")


def _check_weights(of_rows: Tensor, of_columns: Tensor) -> None:
    if bool((of_rows < 0).any()) or bool((of_columns < 0).any()):
        raise ValueError("weights must not be negative")
    left, right = of_rows.detach().sum(-1), of_columns.detach().sum(-1)
    if bool(((left - right).abs() > 1e-3 * left).any()):
        raise ValueError("the weights of rows and of columns must have equal sums")


def _full(values: Tensor) -> Tensor:
    return values.to(torch.promote_types(values.dtype, torch.float32))
