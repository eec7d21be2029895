"""Questions from files, and what is wrong with some."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from counterpoint.agents.questions import Questions
from counterpoint.errors import UserError

ROWS = [{"question": "1 + 1?", "answer": "it is <<1+1=2>>2\n#### 2"}, {"question": "Is it so?", "answer": None}]


def test_every_format_says_the_same(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, ROWS)) + "\n\n")
    (tmp_path / "a.csv").write_text('question,answer\n1 + 1?,"it is\n#### 2"\nIs it so?,\n')
    (tmp_path / "a.tsv").write_text("question\tanswer\n1 + 1?\t2\nIs it so?\t\n")
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "a.parquet")
    for name in ("a.jsonl", "a.csv", "a.tsv", "a.parquet"):
        data = Questions.read(tmp_path / name)
        assert (data.texts.tolist(), data.answers.tolist()) == (["1 + 1?", "Is it so?"], ["2", None]), name


def test_choices_ids_and_other_fields(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"q": "good?", "label": 1, "choices": ["yes", "no"], "id": "x", "topic": "a"}\n')
    data = Questions.read(path, question="q")
    assert (data.choices, data.answers.tolist(), data.ids.tolist()) == ((("yes", "no"),), ["1"], ["x"])
    assert data.columns["topic"].tolist() == ["a"]
    path.write_text('{"q": "good?", "among": "yes | no"}\n')
    assert Questions.read(path, question="q", choices="among").choices == (("yes", "no"),)


@pytest.mark.parametrize(
    ("name", "text", "options", "says"),
    [
        ("a.jsonl", "[1]\n", {}, "line 1 is not a JSON object"),
        ("a.jsonl", '{"question": "a"}\n{"question": " "}\n', {}, 'row 2, field "question"'),
        ("a.jsonl", '{"word": "a"}\n', {}, "which field holds the question"),
        ("a.jsonl", '{"question": "a"}\n', {"answer": "anwser"}, "no such field"),
        ("a.jsonl", '{"id": 1, "question": "a"}\n{"id": 1, "question": "b"}\n', {}, "one id"),
        ("a.jsonl", "", {}, "has no rows"),
        ("a.txt", "x", {}, "records are read from"),
        ("a.jsonl", None, {}, "no such file"),
    ],
)
def test_what_is_wrong_is_named(
    name: str, text: str | None, options: dict[str, str], says: str, tmp_path: Path
) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=says):
        Questions.read(tmp_path / name, **options)


def test_order_is_kept_and_shuffled_by_seed() -> None:
    data = Questions.of([str(n) for n in range(20)])
    assert data.shuffled(1).texts.tolist() == data.shuffled(1).texts.tolist() != data.texts.tolist()
    assert data.rows(slice(3, 5)).texts.tolist() == ["3", "4"]
    with pytest.raises(UserError, match="stream or first-N"):
        data.divide("train=.5")
