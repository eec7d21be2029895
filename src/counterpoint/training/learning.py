"""Which parts of a network learn in a phase."""

from collections.abc import Sequence

import torch
from torch import nn

from counterpoint.objectives.ranks import sum_over_ranks, world


def learn_only(
    method: nn.Module, trains: Sequence[str], learnable: Sequence[nn.Parameter]
) -> list[tuple[str, nn.Parameter]]:
    """Let the named submodules learn ("" is the whole method), freeze all else and put it in eval mode.

    Modules are compared by identity, since one may be registered under two names. Parameters outside `learnable` (a
    momentum copy, a borrowed base) stay frozen. Returns the learning parameters with their names; raises ValueError
    when `trains` names none.

    >>> net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    >>> [name for name, _ in learn_only(net, ("1",), list(net.parameters()))], net[0].training
    (['1.weight', '1.bias'], False)
    """
    learning = {id(module) for name in trains for module in method.get_submodule(name).modules()}
    for module in method.modules():
        module.training = id(module) in learning
    allowed = {id(p) for p in learnable}
    inside = {
        id(p) for m in method.modules() if id(m) in learning for p in m.parameters(recurse=False) if id(p) in allowed
    }
    for parameter in method.parameters():
        parameter.requires_grad_(id(parameter) in inside)
    named = [(name, parameter) for name, parameter in method.named_parameters() if id(parameter) in inside]
    if trains and not named:
        raise ValueError(f"nothing to train below {', '.join(map(repr, trains))}")
    return named


def all_but(network: nn.Module, part: nn.Module, prefix: str = "") -> tuple[str, ...]:
    """Names of submodules that hold everything but `part`, for `Phase.trains`; each begins with `prefix`.

    >>> net = nn.Sequential(nn.Sequential(nn.Linear(2, 2), nn.ReLU()), nn.Linear(2, 1))
    >>> all_but(net, net[0][0], "net.")
    ('net.0.1', 'net.1')
    """
    found: list[str] = []
    for name, child in network.named_children():
        if child is part:
            continue
        inside = any(module is part for module in child.modules())
        found += all_but(child, part, f"{prefix}{name}.") if inside else [prefix + name]
    return tuple(found)


def average_norm_statistics(method: nn.Module) -> None:
    """Make running statistics of normalisation layers the same on all ranks."""
    if world() == 1:
        return
    for module in method.modules():
        for name in ("running_mean", "running_var"):
            statistics = getattr(module, name, None)
            if isinstance(statistics, torch.Tensor):
                statistics.copy_(sum_over_ranks(statistics) / world())
