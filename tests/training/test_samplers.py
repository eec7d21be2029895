"""Plans hold every row, keep what they promise about a batch, and follow from their stream."""

import itertools
from collections import Counter
from collections.abc import Callable
from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from counterpoint.errors import UserError
from counterpoint.training import rng
from counterpoint.training.samplers import (
    by_length,
    class_balanced,
    group_aware,
    hard_negatives,
    in_order,
    no_duplicates,
    shuffled,
)

LABELS = st.lists(st.integers(0, 8), min_size=2, max_size=60)


def rows_of(plan: list[Tensor]) -> list[int]:
    return torch.cat(plan).tolist()


@given(st.integers(2, 60), st.integers(2, 20), st.integers(0, 3))
def test_every_row_once_and_no_batch_of_one(n: int, size: int, seed: int) -> None:
    if n < size:
        with pytest.raises(UserError, match=rf"{n} training rows .* batch_size={n}"):
            shuffled(n, size, rng(seed))
        return
    batches = shuffled(n, size, rng(seed))
    assert sorted(rows_of(batches)) == list(range(n))
    assert all(len(rows) == size for rows in batches[:-1])
    assert 2 <= len(batches[-1]) <= size + 1
    assert torch.equal(torch.cat(batches), torch.cat(shuffled(n, size, rng(seed))))


@given(st.lists(st.integers(1, 50), min_size=2, max_size=80), st.integers(2, 8), st.integers(1, 4), st.integers(0, 3))
def test_by_length_pads_less_than_chance(lengths: list[int], size: int, window: int, seed: int) -> None:
    of = torch.tensor(lengths)
    if len(of) < size:
        with pytest.raises(UserError, match="training rows"):
            by_length(of, size, rng(seed))
        return
    plan = by_length(of, size, rng(seed), window)
    assert sorted(rows_of(plan)) == list(range(len(of)))
    assert all(2 <= len(rows) <= size + 1 for rows in plan)
    assert torch.equal(torch.cat(plan), torch.cat(by_length(of, size, rng(seed), window)))
    whole = by_length(of, size, rng(seed), window=len(of))
    ends = sorted((int(of[rows].min()), int(of[rows].max())) for rows in whole)
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(ends))


def test_in_order() -> None:
    assert [rows.tolist() for rows in in_order(5, 2)] == [[0, 1], [2, 3], [4]]


NEAR = torch.randint(-1, 40, (40, 3), generator=torch.Generator().manual_seed(0))
KEYS = (torch.arange(40) % 23).tolist()
PLANS: dict[str, Callable[[torch.Generator], list[Tensor]]] = {
    "shuffled": partial(shuffled, 40, 8),
    "no_duplicates": partial(no_duplicates, KEYS, 8),
    "group_aware": partial(group_aware, KEYS, 8),
    "at_most": partial(group_aware, [key % 5 for key in KEYS], 8, at_most=3),
    "class_balanced": partial(class_balanced, [key % 5 for key in KEYS], 8, per_class=2),
    "hard_negatives": partial(hard_negatives, NEAR, 8),
}


@pytest.mark.parametrize("name", PLANS)
def test_a_stream_decides_and_nothing_else(name: str) -> None:
    plan = PLANS[name]
    before = torch.get_rng_state()
    first, again, other = (plan(generator=rng(seed)) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    assert [rows.tolist() for rows in first] == [rows.tolist() for rows in again]
    assert [rows.tolist() for rows in first] != [rows.tolist() for rows in other]
    assert all(rows.dtype == torch.int64 and len(rows) > 1 for rows in first)
    if name != "class_balanced":
        assert sorted(rows_of(first)) == list(range(40))


@pytest.mark.parametrize("name", [name for name in PLANS if name != "shuffled"])
def test_too_few_rows_are_refused(name: str) -> None:
    few: dict[str, Callable[[], list[Tensor]]] = {
        "no_duplicates": lambda: no_duplicates([0, 1], 4, rng(0)),
        "group_aware": lambda: group_aware([0, 1], 4, rng(0)),
        "at_most": lambda: group_aware([0, 1], 4, rng(0), at_most=2),
        "class_balanced": lambda: class_balanced([0, 1], 6, rng(0), per_class=2),
        "hard_negatives": lambda: hard_negatives(torch.tensor([[1], [0]]), 4, rng(0)),
    }
    with pytest.raises(UserError, match=r"set batch_size=\d"):
        few[name]()


# No duplicates, and so many of a group --------------------------------------------------------------------


@given(LABELS, st.integers(2, 12), st.integers(1, 4), st.integers(0, 2))
def test_never_more_of_a_group_than_allowed(labels: list[int], size: int, at_most: int, seed: int) -> None:
    n, size = len(labels), min(size, len(labels))
    largest = -(-max(Counter(labels).values()) // at_most)
    batches = max(-(-n // size), largest)
    if n // batches < 2:
        with pytest.raises(UserError, match="a batch would have one row"):
            group_aware(labels, size, rng(seed), at_most=at_most)
        return
    plan = group_aware(labels, size, rng(seed), at_most=at_most)
    assert sorted(rows_of(plan)) == list(range(n))
    assert all(max(Counter(labels[row] for row in rows.tolist()).values()) <= at_most for rows in plan)
    assert len(plan) == batches, "as few batches as the largest group allows"
    assert {len(rows) for rows in plan} <= {n // batches, -(-n // batches)}


def test_texts_and_numbers_are_keys_alike() -> None:
    numbers = torch.tensor([4, 9, 4, 7, 9, 1, 2, 4])
    texts = [f"text {number}" for number in numbers.tolist()]
    first = no_duplicates(texts, 3, rng(0))
    assert all(len({texts[row] for row in rows.tolist()}) == len(rows) for rows in first)
    second = no_duplicates(numbers, 3, rng(0))
    assert all(len(numbers[rows].unique()) == len(rows) for rows in second)


def test_a_negative_key_equals_nothing() -> None:
    keys = torch.tensor([-1] * 8 + [3, 3])
    plan = no_duplicates(keys, 5, rng(0))
    assert [len(rows) for rows in plan] == [5, 5]
    assert all((keys[rows] == 3).sum() == 1 for rows in plan)


def test_batches_are_mixed_anew() -> None:
    """Two rows of different keys meet about as often as in a plain shuffle."""
    keys = torch.arange(32) // 2
    met = sum(any({0, 5} <= set(rows.tolist()) for rows in no_duplicates(keys, 8, rng(seed))) for seed in range(400))
    assert abs(met / 400 - 7 / 30) < 0.06
    partners = [{int(key) for key in keys[rows]} for rows in no_duplicates(keys, 8, rng(0))]
    assert len({frozenset(found) for found in partners}) == 4, "the same keys do not stay together"


def test_at_most_none_of_a_group_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        group_aware([0, 1, 2], 2, rng(0), at_most=0)


# Whole groups ---------------------------------------------------------------------------------------------


@given(LABELS, st.integers(2, 20), st.integers(0, 2))
def test_groups_stay_whole(labels: list[int], size: int, seed: int) -> None:
    n, size = len(labels), min(size, len(labels))
    if max(Counter(labels).values()) > size:
        with pytest.raises(UserError, match="more than a batch; set batch_size="):
            group_aware(labels, size, rng(seed))
        return
    plan = group_aware(labels, size, rng(seed))
    assert sorted(rows_of(plan)) == list(range(n))
    where = [{labels[row] for row in rows.tolist()} for rows in plan]
    assert sum(map(len, where)) == len(set(labels)), "no group in two batches"
    assert all(2 <= len(rows) <= size + 2 for rows in plan)


# Class balance --------------------------------------------------------------------------------------------


@given(LABELS, st.integers(1, 3), st.integers(2, 4), st.integers(0, 2))
def test_classes_are_balanced(labels: list[int], per_class: int, together: int, seed: int) -> None:
    plan = partial(class_balanced, labels, per_class * together, rng(seed), per_class=per_class)
    if len(set(labels)) < together:
        with pytest.raises(UserError, match=r"there are \d"):
            plan()
        return
    batches = plan()
    found: Counter[int] = Counter()
    for rows in batches:
        counts = Counter(labels[row] for row in rows.tolist())
        assert len(counts) == together
        assert set(counts.values()) == {per_class}
        found += counts
        for label in counts:
            own = [row for row in rows.tolist() if labels[row] == label]
            assert len(set(own)) == min(per_class, labels.count(label))
    assert max(found.values()) - min(found.values()) <= per_class, "all classes equally often"
    assert set(rows_of(batches)) == set(range(len(labels))), "every row at least once"
    largest = max(Counter(labels).values())
    assert len(batches) == -(-len(set(labels)) * -(-largest // per_class) // together), "and no longer than that takes"


def test_the_rows_of_a_class_meet_in_all_ways() -> None:
    plans = [class_balanced([0] * 4 + [1] * 4, 4, rng(seed), per_class=2) for seed in range(40)]
    met = {frozenset(row for row in rows.tolist() if row < 4) for plan in plans for rows in plan}
    assert len(met) == 6


@pytest.mark.parametrize(
    ("labels", "size", "line"),
    [
        (torch.tensor([0, 0, 1, 1]), 3, "not made of 2 rows from each of two or more classes; set batch_size=4"),
        (torch.tensor([0, 0, 1, 1]), 2, "set batch_size=4"),
        (torch.tensor([0, -1, 1, 1]), 4, "row 1 has no class"),
        (torch.tensor([0, 0, 1, 1]), 8, "each of 4 classes and there are 2; set batch_size=4 or lower"),
    ],
)
def test_what_cannot_be_balanced_is_refused(labels: Tensor, size: int, line: str) -> None:
    with pytest.raises(UserError, match=line):
        class_balanced(labels, size, rng(0), per_class=2)


# Hard negatives -------------------------------------------------------------------------------------------


def by_hand(near: list[list[int]], size: int, order: list[int]) -> list[list[int]]:
    """The rule, said slowly."""
    batches: list[list[int]] = [[]]
    placed: set[int] = set()
    for row in order:
        if row in placed:
            continue
        if len(batches[-1]) == size:
            batches.append([])
        for other in [row, *near[row]]:
            if other >= 0 and other not in placed and len(batches[-1]) < size:
                batches[-1].append(other)
                placed.add(other)
    return batches


@given(st.integers(2, 30), st.integers(0, 4), st.integers(2, 9), st.integers(0, 3))
def test_a_row_brings_its_nearest(n: int, k: int, size: int, seed: int) -> None:
    size = min(size, n)
    near = torch.randint(-1, n, (n, k), generator=rng(seed, "near"))
    plan = hard_negatives(near, size, rng(seed))
    order = torch.randperm(n, generator=rng(seed)).tolist()
    expected = by_hand(near.tolist(), size, order)
    assert rows_of(plan) == [row for batch in expected for row in batch]
    assert sorted(rows_of(plan)) == list(range(n))
    assert all(2 <= len(rows) <= size + 1 for rows in plan)


def test_near_rows_meet_more_often_than_by_chance() -> None:
    near = (torch.arange(60) // 6 * 6)[:, None] + torch.arange(6)
    together = [len(rows) - len((rows // 6).unique()) for rows in hard_negatives(near, 12, rng(0))]
    assert together == [10] * 5


def test_a_neighbour_that_does_not_exist_is_refused() -> None:
    for wrong in (-2, 3):
        with pytest.raises(ValueError, match="rows from 0 to 2, or -1"):
            hard_negatives(torch.tensor([[1], [wrong], [0]]), 2, rng(0))
