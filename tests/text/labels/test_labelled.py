"""Labelled texts: columns found or named, gaps, encodings, splits, hashes; labels against a classifier's names."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterpoint.errors import UserError
from counterpoint.evaluation import WorstGroup
from counterpoint.text.labels.classes import classes_of, codes
from counterpoint.text.labels.labelled import LabelledTexts


def rows_of(path: Path, kind: str) -> Path:
    columns = {"note": ["x", "y", "z"], "tweet": ["how nice", "", "bad"], "class": [1, 0, None]}
    file = path / f"rows.{kind}"
    if kind == "csv":
        file.write_text("note,tweet,class\nx,how nice,1\ny,,0\nz,bad,\n")
    elif kind == "jsonl":
        rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        file.write_text("\n".join(map(json.dumps, rows)))
    else:
        pq.write_table(pa.table(columns), file)
    return file


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_every_format_gives_the_same(tmp_path: Path, kind: str) -> None:
    data = LabelledTexts.read(rows_of(tmp_path, kind))
    assert data.text.values.tolist() == ["how nice", None, "bad"]
    assert data.labels("class") == ["1", "0", None]
    assert data.notes == ("no column was named; taken: view.text=tweet",)
    assert "1 of 3 rows have no text and are passed over" in data.warnings()
    named = LabelledTexts.read(rows_of(tmp_path, kind), view={"text": "note,tweet"}, subgroup="note")
    assert named.text.values.tolist() == ["x how nice", "y", "z bad"]
    assert named.columns["note"].tolist() == ["x", "y", "z"]


def test_columns_that_cannot_be_meant_are_named(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("one,two,label\na,b,1\n")
    with pytest.raises(
        UserError, match=r"do not show which one holds the texts; name it: view\.text=COLUMN \(columns:"
    ):
        LabelledTexts.read(file)
    with pytest.raises(UserError, match=r'view\.text: no column "tow"; did you mean "two"'):
        LabelledTexts.read(file, view={"text": "tow"})
    with pytest.raises(UserError, match="subgroup=on: no such column"):
        LabelledTexts.read(file, view={"text": "one"}, subgroup="on")
    with pytest.raises(UserError, match="labelled texts have one view"):
        LabelledTexts.read(file, view={"query": "one"})


def test_a_line_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_bytes(b"text,label\nfine,1\ncaf\xe9,0\n")
    with pytest.raises(UserError, match=r"line 3 is not UTF-8: byte 4, 0xe9; convert the file"):
        LabelledTexts.read(file)
    file.write_text("text,label\ncaf\N{REPLACEMENT CHARACTER},0\n")
    assert any("wrong encoding" in text for text in LabelledTexts.read(file).warnings())


def test_the_schema_says_how_long_texts_are_and_in_which_scripts() -> None:
    (one,) = LabelledTexts.of(["Привет", "hello", None, "world "]).schema()
    assert (one["width"], one["unit"], one["missing"]) == (6, "characters (latin 67 %, cyrillic 33 %)", 0.25)


def test_texts_that_are_all_empty_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("text,label\n ,1\n,0\n")
    with pytest.raises(UserError, match='column "text" has no text in any row'):
        LabelledTexts.read(file)


@given(st.lists(st.sampled_from(["a", "b", "c", "d e", None]), min_size=6, max_size=30), st.integers(0, 3))
def test_equal_texts_stay_on_one_side(texts: list[str | None], seed: int) -> None:
    data = LabelledTexts.of(texts)
    if len(np.unique(data.alike)) < 2:
        return
    parts = data.split({"train": 0.5, "test": 0.5}, seed=seed)
    sides = [{text for text in part.text.values if text is not None} for part in parts.values()]
    assert not sides[0] & sides[1]
    assert sum(map(len, parts.values())) == len(data)


def test_the_hash_knows_texts_labels_and_rows() -> None:
    data = LabelledTexts.of(["a", "b"], {"label": ["1", "0"]})
    others = [
        LabelledTexts.of(["a", "c"], {"label": ["1", "0"]}),
        LabelledTexts.of(["a", "b"], {"label": ["1", None]}),
        data.rows(slice(0, 1)),
    ]
    assert data.fingerprint() == LabelledTexts.of(["a", "b"], {"label": ["1", "0"]}).fingerprint()
    assert data.fingerprint() not in [other.fingerprint() for other in others]


def test_records_are_texts_or_named_texts() -> None:
    assert LabelledTexts.of_records(["a", {"text": "b"}], {}).text.values.tolist() == ["a", "b"]
    with pytest.raises(UserError, match="record 2 is neither a text"):
        LabelledTexts.of_records(["a", {"txt": "b"}], {})


def test_labels_are_names_or_numbers_of_classes() -> None:
    classes = ["NEGATIVE", "POSITIVE"]
    assert codes(LabelledTexts.of(["a", "b", None], {"y": ["positive", "", "negative"]}), "y", classes).tolist() == [
        *(1, -1, -1)
    ]
    assert codes(LabelledTexts.of(["a", "b"], {"y": [1.0, 0.0]}), "y", classes).tolist() == [1, 0]
    with pytest.raises(UserError, match=r'row 2, column "y": "1" is none of the classifier\'s classes NEGATIVE, POSIT'):
        codes(LabelledTexts.of(["a", "b"], {"y": ["positive", "1"]}), "y", classes)
    with pytest.raises(UserError, match='row 1, column "y": "2" is none of'):
        codes(LabelledTexts.of(["a", "b"], {"y": [2, 0]}), "y", classes)
    with pytest.raises(UserError, match='no column "z" with labels'):
        codes(LabelledTexts.of(["a"], {"y": [2]}), "z", classes)


def test_classes_are_in_order_and_at_least_two() -> None:
    assert classes_of(LabelledTexts.of(["a"] * 3, {"y": ["b", "a", None]}), "y") == ["a", "b"]
    with pytest.raises(UserError, match='column "y" holds one class only, "b"'):
        classes_of(LabelledTexts.of(["a", "c"], {"y": ["b", "b"]}), "y")


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), min_size=1, max_size=40))
def test_the_worst_group_is_the_least_mean(rows: list[tuple[int, bool]]) -> None:
    group, right = np.array([row[0] for row in rows]), np.array([float(row[1]) for row in rows])
    expected = min(right[group == one].mean() for one in set(group.tolist()))
    assert WorstGroup("correct", "group")({"correct": right, "group": group}) == pytest.approx(expected)
