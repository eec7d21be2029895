"""The one loop: phases, what learns, accumulation, best weights, numbers that are not finite, precision."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from counterpoint.errors import UserError
from counterpoint.training import Clock, Keep, Method, Optim, Phase, Run, Trainer, doubt
from counterpoint.training.learning import learn_only
from counterpoint.training.samplers import in_order
from training.toys import CutRun, Interrupted, Points, Toy, events, snapshot

DATA = Points.made(16)
SGD = Optim(name="sgd", lr=0.1, betas=(0.0, 0.0), weight_decay=0.0)


class Plain(Method):
    """One linear map; what the tests need is in the phases."""

    def build(self, facts: dict[str, Any]) -> None:
        with self.seeded("net"):
            self.net = nn.Linear(3, 1)

    def error(self, batch: Points, clock: Clock | None = None) -> dict[str, Tensor]:
        return {"error": (self.net(batch.x) - batch.y).square().mean()}


def plain() -> Plain:
    method = Plain()
    method.prepare({"width": 3})
    return method


def phase(method: Plain, **change: Any) -> Phase:
    fields: dict[str, Any] = {
        "name": "fit",
        "plan": lambda generator: in_order(16, 4),
        "batch": lambda rows, generator: Points(DATA.x[rows], DATA.y[rows]),
        "losses": method.error,
        "optim": SGD,
    }
    return Phase(**(fields | change))


def train(method: Plain, *phases: Phase, metrics: Callable[[], dict[str, float]] | None = None, **trainer: Any) -> None:
    Trainer(progress=False, **trainer).fit(method, phases, metrics)


# Cutting and going on -------------------------------------------------------------------------------------


def test_a_fit_cut_anywhere_ends_the_same(tmp_path: Path) -> None:
    def fit(run: Run) -> Toy:
        options: dict[str, Any] = {"keep": {"metric": "error", "mode": "min"}}
        return Toy(**options).fit(Points.made(), Points.made(seed=1), Trainer(run=run, save_every=1, progress=False))

    reference = CutRun(tmp_path / "whole")
    whole = snapshot(fit(reference))
    assert [(at["phase"], at["step"]) for at in reference.stood if at["phase"] != 1][:3] == [(0, 1), (0, 2), (0, 3)]
    for cut in range(1, len(reference.stood) + 1):
        folder = tmp_path / str(cut)
        with pytest.raises(Interrupted):
            fit(CutRun(folder, cut))
        assert snapshot(fit(Run(folder, resume=True))) == whole, reference.stood[cut - 1]
        assert events(folder) == events(tmp_path / "whole"), reference.stood[cut - 1]


def test_losses_between_two_lines_survive_a_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("counterpoint.training.loop.LINES", 2)

    def fit(run: Run) -> Toy:
        return Toy(epochs=5).fit(Points.made(), trainer=Trainer(run=run, save_every=1, progress=False))

    fit(CutRun(tmp_path / "whole"))
    steps = [row["step"] for row in events(tmp_path / "whole") if row["phase"] == "fit"]
    assert steps == [7, 14, 15]
    with pytest.raises(Interrupted):
        fit(CutRun(tmp_path / "cut", 9))
    fit(Run(tmp_path / "cut", resume=True))
    assert events(tmp_path / "cut") == events(tmp_path / "whole")


def test_a_missing_best_checkpoint_is_named(tmp_path: Path) -> None:
    method, scores = plain(), iter([3.0, 2.0, 1.0])
    run = CutRun(tmp_path, cut=4)
    keep = phase(method, keep=Keep(metric="m"), epochs=3)

    def metrics() -> dict[str, float]:
        return {"m": next(scores)}

    with pytest.raises(Interrupted):
        train(method, keep, metrics=metrics, run=run, save_every=5)
    (tmp_path / "checkpoint/best.safetensors").unlink()
    with pytest.raises(UserError, match=r"best\.safetensors is missing"):
        train(method, keep, metrics=lambda: {"m": 0.0}, run=Run(tmp_path, resume=True))


# Phases ---------------------------------------------------------------------------------------------------


def test_phases_run_in_order_with_their_clocks() -> None:
    method, seen = plain(), []

    def visit(batch: Points, clock: Clock) -> None:
        assert not torch.is_grad_enabled()
        assert not method.training
        seen.append(("visit", clock.phase, clock.epoch, clock.step, clock.steps))

    def losses(batch: Points, clock: Clock) -> dict[str, Tensor]:
        assert method.training
        seen.append(("losses", clock.phase, clock.epoch, clock.step, clock.steps))
        return method.error(batch)

    def after(batch: Points, clock: Clock) -> None:
        assert not torch.is_grad_enabled()
        seen.append(("after", clock.phase, clock.epoch, clock.step, clock.steps))

    before = method.net.weight.detach().clone()
    plan = {"plan": lambda generator: in_order(16, 8)}
    train(
        method,
        phase(method, name="a", losses=None, visit=visit, **plan),
        phase(method, name="b", losses=losses, after=after, epochs=2, **plan),
    )
    assert seen[:2] == [("visit", "a", 0, 0, 2), ("visit", "a", 0, 1, 2)]
    assert seen[2:] == [
        (what, "b", epoch, 2 * epoch + step, 4) for epoch in (0, 1) for step in (0, 1) for what in ("losses", "after")
    ]
    assert not torch.equal(method.net.weight, before)


def test_a_phase_needs_one_kind_of_work() -> None:
    with pytest.raises(ValueError, match='phase "fit" needs either losses or visit'):
        phase(plain(), losses=None)
    with pytest.raises(ValueError, match="needs either"):
        phase(plain(), visit=lambda batch, clock: None)


def test_a_phase_without_rows_is_named() -> None:
    method = plain()
    with pytest.raises(UserError, match='phase "fit" has no rows'):
        train(method, phase(method, plan=lambda generator: []))


def test_the_plan_changes_with_the_epoch_and_not_with_the_method() -> None:
    plans: dict[str, list[Any]] = {"a": [], "b": []}
    for name, size in (("a", 3), ("b", 5)):
        method = Toy(hidden=size, epochs=2)
        plan = method.plan
        method.plan = lambda data, generator, plan=plan, name=name: (  # type: ignore[method-assign]
            plans[name].append(plan(data, generator)) or plans[name][-1]
        )
        method.fit(DATA, trainer=Trainer(progress=False))
    for one, other in zip(plans["a"], plans["b"], strict=True):
        assert all(torch.equal(x, y) for x, y in zip(one, other, strict=True))
    first, second = torch.cat(plans["a"][-3]), torch.cat(plans["a"][-2])
    assert not torch.equal(first, second)


# What learns ----------------------------------------------------------------------------------------------


class Shared(nn.Module):
    """A module registered under two names, beside one that is frozen and a copy that must not learn."""

    def __init__(self) -> None:
        super().__init__()
        self.base = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Linear(2, 2))
        self.adapters = nn.ModuleList([self.base[2]])
        self.copy = nn.Linear(2, 2).requires_grad_(False)


def learning(net: nn.Module, *trains: str) -> set[str]:
    learnable = [p for p in net.parameters() if p.requires_grad]
    named = learn_only(net, trains, learnable)
    assert {name for name, p in net.named_parameters() if p.requires_grad} == {name for name, _ in named}
    return {name for name, _ in named}


def test_names_are_resolved_by_identity() -> None:
    assert learning(Shared(), "adapters") == {"base.2.weight", "base.2.bias"}
    assert learning(Shared(), "base.2") == learning(Shared(), "adapters.0")
    everything = {f"base.{i}.{part}" for i in (0, 1, 2) for part in ("weight", "bias")}
    assert learning(Shared(), "") == learning(Shared(), "base") == everything
    assert learning(Shared()) == set()


def test_what_does_not_learn_is_in_eval_mode() -> None:
    net = Shared()
    learning(net, "adapters")
    assert {name for name, module in net.named_modules() if module.training} == {"adapters", "base.2"}
    with pytest.raises(ValueError, match="nothing to train below 'copy'"):
        learning(Shared(), "copy")
    with pytest.raises(AttributeError, match="nowhere"):
        learning(Shared(), "nowhere")


def test_only_the_named_parts_change_and_all_learn_again_afterwards() -> None:
    class Two(Plain):
        def build(self, facts: dict[str, Any]) -> None:
            self.net = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2), nn.Linear(2, 1))
            self.head = nn.ModuleList([self.net[2]])
            self.frozen = nn.Linear(3, 1).requires_grad_(False)

    method = Two()
    method.prepare({"width": 3})
    before = {name: value.clone() for name, value in method.state_dict().items()}
    train(method, phase(method, trains=("head",)))
    changed = {name for name, value in method.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"net.2.weight", "net.2.bias", "head.0.weight", "head.0.bias"}
    assert {n for n, p in method.named_parameters() if not p.requires_grad} == {"frozen.weight", "frozen.bias"}


# Steps ----------------------------------------------------------------------------------------------------


def test_accumulation_equals_one_big_batch() -> None:
    small, big = plain().double(), plain().double()
    train(small, phase(small, accumulate=2, epochs=2), precision="64-true")
    train(big, phase(big, plan=lambda generator: in_order(16, 8), epochs=2), precision="64-true")
    assert torch.allclose(small.net.weight, big.net.weight, rtol=1e-12, atol=0)


def test_an_unfinished_window_of_accumulation_is_a_step() -> None:
    method, steps = plain(), []
    counted = phase(method, accumulate=3, epochs=2, after=lambda batch, clock: steps.append((clock.step, clock.steps)))
    train(method, counted)
    assert steps == [(0, 4), (1, 4), (2, 4), (3, 4)]


def test_one_step_is_the_formula() -> None:
    method = plain()
    weight, bias = method.net.weight.detach().clone(), method.net.bias.detach().clone()
    train(method, phase(method, plan=lambda generator: in_order(16, 16)))
    residual = DATA.x @ weight.T + bias - DATA.y
    assert torch.allclose(method.net.weight, weight - 0.1 * 2 * (residual * DATA.x).mean(0), atol=1e-6)
    assert torch.allclose(method.net.bias, bias - 0.1 * 2 * residual.mean(), atol=1e-6)


def test_the_gradient_norm_is_bounded() -> None:
    method = plain()
    before = torch.cat([p.detach().flatten().clone() for p in method.parameters()])
    optim = SGD.model_copy(update={"lr": 1.0, "clip": 0.01})
    train(method, phase(method, plan=lambda generator: in_order(16, 16), optim=optim))
    after = torch.cat([p.detach().flatten() for p in method.parameters()])
    assert float((after - before).norm()) == pytest.approx(0.01, rel=1e-3)


# Validation and best weights ------------------------------------------------------------------------------


def follow(scores: list[float], keep: Keep | None, optim: Optim = SGD) -> tuple[Plain, list[Tensor]]:
    """Train with scripted validation; returns the method and its weights as each validation saw them."""
    method, seen = plain(), []

    def metrics() -> dict[str, float]:
        assert not method.training
        assert not torch.is_grad_enabled()
        seen.append(method.net.weight.detach().clone())
        return {"top1": scores[len(seen) - 1]}

    train(method, phase(method, epochs=len(scores), keep=keep, optim=optim), metrics=metrics)
    return method, seen


@pytest.mark.parametrize("optim", [SGD, Optim(name="schedule_free", lr=0.1)])
@pytest.mark.parametrize(
    ("scores", "keep", "epochs", "best"),
    [
        ([1, 3, 2, 2], Keep(metric="top1"), 4, 1),
        ([1, 3, 2, 2], Keep(metric="top1", mode="min"), 4, 0),
        ([1, 3, 2, 2, 5], Keep(metric="top1", patience=2), 4, 1),
        ([1, 2, 1, 3, 1, 1, 9], Keep(metric="top1", patience=2), 6, 3),
        ([2, 2, 2], Keep(metric="top1", patience=5), 3, 0),
        ([float("nan"), 1, 2, 1], Keep(metric="top1"), 4, 2),
        ([float("nan")] * 3, Keep(metric="top1"), 3, 2),
        ([3, 2, 1], None, 3, 2),
    ],
)
def test_the_best_epoch_is_kept(scores: list[float], keep: Keep | None, epochs: int, best: int, optim: Optim) -> None:
    method, seen = follow([float(score) for score in scores], keep, optim)
    assert len(seen) == epochs
    assert torch.equal(method.net.weight, seen[best])


def test_a_metric_that_is_not_measured_is_named() -> None:
    with pytest.raises(UserError, match=r'keep\.metric="topp1" is not measured; did you mean "top1"'):
        follow([1.0], Keep(metric="topp1"))


def test_keep_needs_validation_data_before_any_work() -> None:
    method = plain()
    before = method.net.weight.detach().clone()
    with pytest.raises(UserError, match=r"keep\.metric=top1 needs validation data"):
        train(method, phase(method, keep=Keep(metric="top1")))
    assert torch.equal(method.net.weight, before)


def test_validation_leaves_modes_and_randomness_alone(tmp_path: Path) -> None:
    watched = Toy().fit(DATA, DATA, Trainer(run=Run(tmp_path / "a")))
    alone = Toy().fit(DATA)
    assert snapshot(watched) == snapshot(alone)
    measured = [row["metrics"]["error"] for row in events(tmp_path / "a") if "metrics" in row]
    assert len(measured) == 2
    lines = [row for row in events(tmp_path / "a") if row["phase"] == "fit" and "loss" in row]
    assert [row["step"] for row in lines] == [1, 2, 3, 4]
    assert all(row["loss"] == pytest.approx(row["terms"]["fit"] + row["terms"]["queue"]) for row in lines)
    assert [row["notes"]["progress"] for row in lines] == [0.0, 0.25, 0.5, 0.75]


# What is not finite ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_a_loss_that_is_not_finite_is_named(value: str) -> None:
    method = plain()

    def losses(batch: Points, clock: Clock) -> dict[str, Tensor]:
        factor = float(value) if clock.step == 2 else 1.0
        return method.error(batch) | {"penalty": factor * method.net.weight.square().sum()}

    with pytest.raises(UserError, match=rf'loss term "penalty" is {value} at step 2 of phase "fit"; try a lower'):
        train(method, phase(method, losses=losses))


def test_a_gradient_that_is_not_finite_is_named() -> None:
    method = plain()

    def losses(batch: Points, clock: Clock) -> dict[str, Tensor]:
        rootless = (0 * method.net.weight).square().sum().sqrt()
        return {"constant": torch.tensor(1.0)} | method.error(batch) | {"length": rootless}

    before = method.net.weight.detach().clone()
    with pytest.raises(UserError, match='the gradient of loss term "length" is not finite at step 0'):
        train(method, phase(method, losses=losses, accumulate=2))
    assert torch.equal(method.net.weight, before)


def test_finite_gradients_can_have_a_norm_that_is_not() -> None:
    method = plain()
    with pytest.raises(UserError, match="the norm of the summed gradient is not finite"):
        train(method, phase(method, losses=lambda batch, clock: {"steep": 1e30 * method.net.weight.sum()}))


# Where it runs --------------------------------------------------------------------------------------------


def test_bf16_trains_in_autocast() -> None:
    method, kinds = plain(), set()

    def losses(batch: Points, clock: Clock) -> dict[str, Tensor]:
        kinds.add(method.net(batch.x).dtype)
        return method.error(batch)

    train(method, phase(method, losses=losses), precision="bf16-mixed")
    assert kinds == {torch.bfloat16}
    assert method.net.weight.dtype == torch.float32


def test_float64_is_float64_throughout() -> None:
    method = plain()

    def losses(batch: Points, clock: Clock) -> dict[str, Tensor]:
        assert batch.x.dtype == torch.float64
        return method.error(batch)

    train(method, phase(method, losses=losses), precision="64-true")
    assert method.net.weight.dtype == torch.float64


def test_an_absent_device_is_named() -> None:
    with pytest.raises(UserError, match="device=banana precision=32-true: "):
        Trainer(device="banana").fit(plain(), [])


def test_the_users_random_state_is_untouched() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    Toy().fit(DATA, DATA)
    assert torch.equal(torch.get_rng_state(), before)
    method = plain()

    def broken(batch: Points, clock: Clock) -> dict[str, Tensor]:
        torch.rand(3)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        train(method, phase(method, losses=broken))
    assert torch.equal(torch.get_rng_state(), before)


def test_every_forward_pass_draws_its_own_dropout() -> None:
    def draws(seed: int) -> list[float]:
        method, seen = plain(), []

        def losses(batch: Points, clock: Clock) -> dict[str, Tensor]:
            seen.append(float(torch.rand(())))
            return method.error(batch)

        train(method, phase(method, losses=losses, accumulate=2, epochs=2), seed=seed)
        return seen

    first, other = draws(0), draws(1)
    assert len({*first, *other}) == len(first) + len(other) == 16
    assert draws(0) == first


def test_the_users_random_state_changes_nothing() -> None:
    torch.manual_seed(1)
    one = snapshot(Toy().fit(DATA))
    torch.manual_seed(2)
    assert snapshot(Toy().fit(DATA)) == one
    assert snapshot(Toy().fit(DATA, trainer=Trainer(seed=1))) != one


def test_progress_is_silent_unless_on_a_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    Toy().fit(DATA, trainer=Trainer(progress=True))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("native", "precision", "device", "doubted"), [
    (False, "bf16-mixed", "cpu", True), (True, "bf16-mixed", "cpu", False),
    (False, "32-true", "cpu", False), (False, "bf16-mixed", "cuda", False),
])  # fmt: skip
def test_bf16_is_doubted_where_the_processor_lacks_it(monkeypatch, native, precision, device, doubted):
    monkeypatch.setattr("counterpoint.training.trainer.multiplies_bf16", lambda: native)
    assert (doubt(precision, device) is not None) == doubted
