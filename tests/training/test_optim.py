"""Schedules against their formulas, groups by module name, schedule-free weights bit for bit."""

import copy
import math

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from schedulefree import AdamWScheduleFree
from torch import nn

from counterpoint.errors import UserError
from counterpoint.options import check
from counterpoint.training import Optim
from counterpoint.training.optim import Group, evaluation_weights
from counterpoint.training.tree import load_tree, save_tree


@given(st.integers(0, 100), st.integers(1, 100), st.integers(0, 20))
def test_schedules(step: int, steps: int, warmup: int) -> None:
    assume(warmup < steps)
    constant, linear, cosine = (
        Optim(warmup=warmup, schedule=kind).factor(step, steps) for kind in ("constant", "linear", "cosine")
    )
    if step < warmup:
        assert constant == linear == cosine == (step + 1) / warmup
        return
    left = 0.0 if step >= steps else (steps - step) / (steps - warmup)
    assert constant == 1
    assert linear == pytest.approx(left, abs=1e-12)
    assert cosine == pytest.approx((1 - math.cos(math.pi * left)) / 2, abs=1e-12)


@pytest.mark.parametrize(
    ("wrong", "line"),
    [
        ({"lr": 0}, r'option lr: "0" is not a number > 0'),
        ({"betas": (1.5, 0.9)}, "betas must be at least 0 and below 1"),
        ({"name": "schedule_free", "schedule": "cosine"}, "use schedule=constant"),
        ({"name": "schedule_free", "betas": (0.0, 0.9)}, "first of betas; it must be above 0"),
        ({"groups": {"gate": {"lr": 1}}}, r'unknown option "groups\.gate\.lr"'),
    ],
)
def test_options_that_do_not_fit(wrong: dict, line: str) -> None:
    with pytest.raises(UserError, match=line):
        check(wrong, Optim)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.towers = nn.ModuleDict({"gate": nn.Linear(2, 2), "gated": nn.Linear(2, 2)})
        self.gate = nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2))
        self.scale = nn.Parameter(torch.tensor(1.0))


def settings(net: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, tuple[float, float]]:
    names = {id(parameter): name for name, parameter in net.named_parameters()}
    return {
        names[id(parameter)]: (group["lr"], group["weight_decay"])
        for group in optimizer.param_groups
        for parameter in group["params"]
    }


@pytest.mark.parametrize("name", ["adamw", "sgd", "schedule_free"])
def test_groups_go_by_module_name_and_decay_spares_vectors(name: str) -> None:
    groups = {"gate": Group(lr_scale=10.0, weight_decay=0.5), "towers": Group(lr_scale=0.1)}
    net = Net()
    optim = Optim(name=name, lr=0.01, weight_decay=0.2, groups=groups)
    found = settings(net, optim.build(list(net.named_parameters())))
    assert found == {
        "scale": (0.01, 0.0),
        "towers.gate.weight": (0.001, 0.2),
        "towers.gate.bias": (0.001, 0.0),
        "towers.gated.weight": (0.001, 0.2),
        "towers.gated.bias": (0.001, 0.0),
        "gate.0.weight": (0.1, 0.5),
        "gate.0.bias": (0.1, 0.0),
        "gate.1.weight": (0.1, 0.0),
        "gate.1.bias": (0.1, 0.0),
    }


def test_a_group_at_any_depth() -> None:
    net = Net()
    found = settings(net, Optim(lr=1.0, groups={"gated": Group(lr_scale=3.0)}).build(list(net.named_parameters())))
    assert {name for name, (lr, _) in found.items() if lr == 3} == {"towers.gated.weight", "towers.gated.bias"}


def test_an_unknown_group_is_named() -> None:
    with pytest.raises(UserError, match='nothing that learns lies in "gaet"; did you mean "gate"'):
        Optim(groups={"gaet": Group()}).build(list(Net().named_parameters()))


def test_the_schedule_scales_each_group() -> None:
    net = Net()
    optim = Optim(lr=0.5, warmup=4, schedule="linear", groups={"gate": Group(lr_scale=10.0)})
    optimizer = optim.build(list(net.named_parameters()))
    optim.schedule_step(optimizer, 1, 12)
    assert {group["lr"] for group in optimizer.param_groups} == {0.25, 2.5}
    optim.schedule_step(optimizer, 8, 12)
    assert {group["lr"] for group in optimizer.param_groups} == {0.25, 2.5}


def train(optimizer: torch.optim.Optimizer, net: nn.Module, steps: int) -> None:
    for step in range(steps):
        x = torch.randn(8, 3, generator=torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        net(x).square().mean().backward()
        optimizer.step()


def schedule_free() -> tuple[nn.Module, AdamWScheduleFree, Optim]:
    torch.manual_seed(0)
    net = nn.Linear(3, 2)
    optim = Optim(name="schedule_free", lr=0.05, betas=(0.9, 0.95), warmup=2, weight_decay=0.0)
    return net, optim.build(list(net.named_parameters())), optim


def test_evaluation_weights_are_the_librarys_and_leave_no_trace() -> None:
    net, optimizer, _ = schedule_free()
    train(optimizer, net, 5)
    before = [p.detach().clone() for p in net.parameters()]
    twin, twins = copy.deepcopy((net, optimizer))
    twins.eval()
    with evaluation_weights(optimizer, list(net.parameters())):
        assert all(torch.equal(p, q) for p, q in zip(net.parameters(), twin.parameters(), strict=True))
        assert not torch.equal(next(net.parameters()), before[0])
    assert all(torch.equal(p, q) for p, q in zip(net.parameters(), before, strict=True))
    assert all(group["train_mode"] for group in optimizer.param_groups)


def test_evaluation_does_not_change_training() -> None:
    net, optimizer, _ = schedule_free()
    other, others, _ = schedule_free()
    for _ in range(4):
        train(optimizer, net, 2)
        train(others, other, 2)
        with pytest.raises(KeyError), evaluation_weights(others, list(other.parameters())):
            raise KeyError
    assert all(torch.equal(p, q) for p, q in zip(net.parameters(), other.parameters(), strict=True))


def test_other_optimisers_have_one_set_of_weights() -> None:
    net = nn.Linear(3, 2)
    optimizer = Optim().build(list(net.named_parameters()))
    before = net.weight.detach().clone()
    with evaluation_weights(optimizer, list(net.parameters())):
        assert torch.equal(net.weight, before)
    with evaluation_weights(None, []):
        pass


def test_schedule_free_state_survives_a_file(tmp_path) -> None:  # type: ignore[no-untyped-def]
    net, optimizer, optim = schedule_free()
    train(optimizer, net, 3)
    save_tree(tmp_path / "a", {"net": net.state_dict(), "optimizer": optimizer.state_dict()})
    train(optimizer, net, 3)
    saved = load_tree(tmp_path / "a")
    other = nn.Linear(3, 2)
    other.load_state_dict(saved["net"])
    resumed = optim.build(list(other.named_parameters()))
    resumed.load_state_dict(saved["optimizer"])
    train(resumed, other, 3)
    assert all(torch.equal(p, q) for p, q in zip(net.parameters(), other.parameters(), strict=True))
