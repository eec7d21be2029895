"""Answers kept on disk, so that a run repeats exactly and pays for nothing twice."""

import hashlib
import json
import os
import sqlite3
import threading
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from counterpoint.errors import UserError
from counterpoint.language.chat import Ask, ChatModel, Failure, Reply

TABLE = "CREATE TABLE IF NOT EXISTS replies (key TEXT PRIMARY KEY, asked TEXT NOT NULL, reply TEXT NOT NULL)"


class Cache:
    """A model whose answers are looked up in an SQLite file first, by model, conversation and sampling.

    Failures are not kept. `hits` and `misses` count the questions. An answer is written as soon as the batch it came
    with is there, so a run that is cut asks again for that batch at most (see `CHUNK`). Raises `UserError` for a
    file that is no such cache.

    >>> import tempfile
    >>> class Echo:
    ...     name = "echo"
    ...     def answer(self, asked):
    ...         return [Reply(one.messages[-1].text, None, 1, 1) for one in asked]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     model = Cache(Echo(), Path(folder) / "replies.sqlite")
    ...     _ = model.answer([Ask.of("a"), Ask.of("a")]), model.answer([Ask.of("a")])
    ...     model.hits, model.misses
    (2, 1)
    """

    def __init__(self, model: ChatModel, path: str | os.PathLike[str]) -> None:
        self.model, self.path = model, Path(path)
        self.name = model.name
        self.hits = self.misses = 0
        self._lock = threading.Lock()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._held = sqlite3.connect(self.path, check_same_thread=False)
            self._held.execute("PRAGMA journal_mode=WAL")
            self._held.execute(TABLE)
            self._held.execute("SELECT key, asked, reply FROM replies LIMIT 1")
        except sqlite3.Error as error:
            raise UserError(f"{path}: not a cache of answers ({error}); delete it or name another file") from None

    def answer(self, asked: Sequence[Ask]) -> list[Reply | Failure]:
        """Kept answers, and the model's to what is new; the same question twice is asked once."""
        keys = [one.key(self.name) for one in asked]
        found: dict[str, Reply | Failure] = {}
        new: dict[str, Ask] = {}
        for key, one in zip(keys, asked, strict=True):
            if key not in found and key not in new:
                kept = self._kept(key)
                if kept is None:
                    new[key] = one
                else:
                    found[key] = kept
        self.hits, self.misses = self.hits + len(asked) - len(new), self.misses + len(new)
        fresh = list(new.items())
        for start in range(0, len(fresh), CHUNK):
            part = fresh[start : start + CHUNK]
            for (key, _), reply in zip(part, self.model.answer([one for _, one in part]), strict=True):
                found[key] = reply
                if isinstance(reply, Reply):
                    self._keep(key, reply)
            self._held.commit()
        return [found[key] for key in keys]

    def close(self) -> None:
        """Close the file."""
        self._held.close()

    def _kept(self, key: str) -> Reply | None:
        with self._lock:
            row = self._held.execute("SELECT reply FROM replies WHERE key = ?", (_digest(key),)).fetchone()
        if row is None:
            return None
        told = json.loads(row[0])
        logprobs = told.pop("logprobs")
        return Reply(**told, logprobs=None if logprobs is None else tuple(logprobs))

    def _keep(self, key: str, reply: Reply) -> None:
        with self._lock:
            row = _digest(key), key, json.dumps(asdict(reply))
            self._held.execute("INSERT OR IGNORE INTO replies VALUES (?, ?, ?)", row)


CHUNK = 32
"""Questions that are asked of a model at a time."""


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
