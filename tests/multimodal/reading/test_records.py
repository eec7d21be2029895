"""Records of a program as a table: values, gaps, and every wrong one named."""

from typing import Any

import numpy as np
import pytest

from counterpoint.errors import UserError
from counterpoint.multimodal.table import Table

FACTS = {"views": {"labs": {"width": 2}, "ecg": {"width": 1}}}


def test_views_gaps_and_absent_views() -> None:
    table = Table.of_records([{"labs": [1, None]}, {"labs": None, "ecg": np.array([2.5])}], FACTS)
    assert np.array_equal(table.views["labs"].values, [[1, np.nan], [np.nan, np.nan]], equal_nan=True)
    assert table.views["ecg"].present.tolist() == [False, True]
    assert list(Table.of_records([{"ecg": [1]}], FACTS).views) == ["ecg"]
    assert table.ids.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("record", "line"),
    [
        ("a text", "record 2 is text, not an object of views: {view: numbers}; views: labs, ecg"),
        (7, "record 2 is int"),
        ({"lab": [1, 2]}, 'record 2: unknown view "lab"; did you mean "labs"'),
        ({}, "record 2 gives no view; give at least one of labs, ecg"),
        ({"ecg": None}, "record 2 gives no view"),
        ({"labs": [1]}, 'record 2, view "labs": 1 numbers, where the run was fitted on 2'),
        ({"labs": "12"}, 'record 2, view "labs": must be a list of 2 numbers, not str'),
        ({"labs": [1, "2"]}, 'view "labs": value 2 is str, not a number'),
        ({"labs": [1, True]}, "value 2 is bool, not a number"),
        ({"labs": [[1], 2]}, "value 1 is list, not a number"),
        ({"labs": [1, float("inf")]}, "value 2 is infinite or too large"),
        ({"labs": [1, 10**400]}, "value 2 is infinite or too large"),
        ({"labs": [1, 1e39]}, "value 2 is infinite or too large"),
    ],
)
def test_a_wrong_record_is_named(record: Any, line: str) -> None:
    with pytest.raises(UserError) as said:
        Table.of_records([{"labs": [1, 2]}, record], FACTS, source="input")
    assert str(said.value).startswith("input: record 2")
    assert line in str(said.value)
