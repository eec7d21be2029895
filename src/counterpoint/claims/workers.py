"""Units are run by a few processes with one torch thread each, or inline by one; both give the same numbers."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path

import torch

from counterpoint.claims.units import Store, Unit, load_claim, run
from counterpoint.errors import UserError
from counterpoint.training.progress import Progress


@dataclass(frozen=True)
class Crew:
    """Who runs the units of a claim, named by `target` so that a worker finds it again."""

    target: str
    quick: bool
    store: Store
    workers: int
    progress: bool

    def finish(self, units: Sequence[Unit]) -> None:
        """Run the units that are not finished yet; on Ctrl-C those that are finished stay.

        Raises KeyboardInterrupt saying how to continue, and `UserError` naming the unit that cannot be
        fitted.
        """
        unfinished = [unit for unit in units if not self.store.has(unit)]
        done = len(units) - len(unfinished)
        ran = self._inline(unfinished) if self.workers == 1 else self._spread(unfinished)
        try:
            with closing(ran), Progress(self.store.claim.name, len(units), self.progress) as bar:
                bar.update(done)
                for _ in ran:
                    done += 1
                    bar.update(done)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                f"stopped; {done} of {len(units)} runs of {self.store.claim.name} are kept in {self.store.folder}, "
                "and the same command continues from there"
            ) from None

    def _inline(self, units: Sequence[Unit]) -> Generator[None, None, None]:
        with _one_thread():
            for unit in units:
                _run_named(self.store, unit)
                yield

    def _spread(self, units: Sequence[Unit]) -> Generator[None, None, None]:
        if not units:
            return
        others = set(multiprocessing.active_children())
        context = multiprocessing.get_context("spawn")
        pool = ProcessPoolExecutor(min(self.workers, len(units)), mp_context=context, initializer=_begin)
        try:
            jobs = [pool.submit(_run_in_worker, self.target, self.quick, self.store.folder, unit) for unit in units]
            for job in as_completed(jobs):
                job.result()
                yield
        except BrokenProcessPool:
            raise UserError(
                f"a worker of {self.store.claim.name} was killed (out of memory?); what is finished is kept; "
                "try --workers 1"
            ) from None
        except BaseException:
            for process in set(multiprocessing.active_children()) - others:
                process.terminate()
            raise
        finally:
            pool.shutdown(cancel_futures=True)


def _begin() -> None:
    """In a worker: one thread, Ctrl-C is the parent's business, and no life after the parent's."""
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow(sentinel: int) -> None:
        wait([sentinel])
        os._exit(1)

    threading.Thread(target=follow, args=(parent.sentinel,), daemon=True).start()


def _run_in_worker(target: str, quick: bool, folder: Path, unit: Unit) -> None:
    _run_named(Store(load_claim(target).at(quick), folder), unit)


def _run_named(store: Store, unit: Unit) -> None:
    """Run a unit; what goes wrong says which unit it was."""
    try:
        run(store, unit)
    except UserError as error:
        raise UserError(f"claim {store.claim.name}, {unit}: {error}") from error
    except Exception as error:
        error.add_note(f"while running {unit} of claim {store.claim.name}")
        raise


@contextmanager
def _one_thread() -> Iterator[None]:
    """One torch thread as in a worker, so that sums are added in the same order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
