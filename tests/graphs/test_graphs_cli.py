"""The command line as a user of graphs would drive it."""

import json
from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from counterpoint.cli import main
from counterpoint.language import Ask, Failure, Reply, register
from graphs.little import little


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a table of nodes and one of edges."""
    monkeypatch.chdir(tmp_path)
    graph = little(60, 0)
    assert graph.texts is not None
    rows = zip(graph.texts, graph.labels, strict=True)
    lines = "".join(f"n{i},{text or ''},{label or ''}\n" for i, (text, label) in enumerate(rows))
    (tmp_path / "nodes.csv").write_text("id,text,label\n" + lines)
    edges = "".join(f"n{a},n{b}\n" for a, b in graph.edges.T)
    (tmp_path / "edges.csv").write_text("from,to\n" + edges)
    return tmp_path


SMALL = ("edges=edges.csv", "base=hashed", "dim=8", "epochs=3", "--quiet")


def test_fit_predict_embed_and_evaluate(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "dgi", "nodes.csv", *SMALL, "--out", "run"]) == 0
    measures = json.loads((folder / "run" / "evaluation.json").read_text())
    assert {"accuracy", "knn"} <= set(measures["measures"])
    assert measures["against"]["name"] == "sgc"
    assert "clustering" in measures["assessment"]
    page = (folder / "run" / "report.html").read_text(encoding="utf-8")
    assert "Shape of the space" in page
    assert "From each view to each other" not in page, "a graph has no views to find each other"
    assert main(["predict", "run", "nodes.csv", "-o", "said.parquet", "--quiet"]) == 0
    assert set(pq.read_table("said.parquet")["label"].to_pylist()) <= {"0", "1"}
    assert main(["embed", "run", "nodes.csv", "-o", "vectors.parquet", "--quiet"]) == 0
    assert len(pq.read_table("vectors.parquet")) == 60
    assert main(["evaluate", "run", "nodes.csv", "--quiet"]) == 0
    capsys.readouterr()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["edges=none.csv"], "edges=none.csv: there is no such file"),
        (["edges=edges.csv", "drop_edgs=1"], 'unknown option "drop_edgs"'),
        (["edges=edges.csv", "classes=lable"], "classes=lable: no such column"),
        (["edges=edges.csv", "decoupled=none.jsonl"], "decoupled=none.jsonl: there is no such file"),
        ([], "name the file of its edges too: edges=FILE"),
    ],
)
def test_a_mistake_is_one_line(folder: Path, capsys: pytest.CaptureFixture[str], given: list[str], said: str) -> None:
    assert main(["fit", "dgi", "nodes.csv", *given, "--out", "wrong"]) == 2
    assert said in capsys.readouterr().err
    assert not (folder / "wrong").exists()


class Splitter:
    """Splits texts after the third word; says junk in a third of its calls, and is gone for five of them."""

    name = "splitter"

    def __init__(self) -> None:
        self.calls = 0

    def answer(self, asked: Sequence[Ask]) -> list[Reply | Failure]:
        found: list[Reply | Failure] = []
        for one in asked:
            self.calls += 1
            words = one.messages[-1].text.split("<<<\n")[1].split("\n>>>")[0].split()
            told = json.dumps({"signal": " ".join(words[:3]), "noise": " ".join(words[3:])})
            reply = Reply("I would rather not." if self.calls % 3 == 0 else told, None, 1, 1)
            found.append(Failure("gone") if 10 <= self.calls < 15 else reply)
        return found


def test_a_language_model_splits_and_goes_on_where_it_was_gone(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    splitter = Splitter()
    register("splitter", lambda: splitter)
    ask = ["decouple", "nodes.csv", "edges.csv", "--model", "splitter", "--task", "topics", "-o", "split.jsonl"]
    assert main([*ask, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["no answer"] == 5
    texts = splitter.calls
    assert main([*ask, "--json"]) == 0
    counts = json.loads(capsys.readouterr().out)
    assert splitter.calls == texts + 5, "only what had no answer is asked again"
    assert sum(counts.values()) == texts
    assert counts["kept raw"] >= texts // 3 - 5
    fit = ["fit", "sdm-scr", "nodes.csv", "edges.csv", "decoupled=split.jsonl", *SMALL[1:-1], "--out", "run"]
    assert main(fit) == 0
    assert f"{counts['kept raw']} of 60 nodes: kept raw" in capsys.readouterr().err
    assert main([*ask[:4], "nowhere", *ask[5:-1], "two.jsonl"]) == 2
    assert not (folder / "two.jsonl").exists()


def test_held_out_edges_are_judged(folder: Path) -> None:
    assert (
        main(["fit", "sgc", "nodes.csv", "edges=edges.csv", "base=hashed", "held_out=0.2", "--quiet", "--out", "run"])
        == 0
    )
    measures = json.loads((folder / "run" / "evaluation.json").read_text())["measures"]
    assert measures["auc"]["value"] > 0.5
