"""What is found in an answer, and what counts as equal."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterpoint.agents.answers import equivalent, extract, grouped, rouge_l, without_answers

POLES = ("positive", "negative")


@pytest.mark.parametrize(
    ("text", "choices", "found"),
    [
        ("so \\boxed{3} or rather \\boxed{\\frac{1}{2}}", (), "\\frac{1}{2}"),
        ("\\boxed{} is empty, 7 is left", (), "7"),
        ("48 / 2 = 24\n#### 72", (), "72"),
        ("First 3, then 4.\nAnswer: 12 apples", (), "12"),
        ("Answer: x = 5", (), "5"),
        ("**Answer:** March 3", (), "March 3"),
        ("The answer is $1,200.", (), "$1,200"),
        ("It is 7. No, 8.", (), "8"),
        ("the fraction 3/4", (), "3/4"),
        ("Paris", (), "Paris"),
        ("I have no idea what they want from me here", (), None),
        ("", (), None),
        ("Answer: Negative. Not positive!", POLES, "positive"),
        ("positive at first, Answer: negative", POLES, "negative"),
        ("Answer: hard to say, but positive", POLES, "positive"),
        ("nonpositive", POLES, None),
        ("very good", ("good", "very good"), "very good"),
    ],
)
def test_extraction(text: str, choices: tuple[str, ...], found: str | None) -> None:
    assert extract(text, choices) == found


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        ("0.5", "\\frac{1}{2}", True),
        ("1,000", "1e3", True),
        ("$7.00", "7", True),
        ("50%", "50", True),
        ("-3", "3", False),
        ("1/3", "0.333", False),
        ("1/0", "1/0", True),
        ("Monday", " monday.", True),
        ("x + 1", "x - 1", False),
    ],
)
def test_equivalence(one: str, other: str, equal: bool) -> None:
    assert equivalent(one, other) is equal


@given(st.integers(-(10**9), 10**9), st.integers(1, 99))
def test_a_number_is_equal_however_it_is_written(number: int, below: int) -> None:
    assert equivalent(f"{number:,}", f"{number}.00")
    assert equivalent(f"\\frac{{{number}}}{{{below}}}", f"{number}/{below}")
    assert extract(f"Some words. Answer: {number:,}") == f"{number:,}"


def test_what_has_no_answer_stands_alone() -> None:
    assert grouped([None, "4", None, "4.0", "5"]) == [[0], [1, 3], [2], [4]]


def test_boxed_answers_are_left_out() -> None:
    assert without_answers("a \\boxed{\\frac{1}{2}} b \\boxed{3}") == "a \\boxed{} b \\boxed{}"


@given(st.lists(st.sampled_from("abc"), max_size=7), st.lists(st.sampled_from("abc"), max_size=7))
def test_rouge_is_the_longest_common_subsequence(a: list[str], b: list[str]) -> None:
    from itertools import combinations

    def subsequences(words: list[str]) -> set[tuple[str, ...]]:
        return {
            tuple(words[i] for i in chosen)
            for n in range(len(words) + 1)
            for chosen in combinations(range(len(words)), n)
        }

    longest = max(len(one) for one in subsequences(a) & subsequences(b))
    wanted = 2 * longest / (len(a) + len(b)) if a and b else 0.0
    assert rouge_l(" ".join(a), " ".join(b)) == pytest.approx(wanted)
