"""What people did, in the order of time: the data of the recommend wing."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Bool, Int, Shaped

from counterpoint.errors import UserError, nearest
from counterpoint.files import atomic_path

Index = slice | Int[np.ndarray, " k"] | Bool[np.ndarray, " u"]
Values = Sequence[Any] | Shaped[np.ndarray, " _"]
Seen = Literal["removed", "kept"]
REPEATS = 0.01
"""Share of events that repeat a user's earlier item, from which on items that a user has seen stay candidates."""
HISTORIES = "histories.parquet"
"""In a run folder: the events of everybody, for those who ask by name."""


@dataclass(frozen=True)
class Protocol:
    """What is asked of a recommender and how its answers count; all of it stands in the result of a judgement.

    `target` is the behaviour that is asked for (None: any). `seen` says whether items of the history are candidates.
    With `together` all that is asked of a user is one question from the history before it; else each event is one, from
    everything before that event. `cutoffs` are the lengths of lists that are judged, in rising order.

    >>> Protocol(cutoffs=(5, 10)).cutoffs
    (5, 10)
    """

    target: str | None = None
    seen: Seen = "removed"
    together: bool = False
    cutoffs: tuple[int, ...] = (5, 10, 20)

    def __post_init__(self) -> None:
        if not self.cutoffs or min(self.cutoffs) < 1 or list(self.cutoffs) != sorted(set(self.cutoffs)):
            raise UserError(f"cutoffs={','.join(map(str, self.cutoffs))}: give whole numbers from 1 in rising order")


@dataclass(frozen=True, eq=False)
class Interactions:
    """n events of u users, user by user and within each in the order of time; a row is a user.

    `starts[i]` is the first event of user i, `starts[u]` is n. `items` are row numbers of `catalogue`, whose first
    column `id` holds the data's own ids, the others titles and attributes. `behaviours` are numbers of `labels`, from
    what says least to what says most. `times` are in the file's own unit, dates in microseconds since 1970; what had no
    time comes last. `asked` marks events that are to be predicted: training data have none. `candidates` limits a
    user's lists to some items, the same ones whenever they are judged.

    >>> data = Interactions.of(["ann", "bob", "ann"], ["tea", "rice", "salt"], times=[2, 1, 1])
    >>> data.user_ids.tolist(), data.item_ids[data.items].tolist()
    (['ann', 'bob'], ['salt', 'tea', 'rice'])
    """

    starts: Int[np.ndarray, " u1"]
    items: Int[np.ndarray, " n"]
    behaviours: Int[np.ndarray, " n"]
    user_ids: Shaped[np.ndarray, " u"]
    catalogue: pa.Table
    labels: tuple[str, ...] = ("event",)
    times: Shaped[np.ndarray, " n"] | None = None
    asked: Bool[np.ndarray, " n"] | None = None
    candidates: Int[np.ndarray, "u c"] | None = None
    protocol: Protocol = field(default_factory=Protocol)
    source: str = "memory"
    notes: tuple[str, ...] = ()
    group: str | None = None

    def __post_init__(self) -> None:
        ends = (len(self.starts) - 1, int(self.starts[-1]))
        if ends != (len(self.user_ids), len(self.items)):
            raise ValueError(f"starts speak of {ends[0]} users and {ends[1]} events")
        if self.protocol.target is not None and self.protocol.target not in self.labels:
            raise UserError(
                f"{self.source}: target={self.protocol.target}: no such behaviour; "
                f"{nearest(self.protocol.target, self.labels)}"
            )

    def __len__(self) -> int:
        return len(self.user_ids)

    @classmethod
    def of(
        cls,
        users: Values,
        items: Values,
        times: Values | None = None,
        behaviours: Values | None = None,
        catalogue: pa.Table | None = None,
        labels: Sequence[str] | None = None,
        protocol: Protocol | None = None,
        source: str = "memory",
    ) -> "Interactions":
        """Events in any order, in the data's own ids; `labels` order the behaviours, default as they first occur.

        `catalogue` has a column `id` with every item, and more columns; default the items that occur. Raises
        `UserError` as the readers do.
        """
        from counterpoint.recommend.assemble import Events, assemble

        columns = {
            "user": pa.array(users),
            "item": pa.array(items),
            **({} if times is None else {"time": pa.array(times)}),
            **({} if behaviours is None else {"behaviour": pa.array(behaviours)}),
        }
        return assemble(Events.of([columns], source), catalogue, labels, protocol or Protocol(), source)

    @classmethod
    def of_records(cls, records: Sequence[Any], facts: Mapping[str, Any], source: str = "records") -> "Interactions":
        """Histories for a fitted method with these facts: {"items": [id, ...]}, or a text of ids with commas between.

        Raises `UserError` naming the record that is neither.
        """
        histories = []
        for number, record in enumerate(records, start=1):
            items = record.split(",") if isinstance(record, str) else None
            if isinstance(record, Mapping) and set(record) == {"items"}:
                items = record["items"]
            if not isinstance(items, list) or not items or not all(isinstance(item, str | int) for item in items):
                raise UserError(
                    f'{source}: record {number} is not a history: {{"items": [id, ...]}}, or ids with commas'
                )
            histories.append([str(item).strip() for item in items])
        users = np.repeat(np.arange(len(histories)), [len(items) for items in histories])
        flat = [item for items in histories for item in items]
        label = facts["behaviours"][-1]
        return cls.of(users, flat, behaviours=[label] * len(flat), source=source)

    @classmethod
    def read(
        cls,
        path: str | Path,
        *,
        user: str | None = None,
        item: str | None = None,
        time: str | None = None,
        behaviour: str | None = None,
        behaviours: Mapping[str, str] | None = None,
        target: str | None = None,
        catalogue: str | None = None,
        title: str | None = None,
        core: int = 0,
        seen: Literal["auto", "removed", "kept"] = "auto",
        questions: Literal["each", "together"] = "each",
        cutoffs: tuple[int, ...] = (5, 10, 20),
        candidates: str | None = None,
    ) -> "Interactions":
        """Read RecBole's atomic files, CSV, TSV, Parquet, or a text with a sequence per line; a large file is streamed.

        `user`, `item`, `time` and `behaviour` name columns; without them they are recognised. `behaviours` orders the
        labels from what says least to what says most, and may join values: {"view": "click,look", "buy": "order"}.
        `catalogue` is a file of titles and attributes (default: the `.item` beside an `.inter`), sought beside the
        data. `core` leaves out users and items with fewer events. `seen` says whether items of a history are
        candidates: auto keeps them where at least 1 in 100 events repeats an item. `questions`, `target` and `cutoffs`
        are those of `Protocol`. `candidates` is a Parquet file with `user` and a list `items`: lists are judged among
        those alone. Raises `UserError` naming the file, and the row, column or option that is wrong.

        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "shop.csv"
        >>> _ = file.write_text("user,item,time\\nann,tea,2\\nann,salt,1\\nbob,tea,5\\n")
        >>> data = Interactions.read(file)
        >>> data.user_ids.tolist(), data.item_ids[data.items].tolist()
        (['ann', 'bob'], ['salt', 'tea', 'tea'])
        """
        from counterpoint.recommend.readers import events_of, judged_by

        place = Path(path)
        named = {"user": user, "item": item, "time": time, "behaviour": behaviour}
        data = events_of(place, named, behaviours or {}, catalogue, title, core)
        protocol = Protocol(target=target, together=questions == "together", cutoffs=cutoffs)
        beside = place if place.is_dir() else place.parent
        return judged_by(data, protocol, seen, None if candidates is None else beside / candidates)

    # What it is -------------------------------------------------------------------------------------------

    @property
    def ids(self) -> Shaped[np.ndarray, " u"]:
        """The users, which are the rows."""
        return self.user_ids

    @cached_property
    def item_ids(self) -> Shaped[np.ndarray, " v"]:
        """The data's own id of each item."""
        return np.asarray(self.catalogue["id"].to_numpy())

    @cached_property
    def lengths(self) -> Int[np.ndarray, " u"]:
        """How many events each user has."""
        return np.diff(self.starts)

    @cached_property
    def users(self) -> Int[np.ndarray, " n"]:
        """The user of each event."""
        return np.repeat(np.arange(len(self)), self.lengths)

    @cached_property
    def wanted(self) -> Bool[np.ndarray, " n"]:
        """Which events are of the behaviour that is asked for."""
        if self.protocol.target is None:
            return np.ones(len(self.items), dtype=bool)
        found: Bool[np.ndarray, " n"] = self.behaviours == self.labels.index(self.protocol.target)
        return found

    @property
    def known(self) -> Bool[np.ndarray, " n"]:
        """Which events are given: all but those asked for."""
        return np.ones(len(self.items), dtype=bool) if self.asked is None else ~self.asked

    @property
    def views(self) -> dict[str, Any]:
        """None: nothing of a row is chosen by a user."""
        return {}

    @property
    def columns(self) -> dict[str, Any]:
        """None beside the events."""
        return {}

    # Parts of it ------------------------------------------------------------------------------------------

    def rows(self, index: Index) -> "Interactions":
        """The events of some users: a slice, row numbers (repeats allowed) or a mask."""
        users = np.arange(len(self))[index]
        lengths = self.lengths[users]
        starts = np.concatenate([[0], lengths.cumsum()])
        events = np.repeat(self.starts[users] - starts[:-1], lengths) + np.arange(starts[-1])
        changed = {"user_ids": self.user_ids[users], "candidates": _at(self.candidates, users)}
        return self._events(events, starts, **changed)

    def where(self, kept: Bool[np.ndarray, " n"]) -> "Interactions":
        """Some of the events, of the same users; a user may be left with none."""
        counts = np.bincount(self.users[kept], minlength=len(self))
        return self._events(np.flatnonzero(kept), np.concatenate([[0], counts.cumsum()]))

    def _events(self, events: Int[np.ndarray, " m"], starts: Int[np.ndarray, " s"], **changed: Any) -> "Interactions":
        return replace(
            self,
            starts=starts,
            items=self.items[events],
            behaviours=self.behaviours[events],
            times=_at(self.times, events),
            asked=_at(self.asked, events),
            **changed,
        )

    def asking(self, asked: Bool[np.ndarray, " n"] | None) -> "Interactions":
        """The same events, some of which are to be predicted."""
        return replace(self, asked=asked)

    def asking_last(self) -> "Interactions":
        """The last wanted event of each user is asked for, where another comes before it; what follows is left out."""
        from counterpoint.recommend.splits import before_last

        return before_last(self)

    def noting(self, *notes: str) -> "Interactions":
        """The same with more to tell."""
        return replace(self, notes=(*self.notes, *notes))

    @property
    def usual_split(self) -> str:
        """How it is divided unless a user says so."""
        return "leave-one-out" if self.protocol.target is None else "leave-last-target-out"

    def divide(self, split: str, files: Mapping[str, "Interactions"] | None = None) -> dict[str, "Interactions"]:
        """Training, validation and test parts in the order of time; see `counterpoint.recommend.splits.divide`."""
        from counterpoint.recommend.splits import divide

        return divide(self, split, files or {})

    def split(self, shares: Mapping[str, float], seed: int = 0, group: str | None = None) -> dict[str, "Interactions"]:
        """Divide the users at random by shares that add up to 1 (for histories of people never seen in training)."""
        from counterpoint.rows import split_rows

        parts = split_rows(len(self), shares, seed, None, self.source)
        return {part: self.rows(rows) for part, rows in parts.items()}

    # For the run folder -----------------------------------------------------------------------------------

    def fingerprint(self) -> str:
        """A hash of events, ids, labels and what is asked: equal data hash equally, whatever the file.

        >>> one, other = Interactions.of([1, 1], ["a", "b"]), Interactions.of([1, 1], ["b", "a"])
        >>> one.fingerprint() == one.rows(slice(None)).fingerprint(), one.fingerprint() == other.fingerprint()
        (True, False)
        """
        digest = hashlib.blake2b(digest_size=16)
        digest.update(repr((self.labels, self.protocol)).encode())
        for ids in (self.user_ids, self.item_ids):
            digest.update(repr(ids.tolist()).encode("utf-8", "surrogatepass"))
        for column in (self.starts, self.items, self.behaviours, self.times, self.asked, self.candidates):
            digest.update(b"\0" if column is None else np.ascontiguousarray(column).astype(np.float64).tobytes())
        return digest.hexdigest()

    def keep(self, folder: Path) -> None:
        """Write everybody's events into a run folder, by their ids, a row per user."""
        offsets = pa.array(self.starts.astype(np.int64))
        items = self.catalogue["id"].combine_chunks().take(pa.array(self.items))
        names = pa.DictionaryArray.from_arrays(pa.array(self.behaviours.astype(np.int32)), pa.array(list(self.labels)))
        table = pa.table(
            {
                "user": pa.array(self.user_ids),
                "items": pa.LargeListArray.from_arrays(offsets, items),
                "behaviours": pa.LargeListArray.from_arrays(offsets, names.cast(pa.string())),
            }
        )
        with atomic_path(folder / HISTORIES) as temporary:
            pq.write_table(table, temporary)

    # What people are told ---------------------------------------------------------------------------------

    def schema(self) -> list[dict[str, Any]]:
        """One line per behaviour: how many events, and how many a user has on average."""
        counts = np.bincount(self.behaviours, minlength=len(self.labels))
        return [
            {
                "view": label,
                "kind": "events",
                "columns": f"{self.catalogue.num_rows} items",
                "width": round(count / max(1, len(self)), 1),
                "unit": "a user",
                "rows": int(count),
                "missing": 0.0,
            }
            for label, count in zip(self.labels, counts.tolist(), strict=True)
        ]

    def warnings(self) -> list[str]:
        """What the reader noted and what looks wrong, in plain words."""
        found = list(self.notes)
        target = self.protocol.target
        if target is not None:
            without = len(self) - len(np.unique(self.users[self.wanted]))
            if without:
                found.append(
                    f'{without} of {len(self)} users have no "{target}" event: nothing can be asked about them'
                )
        if once := int((self.lengths == 1).sum()):
            found.append(
                f"{once} of {len(self)} users have one event only: they teach no order, nothing is asked of them"
            )
        if self.candidates is not None:
            found.append(
                f"lists are judged among {self.candidates.shape[1]} given candidates, not all items: the numbers are "
                "not comparable with full ranking and may put methods in another order"
            )
        return found


def _at(values: Any, index: Any) -> Any:
    return None if values is None else values[index]
