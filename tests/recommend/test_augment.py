"""What the altered copies of histories may and may not do."""

from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from counterpoint.recommend.augment import OPERATORS, Operator, augmented
from counterpoint.recommend.histories import Histories

BLANK = 99
LISTS = st.lists(st.lists(st.integers(0, 30), max_size=12), min_size=1, max_size=6)


def rows_of(histories: Histories) -> list[list[int]]:
    return [part.tolist() for part in histories.items.split(histories.lengths.tolist())]


def numbered(rows: list[list[int]]) -> Histories:
    """Histories whose behaviours number the events, so that each can be followed."""
    return Histories.of(rows, [list(range(len(row))) for row in rows])


@given(LISTS, st.integers(0, 1000), st.sampled_from(OPERATORS), st.floats(0.1, 1), st.floats(0, 1))
def test_each_operator_does_what_it_says(
    rows: list[list[int]], seed: int, name: Operator, crop: float, share: float
) -> None:
    before = numbered(rows)
    kept = before.items.clone(), before.behaviours.clone(), before.starts.clone()
    shares = {"crop": crop, "mask": share, "reorder": share}
    copies = augmented(before, torch.Generator().manual_seed(seed), blank=BLANK, operators=(name,), **shares)
    assert all(
        torch.equal(now, was) for now, was in zip((before.items, before.behaviours, before.starts), kept, strict=True)
    )
    for copy in copies:
        events = [part.tolist() for part in copy.behaviours.split(copy.lengths.tolist())]
        for old, new, place in zip(rows, rows_of(copy), events, strict=True):
            n = len(old)
            if n < 2:
                assert new == old
            elif name == "crop":
                assert len(new) == max(1, int(crop * n))
                assert place == list(range(place[0], place[0] + len(new)))
                assert new == [old[event] for event in place]
            elif name == "mask":
                assert place == list(range(n))
                hidden = [now != was for now, was in zip(new, old, strict=True)]
                assert sum(hidden) == int(share * n)
                assert all(now == BLANK for now, changed in zip(new, hidden, strict=True) if changed)
            else:
                moved = [event for event, now in enumerate(place) if event != now]
                assert new == [old[event] for event in place]
                assert not moved or max(moved) - min(moved) < int(share * n)
                assert Counter(new) == Counter(old)


def test_the_two_operators_differ_and_all_are_drawn() -> None:
    """By what they leave: a crop is shorter, a mask shows blanks, a reordering neither."""
    rows = [list(range(10))] * 600

    def operator(row: list[int]) -> str:
        return "crop" if len(row) < 10 else "mask" if BLANK in row else "reorder"

    copies = augmented(Histories.of(rows), torch.Generator().manual_seed(0), blank=BLANK)
    pairs = Counter(zip(*([operator(row) for row in rows_of(copy)] for copy in copies), strict=True))
    assert len(pairs) == 6
    assert all(a != b for a, b in pairs)
    assert min(pairs.values()) > 60


def test_places_are_drawn_evenly() -> None:
    """Starts of crops, hidden places and orders of a block: each as often as any other."""
    rows, generator = [list(range(4))] * 4000, torch.Generator().manual_seed(1)
    crops = Counter(row[0] for row in rows_of(one(rows, generator, "crop", crop=0.5)))
    assert set(crops) == {0, 1, 2}
    hidden = Counter(row.index(BLANK) for row in rows_of(one(rows, generator, "mask", mask=0.25)))
    assert set(hidden) == {0, 1, 2, 3}
    orders = Counter(tuple(row) for row in rows_of(one(rows, generator, "reorder", reorder=1.0)))
    assert len(orders) == 24
    for counts in (crops, hidden, orders):
        even = 4000 / len(counts)
        assert sum((count - even) ** 2 / even for count in counts.values()) < 3 * len(counts)  # chi-squared


def one(rows: list[list[int]], generator: torch.Generator, name: Operator, **share: float) -> Histories:
    return augmented(Histories.of(rows), generator, blank=BLANK, operators=(name,), **share)[0]


def test_a_generator_decides_and_none_is_refused() -> None:
    rows = Histories.of([[1, 2, 3, 4, 5, 6], [7, 8, 9]])
    twice = [augmented(rows, torch.Generator().manual_seed(5), blank=BLANK) for _ in range(2)]
    assert [rows_of(copy) for copy in twice[0]] == [rows_of(copy) for copy in twice[1]]
    with pytest.raises(ValueError, match="no operators"):
        augmented(rows, torch.Generator(), blank=BLANK, operators=())
