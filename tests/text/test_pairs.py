"""Pairs: no text on two sides of a split, equal data hash equally, records say which one is wrong."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterpoint.errors import UserError
from counterpoint.text.pairs import Pairs, connected
from text.tiny import pairs

FACTS = {"views": {"query": {}, "document": {}}}
numbers = st.lists(st.integers(-1, 5), min_size=1, max_size=12)


@given(numbers, st.randoms(use_true_random=False))
def test_joined_rows_are_those_that_steps_lead_to(one: list[int], random: object) -> None:
    other = one.copy()
    random.shuffle(other)  # type: ignore[attr-defined]
    rows = len(one)
    near = [
        [bool({a, b} & {c, d} - {-1}) for c, d in zip(one, other, strict=True)] for a, b in zip(one, other, strict=True)
    ]
    reached = np.array(near) | np.eye(rows, dtype=bool)
    for _ in range(rows):
        reached = (reached.astype(int) @ reached.astype(int)) > 0
    group = connected([np.array(one), np.array(other)])
    assert (reached == (group[:, None] == group[None, :])).all()


def test_no_text_is_on_two_sides_of_a_split() -> None:
    queries = [f"q{row // 2}" for row in range(40)]
    documents = [f"d{row // 3}" if row % 5 else None for row in range(40)]
    documents[-1] = queries[0]
    parts = Pairs.of({"q": queries, "d": documents}).split({"train": 0.5, "test": 0.5}, seed=3)
    sides = [{text for view in part.views.values() for text in view.values if text} for part in parts.values()]
    assert not sides[0] & sides[1]
    assert sum(map(len, parts.values())) == 40


def test_a_collection_keeps_its_queries_together_and_says_so() -> None:
    data = Pairs.of({"q": [f"q{row // 4}" for row in range(40)], "d": [f"d{row % 3}" for row in range(40)]})
    assert any("may be on both sides" in warning for warning in data.warnings())
    parts = data.split({"train": 0.5, "test": 0.5})
    assert not set(parts["train"].views["q"].values) & set(parts["test"].views["q"].values)


def test_a_group_column_decides_alone() -> None:
    data = Pairs.of({"q": ["a"] * 6, "d": list("uvwxyz")}, {"who": [0, 0, 1, 1, 2, 2]})
    parts = data.split({"train": 0.67, "test": 0.33}, group="who")
    assert not set(parts["train"].columns["who"]) & set(parts["test"].columns["who"])
    with pytest.raises(UserError, match='no column "whom" to group by; did you mean "who"'):
        data.split({"train": 0.5, "test": 0.5}, group="whom")


def test_the_fingerprint_follows_the_content() -> None:
    data = pairs(20, 0)
    assert data.fingerprint() == pairs(20, 0).fingerprint() == data.rows(np.arange(20)).fingerprint()
    changed = data.views["document"].values.copy()
    changed[0], changed[1] = changed[1], changed[0]
    others = [data.with_texts("document", changed), data.rows(slice(1, None)), data.among(["more"])]
    assert len({data.fingerprint(), *(other.fingerprint() for other in others)}) == 4


def test_views_by_role_and_what_looks_wrong() -> None:
    data = Pairs.of({"negative_1": ["x", " "], "q": ["a", "a"], "d": [None, None]})
    assert (data.positives, data.negatives) == (("q", "d"), ("negative_1",))
    assert [row["rows"] for row in data.schema()] == [1, 2, 0]
    warnings = " ".join(data.warnings())
    assert '"q" is the same in every row' in warnings
    assert '"d" is missing in every row' in warnings


def test_records_are_texts_or_texts_by_view() -> None:
    made = Pairs.of_records(["why", {"document": "because", "query": None}], FACTS)
    assert made.views["query"].values.tolist() == ["why", None]
    assert made.views["document"].values.tolist() == [None, "because"]
    assert Pairs.of_records(["why"], FACTS).positives == ("query",)
    assert len(Pairs.of_records([], FACTS)) == 0


@pytest.mark.parametrize(
    ("record", "line"),
    [
        (3, "record 2 is neither a text nor texts by view; views: query, document"),
        ({"documnet": "x"}, 'record 2: unknown view "documnet"; did you mean "document"'),
        ({"query": 3}, 'record 2: "query" is not a text'),
    ],
)
def test_a_wrong_record_is_named(record: object, line: str) -> None:
    with pytest.raises(UserError, match=line):
        Pairs.of_records(["fine", record], FACTS)
