"""Views of every kind from the command line: what is said, fitted, shown, asked and exported."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from counterpoint.cli import main
from counterpoint.multimodal.display import caption, display
from counterpoint.multimodal.reading.readers import propose_views
from counterpoint.multimodal.table import Table
from multimodal.kinds.kinds_data import table
from pretrained.tiny_vision import png, tiny_vit
from text.tiny import tiny

VIEWS = ("view.labs=lab_*", "view.note=note", "view.about=ward,sex", "view.scan=scan", "view.ehr=value,time,type")
READERS = (f"encoder.note={tiny()}", f"encoder.scan={tiny_vit()}")
QUICK = ("id=who", "dim=4", "hidden=8", "epochs=2", "batch_size=16")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    random = np.random.default_rng(0)
    rows = 60
    cause = random.integers(0, 3, rows)
    for row, kind in enumerate(cause):
        (folder / f"{row}.png").write_bytes(png((80 * int(kind), row, 9)))
    columns = {
        "who": [f"p{row}" for row in random.permutation(rows)],
        "lab_a": cause + random.normal(size=rows), "lab_b": random.normal(size=rows),
        "note": [f"word{kind} word7 word8 word9 <b>" if row % 8 else None for row, kind in enumerate(cause)],
        "ward": ["abc"[kind] for kind in cause], "sex": random.choice(["f", "m"], rows),
        "scan": [f"{row}.png" if row % 9 else None for row in range(rows)],
        "value": [[float(kind), None] for kind in cause], "time": [[1.0, 0.5]] * rows,
        "type": [["hr", f"drug {kind}"] for kind in cause],
    }  # fmt: skip
    pq.write_table(pa.table(columns), folder / "rows.parquet")
    return folder / "rows.parquet"


@pytest.fixture(scope="module")
def run(data: Path) -> Path:
    assert main(["fit", "clip", str(data), *QUICK, *VIEWS, *READERS, "--out", str(data.parent / "run"), "--quiet"]) == 0
    return data.parent / "run"


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    status = main(list(arguments))
    told = capsys.readouterr()
    return status, told.out + told.err


def test_what_was_recognised_is_said_first(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, text = said(capsys, "plan", "clip", str(data), *QUICK, *VIEWS, *READERS)
    assert status == 0
    for line in ("view note: text", "view about: categories, 2 columns", "view scan: pictures", "view ehr: events"):
        assert line in text
    assert f'view "note": texts are read by {tiny()} (frozen)' in text
    status, text = said(
        capsys, "fit", "clip", str(data), "view.a=lab_*", "view.b=ward,lab_a", "--out", str(tmp_path / "r")
    )
    assert status == 2
    assert not (tmp_path / "r").exists()


def test_texts_pictures_and_events_are_proposed_names_are_not(data: Path) -> None:
    proposed = propose_views(data, id="who")
    assert proposed == {"lab": "lab_*", "note": "note", "scan": "scan", "events": "value,time,type"}
    notes = Table.read(data, id="who").notes
    assert "columns of names belong to no view, since labels look alike: ward, sex" in notes[1]


def test_rows_are_asked_in_every_way(data: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = ("--rows", str(data), "-k", "2", "--json")
    status, text = said(capsys, "retrieve", str(run), "--target", "note", "--given", "scan,ehr", *rows)
    assert status == 0
    assert len(json.loads(text[text.index("[") :])) == 60
    vectors, index = tmp_path / "v.parquet", tmp_path / "v.index"
    assert said(capsys, "embed", str(run), str(data), "-o", str(vectors))[0] == 0
    assert said(capsys, "index", str(vectors), "-o", str(index))[0] == 0
    query = json.dumps({"note": "word1", "about": ["a", None], "ehr": [[2.0, 1.0, "hr"]]})
    status, text = said(capsys, "search", str(index), query, "-k", "2", "--run", str(run))
    assert status == 0, text
    status, text = said(capsys, "search", str(index), '{"scan": "0.png"}', "--run", str(run))
    assert status == 2
    assert "data:image/png;base64" in text


def test_the_report_shows_words_and_pictures(run: Path) -> None:
    shown = pq.read_table(run / "display.parquet")
    assert shown.num_rows == 60
    assert sum(picture is not None for picture in shown["picture"].to_pylist()) == 53
    assert any("word7" in text and "drug" in text for text in shown["caption"].to_pylist())
    page = (run / "report.html").read_text()
    assert "word7 word8" in page
    assert "word9 <b>" not in page


def test_an_export_takes_what_encoders_get(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnxruntime")
    assert said(capsys, "export", str(run), "--to", "onnx", "-o", str(tmp_path / "made"))[0] == 0
    card = (tmp_path / "made" / "README.md").read_text()
    assert "`about`: level numbers as int64" in card
    assert '"values:ehr": np.zeros((3, 2, 3), np.float32)' in card


def test_a_server_says_what_views_hold(run: Path) -> None:
    from counterpoint.serving.served import Served

    served = Served.open(run)
    assert not served.takes_text
    assert served.views["labs"] == 2
    assert served.views["note"] == "a text"
    assert served.embed([{"note": "word1 word2", "about": ["a", "f"]}]).shape == (1, 4)


def test_what_is_shown_of_rows() -> None:
    data = table(20, complete=True)
    shown: Any = display(data, needed=[3])
    assert shown.num_rows == 20
    assert shown["caption"][0].as_py().startswith("word")
    assert caption([data.views["about"]], 0) in {f"{a}, {b}" for a in "abc" for b in "fm"}
    assert display(Table.of({"a": [[1.0]], "b": [[2.0]]})) is None


def test_other_rows_are_read_as_the_runs_were(data: Path, run: Path, tmp_path: Path) -> None:
    """One-word texts and a column of nothing would be recognised as something else."""
    short = {"who": ["a", "b"], "note": ["word1", None], "ward": pa.nulls(2), "sex": ["f", "m"]}
    pq.write_table(pa.table(short), tmp_path / "new.parquet")
    from counterpoint import jobs, load
    from counterpoint.training import Run

    found = jobs.read_for(Run(run), tmp_path / "new.parquet", ["note", "about"])
    assert [view.kind for view in found.views.values()] == ["text", "categories"]
    method: Any = load(run)
    assert method.embed_views(found, ["note", "about"]).present["note"].tolist() == [True, False]
