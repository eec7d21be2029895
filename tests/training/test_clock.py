"""Streams are functions of their keys, and nothing else is touched."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from counterpoint.training import Clock, clock, rng
from counterpoint.training.clock import seed_of, seeded

key = st.lists(st.integers(-5, 5) | st.text(max_size=3), max_size=4).map(tuple)


def draw(generator: torch.Generator) -> list[int]:
    return torch.randint(2**31, (4,), generator=generator).tolist()


@given(key, key)
def test_a_stream_is_a_function_of_its_key(one: tuple, other: tuple) -> None:
    assert (draw(rng(*one)) == draw(rng(*other))) == (one == other)


def test_numbers_and_texts_are_different_keys() -> None:
    assert len({seed_of(1), seed_of("1"), seed_of(1, ""), seed_of("", 1), seed_of(11), seed_of(1, 1)}) == 6


def test_a_generator_is_independent_of_the_global_one() -> None:
    torch.manual_seed(0)
    first = draw(rng("a"))
    torch.manual_seed(1)
    assert draw(rng("a")) == first


def test_seeded_uses_the_global_generator_and_puts_it_back() -> None:
    before = torch.get_rng_state()
    with seeded(0, "a"):
        first = torch.rand(3)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(7)
    with seeded(0, "a"):
        assert torch.equal(torch.rand(3), first)
    before = torch.get_rng_state()
    with pytest.raises(RuntimeError), seeded(0, "b"):
        torch.rand(3).add_(torch.rand(2))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_clock_has_one_stream_per_step_and_use() -> None:
    at = Clock(seed=0, phase="fit", epoch=0, step=3, steps=4)
    later = Clock(seed=0, phase="fit", epoch=0, step=4, steps=4)
    other = Clock(seed=0, phase="mine", epoch=0, step=3, steps=4)
    streams = [at.rng("a"), at.rng("b"), at.shared_rng("a"), later.rng("a"), other.rng("a")]
    assert len({tuple(draw(s)) for s in streams}) == len(streams)
    assert draw(at.rng("a")) == draw(at.rng("a"))
    assert (at.progress, later.progress) == (0.75, 1.0)
    assert Clock(0, "empty", 0, 0, 0).progress == 1.0


def test_ranks_share_one_stream_and_have_one_each(monkeypatch: pytest.MonkeyPatch) -> None:
    at = Clock(seed=0, phase="fit", epoch=0, step=3, steps=4)
    own, shared = draw(at.rng("a")), draw(at.shared_rng("a"))
    monkeypatch.setattr(clock, "rank", lambda: 1)
    assert draw(at.rng("a")) != own
    assert draw(at.shared_rng("a")) == shared
