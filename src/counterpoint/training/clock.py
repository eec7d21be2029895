"""Randomness without state: every stream is a function of its key, so a resumed run repeats itself exactly."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from counterpoint.objectives.ranks import rank


def seed_of(*key: int | str) -> int:
    """A 63-bit seed that depends on the whole key and on nothing else.

    >>> seed_of(0, "fit", 3) == seed_of(0, "fit", 3), seed_of(0, "fit", 3) == seed_of(0, "fit", 4)
    (True, False)
    """
    digest = hashlib.blake2b(repr(key).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def rng(*key: int | str) -> torch.Generator:
    """A generator that is a function of its key; no random state is ever stored.

    >>> int(torch.randint(100, (), generator=rng(0, "a"))) == int(torch.randint(100, (), generator=rng(0, "a")))
    True
    """
    return torch.Generator().manual_seed(seed_of(*key))


def seed_all(*key: int | str) -> None:
    """Seed torch's global generators, without the call stack that `torch.manual_seed` notes for devices not there.

    >>> seed_all(0, "a")
    >>> ours = torch.rand(3)
    >>> _ = torch.manual_seed(seed_of(0, "a"))
    >>> torch.equal(torch.rand(3), ours)
    True
    """
    if torch.accelerator.is_available():
        torch.manual_seed(seed_of(*key))
    else:
        torch.default_generator.manual_seed(seed_of(*key))


@contextmanager
def seeded(*key: int | str) -> Iterator[None]:
    """Run a block on its own stream of torch's global generator, which is put back afterwards.

    torch's initialisers and dropout can use no other generator.
    """
    before = torch.get_rng_state()
    seed_all(*key)
    try:
        yield
    finally:
        torch.set_rng_state(before)


@dataclass(frozen=True)
class Clock:
    """Where training stands: `step` counts optimiser steps of the phase from 0, `steps` is their planned number.

    >>> Clock(seed=0, phase="fit", epoch=0, step=5, steps=10).progress
    0.5
    """

    seed: int
    phase: str
    epoch: int
    step: int
    steps: int

    @property
    def progress(self) -> float:
        """Share of the phase that is done, from 0 to 1."""
        return self.step / self.steps if self.steps else 1.0

    def rng(self, use: str) -> torch.Generator:
        """This step's own stream on this rank, one for each use."""
        return rng(self.seed, self.phase, self.step, rank(), use)

    def shared_rng(self, use: str) -> torch.Generator:
        """The same stream on every rank (permutations over the whole batch, a mode chosen for the step)."""
        return rng(self.seed, self.phase, self.step, use)
