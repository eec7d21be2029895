"""Candidate chunks: each kind, edges, bounds on time, and what is left of one beside others."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterpoint.text.private.chunks import chunks, remainders, trimmed


def said(text: str) -> list[str]:
    return [text[a:b] for a, b in chunks(text)]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("call Ann Lee now", ["Ann Lee", "Ann", "Lee"]),
        ("she moved to the Bank of England", ["Bank of England", "Bank", "England"]),
        ("write to ann.lee@mail.example.org today", ["ann.lee@mail.example.org"]),
        ("my card is 4454 7945-1139 0933.", ["4454 7945-1139 0933"]),
        ("he has a history of asthma, gout and chronic back pain.", ["asthma", "gout", "chronic back pain"]),
        ("a man accused of theft or fraud", ["theft", "fraud"]),
        ("we saw him driving without a licence", ["driving without a licence"]),
        ("she wants to leave her husband", ["to leave her husband"]),
        ("of 6750 Koskikatu 25\nArtilleros, Uruguay 64677 it is", ["6750 Koskikatu 25\nArtilleros, Uruguay 64677"]),
    ],
)
def test_each_kind_of_chunk(text: str, wanted: list[str]) -> None:
    assert set(wanted) <= set(said(text))


def test_function_words_alone_are_no_chunks() -> None:
    assert said("it is what it is, and that is that.") == []
    assert chunks("") == []


@given(st.text(alphabet="Aab1 ,.\n-@of", max_size=60))
def test_chunks_lie_in_the_text_without_signs_at_their_ends(text: str) -> None:
    found = chunks(text)
    assert len(set(found)) == len(found)
    for start, end in found:
        assert 0 <= start < end <= len(text)
        assert trimmed(text, start, end) == (start, end)


def test_what_is_left_beside_others() -> None:
    text = "Dr Ann and Lee of Rome"
    assert [text[a:b] for a, b in remainders(text, (0, 22), [(3, 6)])] == ["Dr", "Lee of Rome"]
    assert remainders(text, (3, 6), [(0, 22)]) == []


@pytest.mark.parametrize("piece", ["A", "1 ", "history of a, "])
def test_a_text_of_100_000_characters_takes_seconds(piece: str) -> None:
    text = (piece * (100_000 // len(piece)))[:100_000]
    before = time.process_time()
    chunks(text)
    assert time.process_time() - before < 10
