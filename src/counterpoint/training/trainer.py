"""Where and how training runs: device, precision, seed, run folder, interruption. The steps are in `loop`."""

import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import torch

from counterpoint.errors import UserError
from counterpoint.objectives.ranks import rank
from counterpoint.objectives.streamed import multiplies_bf16
from counterpoint.training.hide import not_installed
from counterpoint.training.loop import Loop, Metrics, Position
from counterpoint.training.phase import Phase
from counterpoint.training.runs import Run

if TYPE_CHECKING:
    from lightning_fabric import Fabric
    from lightning_fabric.loggers.logger import Logger

    from counterpoint.training.method import Method

Precision = Literal["32-true", "bf16-mixed", "64-true"]


def doubt(precision: Precision, device: str = "auto") -> str | None:
    """What speaks against a precision on this machine, or None.

    >>> doubt("32-true") is None
    True
    """
    on_cpu = device == "cpu" or (device == "auto" and not torch.accelerator.is_available())
    if precision == "bf16-mixed" and on_cpu and not multiplies_bf16():
        return "this processor has no bfloat16 instructions: --precision 32-true is faster here, often many times"
    return None


class Trainer:
    """Runs a method's phases in order, from where its run folder stands to the end.

    `device` is Fabric's accelerator ("auto", "cpu", "cuda", ...); `save_every` adds a checkpoint every so many steps to
    the one after each epoch. `chunk` lets encoders keep the activations of only so many rows at a time (gradient
    cache, `in_chunks`; 0: all), for batches larger than memory. `trackers` are Fabric loggers that hear what the run
    folder hears (`trackers.tracker` makes two by name). Ranks come from the launcher (`counterpoint fit --ranks`,
    torchrun): no process starts here.
    """

    def __init__(
        self,
        seed: int = 0,
        run: Run | None = None,
        device: str = "auto",
        precision: Precision = "32-true",
        save_every: int = 0,
        progress: bool = True,
        chunk: int = 0,
        trackers: Sequence["Logger"] = (),
    ) -> None:
        if chunk < 0:
            raise UserError(f"chunk={chunk}: rows at a time, 0 for all")
        self.seed, self.run, self.device, self.precision = seed, run, device, precision
        self.save_every, self.progress, self.chunk = save_every, progress, chunk
        self.trackers = tuple(trackers) if rank() == 0 else ()
        self.dtype = torch.float64 if precision == "64-true" else None
        self.stopping = False

    def settings(self) -> dict[str, Any]:
        """What of the Trainer changes the numbers, for config.yaml."""
        return {"seed": self.seed, "precision": self.precision, "chunk": self.chunk}

    def begin(self, method: "Method", data: Any) -> None:
        """Open the run folder, and tell the trackers what is fitted."""
        if self.run is not None:
            self.run.begin(method, data.fingerprint(), self.settings())
        for tracker in self.trackers:
            tracker.log_hyperparams(
                {"method": type(method).__name__, **method.options.model_dump(mode="json"), "training": self.settings()}
            )

    def event(self, row: dict[str, Any]) -> None:
        """Tell the run folder and the trackers what happened at a step."""
        if self.run is not None:
            self.run.event(row)
        if self.trackers:
            from counterpoint.training.trackers import numbers

            for tracker in self.trackers:
                tracker.log_metrics(numbers(row), step=row["step"])

    def fit(self, method: "Method", phases: Sequence[Phase], metrics: Metrics | None = None) -> None:
        """Train; `metrics` is called in eval mode after every epoch.

        Raises `UserError` when a loss term or its gradient is not finite, naming it, and KeyboardInterrupt after
        Ctrl-C, once the running step is finished and saved.
        """
        fabric = self._fabric()
        method.chunk = self.chunk
        method.to(fabric.device, self.dtype)
        saved = self.run.restore(method) if self.run else None
        at = Position(**saved["at"]) if saved else Position()
        optimizer = saved["optimizer"] if saved else None
        before = torch.get_rng_state()
        learnable = [p for p in method.parameters() if p.requires_grad]
        try:
            with self._told_how_it_ended(), self._finish_the_step_on_interrupt():
                for phase in phases[at.phase :]:
                    at = Loop(self, fabric, method, phase, at, metrics, learnable).run(optimizer)
                    optimizer = None
        finally:
            torch.set_rng_state(before)
            for parameter in learnable:
                parameter.requires_grad_(True)

    def _fabric(self) -> "Fabric":
        """Fabric for device, autocast and backward, imported late because it is slow to import."""
        with not_installed("torchmetrics"):
            from lightning_fabric import Fabric
        from lightning_fabric.plugins.environments.lightning import LightningEnvironment

        try:
            return Fabric(
                accelerator=self.device, devices=1, precision=self.precision, plugins=[LightningEnvironment()]
            )
        except (ValueError, RuntimeError) as error:
            raise UserError(f"device={self.device} precision={self.precision}: {str(error).splitlines()[0]}") from None

    @contextmanager
    def _told_how_it_ended(self) -> Iterator[None]:
        """Trackers close with the outcome of the fit."""
        status = "failed"
        try:
            yield
            status = "success"
        except KeyboardInterrupt:
            status = "aborted"
            raise
        finally:
            for tracker in self.trackers:
                tracker.finalize(status)

    @contextmanager
    def _finish_the_step_on_interrupt(self) -> Iterator[None]:
        """A first Ctrl-C lets the running step finish and be saved; a second one stops at once."""
        if self.run is None or threading.current_thread() is not threading.main_thread():
            yield
            return
        self.stopping = False

        def stop(*_: object) -> None:
            if self.stopping:
                raise KeyboardInterrupt
            self.stopping = True

        previous = signal.signal(signal.SIGINT, stop)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, previous)
