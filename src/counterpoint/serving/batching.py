"""Requests that come within a few milliseconds are computed together, in one worker thread."""

import asyncio
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

Work = Callable[[Any, list[Any]], Sequence[Any]]
"""Takes a key and items that share it; gives one result per item."""


class BusyError(Exception):
    """Too much is waiting already."""


@dataclass(frozen=True)
class Job:
    """The items of one request, and where their results go."""

    key: Hashable
    items: list[Any]
    done: "asyncio.Future[list[Any]]"


class Batcher:
    """Collects the items of requests for `wait` seconds and computes up to `largest` of them at a time.

    While one batch is computed the next one gathers. Only items with an equal key are computed together. When a batch
    fails, its requests are computed one by one, so that a mistake in one of them is told to that one alone. `seen` is
    called with the number of requests of every batch.
    """

    def __init__(
        self,
        work: Work,
        largest: int,
        wait: float,
        waiting: int,
        seen: Callable[[int], Any] = lambda requests: None,
    ) -> None:
        self.work, self.largest, self.wait, self.room, self.seen = work, largest, wait, waiting, seen
        self.jobs: list[Job] = []
        self.task: asyncio.Task[None] | None = None
        self.thread = ThreadPoolExecutor(max_workers=1)

    @property
    def waiting(self) -> int:
        """Items that wait."""
        return sum(len(job.items) for job in self.jobs)

    async def submit(self, items: list[Any], key: Hashable = None) -> list[Any]:
        """The results of some items, computed in company.

        Raises `BusyError` when as many items as there is room for wait already, and whatever the work raised.
        """
        if self.jobs and self.waiting + len(items) > self.room:
            raise BusyError
        job = Job(key, items, asyncio.get_running_loop().create_future())
        self.jobs.append(job)
        if self.task is None:
            self.task = asyncio.create_task(self._drain())
        return await job.done

    def close(self) -> None:
        """Let the thread go; nothing may be submitted afterwards."""
        self.thread.shutdown()

    async def _drain(self) -> None:
        await asyncio.sleep(self.wait)
        while self.jobs:
            batch = self._take()
            outcomes = await asyncio.get_running_loop().run_in_executor(self.thread, self._compute, batch)
            for job, outcome in zip(batch, outcomes, strict=True):
                if job.done.cancelled():  # the client went away
                    continue
                if isinstance(outcome, Exception):
                    job.done.set_exception(outcome)
                else:
                    job.done.set_result(outcome)
        self.task = None

    def _take(self) -> list[Job]:
        """The first request and those that fit beside it, taken off the queue."""
        batch, left, size = [self.jobs[0]], [], len(self.jobs[0].items)
        for job in self.jobs[1:]:
            if job.key == batch[0].key and size + len(job.items) <= self.largest:
                batch.append(job)
                size += len(job.items)
            else:
                left.append(job)
        self.jobs = left
        return batch

    def _compute(self, batch: list[Job]) -> "list[list[Any] | Exception]":
        """One list of results, or what went wrong, per request."""
        self.seen(len(batch))
        try:
            results = list(self.work(batch[0].key, [item for job in batch for item in job.items]))
        except Exception as problem:
            return [problem] if len(batch) == 1 else [self._compute([job])[0] for job in batch]
        parts, start = [], 0
        for job in batch:
            parts.append(results[start : start + len(job.items)])
            start += len(job.items)
        return [*parts]
