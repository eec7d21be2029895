"""Events in a file of their own: what joins them, what they become, and every mistake in one line."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from counterpoint.cli import main
from counterpoint.errors import UserError
from counterpoint.multimodal.reading.readers import read

ROWS = "who,lab_a,lab_b\nann,1,2\nbob,3,4\ncid,5,6\n"
EVENTS = "who,value,time,type\nbob,7.5,2,pulse\nann,1,9,pulse\nbob,,1,visit\nzoe,3,3,pulse\nbob,8,3.5,pulse\n"
VIEWS = {"labs": "lab_*", "log": "events.csv"}


def written(folder: Path, events: str = EVENTS, rows: str = ROWS) -> Path:
    (folder / "events.csv").write_text(events)
    (folder / "rows.csv").write_text(rows)
    return folder / "rows.csv"


def test_events_are_joined_by_id_and_sorted_by_time(tmp_path: Path) -> None:
    table = read(written(tmp_path), view=VIEWS, id="who")
    log = table.views["log"]
    assert (list(table.views), log.kind, log.present.tolist()) == (["labs", "log"], "events", [True, True, False])
    (bob,) = log.entries(1)
    names = log.items.names
    assert [names[int(kind)] for kind in bob[:, 2]] == ["visit", "pulse", "pulse"]
    np.testing.assert_array_equal(bob[:, :2], [[np.nan, 1], [7.5, 2], [8, 3.5]])
    assert table.notes == (f"{tmp_path / 'events.csv'}: 1 of 5 events belong to no row of the table",)


def test_they_are_what_list_columns_are(tmp_path: Path) -> None:
    table = read(written(tmp_path), view=VIEWS, id="who")
    columns = {"v": [[1.0], [None, 7.5, 8.0], []], "t": [[9.0], [1.0, 2.0, 3.5], []]}
    columns |= {"k": [["pulse"], ["visit", "pulse", "pulse"], []], "who": ["ann", "bob", "cid"]}
    pq.write_table(pa.table({"lab_a": [1.0, 3, 5], "lab_b": [2.0, 4, 6], **columns}), tmp_path / "rows.parquet")
    beside = read(tmp_path / "rows.parquet", view={"labs": "lab_*", "log": "v,t,k"}, id="who")
    for row in range(3):
        (a,), (b,) = table.views["log"].entries(row), beside.views["log"].entries(row)
        assert (a is None) == (b is None)
        if a is not None:
            np.testing.assert_array_equal(a, b)


def test_moments_are_hours_since_the_rows_first(tmp_path: Path) -> None:
    spelled = "who,value,time,type\nann,1,2026-01-01 08:00,p\nann,2,2026-01-02 09:30,p\nbob,3,2025-05-05 00:00,p\n"
    log = read(written(tmp_path, spelled), view=VIEWS, id="who").views["log"]
    assert log.entries(0)[0][:, 1].tolist() == [0.0, 25.5]
    assert log.entries(1)[0][:, 1].tolist() == [0.0]


@pytest.mark.parametrize(
    ("events", "rows", "id", "words"),
    [
        (EVENTS, ROWS, None, r'rows.csv: the events of view "log" are joined by id; name its column, id=COLUMN'),
        (EVENTS.replace("time", "when"), ROWS, "who", r'events.csv: no column "time" for view "log"'),
        (EVENTS.replace("7.5", "high"), ROWS, "who", r'events.csv: row 1, column "value": "high"'),
        (EVENTS.replace("9,", "soon,"), ROWS, "who", "events.csv: cannot be read as events: a time is a number, or"),
        (EVENTS, ROWS.replace("cid", "ann"), "who", 'column "who" of the table repeats some'),
        (EVENTS.replace("7.5", "inf"), ROWS, "who", "infinite"),
    ],
)
def test_mistakes_are_named(events: str, rows: str, id: str | None, words: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=words):
        read(written(tmp_path, events, rows), view=VIEWS, id=id)


def test_a_file_that_is_not_there_is_named_and_so_is_another_kind(tmp_path: Path) -> None:
    rows = written(tmp_path)
    with pytest.raises(UserError, match=r'view "log" is the file none.csv, which is not beside it'):
        read(rows, view={"labs": "lab_*", "log": "none.csv"}, id="who")
    with pytest.raises(UserError, match=r"kind.log=text: a view in a file of its own is events"):
        read(rows, view=VIEWS, id="who", kind={"log": "text"})


def test_a_fit_and_its_use_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    many = "who,lab_a,lab_b\n" + "".join(f"p{i},{a},{b}\n" for i, (a, b) in enumerate(rng.normal(size=(60, 2))))
    lines = [f"p{i},{rng.normal()},{t},pulse\n" for i in range(60) for t in range(1 + i % 4)]
    rows = written(tmp_path, "who,value,time,type\n" + "".join(lines), many)
    words = ["view.labs=lab_*", "view.log=events.csv", "id=who"]
    fit = ["fit", "clip", str(rows), *words, "epochs=1", "dim=4", "hidden=4", "batch_size=16", "--out"]
    assert main([*fit, str(tmp_path / "run"), "--quiet"]) == 0
    assert main(["embed", str(tmp_path / "run"), str(rows), "-o", str(tmp_path / "v.parquet"), "--quiet"]) == 0
    assert pq.read_table(tmp_path / "v.parquet").num_rows == 60
