"""The command line as a user of graphs would drive it."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from counterpoint.cli import main
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
    assert (folder / "run" / "report.html").stat().st_size > 1000
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


def test_held_out_edges_are_judged(folder: Path) -> None:
    assert (
        main(["fit", "sgc", "nodes.csv", "edges=edges.csv", "base=hashed", "held_out=0.2", "--quiet", "--out", "run"])
        == 0
    )
    measures = json.loads((folder / "run" / "evaluation.json").read_text())["measures"]
    assert measures["auc"]["value"] > 0.5
