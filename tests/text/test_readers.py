"""Files become pairs: every format alike, collections with their judgements, mistakes named."""

import json
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pytest

from counterpoint.errors import UserError
from counterpoint.text.pairs import Pairs

ROWS = {
    "question": ["why, then?", "who", "line\nbreak", "ünïcode"],
    "title": ["T", "", "t3", "t4"],
    "answer": ["because", "nobody", "", "ja"],
    "stars": [1, 2, 3, 4],
}
VIEWS = {"query": "question", "document": "title,answer"}


def write(path: Path) -> Path:
    table = pa.table(ROWS)
    if path.suffix in (".csv", ".tsv"):
        pa.csv.write_csv(table, path, pa.csv.WriteOptions(delimiter="," if path.suffix == ".csv" else "\t"))
    elif path.suffix == ".jsonl":
        path.write_text("\n".join(json.dumps(row) for row in table.to_pylist()))
    elif path.suffix == ".parquet":
        pa.parquet.write_table(table, path)
    else:
        pa.feather.write_feather(table, path, compression="uncompressed")
    return path


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet", ".feather"])
def test_every_format_gives_the_same(tmp_path: Path, suffix: str) -> None:
    data = Pairs.read(write(tmp_path / f"rows{suffix}"), view=VIEWS)
    assert data.views["query"].values.tolist() == ROWS["question"]
    assert data.views["document"].values.tolist() == ["T because", "nobody", "t3", "t4 ja"]
    assert [int(value) for value in data.columns["stars"]] == ROWS["stars"]


def test_two_text_columns_need_no_names(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("id,negative,q,d\n7,x,a,b\n8,,c,d\n")
    data = Pairs.read(path)
    assert (data.positives, data.negatives, data.ids.tolist()) == (("q", "d"), ("negative",), ["7", "8"])
    assert "no views were named; taken: view.q=q view.d=d" in data.warnings()[0]


@pytest.mark.parametrize(
    ("text", "options", "line"),
    [
        ("a,b,c\n1,2,3\n", {}, "do not show which two texts belong together"),
        ("a,b\n1,2\n", {"view": {"q": "aa", "d": "b"}}, 'view.q: no column "aa"; did you mean "a"'),
        ("a,b\n1,2\n", {"view": {"q": "a"}}, "2 texts per row are needed"),
        ("a,b\n1,2\n", {"id": "c"}, "id=c: no such column"),
        ("a,b\n", {}, "has no rows"),
        ("a,a\n1,2\n", {}, 'two columns are named "a"'),
        ("a,b\n1\n", {}, "cannot be read"),
        ("id,a,b\n,x,y\n", {}, 'row 1, column "id": the id is missing'),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, text: str, options: dict, line: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=line):
        Pairs.read(path, **options)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        Pairs.read(tmp_path / "absent.csv")
    for name, content, line in (
        ("a.docx", "x", 'not ".docx"'),
        ("a.jsonl", '{"a": "x"}\nnonsense\n', "line 2 is not a JSON object"),
        ("b.jsonl", '{"a": "x"}\n{"a": 3}\n', 'field "a" has values of several kinds'),
        ("a.parquet", "x", "cannot be read"),
    ):
        (tmp_path / name).write_text(content)
        with pytest.raises(UserError, match=line):
            Pairs.read(tmp_path / name)
    path = tmp_path / "numbers.parquet"
    pa.parquet.write_table(pa.table({"a": [1], "b": ["x"]}), path)
    with pytest.raises(UserError, match=r'view\.q: column "a" holds int64, not texts'):
        Pairs.read(path, view={"q": "a", "d": "b"})


@pytest.fixture
def collection(tmp_path: Path) -> Path:
    folder = tmp_path / "made"
    (folder / "qrels").mkdir(parents=True)
    documents = [{"_id": f"d{i}", "title": "T" if i else "", "text": f"text {i}"} for i in range(4)]
    queries = [{"_id": f"q{i}", "text": f"question {i}"} for i in range(3)]
    (folder / "corpus.jsonl").write_text("\n".join(map(json.dumps, documents)))
    (folder / "queries.jsonl").write_text("\n".join(map(json.dumps, queries)))
    (folder / "qrels" / "train.tsv").write_text("query-id\tcorpus-id\tscore\nq0\td0\t1\nq0\td1\t2\nq1\td2\t0\n")
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq2\td3\t1\n")
    return folder


def test_a_collection_is_read_by_its_judgements(collection: Path) -> None:
    train = Pairs.read(collection / "qrels" / "train.tsv")
    assert train.views["query"].values.tolist() == ["question 0", "question 0"]
    assert train.views["document"].values.tolist() == ["text 0", "T text 1"]
    assert train.pool == ("text 0", "T text 1", "T text 2", "T text 3")
    assert train.columns["grade"].tolist() == [1, 2]
    assert len(Pairs.read(collection)) == 3
    stored = {name: list(view.columns) for name, view in train.views.items()}
    again = Pairs.read(collection / "qrels" / "train.tsv", view=stored)
    assert again.fingerprint() == train.fingerprint()
    documents = Pairs.read(collection / "corpus.jsonl", view={"document": stored["document"]}, least_views=1)
    assert documents.views["document"].values.tolist() == list(train.pool)
    assert documents.ids.tolist() == ["d0", "d1", "d2", "d3"]


def test_a_collection_may_be_zipped_and_have_several_corpora(collection: Path) -> None:
    expected = Pairs.read(collection)
    (collection / "corpus").mkdir()
    (collection / "corpus.jsonl").rename(collection / "corpus" / "human.jsonl")
    (collection / "corpus" / "machine.jsonl").write_text("")
    archive = collection.with_suffix(".zip")
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(collection.rglob("*.*")):
            file.write(path, path.relative_to(collection))
    assert Pairs.read(archive, corpus="human").fingerprint() == expected.fingerprint()
    with pytest.raises(UserError, match=r"corpus= must say which.*human, machine"):
        Pairs.read(collection)


def test_mistakes_in_a_collection_are_named(collection: Path) -> None:
    judgements = collection / "qrels" / "test.tsv"
    with pytest.raises(UserError, match="a collection has the views query and document"):
        Pairs.read(judgements, view={"answer": "text"})
    judgements.write_text("q2\td9\t1\n")
    with pytest.raises(UserError, match='name document "d9", which its file does not have'):
        Pairs.read(judgements)
    judgements.write_text("q2\td3\t1\nq2\td3\n")
    with pytest.raises(UserError, match="line 2 is not query, document and a whole grade"):
        Pairs.read(judgements)
    judgements.write_text("q2\td3\t0\n")
    with pytest.raises(UserError, match="no judgement has a grade above 0"):
        Pairs.read(judgements)
    (collection / "queries.jsonl").write_text('{"_id": "q1"}\n')
    with pytest.raises(UserError, match='entry 1 lacks a text "_id" or "text"'):
        Pairs.read(collection)
