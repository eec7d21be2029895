"""What the whole numbers of a view stand for: levels, texts, pictures, sequences of events."""

import hashlib
import tempfile
from collections.abc import Callable, Hashable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Int, Shaped, UInt8

T = TypeVar("T")
KEPT = 2**28
"""Bytes of numbers that stay in memory; more lie in a temporary file."""
TOGETHER = 1024
"""Items that are worked on together."""


class Items:
    """Distinct things by number; what is made of one is made once, however many rows have it and however often.

    An entry is a text, a (column, level), a picture (its path or bytes) or an m x 3 array of events, whose third column
    numbers `names`.

    >>> items = Items(["a cat", "a dog"])
    >>> len(items), items.entries[1]
    (2, 'a dog')
    """

    def __init__(self, entries: Sequence[Any], names: Sequence[str] = ()) -> None:
        self.entries, self.names = entries, tuple(names)
        self._memo: dict[Hashable, Any] = {}

    def __len__(self) -> int:
        return len(self.entries)

    @cached_property
    def hashes(self) -> UInt8[np.ndarray, "n 16"]:
        """A hash of each entry's content; of a picture in a file its name and size."""
        found = [hashlib.blake2b(self._content(entry), digest_size=16).digest() for entry in self.entries]
        return np.frombuffer(b"".join(found), dtype=np.uint8).reshape(-1, 16)

    def once(self, key: Hashable, make: Callable[[], T]) -> T:
        """What `make` gives, kept under a key as long as the items are."""
        if key not in self._memo:
            self._memo[key] = make()
        found: T = self._memo[key]
        return found

    def _content(self, entry: Any) -> bytes:
        if isinstance(entry, bytes):
            return entry
        if isinstance(entry, Path):
            size = entry.stat().st_size if entry.exists() else -1
            return f"{entry.name} {size}".encode()
        if isinstance(entry, np.ndarray) and not self.names:
            return repr(entry.shape).encode() + entry.tobytes()
        if isinstance(entry, np.ndarray):
            names = [self.names[int(kind)] for kind in entry[:, 2]]
            return entry[:, :2].tobytes() + repr(names).encode("utf-8", "surrogatepass")
        return (entry if isinstance(entry, str) else repr(entry)).encode("utf-8", "surrogatepass")


class Made:
    """An array with a row per item, each row made when it is first asked for.

    `make` turns entries into rows of `shape`. More than `KEPT` bytes lie in a temporary file that the system removes,
    so memory stays bounded; a bar shows long work on a terminal.

    >>> lengths = Made(Items(["a", "abc"]), (1,), np.float32, lambda texts: [[len(text)] for text in texts])
    >>> lengths.rows(np.array([1, 1])).tolist()
    [[3.0], [3.0]]
    """

    def __init__(
        self, items: Items, shape: tuple[int, ...], dtype: Any, make: Callable[[list[Any]], Any], about: str = "items"
    ) -> None:
        self.items, self.make, self.about = items, make, about
        whole = (len(items), *shape)
        size = int(np.prod(whole)) * np.dtype(dtype).itemsize
        self.values: Shaped[np.ndarray, "n ..."]
        if size > KEPT:
            with tempfile.TemporaryFile(prefix="counterpoint-") as file:  # the map keeps it, without a name
                self.values = np.memmap(file, dtype=dtype, mode="w+", shape=whole)
        else:
            self.values = np.zeros(whole, dtype=dtype)
        self._done = np.zeros(len(items), dtype=bool)

    def rows(self, numbers: Int[np.ndarray, " n"]) -> Shaped[np.ndarray, "n ..."]:
        """The rows of some items, which must exist."""
        from counterpoint.training.progress import Progress  # brings torch, which reading a table does not need

        wanted = np.unique(numbers)
        wanted = wanted[~self._done[wanted]]
        with Progress(self.about, len(wanted), on=len(wanted) > TOGETHER) as bar:
            for start in range(0, len(wanted), TOGETHER):
                some = wanted[start : start + TOGETHER]
                self.values[some] = self.make([self.items.entries[number] for number in some.tolist()])
                self._done[some] = True
                bar.update(start + len(some))
        found: Shaped[np.ndarray, "n ..."] = self.values[numbers]
        return found
