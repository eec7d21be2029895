"""Events in order, parts in time, and what no part may know."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterpoint.errors import UserError
from counterpoint.recommend.assemble import k_core
from counterpoint.recommend.interactions import HISTORIES, Interactions, Protocol
from counterpoint.recommend.splits import hold_out, refuse_leak
from recommend.shop import shop


def told(data: Interactions) -> dict[str, str]:
    """What each user did, as one text."""
    names = data.item_ids[data.items]
    return {str(u): "".join(names[a:b]) for u, a, b in zip(data.user_ids, data.starts, data.starts[1:], strict=False)}


def asked(data: Interactions) -> dict[str, str]:
    """What is asked of each user."""
    assert data.asked is not None
    return {user: items for user, items in told(data.where(data.asked)).items() if items}


def line(items: str, **more: object) -> Interactions:
    """One user, an item per letter."""
    return Interactions.of(["u"] * len(items), list(items), **more)  # type: ignore[arg-type]


def test_events_come_in_the_order_of_users_and_times() -> None:
    data = Interactions.of(["b", "a", "b", "a"], list("wxyz"), times=[3, 9, 1, 2])
    assert told(data) == {"b": "yw", "a": "zx"}
    assert any("not in the order" in note for note in data.notes)
    assert told(Interactions.of(["b", "b"], list("xy"), times=[1, 1])) == {"b": "xy"}
    assert not any("order of users and times" in note for note in line("xy", times=[1, 2]).notes)


def test_what_has_no_time_comes_last_and_is_counted() -> None:
    data = line("xyz", times=[None, 2, 1])
    assert told(data) == {"u": "zyx"}
    assert any("1 events have no time" in note for note in data.notes)


def test_duplicates_are_left_out_and_counted() -> None:
    data = line("xxyx", times=[1, 1, 1, 2], behaviours=["see", "see", "see", "see"])
    assert told(data) == {"u": "xyx"}
    assert any("1 events were there twice" in note for note in data.notes)
    assert told(line("xxyx", times=[1, 1, 1, 2], behaviours=["see", "buy", "see", "see"])) == {"u": "xxyx"}
    assert told(line("xxx")) == {"u": "xxx"}, "without times nothing tells that they are the same event"


def test_ids_beyond_32_bits_stay_what_they_are() -> None:
    data = Interactions.of([2**40, 2**63 - 1], [2**50, 7])
    assert data.user_ids.tolist() == [2**40, 2**63 - 1]
    assert data.item_ids[data.items].tolist() == [2**50, 7]
    assert data.items.dtype == np.int32


def test_rows_and_parts_keep_everything_in_place() -> None:
    data = shop(6, 0)
    again = data.rows(np.array([4, 1, 4]))
    assert [told(again)[u] for u in ("u4", "u1")] == [told(data)[u] for u in ("u4", "u1")]
    assert len(again) == 3
    assert again.rows(slice(1, 2)).user_ids.tolist() == ["u1"]
    assert data.rows(np.arange(6) % 2 == 0).user_ids.tolist() == ["u0", "u2", "u4"]
    assert data.fingerprint() == data.rows(slice(None)).fingerprint()
    different = [
        data.rows(slice(1, None)),
        data.where(data.wanted & (data.items > 0)),
        replace(data, protocol=Protocol("buy")),
    ]
    assert len({one.fingerprint() for one in (data, *different)}) == 4


def test_k_core_repeats_until_nothing_changes() -> None:
    data = Interactions.of([1, 1, 2, 2, 3, 3], list("abab") + list("bc"))
    found = k_core(data, 2)
    assert (found.user_ids.tolist(), found.item_ids.tolist()) == ([1, 2], ["a", "b"])
    assert "core=2 left out 1 users, 1 items and 2 events" in found.notes[-1]
    with pytest.raises(UserError, match="core=5 leaves nothing"):
        k_core(data, 5)


def test_leave_one_out() -> None:
    parts = Interactions.of(list("uuuuvvvw"), list("abcdefgh")).divide("leave-one-out")
    assert told(parts["train"]) == {"u": "ab", "v": "e", "w": "h"}
    assert (told(parts["validation"])["u"], asked(parts["validation"])) == ("abc", {"u": "c", "v": "f"})
    assert (told(parts["test"])["u"], asked(parts["test"])) == ("abcd", {"u": "d", "v": "g"})
    assert "1 of 3 users have too few events" in parts["train"].notes[-1]


def test_the_last_few() -> None:
    parts = line("abcdefghij").divide("last-3")
    assert (told(parts["train"])["u"], asked(parts["validation"])["u"], asked(parts["test"])["u"]) == (
        "abcd",
        "efg",
        "hij",
    )
    parts = line("abcde").divide("last-3")
    assert (told(parts["train"])["u"], asked(parts["validation"])["u"], asked(parts["test"])["u"]) == ("a", "b", "cde")


def test_the_last_few_of_a_target() -> None:
    """What comes between is history of what is asked."""
    kinds = ["see", "buy", "see", "buy", "see", "buy", "buy", "see"]
    data = line("abcdefgh", times=list(range(8)), behaviours=kinds, labels=["see", "buy"], protocol=Protocol("buy"))
    parts = data.divide("last-2")
    assert (told(parts["train"])["u"], asked(parts["validation"])["u"]) == ("abc", "d")
    assert (told(parts["test"])["u"], asked(parts["test"])["u"]) == ("abcdefgh", "fg")


def test_records_of_a_program() -> None:
    data = Interactions.of_records([{"items": ["a", 7]}, "b, c"], {"behaviours": ["view", "buy"]})
    assert told(data) == {"0": "a7", "1": "bc"}
    assert data.labels == ("buy",)
    for wrong in (7, {"item": ["a"]}, {"items": []}, {"items": [None]}):
        with pytest.raises(UserError, match="record 1 is not a history"):
            Interactions.of_records([wrong], {"behaviours": ["view"]})


def test_the_last_target_and_only_what_happened_earlier() -> None:
    kinds = ["see", "buy", "see", "see", "buy", "see"]
    data = line("abcdef", times=[1, 2, 3, 4, 4, 5], behaviours=kinds, labels=["see", "buy"], protocol=Protocol("buy"))
    parts = data.divide(data.usual_split)
    assert told(parts["train"]) == {"u": "a"}
    assert (told(parts["validation"])["u"], asked(parts["validation"])["u"]) == ("ab", "b")
    assert (told(parts["test"])["u"], asked(parts["test"])["u"]) == ("abce", "e"), "d happened at the same time as e"


def test_a_user_with_one_target_is_tested_only_and_one_without_trains_only() -> None:
    data = Interactions.of(
        list("uuuvv"),
        list("abcde"),
        [1, 2, 3, 1, 2],
        ["see", "see", "buy", "see", "see"],
        None,
        ["see", "buy"],
        Protocol("buy"),
    )
    assert any("1 of 2 users have no" in text for text in data.warnings())
    parts = data.divide("leave-last-target-out")
    assert list(parts) == ["train", "test"]
    assert "too few events for a validation part" in " ".join(parts["train"].notes)
    more = Interactions.of(
        list("uuuvvwwww"),
        list("abcdeabcd"),
        [1, 2, 3, 1, 2, 1, 2, 3, 4],
        ["see", "see", "buy", "see", "see", "see", "buy", "see", "buy"],
        None,
        ["see", "buy"],
        Protocol("buy"),
    )
    parts = more.divide("leave-last-target-out")
    assert told(parts["train"]) == {"u": "ab", "v": "de", "w": "a"}
    assert asked(parts["test"]) == {"u": "c", "w": "d"}


def test_by_time_nothing_of_the_future_trains() -> None:
    data = Interactions.of(list("uuuuuvv"), list("abcdefg"), times=[1, 2, 5, 8, 9, 9, 10])
    parts = data.divide("time=.4,.3,.3")
    assert told(parts["train"]) == {"u": "abc", "v": ""}
    assert (asked(parts["validation"]), asked(parts["test"])) == ({"u": "d"}, {"u": "e"})
    assert "2 later events are of users without earlier ones" in " ".join(parts["train"].notes)


@given(st.integers(0, 10_000), st.sampled_from(["leave-one-out", "last-2", "time=.6,.2,.2", "leave-last-target-out"]))
def test_parts_never_share_what_is_asked(seed: int, split: str) -> None:
    """Training events come before validation questions, those before test questions, and nothing is in two of them."""
    data = shop(8, seed, target="buy" if "target" in split else None)
    parts = data.divide(split)
    train, test = parts["train"], parts["test"]
    validation = parts.get("validation", train.asking(np.zeros(len(train.items), dtype=bool)))
    assert train.asked is None
    assert validation.asked is not None
    assert test.asked is not None
    for user in range(len(data)):

        def times(part: Interactions, questions: bool | None = None, user: int = user) -> list[int]:
            chosen = part.users == user
            if questions is not None:
                assert part.asked is not None
                chosen &= part.asked == questions
            assert part.times is not None
            return [int(time) for time in part.times[chosen]]

        trained, first, second = times(train), times(validation, True), times(test, True)
        assert max(trained, default=-1) < min([*first, *second], default=99)
        assert max(first, default=-1) < min(second, default=99)
        given_events = times(test, False)
        assert set(trained) <= set(given_events) or not second


def test_files_follow_the_training_events() -> None:
    train = Interactions.of(list("uuvv"), list("abac"), times=[1, 2, 1, 2])
    test = Interactions.of(list("vux"), list("zbc"), times=[9, 9, 9])
    parts = train.divide("leave-one-out", {"test": test})
    assert told(parts["test"]) == {"v": "acz", "u": "abb"}
    assert asked(parts["test"]) == {"v": "z", "u": "b"}
    assert "1 of 3 users of the test part have no training events" in parts["test"].notes[-1]
    assert parts["train"].item_ids.tolist() == ["a", "b", "c", "z"], "an item that only tests is known, without events"
    untimed = train.divide("", {"test": Interactions.of(["u"], ["c"])})["test"]
    assert told(untimed) == {"u": "abc"}


def test_a_leak_is_an_error() -> None:
    train = Interactions.of(list("uuvv"), list("abac"), times=[1, 5, 1, 2])
    with pytest.raises(UserError, match=r"user u, item c: this test event happened before training events .* 1 such"):
        train.divide("", {"test": Interactions.of(["u"], ["c"], times=[3])})
    with pytest.raises(
        UserError, match=r"user u, item b: this event is asked for in the test part and is in the train"
    ):
        train.divide("", {"test": Interactions.of(["u"], ["b"], times=[5])})
    refuse_leak(train, train.divide("", {"test": Interactions.of(["u"], ["b"], times=[6])})["test"])


def test_events_that_are_asked_for_cannot_be_trained_on() -> None:
    from counterpoint.recommend.counts import Popularity

    with pytest.raises(UserError, match="events are asked for, so they cannot be trained on"):
        Popularity().fit(shop(5, 0).divide("leave-one-out")["test"])


def test_holding_out_takes_the_last_event_of_some() -> None:
    rest, held = hold_out(Interactions.of(list("uuuvvv"), list("abcdef")), np.array([True, False]))
    assert told(rest) == {"u": "ab", "v": "def"}
    assert (told(held), asked(held)) == ({"u": "abc"}, {"u": "c"})


def test_what_a_run_keeps(tmp_path: Path) -> None:
    data = shop(3, 0)
    data.keep(tmp_path)
    rows = pq.read_table(tmp_path / HISTORIES).to_pylist()
    assert [row["user"] for row in rows] == ["u0", "u1", "u2"]
    assert ["".join(row["items"]) for row in rows] == list(told(data).values())
    assert set(rows[0]["behaviours"]) <= {"view", "buy"}


@pytest.mark.parametrize(
    ("split", "line"),
    [
        ("leave-two-out", "interactions are divided by leave-one-out, leave-last-target-out"),
        ("train=.8,test=.2", "interactions are divided by"),
        ("last-0", "interactions are divided by"),
        ("time=.8,.2", "give three shares above 0"),
        ("time=a,b,c", "give three shares above 0"),
        ("leave-last-target-out", "needs the behaviour that is asked for: target=LABEL"),
    ],
)
def test_an_unknown_split_is_one_line(split: str, line: str) -> None:
    with pytest.raises(UserError, match=line):
        shop(4, 0).divide(split)


def test_wrong_protocols_are_refused() -> None:
    with pytest.raises(UserError, match="whole numbers from 1 in rising order"):
        Protocol(cutoffs=(10, 5))
    with pytest.raises(UserError, match='target=bye: no such behaviour; did you mean "buy"'):
        shop(2, 0, target="bye")
    with pytest.raises(UserError, match='unknown behaviour "see"'):
        line("ab", behaviours=["see", "buy"], labels=["buy"])
    with pytest.raises(UserError, match="needs times"):
        line("ab").divide("time=.8,.1,.1")
    with pytest.raises(ValueError, match="starts speak of"):
        replace(shop(2, 0), user_ids=np.array(["a"]))
