"""What a fit will cost, before it runs: memory and time of a step, the batch that fits, and what to switch on.

What a step keeps for its backward pass is measured on small steps (autograd says what it saves), once at each of three
batch sizes, and is a polynomial of the batch: activations grow with it, a dense loss with its square. Time is measured
on a few steps of the real batch.
"""

import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor

from counterpoint.errors import UserError
from counterpoint.objectives import streamed
from counterpoint.training.clock import Clock, rng
from counterpoint.training.config import SGDConfig
from counterpoint.training.method import Method
from counterpoint.training.phase import Phase
from counterpoint.training.trainer import Trainer

PROBE = 512  # rows of the largest of the small steps
STEPS = 5  # that are timed, the first of them to warm up
ROOM = 0.8  # share of the free memory that a fit may take
CHUNK = 256  # rows of a chunk that is suggested
STREAMED = (
    streamed.masses.__name__,
    streamed.masses_over_own.__name__,
    streamed.own_share.__name__,
    streamed.twin_share.__name__,
)  # keep a tile only while it is the whole
NOISE = 0.1  # share of a probe's bytes below which growth with the square may come from rows that lack a view


@dataclass(frozen=True)
class Growth:
    """Bytes as a polynomial of the batch size.

    >>> Growth(fixed=10.0, linear=2.0, square=1.0).at(3)
    25.0
    """

    fixed: float = 0.0
    linear: float = 0.0
    square: float = 0.0

    def at(self, rows: int) -> float:
        """Bytes for a batch of so many rows."""
        return self.fixed + self.linear * rows + self.square * rows**2

    @classmethod
    def through(cls, sizes: Sequence[int], measured: Sequence[float]) -> "Growth":
        """The polynomial through three measurements; a line where the square is too small to be told from noise.

        >>> Growth.through([1, 2, 4], [3.0, 5.0, 9.0])
        Growth(fixed=1.0, linear=2.0, square=0.0)
        """
        (a, b, c), (x, y, z) = sizes, measured
        square = ((z - y) / (c - b) - (y - x) / (b - a)) / (c - a)
        if square * c**2 < NOISE * z:
            linear = max(0.0, (z - x) / (c - a))
            return cls(max(0.0, z - linear * c), linear, 0.0)
        linear = (z - y) / (c - b) - square * (b + c)
        return cls(z - linear * c - square * c**2, linear, square)


@dataclass(frozen=True)
class Budget:
    """What `plan` found; bytes and seconds.

    `weights` are parameters, their gradients and what the optimiser keeps; `network` and `loss` is what a step keeps
    for its backward pass, made by the method's modules and by the contrast engine. `free` is None where it is unknown.
    """

    method: str
    phase: str
    rows: int
    batch_size: int
    device: str
    weights: float
    network: Growth
    loss: Growth
    tiles: Growth
    free: int | None
    timed_rows: int
    seconds_per_step: float
    steps: int

    def loss_at(self, rows: int) -> float:
        """Bytes of the loss, which keeps its tile of logits while that is small and else makes it again."""
        kept = self.tiles.at(rows) if rows**2 <= streamed.WHOLE else self.tiles.fixed + self.tiles.linear * rows
        return self.loss.at(rows) + kept

    def at(self, rows: int) -> float:
        """Bytes of a step with so many rows."""
        return self.weights + self.network.at(rows) + self.loss_at(rows)

    @property
    def dominant(self) -> str:
        """Which of `weights`, `network` and `loss` needs most at this batch size."""
        rows = self.batch_size
        needs = {"network": self.network.at(rows), "loss": self.loss_at(rows), "weights": self.weights}
        return max(needs, key=lambda name: needs[name])

    @property
    def fits(self) -> bool:
        """Whether a step has room; True where the free memory is unknown."""
        return self.free is None or self.at(self.batch_size) <= ROOM * self.free

    @property
    def largest_batch(self) -> int | None:
        """Most rows of the data that fit into one step; None where the free memory is unknown."""
        return None if self.free is None else _largest(self.at, self.rows, ROOM * self.free)

    @property
    def largest_batch_in_chunks(self) -> int | None:
        """The same when the network runs in chunks."""
        return None if self.free is None else _largest(self._in_chunks, self.rows, ROOM * self.free)

    def advice(self) -> list[str]:
        """What to switch on, most useful first."""
        if self.fits and self.dominant != "loss":
            return ["nothing needs to be switched on"]
        found = []
        chunked = self._in_chunks(self.batch_size)
        if self.dominant == "network" and chunked < 0.8 * self.at(self.batch_size):
            found.append(
                f"run the network in chunks (fit --chunk {CHUNK}; in_chunks in code of your own): a step then needs "
                f"{_bytes(chunked)} and about a third more time"
            )
        if self.dominant == "loss" and self.loss.square:
            found.append(
                "the loss grows with the square of the batch: take a streamed one (info_nce, clip), or a smaller batch"
            )
        if self.device != "cpu":
            found.append("--precision bf16-mixed halves most activations")
        if not self.fits and (self.largest_batch or 0) >= 2:
            found.append(f"batch_size={self.largest_batch} is the largest that fits as things are")
        return found or ["nothing needs to be switched on" if self.fits else "take a smaller network"]

    def words(self) -> list[str]:
        """The findings, a line each."""
        n = self.batch_size
        grows = "grows with the square of the batch" if self.network.square else "grows with the batch"
        square = self.loss.square > 0
        lines = [
            f"{self.method}: {self.rows} training rows in batches of {n} on {self.device}",
            f"memory of a step: {_bytes(self.at(n))}",
            f"  network: {_bytes(self.network.at(n))} of activations kept for backward, {grows}",
            f"  loss:    {_bytes(self.loss_at(n))}, grows with the {'square of the ' if square else ''}batch",
            f"  weights: {_bytes(self.weights)} with gradients and optimiser",
            f"the {_NAMES[self.dominant]} most",
        ]
        if self.free is not None and self.largest_batch is not None:
            most = f"batches of up to {self.largest_batch} rows" + (" (all)" if self.largest_batch == self.rows else "")
            lines.append(f"free memory: {_bytes(float(self.free))}, of which {ROOM:.0%} may be used: {most} fit")
        rest = "" if self.timed_rows == n else f" of {self.timed_rows} rows"
        total = f"{self.steps} steps take about {_seconds(self.steps * self.seconds_per_step)}"
        lines.append(f"time: {_seconds(self.seconds_per_step)} a step{rest}; {total}")
        return [*lines, *(f"advice: {text}" for text in self.advice())]

    def as_json(self) -> dict[str, Any]:
        """All of it for a script."""
        n = self.batch_size
        return {
            **{name: getattr(self, name) for name in ("method", "phase", "rows", "batch_size", "device")},
            "bytes": {
                "step": round(self.at(n)),
                "network": round(self.network.at(n)),
                "loss": round(self.loss_at(n)),
                "weights": round(self.weights),
                "free": self.free,
            },
            "growth": {"network": asdict(self.network), "loss": asdict(self.loss)},
            "dominant": self.dominant,
            "fits": self.fits,
            "largest_batch": self.largest_batch,
            "largest_batch_in_chunks": self.largest_batch_in_chunks,
            "seconds_per_step": self.seconds_per_step,
            "timed_rows": self.timed_rows,
            "steps": self.steps,
            "advice": self.advice(),
        }

    def _in_chunks(self, rows: int) -> float:
        """Bytes of a step whose network runs in chunks; vectors and the loss stay whole."""
        chunk = self.network.at(min(rows, CHUNK)) if not self.network.square else self.network.at(rows)
        return self.weights + chunk + self.loss_at(rows)


_NAMES = {
    "network": "network's activations need",
    "loss": "loss needs",
    "weights": "weights, with gradients and optimiser, need",
}


def plan(method: Method, data: Any, device: str = "auto", precision: Any = "32-true") -> Budget:
    """Measure what a fit of an unfitted method on these rows will need; the method is spent and not trained.

    The first phase that takes gradient steps is measured; passes before it run on a few rows. Raises `UserError` when
    there is no such phase, or too few rows for it.
    """
    method.prepare(method.measure(data))
    phases = list(method.phases(data))
    first = next((place for place, phase in enumerate(phases) if phase.losses is not None), None)
    if first is None or not isinstance(method.options, SGDConfig):
        raise UserError(
            f"{type(method).__name__} takes no gradient steps (it is solved in passes over the rows); nothing to plan"
        )
    phase = phases[first]
    epoch = phase.plan(rng(0, phase.name, 0, "plan"))
    batch_size = max(map(len, epoch))
    trainer = Trainer(device=device, precision=precision, progress=False)
    trainer.fit(method, [_shortened(earlier, earlier.plan(rng(0))[:2]) for earlier in phases[:first]])
    at = next(method.parameters()).device
    sizes, saved = _saved(trainer, method, phase, torch.cat(list(epoch)), batch_size)
    found = Budget(
        method=type(method).__name__,
        phase=phase.name,
        rows=len(data),
        batch_size=batch_size,
        device=at.type,
        weights=_weights(method, phase),
        network=Growth.through(sizes, [one["network"] for one in saved]),
        loss=Growth.through(sizes, [one["loss"] for one in saved]),
        tiles=Growth.through(sizes, [one["tiles"] for one in saved]),
        free=free_memory(at),
        timed_rows=batch_size,
        seconds_per_step=0.0,
        steps=-(-len(epoch) // phase.accumulate) * phase.epochs,
    )
    timed = batch_size if found.fits else max(2, min(batch_size, found.largest_batch or 0))
    seconds = _timed(trainer, method, phase, [rows[:timed] for rows in epoch])
    return replace(found, timed_rows=timed, seconds_per_step=seconds * phase.accumulate)


def free_memory(device: torch.device) -> int | None:
    """Bytes that are free on a device; None where the system does not say.

    >>> free_memory(torch.device("cpu")) != 0
    True
    """
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    if device.type == "mps":
        return int(torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory())
    found = []
    for line in _lines("/proc/meminfo"):
        if line.startswith("MemAvailable:"):
            found.append(int(line.split()[1]) * 1024)
    limit, used = (_lines(f"/sys/fs/cgroup/memory.{name}") for name in ("max", "current"))
    if limit and used and limit[0].isdigit():
        found.append(max(0, int(limit[0]) - int(used[0])))
    return min(found) if found else None


# Measuring ------------------------------------------------------------------------------------------------


def _shortened(phase: Phase, rows: Sequence[Tensor], **change: Any) -> Phase:
    """A phase of some batches only."""
    return replace(phase, plan=lambda generator: rows, epochs=1, accumulate=1, keep=None, **change)


def _saved(
    trainer: Trainer, method: Method, phase: Phase, rows: Tensor, batch_size: int
) -> tuple[list[int], list[dict[str, float]]]:
    """What steps of three sizes keep for backward."""
    largest = max(8, min(batch_size, PROBE))
    if len(rows) < largest:
        raise UserError(f"{len(rows)} training rows are too few to measure a step; give at least {largest}")
    sizes = [largest // 4, largest // 2, largest]
    found: list[dict[str, float]] = []
    assert phase.losses is not None
    made = phase.losses

    def losses(batch: Any, clock: Clock) -> dict[str, Tensor]:
        saved = _Saved(method)
        with torch.autograd.graph.saved_tensors_hooks(saved.pack, lambda tensor: tensor):
            terms = made(batch, clock)
        found.append(saved.bytes)
        return terms

    trainer.fit(method, [_shortened(phase, [rows[:size] for size in sizes], losses=losses)])
    return sizes, found


class _Saved:
    """Counts the memory of tensors that autograd keeps, each once, parameters and buffers not at all."""

    def __init__(self, method: Method) -> None:
        self.seen = {t.untyped_storage().data_ptr() for t in (*method.parameters(), *method.buffers())}
        self.bytes = {"network": 0.0, "loss": 0.0, "tiles": 0.0}

    def pack(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self.seen:
            self.seen.add(storage.data_ptr())
            self.bytes[_maker()] += storage.nbytes()
        return tensor


def _maker() -> str:
    """Who saves: the streamed primitive, another part of the contrast engine, or the method's own network."""
    frame: Any = sys._getframe(2)
    made = "network"
    while frame is not None:
        name = frame.f_globals.get("__name__", "")
        if name == streamed.__name__ and frame.f_code.co_name in STREAMED:
            return "tiles"
        if name.startswith("counterpoint.objectives."):
            made = "loss"
        frame = frame.f_back
    return made


def _weights(method: Method, phase: Phase) -> float:
    """Bytes of all state, and of the gradients and the optimiser's two numbers for what learns."""
    state = sum(t.numel() * t.element_size() for t in (*method.parameters(), *method.buffers()))
    learning = {id(p): p for name in phase.trains for p in method.get_submodule(name).parameters() if p.requires_grad}
    per_number = 2 if phase.optim.name == "sgd" else 3
    return float(state + per_number * sum(p.numel() * p.element_size() for p in learning.values()))


def _timed(trainer: Trainer, method: Method, phase: Phase, epoch: Sequence[Tensor]) -> float:
    """Median seconds from the start of one step to that of the next."""
    starts: list[float] = []
    rows = [epoch[place % len(epoch)] for place in range(STEPS + 1)]

    def batch(index: Tensor, generator: torch.Generator) -> Any:
        starts.append(time.perf_counter())
        return phase.batch(index, generator)

    trainer.fit(method, [_shortened(phase, rows, batch=batch)])
    return median(after - before for before, after in pairwise(starts[1:]))


def _largest(need: Any, rows: int, room: float) -> int:
    """The most rows whose need has room, by bisection; 0 when not even one has."""
    low, high = 0, rows
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if need(middle) <= room else (low, middle - 1)
    return low


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if os.access(path, os.R_OK) else []


def _bytes(number: float) -> str:
    """A size for a person.

    >>> _bytes(1536.0), _bytes(3e6)
    ('1.5 KB', '2.86 MB')
    """
    size, unit = number / 1024, "KB"
    for unit in ("KB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            break
        size /= 1024
    return f"{size:.3g} {unit}" if size < 1000 else f"{size:,.0f} {unit}"


def _seconds(number: float) -> str:
    """A time for a person.

    >>> _seconds(0.0123), _seconds(7.5), _seconds(4000.0)
    ('12 ms', '7.5 s', '67 min')
    """
    if number < 1:
        return f"{1000 * number:.2g} ms" if number < 0.1 else f"{1000 * number:.0f} ms"
    if number < 120:
        return f"{number:.3g} s"
    return f"{number / 60:.0f} min" if number < 7200 else f"{number / 3600:.1f} h"
