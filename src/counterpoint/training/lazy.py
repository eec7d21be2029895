"""AdamW for tables of which a step touches few rows: a sparse gradient updates the rows it has and no others."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from counterpoint.objectives.ranks import gather, sum_over_ranks, world


class LazyAdamW(torch.optim.AdamW):
    """AdamW; where a gradient is sparse (`nn.Embedding(sparse=True)`), moments, decay and weights of its rows alone.

    A step then costs what it touches, not the whole table, of which only the two moments are kept besides. Rows that
    are not touched rest, where AdamW would move them on by their momentum and decay. With every row touched in every
    step both are the same. Source: the lazy rule of torch.optim.SparseAdam, with decoupled weight decay (arXiv
    1711.05101).

    >>> table = torch.nn.Embedding(3, 2, sparse=True)
    >>> before = table.weight.detach().clone()
    >>> optimizer = LazyAdamW(table.parameters())
    >>> table(torch.tensor([1])).sum().backward()
    >>> _ = optimizer.step()
    >>> (table.weight != before).any(dim=1).tolist()
    [False, True, False]
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step of all parameters that have a gradient."""
        loss = None if closure is None else torch.enable_grad()(closure)()
        sparse = []
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None and parameter.grad.is_sparse:
                    sparse.append((parameter, parameter.grad))
                    self._touch(parameter, parameter.grad.coalesce(), group)
                    parameter.grad = None  # for the dense step
        super().step()
        for parameter, gradient in sparse:
            parameter.grad = gradient
        return loss

    def _touch(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        """AdamW on the rows of one gradient."""
        state, (first, second) = self.state[parameter], group["betas"]
        if not state:
            state["step"] = torch.zeros((), dtype=torch.float32)
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
        state["step"] += 1
        step, rows, values = float(state["step"]), gradient.indices()[0], gradient.values()
        mean = state["exp_avg"][rows].lerp_(values, 1 - first)
        square = state["exp_avg_sq"][rows].mul_(second).addcmul_(values, values, value=1 - second)
        state["exp_avg"][rows], state["exp_avg_sq"][rows] = mean, square
        size = square.div_(1 - second**step).sqrt_().add_(group["eps"])
        moved = parameter[rows].mul_(1 - group["lr"] * group["weight_decay"])
        parameter[rows] = moved.addcdiv_(mean, size, value=-group["lr"] / (1 - first**step))


def numbers_of(gradient: Tensor) -> Tensor:
    """What a gradient holds: itself, or the numbers of a sparse one, each row once.

    >>> numbers_of(torch.sparse_coo_tensor([[1, 1]], [2.0, 3.0], (4,), check_invariants=False))
    tensor([5.])
    """
    return gradient.coalesce().values() if gradient.is_sparse else gradient


def average_sparse(parameters: Sequence[nn.Parameter]) -> list[nn.Parameter]:
    """Average sparse gradients over ranks, row by row; returns the parameters whose gradients are dense.

    Every rank must call it with the same parameters. Those of which some rank has a sparse gradient and no rank a dense
    one are averaged here; of the others, sparse gradients are made dense.
    """
    kinds = torch.tensor(
        [[p.grad is not None and p.grad.is_sparse is kind for p in parameters] for kind in (True, False)]
    )
    sparse, dense = sum_over_ranks(kinds.to(torch.int64)).tolist()
    rest = []
    for parameter, some, others in zip(parameters, sparse, dense, strict=True):
        if some and not others:
            parameter.grad = _mean_of_rows(parameter)
            continue
        if parameter.grad is not None and parameter.grad.is_sparse:
            parameter.grad = parameter.grad.to_dense()
        rest.append(parameter)
    return rest


def _mean_of_rows(parameter: Tensor) -> Tensor:
    """The mean over ranks of a sparse gradient, with the rows of all of them; no gradient is one without rows."""
    rows, values = parameter.new_zeros(0, dtype=torch.int64), parameter.new_zeros(0, *parameter.shape[1:])
    if parameter.grad is not None:
        held = parameter.grad.coalesce()
        rows, values = held.indices()[0], held.values()
    both = gather(rows)[None], gather(values) / world()
    return torch.sparse_coo_tensor(*both, parameter.shape, check_invariants=False).coalesce()
