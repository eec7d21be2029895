"""Plans: which rows make each batch of an epoch, as functions of what is known about the rows and of a generator.

Every plan holds every row, and only that of `class_balanced` holds some of them more than once. A plan is called anew
for each epoch with that epoch's own generator, the same on all ranks, so a resumed run makes the same batches.

`shuffled`         all rows at random
`in_order`         all rows as they are
`no_duplicates`    never two rows of the same key in a batch: a key twice would be its own negative
`group_aware`      groups stay together, or at most so many rows of a group in a batch
`class_balanced`   as many rows of each class in a batch, all classes equally often
`hard_negatives`   rows together with their nearest neighbours
`by_length`        rows of like length together, so that little is padded
"""

from collections.abc import Hashable, Sequence
from typing import TypeAlias

import torch
from jaxtyping import Int
from torch import Tensor

from counterpoint.errors import UserError

Plan: TypeAlias = list[Int[Tensor, " _"]]
Labels: TypeAlias = Int[Tensor, " n"] | Sequence[Hashable]
"""A number or a text for each row; a negative number equals nothing, as everywhere in ids."""


def shuffled(n: int, batch_size: int, generator: torch.Generator) -> Plan:
    """All rows once in random order, `batch_size` at a time; a last batch of one row joins the one before.

    Raises `UserError` when there are fewer rows than a batch takes.

    >>> [len(rows) for rows in shuffled(9, 4, torch.Generator().manual_seed(0))]
    [4, 5]
    """
    _refuse_few(n, batch_size)
    return _cut(torch.randperm(n, generator=generator), batch_size)


def in_order(n: int, batch_size: int) -> Plan:
    """All rows once in their own order (passes without gradients).

    >>> [rows.tolist() for rows in in_order(3, 2)]
    [[0, 1], [2]]
    """
    return list(torch.arange(n).split(batch_size))


def no_duplicates(keys: Labels, batch_size: int, generator: torch.Generator) -> Plan:
    """All rows once at random, never two of the same key (an id, a text) in a batch.

    Batches differ by one row at most in size. A key of many rows takes as many batches, which are smaller then for
    all. Raises `UserError` when there are fewer rows than a batch takes, or a key so frequent that a batch would have
    one row.

    >>> plan = no_duplicates(["a", "b", "a", "c", "b", "d"], 3, torch.Generator().manual_seed(0))
    >>> sorted(len(rows) for rows in plan)
    [3, 3]
    """
    return group_aware(keys, batch_size, generator, at_most=1)


def group_aware(groups: Labels, batch_size: int, generator: torch.Generator, at_most: int | None = None) -> Plan:
    """All rows once at random, all rows of a group in one batch; with `at_most`, never more of a group in a batch.

    Whole groups fill a batch as far as they go, so batches differ in size; a single row that is left over joins a
    batch that is full. Raises
    `UserError` when there are fewer rows than a batch takes, a group is larger than a batch, or, with `at_most`, so
    large that a batch would have one row.

    >>> plan = group_aware([7, 7, 8, 8, 9, 9], 4, torch.Generator().manual_seed(0))
    >>> sorted(len(rows) for rows in plan)
    [2, 4]
    """
    if at_most is not None and at_most < 1:
        raise ValueError(f"at_most is at least 1, not {at_most}")
    group = _numbered(groups)
    _refuse_few(len(group), batch_size)
    if at_most is None:
        return _whole(group, batch_size, generator)
    part = group * at_most + _occurrence(group, generator) % at_most  # at most `at_most` parts, each once in a batch
    n, most = len(part), int(part.bincount().max())
    batches = max(-(-n // batch_size), most)
    if n // batches < 2:
        raise UserError(
            f"{int(group.bincount().max())} of {n} rows are of one group, so a batch would have one row; "
            "leave some of them out, or allow more of a group in a batch"
        )
    return _dealt(part, batches, generator)


def class_balanced(labels: Labels, batch_size: int, generator: torch.Generator, per_class: int) -> Plan:
    """Batches of `per_class` rows from each of `batch_size / per_class` classes, all classes equally often.

    Every row comes at least once: the largest class goes through its rows once, smaller ones begin again in another
    order, and what is missing to whole batches is drawn from all. A row comes twice in a batch only when its class has
    fewer than `per_class` rows. Raises `UserError` when a batch cannot be made of that:
    `per_class` does not divide `batch_size`, there are too few classes, or a row has no class (a negative label).

    >>> plan = class_balanced([0, 0, 0, 1, 1, 1, 1, 2], 4, torch.Generator().manual_seed(0), per_class=2)
    >>> [len(rows) for rows in plan]
    [4, 4, 4]
    """
    if isinstance(labels, Tensor) and bool((labels < 0).any()):
        raise UserError(f"row {int((labels < 0).nonzero()[0])} has no class; leave such rows out, or label them")
    label = _numbered(labels)
    classes, together = int(label.max()) + 1 if len(label) else 0, batch_size // per_class
    if batch_size % per_class or together < 2:
        raise UserError(
            f"batch_size={batch_size} is not made of {per_class} rows from each of two or more classes; "
            f"set batch_size={max(2, together) * per_class}"
        )
    if classes < together:
        raise UserError(
            f"batch_size={batch_size} takes {per_class} rows from each of {together} classes and there are {classes}; "
            f"set batch_size={classes * per_class} or lower"
        )
    largest = int(label.bincount().max())
    turns = -(-largest // per_class)
    batches = -(-classes * turns // together)
    spare = torch.arange(classes) < batches * together - classes * turns  # fills the last batch: one turn more
    order = torch.randperm(classes, generator=generator)
    turn = order.repeat_interleave(turns + spare.long())
    packs = [iter(_packs(rows, per_class, turns + 1, generator)) for rows in _members(label)]
    dealt = _dealt(turn, batches, generator)
    return [torch.cat([next(packs[number]) for number in turn[items].tolist()]) for items in dealt]


def hard_negatives(neighbours: Int[Tensor, "n k"], batch_size: int, generator: torch.Generator) -> Plan:
    """All rows once: a random row, then its neighbours that have no batch yet, nearest first, until a batch is full.

    `neighbours` are row numbers, -1 for none; `memory.Neighbours` finds them in a `visit` phase, and phases that repeat
    (search, train, search, train) refresh them. With fewer columns a batch holds more such bunches. A last batch of
    one row joins the one before. Source: hard negatives of ANCE, arXiv 2007.00808, section 4, as batches. Raises
    `UserError` when there are fewer rows than a batch takes, and ValueError for a row number that does not exist.

    >>> near = torch.tensor([[1], [0], [3], [2]])
    >>> plan = hard_negatives(near, 2, torch.Generator().manual_seed(0))
    >>> sorted(sorted(rows.tolist()) for rows in plan)
    [[0, 1], [2, 3]]
    """
    n = len(neighbours)
    _refuse_few(n, batch_size)
    if neighbours.numel() and not -1 <= int(neighbours.min()) <= int(neighbours.max()) < n:
        raise ValueError(f"neighbours are rows from 0 to {n - 1}, or -1")
    order: list[int] = []
    placed, near = [False] * n, neighbours.tolist()
    for row in torch.randperm(n, generator=generator).tolist():
        if placed[row]:
            continue
        room = batch_size - len(order) % batch_size
        bunch = [row, *(other for other in dict.fromkeys(near[row]) if other not in (-1, row) and not placed[other])]
        for other in bunch[:room]:
            placed[other] = True
            order.append(other)
    return _cut(torch.tensor(order), batch_size)


def by_length(lengths: Int[Tensor, " n"], batch_size: int, generator: torch.Generator, window: int = 50) -> Plan:
    """All rows once, those of like length in a batch, batches in random order.

    Rows are shuffled, sorted by length within stretches of `window` batches, and cut, so that a row meets others each
    epoch. A last batch of one row joins the one before. Raises `UserError` when there are fewer rows than a batch
    takes.

    >>> plan = by_length(torch.tensor([9, 1, 9, 1]), 2, torch.Generator().manual_seed(0))
    >>> sorted(sorted(rows.tolist()) for rows in plan)
    [[0, 2], [1, 3]]
    """
    _refuse_few(len(lengths), batch_size)
    order = torch.randperm(len(lengths), generator=generator)
    stretches = order.split(window * batch_size)
    plan = _cut(torch.cat([rows[lengths[rows].argsort(stable=True)] for rows in stretches]), batch_size)
    return [plan[place] for place in torch.randperm(len(plan), generator=generator).tolist()]


def _cut(order: Int[Tensor, " n"], batch_size: int) -> Plan:
    """Batches of rows in a given order; a last one of a single row joins the one before."""
    batches = list(order.split(batch_size))
    if len(batches) > 1 and len(batches[-1]) == 1:
        last = batches.pop()
        batches[-1] = torch.cat([batches[-1], last])
    return batches


def _refuse_few(n: int, batch_size: int) -> None:
    if n < batch_size:
        raise UserError(f"{n} training rows are fewer than one batch; set batch_size={max(2, n)} or lower")


def _numbered(labels: Labels) -> Int[Tensor, " n"]:
    """Numbers from 0 for what is equal; a negative number is equal to nothing."""
    if not isinstance(labels, Tensor):
        numbers: dict[Hashable, int] = {}
        return torch.tensor([numbers.setdefault(label, len(numbers)) for label in labels], dtype=torch.int64)
    alone = labels < 0
    shifted = torch.where(alone, labels.max().clamp(min=0) + alone.cumsum(0), labels) if len(labels) else labels
    number: Tensor = shifted.unique(return_inverse=True)[1]
    return number


def _occurrence(group: Int[Tensor, " n"], generator: torch.Generator) -> Int[Tensor, " n"]:
    """The place of each row in its group, in random order."""
    order = torch.randperm(len(group), generator=generator)
    order = order[group[order].argsort(stable=True)]
    counts = group.bincount()
    place = torch.empty_like(group)
    place[order] = torch.arange(len(group)) - (counts.cumsum(0) - counts).repeat_interleave(counts)
    return place


def _dealt(part: Int[Tensor, " n"], batches: int, generator: torch.Generator) -> Plan:
    """Items to batches at random, none with two of the same part; needs as many batches as a part has items.

    Items are laid out part by part and dealt like cards: one to each batch in a random order, then again in another.
    What is left of a part when a round ends goes to batches that have none of it yet.
    """
    n = len(part)
    position = torch.randperm(int(part.max()) + 1, generator=generator)[part]
    item = torch.randperm(n, generator=generator)
    item = item[position[item].argsort(stable=True)]
    batch = torch.empty(n, dtype=torch.int64)
    for start in range(0, n, batches):
        deck = torch.randperm(batches, generator=generator)
        if start:
            before = item[start - batches : start]
            has = torch.isin(deck, batch[before[part[before] == part[item[start]]]])
            deck = torch.cat([deck[~has], deck[has]])
        batch[item[start : start + batches]] = deck[: n - start]
    order = torch.randperm(n, generator=generator)
    order = order[batch[order].argsort(stable=True)]
    return list(order.split(batch.bincount(minlength=batches).tolist()))


def _whole(group: Int[Tensor, " n"], batch_size: int, generator: torch.Generator) -> Plan:
    """Whole groups in random order; a batch is closed before the group that no longer fits."""
    members = _members(group)
    largest = max(map(len, members))
    if largest > batch_size:
        raise UserError(f"a group has {largest} rows, more than a batch; set batch_size={largest} or allow fewer of it")
    batches: list[list[Tensor]] = [[]]
    rows = 0
    for number in torch.randperm(len(members), generator=generator).tolist():
        if rows > 1 and rows + len(members[number]) > batch_size:
            batches.append([])
            rows = 0
        batches[-1].append(members[number])
        rows += len(members[number])
    if rows == 1 and len(batches) > 1:
        last = batches.pop()
        batches[-1] += last
    return [torch.cat(parts) for parts in batches]


def _members(group: Int[Tensor, " n"]) -> Plan:
    """The rows of each group."""
    return list(group.argsort(stable=True).split(group.bincount().tolist()))


def _packs(rows: Int[Tensor, " n"], size: int, number: int, generator: torch.Generator) -> Plan:
    """So many packs of `size` rows: the rows in random order, filled up from their beginning, then in another."""
    packs: Plan = []
    while len(packs) < number:
        order = rows[torch.randperm(len(rows), generator=generator)]
        filled = order.repeat(-(-size // len(order)) + 1)[: -(-len(order) // size) * size]
        packs += filled.split(size)
    return packs[:number]
