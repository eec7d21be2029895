"""The jobs behind the commands: one fit leaves a whole run folder, which the other jobs use."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from counterpoint import jobs
from counterpoint.errors import UserError
from counterpoint.training import Run, load
from counterpoint.vectors import read_view
from small import QUICK, write_rows


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_rows(tmp_path_factory.mktemp("data") / "rows.csv")


@pytest.fixture(scope="module")
def request_(rows: Path) -> jobs.Fit:
    run = rows.parent / "run"
    options = [*QUICK, "group=visit"]
    return jobs.Fit("clip", rows, run, options, label="sick", picture="labs:2x2")


@pytest.fixture(scope="module")
def said(request_: jobs.Fit) -> tuple[dict[str, Any], list[str]]:
    remarks: list[str] = []
    before = torch.get_rng_state()
    result = jobs.fit(request_, say=remarks.append)
    assert torch.equal(torch.get_rng_state(), before), "a fit must leave the global generator alone"
    return result, remarks


@pytest.fixture(scope="module")
def run(request_: jobs.Fit, said: object) -> Path:
    return request_.out


def test_the_run_folder_is_whole(run: Path) -> None:
    names = {path.name for path in run.iterdir()}
    assert names >= {
        *("config.yaml", "model.safetensors", "metrics.jsonl", "evaluation.json"),
        *("embeddings.parquet", "display.parquet", "report.html", "README.md", "checkpoint"),
    }
    assert not [name for name in names if name.endswith(".tmp")]


def test_the_data_are_introduced_before_training(said: tuple[object, list[str]]) -> None:
    text = "\n".join(said[1])
    assert "rows.csv: 60 rows" in text
    assert "view vitals: numbers, 3 wide, 51 rows, 15.0 % missing" in text


def test_the_config_says_how_to_read_another_file(run: Path) -> None:
    data = Run(run).config()["data"]
    assert data["reader"]["view"]["vitals"] == ["vit_0", "vit_1", "vit_2"]
    assert data["reader"]["id"] == "who"
    assert data["rows"] == {"train": 36, "validation": 12, "test": 12}
    assert data["display"] == {"label": "sick", "picture": "labs:2x2"}


def test_the_fit_is_judged_beside_its_baseline(run: Path) -> None:
    evaluation = json.loads((run / "evaluation.json").read_text())
    top = evaluation["measures"]["top1"]
    assert 0 <= top["low"] <= top["value"] <= top["high"] <= 1
    against = evaluation["against"]
    assert against["name"] == "ridge-cca"
    difference = against["difference"]["top1"]["value"]
    assert difference == pytest.approx(top["value"] - against["measures"]["top1"]["value"])


def test_the_groups_of_a_split_stay_together(run: Path) -> None:
    columns = pq.read_table(run / "embeddings.parquet", columns=["split", "visit"]).to_pydict()
    splits: dict[int, set[str]] = {}
    for split, visit in zip(columns["split"], columns["visit"], strict=True):
        splits.setdefault(visit, set()).add(split)
    assert all(len(found) == 1 for found in splits.values())


def test_the_vectors_are_those_of_the_model(run: Path, rows: Path) -> None:
    method: Any = load(run)
    table = type(method).Data.read(rows, **Run(run).config()["data"]["reader"])
    ids, values, present = read_view(run / "embeddings.parquet", "vitals")
    order = [list(table.ids).index(name) for name in ids]
    encoded = method.embed_views(table.rows(np.array(order)))
    assert np.array_equal(present, encoded.present["vitals"].numpy())
    assert 0 < present.sum() < len(present)
    expected = encoded.vectors["vitals"].numpy()
    assert np.allclose(values[present], expected[present], atol=1e-6)


def test_pictures_are_kept_by_id(run: Path) -> None:
    pictures = pq.read_table(run / "display.parquet").to_pydict()
    assert len(pictures["id"]) == 60
    assert all(picture.startswith(b"\x89PNG") for picture in pictures["picture"])


def test_the_card_names_data_result_and_use(run: Path) -> None:
    card = (run / "README.md").read_text()
    for text in ("# clip on rows.csv", "36 train, 12 validation, 12 test rows", "| top1 |", "- optim.lr:", "ridge-cca"):
        assert text in card


def test_evaluating_other_rows(run: Path, tmp_path: Path) -> None:
    found = jobs.evaluate(run, write_rows(tmp_path / "other.csv", rows=20, seed=1))
    assert found["method"] == "clip"
    assert 0 <= found["measures"]["top1"]["value"] <= 1


def test_embedding_some_views_needs_only_their_columns(run: Path, tmp_path: Path) -> None:
    other = write_rows(tmp_path / "other.csv", rows=9, seed=1, without=["ecg_", "visit"])
    written = jobs.embed(run, other, tmp_path / "v.parquet", given=["labs", "vitals"])
    names = pq.read_schema(written).names
    assert names[:4] == ["id", "joint", "view:labs", "view:vitals"]
    with pytest.raises(UserError, match=r"other\.csv.*ecg_0"):
        jobs.embed(run, other, tmp_path / "v.parquet")


def test_retrieving_from_the_runs_own_rows_or_from_a_file(run: Path, rows: Path, tmp_path: Path) -> None:
    queries = write_rows(tmp_path / "queries.csv", rows=5, seed=1, without=["ecg_"])
    found = jobs.retrieve(run, "ecg", ["labs", "vitals"], queries, k=3)
    assert [query["id"] for query in found] == [f"p1_{row}" for row in range(5)]
    own = jobs.retrieve(run, "ecg", ["labs", "vitals"], queries, candidates=rows, k=3)
    assert [[hit["id"] for hit in query["found"]] for query in found] == [
        [hit["id"] for hit in query["found"]] for query in own
    ]
    scores = [hit["score"] for hit in found[0]["found"]]
    assert scores == sorted(scores, reverse=True)
    json.dumps(found)


def test_parts_may_come_from_files_of_their_own(request_: jobs.Fit, tmp_path: Path) -> None:
    tests = write_rows(tmp_path / "test.csv", rows=20, seed=2)
    request = replace(request_, out=tmp_path / "run", test=tests, picture=None, split="train=.8,validation=.2")
    found = jobs.fit(request)
    assert Run(tmp_path / "run").config()["data"]["rows"] == {"train": 48, "validation": 12, "test": 20}
    assert found["rows"] <= 20


def test_resuming_a_finished_run_gives_the_same_weights(run: Path, request_: jobs.Fit) -> None:
    before = (run / "model.safetensors").read_bytes()
    jobs.fit(replace(request_, resume=True))
    assert (run / "model.safetensors").read_bytes() == before


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"split": "train=.6,test=.2"}, "add up to 1"),
        ({"split": "train=1,tset=0"}, '"tset" is not a part'),
        ({"split": "train=x"}, '"x" is not a number'),
        ({"split": "test=1"}, "include train"),
        ({"picture": "labs"}, "write VIEW:ROWSxCOLUMNS"),
        ({"picture": "lbs:2x2"}, 'unknown view "lbs"; did you mean "labs"'),
        ({"picture": "labs:2x3"}, "2 x 3 is not the 4 numbers"),
        ({"label": "sik"}, r'no such column.*did you mean "sick"'),
        ({"method": "clap"}, 'unknown method "clap"; did you mean "clip"'),
        ({"data": Path("nowhere.csv")}, r"nowhere\.csv: no such file"),
        ({"seed": 1}, "already holds a run; add --resume"),
        ({"seed": 1, "resume": True}, r"training\.seed was 0 and is now 1"),
    ],
)
def test_a_wrong_request_is_one_line(run: Path, request_: jobs.Fit, change: dict[str, Any], line: str) -> None:
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    with pytest.raises(UserError, match=line) as caught:
        jobs.fit(replace(request_, **change))
    assert "\n" not in str(caught.value)
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_a_file_that_does_not_fit_the_run_names_its_columns(run: Path, tmp_path: Path) -> None:
    other = write_rows(tmp_path / "other.csv", rows=9, without=["vit_1"])
    with pytest.raises(UserError, match=r"other\.csv.*vit_1"):
        jobs.evaluate(run, other)


def test_a_damaged_or_foreign_folder_is_one_line(run: Path, rows: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not a run folder"):
        jobs.evaluate(tmp_path, rows)
    with pytest.raises(UserError, match="is not a run folder"):
        jobs.report(tmp_path)
    copy = tmp_path / "copy"
    copy.mkdir()
    config = (run / "config.yaml").read_text()
    (copy / "config.yaml").write_text(config)
    with pytest.raises(UserError, match="did not finish"):
        jobs.evaluate(copy, rows)
    (copy / "model.safetensors").write_bytes((run / "model.safetensors").read_bytes()[:-100])
    with pytest.raises(UserError, match="damaged"):
        jobs.evaluate(copy, rows)
    (copy / "config.yaml").write_text(config.replace("format: 1", "format: 99"))
    with pytest.raises(UserError, match="newer version"):
        jobs.evaluate(copy, rows)
    (copy / "model.safetensors").write_bytes((run / "model.safetensors").read_bytes())
    (copy / "config.yaml").write_text(config)
    with pytest.raises(UserError, match=r"embeddings\.parquet is missing"):
        jobs.retrieve(copy, "ecg", ["labs"], rows)
    (copy / "embeddings.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(UserError, match=r"embeddings\.parquet: damaged"):
        jobs.retrieve(copy, "ecg", ["labs"], rows)


def test_views_are_checked_before_anything_is_read(run: Path) -> None:
    with pytest.raises(UserError, match='unknown view "eggs"'):
        jobs.retrieve(run, "eggs", ["labs"], Path("nowhere.csv"))
    with pytest.raises(UserError, match="other than the target"):
        jobs.retrieve(run, "ecg", ["ecg"], Path("nowhere.csv"))


def test_a_fit_is_not_lost_when_the_reports_packages_are_absent(
    run: Path, request_: jobs.Fit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "plotly.offline", None)
    remarks: list[str] = []
    result = jobs.fit(replace(request_, resume=True), say=remarks.append)
    assert result["report"] is None
    assert any("counterpoint[report]" in remark for remark in remarks)


def test_data_that_make_no_batch_leave_nothing_behind(rows: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="fewer than one batch"):
        jobs.fit(jobs.Fit("clip", rows, tmp_path / "run", [*QUICK[:-1], "batch_size=100000"]))
    assert not (tmp_path / "run").exists()
