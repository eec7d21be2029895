"""One phase, step by step: shards, losses, finite checks, gradient mean over ranks, validation, checkpoints."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from counterpoint.errors import UserError, nearest
from counterpoint.objectives.ranks import rank, sum_over_ranks, world
from counterpoint.training.batch import to_device
from counterpoint.training.clock import Clock, rng, seed_of
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
    """Where a fit stands, saved with every checkpoint; `best` and `worse` belong to early stopping."""

    phase: int = 0
    epoch: int = 0
    batch: int = 0
    step: int = 0
    best: float | None = None
    worse: int = 0


@dataclass
class Window:
    """Loss terms summed since the last line in metrics.jsonl."""

    sums: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    count: int = 0

    def add(self, terms: dict[str, float]) -> None:
        for name, value in terms.items():
            self.sums[name] += value
        self.count += 1

    def drain(self) -> dict[str, float]:
        means = {name: total / self.count for name, total in self.sums.items()}
        self.sums.clear()
        self.count = 0
        return means


class Loop:
    """Runs one phase of a method from a position; `run` leaves the position at the start of the next phase."""

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
        self.window = Window()
        self.steps = 0

    def run(self, optimizer_state: dict[str, Any] | None) -> None:
        """All remaining epochs of the phase."""
        if self.optimizer is not None and optimizer_state is not None:
            self.optimizer.load_state_dict(optimizer_state)
        phase, at = self.phase, self.at
        self.steps = -(-len(self._plan(0)) // phase.accumulate) * phase.epochs
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

    def _epoch(self, progress: Progress) -> None:
        at, accumulate = self.at, self.phase.accumulate
        plan = self._plan(at.epoch)
        every = max(1, self.steps // LINES)
        for first in range(at.batch, len(plan), accumulate):
            micro = plan[first : first + accumulate]
            terms = self._step(micro, Clock(self.trainer.seed, self.phase.name, at.epoch, at.step, self.steps))
            at.step, at.batch = at.step + 1, first + len(micro)
            self.window.add(terms)
            if at.step % every == 0:
                progress.update(at.step, self._log())
            if self.trainer.stopping or (self.trainer.save_every and at.step % self.trainer.save_every == 0):
                self._checkpoint()
            if self.trainer.stopping:
                raise KeyboardInterrupt

    def _plan(self, epoch: int) -> Sequence[Tensor]:
        plan = self.phase.plan(rng(self.trainer.seed, self.phase.name, epoch, "plan"))
        if not len(plan):
            raise UserError(f'phase "{self.phase.name}" has no rows to work on; give it more data')
        return plan

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
            self.fabric.backward(torch.stack(list(terms.values())).sum() / len(micro))
            for name, value in terms.items():
                means[name] += self._finite(name, value, clock) / len(micro)
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
        return batch if self.fabric.device.type == "cpu" else to_device(batch, self.fabric.device)

    def _losses(self, batch: Any, clock: Clock, number: int) -> dict[str, Tensor]:
        assert self.phase.losses is not None
        torch.manual_seed(seed_of(clock.seed, clock.phase, clock.step, number, rank(), "dropout"))
        with self.fabric.autocast():
            return self.phase.losses(batch, clock)

    def _descend(self, micro: Sequence[Tensor], clock: Clock) -> None:
        """Mean gradient over ranks (a missing one counts as zero), finite check, clipping, update."""
        assert self.optimizer is not None
        if world() > 1:
            _average_gradients(self.parameters)
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        norm = get_total_norm(gradients)
        if not torch.isfinite(norm):
            self._blame(micro, clock)
        if self.phase.optim.clip is not None:
            clip_grads_with_norm_(self.parameters, self.phase.optim.clip, norm)
        self.phase.optim.schedule_step(self.optimizer, clock.step, clock.steps)
        self.optimizer.step()

    def _finite(self, name: str, value: Tensor, clock: Clock) -> float:
        number = float(value.detach())
        if number - number != 0:
            raise UserError(_stopped(clock, f'loss term "{name}" is {number}'))
        return number

    def _blame(self, micro: Sequence[Tensor], clock: Clock) -> None:
        """Repeat the step term by term to name the one whose gradient is not finite."""
        for number, rows in enumerate(micro):
            terms = self._losses(self._batch(rows, clock, number), clock, number)
            for name, value in terms.items():
                grads = torch.autograd.grad(value, self.parameters, retain_graph=True, allow_unused=True)
                if any(g is not None and not g.isfinite().all() for g in grads):
                    raise UserError(_stopped(clock, f'the gradient of loss term "{name}" is not finite'))
        raise UserError(_stopped(clock, "the norm of the summed gradient is not finite"))

    def _log(self) -> dict[str, float]:
        """One line of metrics.jsonl: mean terms over ranks and steps since the last line, and the method's notes."""
        terms = self.window.drain()
        if world() > 1 and terms:
            means = sum_over_ranks(torch.tensor(list(terms.values()), dtype=torch.float64)) / world()
            terms = dict(zip(terms, means.tolist(), strict=True))
        if self.trainer.run:
            where = {"phase": self.phase.name, "epoch": self.at.epoch, "step": self.at.step}
            self.trainer.run.event(where | {"loss": sum(terms.values()), "terms": terms, "notes": self.method.notes})
        self.method.notes = {}
        return terms

    # After an epoch ----------------------------------------------------------------------------------------

    def _validate(self) -> bool:
        """Judge the epoch in eval mode and keep the best weights; True when patience has run out."""
        keep, at = self.phase.keep, self.at
        if self.phase.losses is None:
            return False
        if self.metrics is None:
            if keep is not None:
                raise UserError(f"keep.metric={keep.metric} needs validation data; give some or leave keep out")
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
        if self.trainer.run:
            where = {"phase": self.phase.name, "epoch": at.epoch, "step": at.step}
            self.trainer.run.event(where | {"metrics": measured})
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
        elif self.trainer.run:  # resumed after the best epoch
            self.trainer.run.restore(self.method, name="best")
        at.phase, at.epoch, at.batch, at.step, at.best, at.worse = at.phase + 1, 0, 0, 0, None, 0
        self.optimizer = None
        self._checkpoint()


def _average_gradients(parameters: Sequence[nn.Parameter]) -> None:
    """One flattened mean over ranks."""
    grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    mean = sum_over_ranks(torch.cat([g.flatten() for g in grads])) / world()
    for parameter, value in zip(parameters, mean.split([g.numel() for g in grads]), strict=True):
        parameter.grad = value.view_as(parameter)


def _pick(measured: dict[str, float], name: str) -> float:
    if name not in measured:
        raise UserError(f'keep.metric="{name}" is not measured; {nearest(name, measured)}')
    return measured[name]


def _stopped(clock: Clock, what: str) -> str:
    return (
        f'{what} at step {clock.step} of phase "{clock.phase}"; try a lower optim.lr, optim.clip=1 or precision 32-true'
    )
