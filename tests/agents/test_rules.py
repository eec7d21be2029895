"""Two banks of rules: what is found again, what is merged, what leaves."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from counterpoint.agents.rules import RuleStore, interleaved


def letters(text: str) -> torch.Tensor:
    return torch.tensor([float(text.count(one)) for one in "abcd"]) + 1e-6


def store(*texts: str, **options: Any) -> RuleStore:
    made = RuleStore(letters, **options)
    for step, text in enumerate(texts):
        made.add("do", text, f"question {step}", "student", 1.5, step, torch.Generator().manual_seed(step))
    return made


def texts(made: RuleStore) -> list[str]:
    return [rule.text for rule in made.banks["do"]]


def test_the_nearest_the_latest_and_any() -> None:
    made = store("aab", "b", "c", "a")
    made.add("avoid", "bb", "?", "student", 2.0, 9)
    assert [rule.text for rule in made.nearest("a", 2)["do"]] == ["a", "aab"]
    assert [rule.text for rule in made.nearest("a", 2)["avoid"]] == ["bb"]
    assert [rule.text for rule in made.nearest("a", 2, "latest")["do"]] == ["a", "c"]
    drawn = {
        tuple(r.id for r in made.nearest("a", 2, "random", torch.Generator().manual_seed(n))["do"]) for n in range(40)
    }
    assert len(drawn) == 12
    assert made.nearest("a", 0) == {"do": [], "avoid": []}


def test_first_in_first_out() -> None:
    made = store("a", "b", "c", "d", prune="fifo", cap=2)
    assert texts(made) == ["c", "d"]
    assert (made.made, made.left) == (4, 2)


def test_merging_counts_like_rules_and_ranks_by_how_often() -> None:
    made = store("a", "aa", "aab", "ab", "aaa", prune="merge", cap=9, merge_at=0.99)
    assert texts(made) == ["a", "aab", "ab"]
    assert made.banks["do"][0].frequency == 3
    # cos(ab, aab) = 0.949 beats cos(ab, a) = 0.707, but log(1 + 3) is twice log(1 + 1).
    assert [rule.text for rule in made.nearest("aab", 3)["do"]] == ["a", "aab", "ab"]


def test_when_merged_rules_are_too_many_the_rarest_or_the_oldest_leaves() -> None:
    assert texts(store("a", "a", "b", "c", prune="merge", cap=2)) == ["a", "c"]
    assert texts(store("a", "a", "b", "c", prune="merge-fifo", cap=2)) == ["b", "c"]


@given(
    st.lists(st.text("abcd", min_size=1, max_size=4), max_size=12),
    st.sampled_from(["none", "fifo", "random", "merge", "merge-fifo"]),
    st.integers(1, 4),
)
def test_a_bank_is_never_fuller_than_its_cap_and_nothing_is_lost_uncounted(
    said: list[str], prune: Any, cap: int
) -> None:
    made = store(*said, prune=prune, cap=cap)
    held = made.banks["do"]
    assert prune == "none" or len(held) <= cap
    assert len(held) + made.left == made.made
    assert [rule.id for rule in held] == sorted(rule.id for rule in held)
    if not prune.startswith("merge"):
        assert made.made == len(said)
    again = RuleStore(letters, prune, cap)
    again.load(made.rows(), made.made, made.left)
    assert again.rows() == made.rows()


@pytest.mark.parametrize(
    ("tokens", "taken"), [(9, []), (10, ["d0"]), (20, ["d0", "a0"]), (100, ["d0", "a0", "d1", "d2"])]
)
def test_do_and_avoid_in_turn_within_the_limit(tokens: int, taken: list[str]) -> None:
    made = RuleStore(letters)
    for bank, count in (("do", 3), ("avoid", 1)):
        for number in range(count):
            made.add(bank, f"{bank[0]}{number}".ljust(30), "", "", 1.0, 0)  # type: ignore[arg-type]
    found = interleaved({name: list(rules) for name, rules in made.banks.items()}, tokens)
    assert [rule.text.strip() for rule in found] == taken
