"""A label learned and predicted on the command line and over HTTP: fit, evaluate, predict, serve, the report."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from counterpoint.cli import main
from counterpoint.serving.served import Served
from serving.served_run import client_of

OPTIONS = ["dim=8", "heads=2", "hidden=8", "epochs=2", "batch_size=20"]
WORDS = ("fine", "calm", "well"), ("cough", "fever", "pain")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Notes and measurements of the sick and the well, and a run on them."""
    home = tmp_path_factory.mktemp("predict")
    sick = [(7 * i // 3) % 2 for i in range(80)]
    rows: dict[str, Any] = {"who": [f"p{i}" for i in range(80)], "sick": sick}
    rows["note"] = [f"{WORDS[s][i % 3]} since day {i % 5}" if i % 9 else None for i, s in enumerate(sick)]
    rows |= {f"lab_{j}": [s + 0.1 * ((i * (j + 2)) % 7) for i, s in enumerate(sick)] for j in range(3)}
    pq.write_table(pa.table(rows), home / "rows.parquet")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        named = ["view.note=note", "view.labs=lab_*", "kind.note=text", "id=who"]
        assert (
            main(["fit", "urmf", "rows.parquet", *named, *OPTIONS, "--label", "sick", "--out", "run", "--quiet"]) == 0
        )
        yield home


@pytest.fixture(autouse=True)
def _there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)


def test_the_fit_learned_the_label_it_was_told() -> None:
    evaluation = json.loads(Path("run/evaluation.json").read_text())
    assert list(evaluation["measures"]) == ["accuracy", "macro_f1", "nll", "brier", "ece"]
    assert evaluation["measures"]["accuracy"]["low"] is not None
    assert evaluation["assessment"]["classes"]["label"] == "sick"
    assert set(evaluation["assessment"]["reliability"]["clean"]) == {"note", "labs"}
    page = Path("run/report.html").read_text()
    assert "Predicting sick" in page
    assert "Trust in clean and in mixed views" in page
    assert "reaches accuracy" in page


def test_predict_prints_json_and_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", "run", "rows.parquet", "--json", "--quiet"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert [row["id"] for row in said[:2]] == ["p0", "p1"]
    assert all(abs(sum(row["probabilities"].values()) - 1) < 1e-5 for row in said)
    assert all(abs(sum(row["weights"].values()) - 1) < 1e-5 for row in said)
    assert said[0]["variances"]["note"] is None
    assert said[0]["weights"]["note"] == 0
    assert main(["predict", "run", "rows.parquet", "--quiet"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:5] == ["id", "label", "probability", "0", "probability"]
    assert len(lines) == 81


def test_predict_writes_a_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = tmp_path / "said.parquet"
    assert main(["predict", "run", "rows.parquet", "-o", str(out), "--quiet"]) == 0
    assert capsys.readouterr().out == f"{out}\n"
    found = pq.read_table(out)
    assert found.column_names[:4] == ["id", "label", "probability 0", "probability 1"]
    assert {"weight note", "weight interaction", "variance labs", "sick", "who"} <= set(found.column_names)
    assert found["variance note"].null_count == 9


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["predict", "run", "nowhere.parquet"], "nowhere.parquet"),
        (["predict", "run", "rows.parquet", "-o", "run"], "run is a folder; name a file"),
        (["fit", "urmf", "rows.parquet", "view.note=note", "view.labs=lab_*", "label=sik", "--out", "x"], '"sick"'),
        (
            ["fit", "urmf", "rows.parquet", "view.note=note", "view.labs=lab_*,sick", "--label", "sick", "--out", "x"],
            "sick",
        ),
    ],
)
def test_mistakes_are_one_line(command: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command, "--quiet"]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1
    assert not Path("x").exists()


def test_evaluate_judges_other_rows(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "run", "rows.parquet", "--json", "--quiet"]) == 0
    assert json.loads(capsys.readouterr().out)["measures"]["accuracy"]["value"] > 0.5


def test_the_server_predicts() -> None:
    with client_of(Served.open(Path("run"))) as client:
        assert "predict" in client.get("/about").json()["can"]
        record = {"note": "fever and pain", "labs": [1.0, 1.1, None]}
        said = client.post("/predict", json={"input": [record, {"labs": [0.1, 0.2, 0.3]}]}).json()["data"]
        assert [set(row) for row in said] == [{"label", "probabilities", "weights", "variances"}] * 2
        assert said[1]["variances"]["note"] is None
        vectors = client.post("/v1/embeddings", json={"input": record}).json()
        assert len(vectors["data"][0]["embedding"]) == 8
