"""Several processes for one fit: started here (`--ranks N`) or by torchrun, which sets the same variables."""

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

EXPECTED = (0, 2, 130)
"""Exit codes that the first rank explains for all: done, a user's mistake, Ctrl-C."""


def world() -> int:
    """How many processes this one belongs to, itself included."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_first() -> bool:
    """Whether this process prints and writes for all."""
    return int(os.environ.get("RANK", "0")) == 0


def start(ranks: int, arguments: Sequence[str]) -> int:
    """Run one `counterpoint` command as `ranks` local processes; returns the exit code of the first that failed.

    Only the first process speaks; another is heard when it breaks in a way the first does not explain. When one
    fails, the rest are stopped.
    """
    shared = {"WORLD_SIZE": str(ranks), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port())}
    shared["OMP_NUM_THREADS"] = os.environ.get("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // ranks)))
    command = [sys.executable, "-m", "counterpoint", *arguments]
    with tempfile.TemporaryFile("w+") as unheard:
        workers = [
            subprocess.Popen(
                command,
                env={**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
                stdout=None if rank == 0 else subprocess.DEVNULL,
                stderr=None if rank == 0 else unheard,
            )
            for rank in range(ranks)
        ]
        try:
            code = _first_failure(workers)
        finally:
            _stop(workers)
        if code not in EXPECTED:
            unheard.seek(0)
            sys.stderr.write(unheard.read())
        return code


@contextmanager
def group() -> Iterator[None]:
    """Inside, the processes of one launch form a gloo group; alone, nothing happens.

    Afterwards each is alone again, so that the first can go on to judge and write.
    """
    if world() == 1:
        yield
        return
    import torch.distributed as dist

    dist.init_process_group("gloo")
    try:
        yield
        dist.barrier()  # nobody leaves while another still speaks to it
    finally:
        dist.destroy_process_group()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _first_failure(workers: Sequence[subprocess.Popen[bytes]]) -> int:
    """Wait until all are done or one has failed; Ctrl-C reaches every process, so it is waited out."""
    running = list(workers)
    while running:
        try:
            for worker in list(running):
                try:
                    code = worker.wait(timeout=0.1)
                except subprocess.TimeoutExpired:
                    continue
                running.remove(worker)
                if code != 0:
                    return _explained(workers, code)
        except KeyboardInterrupt:
            continue
    return 0


def _explained(workers: Sequence[subprocess.Popen[bytes]], code: int) -> int:
    """Give the first process a moment to explain a failure that it shares."""
    try:
        first = workers[0].wait(timeout=10)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        return code
    return first or code


def _stop(workers: Sequence[subprocess.Popen[bytes]]) -> None:
    for worker in workers:
        if worker.poll() is None:
            worker.terminate()
    for worker in workers:
        try:
            worker.wait(timeout=5)
        except subprocess.TimeoutExpired:
            worker.kill()
            worker.wait()
