"""One phase, step by step: shards, losses, finite checks, gradient mean over ranks, validation, checkpoints."""

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from counterpoint.errors import UserError, nearest
from counterpoint.objectives.ranks import rank, sum_over_ranks, world
from counterpoint.objectives.streamed import bf16_products
from counterpoint.training.batch import to_device
from counterpoint.training.clock import Clock, seed_all
from counterpoint.training.lazy import average_sparse, numbers_of
from counterpoint.training.learning import average_norm_statistics, learn_only
from counterpoint.training.optim import evaluation_weights
from counterpoint.training.phase import Phase
from counterpoint.training.progress import Progress

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from counterpoint.training.method import Method
    from counterpoint.training.trainer import Trainer

Metrics = Callable[[], dict[str, float]]
LINES = 500  # most lines with losses that one phase writes to metrics.jsonl


@dataclass
class Position:
    """Where a fit stands, saved with every checkpoint.

    `best` and `worse` belong to early stopping; `sums` are the loss terms of the `count` steps since the last line in
    metrics.jsonl.
    """

    phase: int = 0
    epoch: int = 0
    batch: int = 0
    step: int = 0
    best: float | None = None
    worse: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    count: int = 0

    def add(self, terms: dict[str, float]) -> None:
        """Count one step's terms."""
        self.count += 1
        for name, value in terms.items():
            self.sums[name] = self.sums.get(name, 0.0) + value

    def drain(self) -> dict[str, float]:
        """Mean terms over the steps counted; the count starts anew."""
        means = {name: total / self.count for name, total in self.sums.items()}
        self.sums, self.count = {}, 0
        return means


class Loop:
    """Runs one phase of a method from a position to the start of the next phase."""

    def __init__(
        self,
        trainer: "Trainer",
        fabric: "Fabric",
        method: "Method",
        phase: Phase,
        at: Position,
        metrics: Metrics | None,
        learnable: Sequence[nn.Parameter],
    ) -> None:
        self.trainer, self.fabric, self.method, self.phase = trainer, fabric, method, phase
        self.at, self.metrics = at, metrics
        named = learn_only(method, phase.trains if phase.losses else (), learnable)
        self.parameters = [parameter for _, parameter in named]
        self.optimizer = phase.optim.build(named) if phase.losses else None
        self.best: dict[str, Tensor] | None = None
        self.steps = 0

    def run(self, optimizer_state: dict[str, Any] | None) -> Position:
        """All remaining epochs of the phase; returns the start of the next."""
        if self.optimizer is not None and optimizer_state is not None:
            self.optimizer.load_state_dict(optimizer_state)
        phase, at = self.phase, self.at
        if phase.keep is not None and self.metrics is None:
            raise UserError(f"keep.metric={phase.keep.metric} needs validation data; give some or leave keep out")
        self.steps = -(-len(phase.rows_of(self.trainer.seed, 0)) // phase.accumulate) * phase.epochs
        with Progress(phase.name, self.steps, self.trainer.progress and rank() == 0) as progress:
            progress.update(at.step)
            while at.epoch < phase.epochs:
                self._epoch(progress)
                average_norm_statistics(self.method)
                at.epoch, at.batch = at.epoch + 1, 0
                if self._validate():
                    break
                if at.epoch < phase.epochs:
                    self._checkpoint()
        self._finish()
        return self.at

    def _epoch(self, progress: Progress) -> None:
        at, accumulate = self.at, self.phase.accumulate
        plan = self.phase.rows_of(self.trainer.seed, at.epoch)
        every = max(1, self.steps // LINES)
        for first in range(at.batch, len(plan), accumulate):
            micro = plan[first : first + accumulate]
            terms = self._step(micro, Clock(self.trainer.seed, self.phase.name, at.epoch, at.step, self.steps))
            at.step, at.batch = at.step + 1, first + len(micro)
            at.add(terms)
            if at.step % every == 0 or at.step == self.steps:
                progress.update(at.step, self._log())
            stopping = self._stopping()
            if stopping or (self.trainer.save_every and at.step % self.trainer.save_every == 0):
                self._checkpoint()
            if stopping:
                raise KeyboardInterrupt

    def _stopping(self) -> bool:
        """Whether Ctrl-C has reached any rank, so that all stop after the same step."""
        return bool(sum_over_ranks(torch.tensor(float(self.trainer.stopping), device=self.fabric.device)))

    # One step ----------------------------------------------------------------------------------------------

    def _step(self, micro: Sequence[Tensor], clock: Clock) -> dict[str, float]:
        """One optimiser step over its micro-batches, or one visit; returns the mean of each loss term."""
        means: dict[str, float] = defaultdict(float)
        if self.optimizer is not None:
            self.optimizer.zero_grad(set_to_none=True)
        for number, rows in enumerate(micro):
            batch = self._batch(rows, clock, number)
            if self.phase.visit is not None:
                with torch.no_grad():
                    self.phase.visit(batch, clock)
                continue
            terms = self._losses(batch, clock, number)
            values = torch.stack(list(terms.values()))
            self.fabric.backward(values.sum() / len(micro))
            for name, value in zip(terms, self._finite(list(terms), values, clock), strict=True):
                means[name] += value / len(micro)
        if self.optimizer is not None:
            self._descend(micro, clock)
        if self.phase.after is not None:
            with torch.no_grad():
                self.phase.after(batch, clock)
        return means

    def _batch(self, rows: Tensor, clock: Clock, number: int) -> Any:
        """This rank's contiguous share of the rows, so that gathering restores the plan's order."""
        share = rows.tensor_split(world())[rank()]
        batch = self.phase.batch(share, clock.rng(f"batch {number}"))
        return to_device(batch, self.fabric.device, self.trainer.dtype)

    def _losses(self, batch: Any, clock: Clock, number: int) -> dict[str, Tensor]:
        assert self.phase.losses is not None
        seed_all(clock.seed, clock.phase, clock.step, number, rank(), "dropout")
        rounds = str(self.trainer.precision).startswith("bf16")
        with self.fabric.autocast(), bf16_products() if rounds else nullcontext():
            return self.phase.losses(batch, clock)

    def _descend(self, micro: Sequence[Tensor], clock: Clock) -> None:
        """Mean gradient over ranks (a missing one counts as zero), finite check, clipping, update."""
        assert self.optimizer is not None
        if world() > 1:
            _average_gradients(self.parameters)
        norm = get_total_norm([numbers_of(p.grad) for p in self.parameters if p.grad is not None])
        if not torch.isfinite(norm):
            self._blame(micro, clock)
        if self.phase.optim.clip is not None:
            dense = [p for p in self.parameters if p.grad is None or not p.grad.is_sparse]
            clip_grads_with_norm_(dense, self.phase.optim.clip, norm)
            for gradient in (p.grad for p in self.parameters if p.grad is not None and p.grad.is_sparse):
                gradient.mul_((self.phase.optim.clip / (norm + 1e-6)).clamp(max=1.0))
        self.phase.optim.schedule_step(self.optimizer, clock.step, clock.steps)
        self.optimizer.step()

    def _finite(self, names: Sequence[str], values: Tensor, clock: Clock) -> list[float]:
        """The terms, means over ranks; one that is not finite on any rank stops all of them."""
        numbers: list[float] = (sum_over_ranks(values) / world()).tolist()
        for name, number in zip(names, numbers, strict=True):
            if not math.isfinite(number):
                raise UserError(_stopped(clock, f'loss term "{name}" is {number}'))
        return numbers

    def _blame(self, micro: Sequence[Tensor], clock: Clock) -> None:
        """Repeat the step term by term to name the one whose gradient is not finite."""
        for number, rows in enumerate(micro):
            terms = self._losses(self._batch(rows, clock, number), clock, number)
            for name, value in terms.items():
                if not value.requires_grad:
                    continue
                grads = torch.autograd.grad(value, self.parameters, retain_graph=True, allow_unused=True)
                wrong = [float(not numbers_of(g).isfinite().all()) for g in grads if g is not None]
                if sum_over_ranks(torch.tensor(sum(wrong), device=value.device)):
                    raise UserError(_stopped(clock, f'the gradient of loss term "{name}" is not finite'))
        raise UserError(_stopped(clock, "the norm of the summed gradient is not finite"))

    def _log(self) -> dict[str, float]:
        """One line of metrics.jsonl: mean terms over the steps since the last line, and the method's notes."""
        terms = self.at.drain()
        where = {"phase": self.phase.name, "epoch": self.at.epoch, "step": self.at.step}
        self.trainer.event(where | {"loss": sum(terms.values()), "terms": terms, "notes": self.method.notes})
        self.method.notes = {}
        return terms

    # After an epoch ----------------------------------------------------------------------------------------

    def _validate(self) -> bool:
        """Judge the epoch in eval mode and keep the best weights; True when patience has run out."""
        keep, at = self.phase.keep, self.at
        if self.phase.losses is None or self.metrics is None:
            return False
        modes = [(module, module.training) for module in self.method.modules()]
        self.method.eval()
        with evaluation_weights(self.optimizer, self.parameters), torch.no_grad():
            measured = self.metrics()
            better = keep is not None and keep.better(_pick(measured, keep.metric), at.best)
            if better and keep is not None:
                at.best = measured[keep.metric]
                self._remember()
        for module, mode in modes:
            module.training = mode
        where = {"phase": self.phase.name, "epoch": at.epoch, "step": at.step}
        self.trainer.event(where | {"metrics": measured})
        at.worse = 0 if better or keep is None else at.worse + 1
        return keep is not None and 0 < keep.patience <= at.worse

    def _remember(self) -> None:
        self.best = {key: value.detach().clone() for key, value in self.method.state_dict().items()}
        if self.trainer.run:
            self.trainer.run.checkpoint(self.method, None, asdict(self.at), name="best")

    def _checkpoint(self) -> None:
        if self.trainer.run:
            state = self.optimizer.state_dict() if self.optimizer else None
            self.trainer.run.checkpoint(self.method, state, asdict(self.at))

    def _finish(self) -> None:
        """Leave the best weights, or the optimiser's averaged ones, in the method; the next phase is up."""
        at = self.at
        if at.best is None:
            with evaluation_weights(self.optimizer, self.parameters):
                averaged = [p.detach().clone() for p in self.parameters]
            with torch.no_grad():
                for parameter, value in zip(self.parameters, averaged, strict=True):
                    parameter.copy_(value)
        elif self.best is not None:
            self.method.load_state_dict(self.best)
        elif self.trainer.run and self.trainer.run.restore(self.method, name="best") is None:
            raise UserError(f"{self.trainer.run.folder}/checkpoint/best.safetensors is missing; fit again")
        self.at = Position(phase=at.phase + 1)
        self.optimizer = None
        self._checkpoint()


def _average_gradients(parameters: Sequence[nn.Parameter]) -> None:
    """One flattened mean over ranks, sparse gradients row by row; what has none on any rank keeps none."""
    parameters = average_sparse(parameters)
    if not parameters:
        return
    grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    known = grads[0].new_tensor([p.grad is not None for p in parameters])
    *sums, known = sum_over_ranks(torch.cat([*(g.flatten() for g in grads), known])).split(
        [*(g.numel() for g in grads), len(known)]
    )
    for parameter, total, has in zip(parameters, sums, known.tolist(), strict=True):
        parameter.grad = total.view_as(parameter) / world() if has else None


def _pick(measured: dict[str, float], name: str) -> float:
    if name not in measured:
        raise UserError(f'keep.metric="{name}" is not measured; {nearest(name, measured)}')
    return measured[name]


def _stopped(clock: Clock, what: str) -> str:
    return (
        f'{what} at step {clock.step} of phase "{clock.phase}"; try a lower optim.lr, optim.clip=1 or precision 32-true'
    )
