"""A table written as Parquet is the table again when it is read."""

from pathlib import Path

import numpy as np
import pytest

from counterpoint.errors import UserError
from counterpoint.multimodal.reading.readers import read
from counterpoint.multimodal.reading.written import arrow_table, write_table
from counterpoint.multimodal.table import Table
from small import write_rows


def test_numbers_and_kept_columns_come_back(tmp_path: Path) -> None:
    view = {"labs": "lab_*", "vitals": "vit_*", "ecg": "ecg_*"}
    table = read(write_rows(tmp_path / "rows.csv"), view=view, id="who")
    write_table(tmp_path / "again.parquet", table)
    again = read(tmp_path / "again.parquet", view=view, id="who")
    assert again.fingerprint() == table.fingerprint()
    assert {name: again.columns[name].tolist() for name in table.columns} == {
        name: values.tolist() for name, values in table.columns.items()
    }


def test_every_kind_that_can_be_written_comes_back(tmp_path: Path) -> None:
    views = {
        "vector": [[1.0, 2.0], [np.nan, np.nan], [3.0, np.nan]],
        "note": ["a text", None, "another"],
        "level": [["x"], ["y"], [None]],
        "tokens": [np.ones((2, 3)), None, np.zeros((1, 3))],
    }
    table = Table.of(views, kind={"note": "text", "level": "categories", "tokens": "tokens"})
    write_table(tmp_path / "t.parquet", table)
    kinds = {"tokens": "tokens", "level": "categories", "note": "text"}
    again = read(tmp_path / "t.parquet", view={name: name for name in views}, id="id", kind=kinds)
    assert np.array_equal(again.views["vector"].values, table.views["vector"].values, equal_nan=True)
    for name in ("note", "tokens"):
        for row in range(3):
            one, other = again.views[name].entries(row)[0], table.views[name].entries(row)[0]
            assert (one is None and other is None) or np.array_equal(one, other)
    assert [again.views["level"].entries(row)[0] for row in range(3)] == [("level", "x"), ("level", "y"), None]


def test_what_a_file_cannot_hold_is_refused(tmp_path: Path) -> None:
    events = Table.of({"ehr": [[(1.0, 0.0, "k")]]}, kind={"ehr": "events"})
    with pytest.raises(UserError, match='view "ehr" is events, which are not written'):
        write_table(tmp_path / "e.parquet", events)
    with pytest.raises(UserError, match='view "a" and another column are both called "a"'):
        arrow_table(Table.of({"a": [[1.0]]}, {"a": [2]}))
    assert list(tmp_path.iterdir()) == []
