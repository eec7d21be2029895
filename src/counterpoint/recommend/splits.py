"""Parts of interactions in the order of time, and the check that no part knows what another is asked."""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool, Int

from counterpoint.errors import UserError
from counterpoint.recommend.interactions import Interactions

Parts = dict[str, Interactions]
FORMS = "leave-one-out, leave-last-target-out, last-N (such as last-10) or time=.8,.1,.1"


def divide(data: Interactions, split: str, files: Mapping[str, Interactions]) -> Parts:
    """Training, validation and test parts; in the latter two some events are asked for and those before are given.

    `leave-one-out`           the last event of a user is for testing, the one before for validation
    `leave-last-target-out`   the same of the target events; given is what happened at an earlier time
    `last-N`                  from the last but N (target) event on is for testing, as many before for validation (at
                              most half of what is left then)
    `time=.8,.1,.1`           the first 80 % of all events train, the next 10 % validate, the last 10 % test

    What is asked for is of the target behaviour, if there is one. A user with too few events is in the training part
    alone, and counted; where nobody has enough, there is no validation part. A part of `files` is taken from its file
    instead: the events there are asked for, those of the training part come before them. Raises `UserError` for another
    split, a part without questions, and events that are both asked for and trained on.

    >>> parts = Interactions.of([1, 1, 1, 1], ["a", "b", "c", "d"]).divide("leave-one-out")
    >>> {name: part.item_ids[part.items].tolist() for name, part in parts.items()}
    {'train': ['a', 'b'], 'validation': ['a', 'b', 'c'], 'test': ['a', 'b', 'c', 'd']}
    >>> parts["test"].asked.tolist()
    [False, False, False, True]
    """
    if files:
        parts = {"train": data} | {name: _follows(data, part, name) for name, part in files.items()}
        parts = _one_catalogue(parts)
    else:
        parts = _way(data, split)(data)
    for name, part in list(parts.items()):
        if part.asked is None:
            continue
        if not part.asked.any() and name == "validation" and not files:
            del parts[name]
            parts["train"] = parts["train"].noting("users have too few events for a validation part; there is none")
        elif not part.asked.any():
            target = data.protocol.target
            what = "an event" if target is None else f'an event "{target}"'
            raise UserError(
                f"{data.source}: nothing is asked in the {name} part: with {split}, nobody has {what} there "
                "and others before it"
            )
        else:
            refuse_leak(parts["train"], part, name)
    without = len(data) - len(np.unique(parts["test"].users[parts["test"].asked])) if "test" in parts else 0
    if without and not files:
        parts["train"] = parts["train"].noting(f"{without} of {len(data)} users have too few events to be asked about")
    return parts


def _way(data: Interactions, split: str) -> Callable[[Interactions], Parts]:
    if split == "leave-one-out":
        return lambda data: _last(data, 1)
    if split == "leave-last-target-out":
        if data.protocol.target is None:
            raise UserError(f"{data.source}: --split {split} needs the behaviour that is asked for: target=LABEL")
        return _last_target
    if match := re.fullmatch(r"last-([1-9]\d*)", split):
        return lambda data: _last(data, int(match[1]))
    if split.startswith("time="):
        shares = _shares(split)
        return lambda data: _by_time(data, shares)
    raise UserError(f"--split {split}: interactions are divided by {FORMS}")


def before_last(data: Interactions) -> Interactions:
    """The last wanted event of each user is asked for, from what came before; what follows is left out."""
    return _asking(data, _moments(data, 0))


def hold_out(data: Interactions, users: Bool[np.ndarray, " u"]) -> tuple[Interactions, Interactions]:
    """Training data without the last wanted event of some users and what follows it, and those users asked for it.

    For choosing what a method has to choose on training data alone.
    """
    moments = np.where(users, _moments(data, 0), len(data.items))
    return data.where(_before(data, moments)), _asking(data, moments).rows(users)


def _last_target(data: Interactions) -> Parts:
    """The last target event tests, the one before validates, what came before both trains."""
    test, validation = _moments(data, 0), _moments(data, 1)
    first = np.where(validation < len(data.items), validation, test)
    asked = np.isin(np.arange(len(data.items)), validation)
    return {
        "train": data.where(_before(data, first)).asking(None),
        "validation": data.asking(asked).where(_before(data, first) | asked),
        "test": _asking(data, test),
    }


def _asking(data: Interactions, moments: Int[np.ndarray, " u"]) -> Interactions:
    asked = np.isin(np.arange(len(data.items)), moments)
    return data.asking(asked).where(_before(data, moments) | asked)


def _moments(data: Interactions, back: int) -> Int[np.ndarray, " u"]:
    """The last but `back` wanted event of each user that has something before it; n where there is none."""
    n = len(data.items)
    events = np.flatnonzero(data.wanted & (_from_end(data) == back))
    moments = np.full(len(data), n)
    moments[data.users[events]] = events
    moments[np.bincount(data.users[_before(data, moments)], minlength=len(data)) == 0] = n
    return moments


def _before(data: Interactions, moments: Int[np.ndarray, " u"]) -> Bool[np.ndarray, " n"]:
    """Which events come before one event of their user; where a target is asked for, at an earlier time."""
    limit = moments[data.users]
    before: Bool[np.ndarray, " n"] = np.arange(len(data.items)) < limit
    if data.times is not None and data.protocol.target is not None:
        there = limit < len(data.items)
        before[there] &= data.times[there] < data.times[limit[there]]
    return before


def _last(data: Interactions, n: int) -> Parts:
    """From the last but n wanted event of each user on is for testing, up to n before validate; the rest trains."""
    after = _from_end(data)
    total = np.bincount(data.users[data.wanted], minlength=len(data))[data.users]
    before = np.bincount(data.users[after >= n], minlength=len(data))[data.users]
    tested = (total >= n) & (before > 0)
    spared = np.where(tested, np.minimum(n, (total - n) // 2), 0)
    return _parts(data, test=tested & (after < n), validation=tested & (after >= n) & (after < n + spared))


def _by_time(data: Interactions, shares: tuple[float, ...]) -> Parts:
    """Everything before one moment trains, everything after another tests."""
    if data.times is None:
        raise UserError(f"{data.source}: --split time= needs times; name their column, such as time=timestamp")
    sorted_times = np.sort(data.times)
    n = len(sorted_times)
    first, second = (sorted_times[min(n - 1, round(n * share))] for share in (shares[0], shares[0] + shares[1]))
    before = np.bincount(data.users[data.times < first], minlength=len(data))[data.users] > 0
    test = (data.times >= second) & before
    validation = (data.times >= first) & (data.times < second) & before
    parts = _parts(data, test, validation)
    new = int(((data.times >= first) & ~before).sum())
    train = parts["train"].where(parts["train"].times < first)  # a user who came later teaches nothing of the future
    return parts | {
        "train": train.noting(f"{new} later events are of users without earlier ones; left out") if new else train
    }


def _parts(data: Interactions, test: Bool[np.ndarray, " n"], validation: Bool[np.ndarray, " n"]) -> Parts:
    """Parts of one timeline: test events follow validation events follow training events."""
    kept = ~test
    return {
        "train": data.where(kept & ~validation).asking(None),
        "validation": data.asking(validation & data.wanted).where(kept),
        "test": data.asking(test & data.wanted),
    }


def _from_end(data: Interactions) -> Int[np.ndarray, " n"]:
    """How many wanted events of the user come after each event."""
    total = np.concatenate([[0], data.wanted.astype(np.int64).cumsum()])
    after: Int[np.ndarray, " n"] = total[data.starts[1:]][data.users] - total[1:]
    return after


def _shares(split: str) -> tuple[float, ...]:
    try:
        shares = tuple(float(part) for part in split.removeprefix("time=").split(","))
    except ValueError:
        shares = ()
    if len(shares) != 3 or min(shares) <= 0 or abs(sum(shares) - 1) > 1e-6:
        raise UserError(f"--split {split}: give three shares above 0 that add up to 1, such as time=.8,.1,.1")
    return shares


# --- parts from files of their own


def _follows(train: Interactions, part: Interactions, name: str) -> Interactions:
    """The events of a file are asked for; the training events of the same users come before them."""
    codes = pc.index_in(pa.array(part.user_ids).cast(pa.string()), value_set=pa.array(train.user_ids).cast(pa.string()))
    if codes.null_count == len(part):
        raise UserError(f"{part.source}: no user of the {name} part has training events")
    seen = codes.is_valid().to_numpy(zero_copy_only=False)
    known, rows = part.rows(seen), codes.drop_null().to_numpy()
    before = train.rows(rows)
    one, other = _one_catalogue({"train": before, name: known}).values()
    other = _timed(other, one)
    asked = np.repeat([False, True], [len(one.items), len(other.items)])
    order = np.argsort(np.concatenate([one.users, other.users]), kind="stable")
    both: dict[str, Any] = {
        column: None
        if getattr(one, column) is None
        else np.concatenate([getattr(one, column), getattr(other, column)])[order]
        for column in ("items", "behaviours", "times")
    }
    starts = np.concatenate([[0], (one.lengths + other.lengths).cumsum()])
    merged = replace(other, starts=starts, asked=asked[order], protocol=train.protocol, **both)
    _refuse_backwards(merged, name)
    merged = merged.asking(merged.asked & merged.wanted)
    lost = len(part) - len(known)
    return (
        merged.noting(f"{lost} of {len(part)} users of the {name} part have no training events; left out")
        if lost
        else merged
    )


def _timed(part: Interactions, before: Interactions) -> Interactions:
    """Times as the training part has them; what has none comes after everything."""
    if before.times is None:
        return replace(part, times=None)
    if part.times is None:
        latest = np.inf if before.times.dtype.kind == "f" else np.iinfo(np.int64).max
        return replace(part, times=np.full(len(part.items), latest, before.times.dtype))
    return part


def _refuse_backwards(merged: Interactions, name: str) -> None:
    """Raise `UserError` when something asked for happened before something trained on."""
    if merged.times is None or len(merged.items) < 2:
        return
    back = (np.diff(merged.users) == 0) & (np.diff(merged.times) < 0)
    if back.any():
        event = int(np.flatnonzero(back)[0]) + 1
        raise UserError(
            f"{merged.source}: user {merged.user_ids[merged.users[event]]}, "
            f"item {merged.item_ids[merged.items[event]]}: "
            f"this {name} event happened before training events of the same user, which would tell of the future; "
            f"{int(back.sum())} such events"
        )


def refuse_leak(train: Interactions, part: Interactions, name: str = "test") -> None:
    """Raise `UserError` when an event that a part asks for is a training event (same user, item, behaviour and time).

    Without times nothing tells a repeated purchase from a leak, so nothing is compared.
    """
    if train.times is None or part.times is None or part.asked is None:
        return
    asked = part.where(part.asked & (part.times < np.iinfo(np.int64).max))
    moments: Any = asked.times
    users = pa.array(train.user_ids).cast(pa.string())
    of_user = pc.fill_null(pc.index_in(pa.array(part.user_ids).cast(pa.string()), value_set=users), -1).to_numpy()
    number = train.catalogue.num_rows  # parts share their numbers of items
    pairs = train.users * np.int64(number) + train.items, of_user[asked.users] * np.int64(number) + asked.items
    near = np.isin(pairs[0], pairs[1])
    known = np.stack([pairs[0], train.behaviours, train.times], axis=1)[near]
    both = np.concatenate([known, np.stack([pairs[1], asked.behaviours, moments], axis=1)])
    _, numbers = np.unique(both, axis=0, return_inverse=True)
    leaked = np.isin(numbers.ravel()[len(known) :], numbers.ravel()[: len(known)])
    if leaked.any():
        event = int(np.flatnonzero(leaked)[0])
        raise UserError(
            f"{part.source}: user {part.user_ids[asked.users[event]]}, item {asked.item_ids[asked.items[event]]}: "
            f"this event is asked for in the {name} part and is in the training part, too; "
            f"{int(leaked.sum())} such events"
        )


def _one_catalogue(parts: Mapping[str, Interactions]) -> Parts:
    """The same numbers of items and behaviours in all parts: what later ones add comes at the end."""
    first = next(iter(parts.values()))
    catalogue, labels = first.catalogue, list(first.labels)
    for part in parts.values():
        new = pc.invert(pc.is_in(_ids(part.catalogue), value_set=_ids(catalogue)))
        catalogue = pa.concat_tables([catalogue, part.catalogue.filter(new)], promote_options="permissive")
        labels += [label for label in part.labels if label not in labels]
    return {name: renumbered(part, catalogue, tuple(labels)) for name, part in parts.items()}


def renumbered(data: Interactions, catalogue: pa.Table, labels: tuple[str, ...]) -> Interactions:
    """The same events in the numbers of another catalogue and other labels; -1 for what they lack."""
    if data.catalogue is catalogue and data.labels == labels:
        return data
    places = pc.fill_null(pc.index_in(_ids(data.catalogue), value_set=_ids(catalogue)), -1).to_numpy()
    named = np.array([labels.index(label) if label in labels else -1 for label in data.labels])
    candidates = None if data.candidates is None else places[data.candidates]
    target = data.protocol.target if data.protocol.target in labels else None
    return replace(
        data,
        items=places[data.items].astype(data.items.dtype),
        behaviours=named[data.behaviours].astype(data.behaviours.dtype),
        catalogue=catalogue,
        labels=labels,
        candidates=candidates,
        protocol=replace(data.protocol, target=target),
    )


def _ids(catalogue: pa.Table) -> pa.Array:
    return catalogue["id"].combine_chunks().cast(pa.string())
