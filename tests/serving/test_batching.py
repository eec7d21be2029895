"""What comes together is computed together, everybody gets their own, and nobody waits for ever."""

import asyncio
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterpoint.serving.batching import Batcher, BusyError


def asked(batcher: Batcher, requests: list[tuple[list[int], Any]]) -> list[Any]:
    """What all requests get when they are made at the same moment."""

    async def all_at_once() -> list[Any]:
        jobs = (batcher.submit(items, key) for items, key in requests)
        return await asyncio.gather(*jobs, return_exceptions=True)

    return asyncio.run(all_at_once())


def doubled(key: Any, items: list[int]) -> list[Any]:
    if any(item < 0 for item in items):
        raise ValueError("below zero")
    return [(key, 2 * item) for item in items]


@given(st.lists(st.tuples(st.lists(st.integers(-1, 50), min_size=1, max_size=9), st.sampled_from("ab")), max_size=20))
def test_everybody_gets_their_own(requests: list[tuple[list[int], Any]]) -> None:
    sizes: list[int] = []
    batcher = Batcher(doubled, 8, 0.0, 1000, sizes.append)
    got = asked(batcher, requests)
    batcher.close()
    for (items, key), answer in zip(requests, got, strict=True):
        if any(item < 0 for item in items):
            assert isinstance(answer, ValueError)
        else:
            assert answer == [(key, 2 * item) for item in items]
    assert sum(sizes) >= len(requests)


def test_batches_are_filled_and_no_larger() -> None:
    batches: list[tuple[Any, int]] = []

    def work(key: Any, items: list[int]) -> list[int]:
        batches.append((key, len(items)))
        return items

    batcher = Batcher(work, 8, 0.01, 1000)
    asked(batcher, [([number], None) for number in range(20)] + [(list(range(30)), None)])
    assert [size for _, size in batches] == [8, 8, 4, 30], "a request is never divided"


def test_what_does_not_fit_is_turned_away_and_what_waits_is_served() -> None:
    batcher = Batcher(doubled, 4, 0.01, 6)
    got = asked(batcher, [([1, 2, 3, 4], None)] * 3)
    assert [isinstance(answer, BusyError) for answer in got] == [False, True, True]
    assert asked(batcher, [([1], None)]) == [[(None, 2)]]


def test_who_goes_away_does_not_hold_the_others_up() -> None:
    def slow(key: Any, items: list[int]) -> list[int]:
        time.sleep(0.05)
        return items

    async def leaving() -> list[int]:
        batcher = Batcher(slow, 8, 0.02, 100)
        gone = asyncio.create_task(batcher.submit([1]))
        stays = asyncio.create_task(batcher.submit([2]))
        await asyncio.sleep(0.005)
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
        return await stays

    assert asyncio.run(leaving()) == [2]
