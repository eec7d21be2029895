"""Texts with private spans: every reader, what is reported, and what is refused by name."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from counterpoint.errors import UserError
from counterpoint.text.private.spans import LONGEST, Span, SpannedTexts, iou
from text.tiny_spans import spanned

CONLL = "Ann\tB-person\nLee\tI-person\nis\tO\nin\tO\nRome\tB-location\n\nBob\tI-person\nleft\tO\n\t\nnothing\tO\n"


def write(folder: Path, name: str, text: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def presidio(text: str, start: int, end: int, value: str, template: int = 0) -> dict[str, Any]:
    span = {"entity_type": "PERSON", "entity_value": value, "start_position": start, "end_position": end}
    return {"full_text": text, "masked": "{{x}}", "spans": [span], "template_id": template, "metadata": None}


def test_conll_sentences_are_texts_with_spans(tmp_path: Path) -> None:
    data = SpannedTexts.read(write(tmp_path, "posts.conll", CONLL))
    assert data.texts.tolist() == ["Ann Lee is in Rome", "Bob left", "nothing"]
    assert data.spans == ((Span(0, 7, "person"), Span(14, 18, "location")), (Span(0, 3, "person"),), ())
    assert data.names == ["posts"]
    assert [data.said(row) for row in range(3)] == [["Ann Lee", "Rome"], ["Bob"], []]


def test_presidio_json_and_its_templates(tmp_path: Path) -> None:
    rows = [presidio(f"I am Ann{n}", 5, 9, f"Ann{n}", n // 2) for n in range(8)]
    data = SpannedTexts.read(write(tmp_path, "forms.json", json.dumps(rows)))
    assert data.said(3) == ["Ann3"]
    assert data.group == "template_id"
    parts = data.split({"train": 0.5, "test": 0.5}, seed=1)
    assert not set(parts["train"].columns["template_id"]) & set(parts["test"].columns["template_id"])
    assert "masked" not in data.columns


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_tables_with_a_column_of_spans(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"notes.{kind}"
    rows = [
        {"key": "a", "note": "Ann is ill", "private": [[0, 3, "NAME"]], "kind": "medical"},
        {"key": "b", "note": "the case of Bob", "private": [[12, 15, "NAME"]], "kind": "legal"},
        {"key": "c", "note": "nothing here", "private": [], "kind": "legal"},
    ]
    texts = [{**row, "private": json.dumps(row["private"])} for row in rows]
    if kind == "csv":
        lines = ["key,note,private,kind"]
        lines += ['{key},{note},"{private}",{kind}'.format(**row).replace('"NAME"', '""NAME""') for row in texts]
        path.write_text("\n".join(lines) + "\n")
    elif kind == "jsonl":
        path.write_text("\n".join(map(json.dumps, rows)) + "\n")
    else:
        spans = [[{"start": a, "end": b, "label": n} for a, b, n in row["private"]] for row in rows]  # type: ignore[attr-defined]
        pq.write_table(pa.table({**{k: [r[k] for r in rows] for k in ("key", "note", "kind")}, "private": spans}), path)
    data = SpannedTexts.read(path, text="note", spans="private", domain="kind", id="key")
    assert data.spans == ((Span(0, 3, "NAME"),), (Span(12, 15, "NAME"),), ())
    assert data.domains.tolist() == ["medical", "legal", "legal"]
    assert data.ids.tolist() == ["a", "b", "c"]


def test_a_folder_is_a_domain_per_file_and_scripts_are_told(tmp_path: Path) -> None:
    write(tmp_path, "posts.conll", CONLL)
    write(tmp_path, "forms.jsonl", json.dumps({"text": "Это Анна", "spans": [{"start": 4, "end": 8}]}) + "\n")
    write(tmp_path, "readme.txt", "not read")
    data = SpannedTexts.read(tmp_path)
    assert sorted(set(data.domains)) == ["forms", "posts"]
    assert data.scripts == {"latin": 3, "cyrillic": 1}
    assert "domains: forms 1, posts 3" in data.notes
    assert data.said(0) == ["Анна"]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.conll", "Ann\n", "line 1"),
        ("a.conll", b"Ann\tO\n\xff\tO\n", "line 2 is not UTF-8"),
        (
            "a.json",
            json.dumps([presidio("I am Ann", 5, 8, "Bob")]),
            "are not its entity_value; offsets count characters",
        ),
        ("a.json", json.dumps([presidio("I am Ann", 5, 80, "Ann")]), "row 1"),
        ("a.json", "{}", "must hold a list"),
        ("a.json", "[[", "is not JSON"),
        ("a.jsonl", '{"text": "a", "spans": [[0, 9]]}\n', "a span from 0 to 9 is not in its text, which has 1 char"),
        ("a.jsonl", '{"text": "a", "spans": ["x"]}\n', 'row 1, column "spans"'),
        ("a.jsonl", '{"words": "a", "spans": []}\n', "which one holds the text; name it: text=COLUMN"),
        ("a.jsonl", '{"text": "a", "domain": "", "spans": []}\n', 'row 1, column "domain": the domain is missing'),
        ("a.csv", "text,spans\na,[[0\n", "not JSON"),
        ("a.txt", "a", "texts are read from"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, name: str, text: str | bytes, said: str) -> None:
    path = write(tmp_path, name, text)
    with pytest.raises(UserError, match="(?s)" + said.replace("(", r"\(").replace("[", r"\[")):
        SpannedTexts.read(path)


def test_a_column_that_is_not_there_gets_the_nearest_name(tmp_path: Path) -> None:
    path = write(tmp_path, "a.jsonl", '{"note": "a", "spans": []}\n')
    with pytest.raises(UserError, match='text=nota: no such column; did you mean "note"'):
        SpannedTexts.read(path, text="nota")


def test_a_text_without_end_is_refused_and_blanks_are_missing() -> None:
    with pytest.raises(UserError, match="divide the text"):
        SpannedTexts.of(["x" * (LONGEST + 1)], [[]], ["a"])
    data = SpannedTexts.of(["  ", "bad \N{REPLACEMENT CHARACTER}"], [[], []], ["a", "a"])
    assert data.present.tolist() == [False, True]
    assert any("no text" in said for said in data.warnings())
    assert any("wrong encoding" in said for said in data.warnings())


def test_equal_data_hash_equally_and_spans_count() -> None:
    assert spanned(12, 0).fingerprint() == spanned(12, 0).fingerprint()
    one = SpannedTexts.of(["Ann"], [[(0, 3, "a")]], ["d"])
    assert one.fingerprint() != SpannedTexts.of(["Ann"], [[(0, 2, "a")]], ["d"]).fingerprint()
    assert iou((0, 4), (4, 8)) == 0
