"""Two processes that form a gloo group and do what they are asked; they live as long as the test session."""

import atexit
import contextlib
import multiprocessing
import pickle
import tempfile
import time
import traceback
from collections.abc import Callable
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

WORLD = 2
PATIENCE = 180.0
"""Seconds until a job that hangs is ended; long, because a busy machine is slow without hanging."""


class Pair:
    """Two ranks; `ask` runs a function of an importable module on both and returns both results."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.folder = tempfile.TemporaryDirectory()
        self.pipes, self.processes = [], []
        for rank in range(WORLD):
            here, there = context.Pipe()
            meet = (Path(self.folder.name) / "meet").as_uri()
            process = context.Process(target=_serve, args=(rank, meet, there), daemon=True)
            process.start()
            self.pipes.append(here)
            self.processes.append(process)
        for pipe in self.pipes:
            pipe.recv_bytes()

    def ask(self, function: Callable[..., Any], *arguments: Any) -> list[Any]:
        """Both results in the order of the ranks; raises AssertionError with the traceback of a rank that fails."""
        for pipe in self.pipes:
            pipe.send_bytes(pickle.dumps((function, arguments)))
        results = []
        deadline = time.monotonic() + PATIENCE
        for rank, pipe in enumerate(self.pipes):
            answered = pipe.poll(max(0.1, deadline - time.monotonic()))
            good, result = pickle.loads(pipe.recv_bytes()) if answered else (False, "no answer: the ranks hang")
            if not good:
                self._end()
                raise AssertionError(f"rank {rank}: {result}")
            results.append(result)
        return results

    def _end(self) -> None:
        pair.cache_clear()
        for process in self.processes:
            process.kill()
            process.join()
        self.folder.cleanup()


@cache
def pair() -> Pair:
    """The session's two ranks, started at the first call and after a failure."""
    made = Pair()
    atexit.register(made._end)
    return made


def _serve(rank: int, meet: str, pipe: Any) -> None:
    import torch
    import torch.distributed as dist

    from counterpoint.training import Trainer

    torch.set_num_threads(1)
    Trainer()._fabric()  # slow to import: before the first job, whose time is limited
    dist.init_process_group("gloo", init_method=meet, rank=rank, world_size=WORLD, timeout=timedelta(seconds=PATIENCE))
    pipe.send_bytes(b"ready")
    with contextlib.suppress(EOFError):
        while True:
            function, arguments = pickle.loads(pipe.recv_bytes())
            try:
                answer = (True, function(*arguments))
            except BaseException:
                answer = (False, traceback.format_exc())
            pipe.send_bytes(pickle.dumps(answer))
