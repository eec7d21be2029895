"""From a run to found rows on the command line: embed, index, search; and what can go wrong on the way."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.torch import load_file, save_file

from counterpoint import jobs, vectors
from counterpoint.cli import main
from counterpoint.errors import UserError
from counterpoint.multimodal.clip import CLIP
from counterpoint.multimodal.table import Table
from counterpoint.serving import bulk, search
from counterpoint.serving import recommend as recommending
from counterpoint.serving.index import Index
from counterpoint.training import Method, Run, Trainer, load
from small import write_rows


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run, another whose weights differ, and the first one's vectors and indexes."""
    home = tmp_path_factory.mktemp("search")
    rows = write_rows(home / "rows.csv")
    reader = {"id": "who", "view": {"labs": "lab_*", "vitals": "vit_*", "ecg": "ecg_*"}}
    run = Run(home / "run", data={"reader": reader})
    CLIP(dim=4, hidden=8, epochs=2, batch_size=16).fit(Table.read(rows, **reader), trainer=Trainer(run=run))
    shutil.copytree(home / "run", home / "other")
    weights = load_file(home / "run" / "model.safetensors")
    save_file({name: weight.flip(0) for name, weight in weights.items()}, home / "other" / "model.safetensors")
    jobs.embed(home / "run", rows, home / "vectors.parquet")
    search.build(home / "vectors.parquet")
    search.build(home / "vectors.parquet", str(home / "labs.index"), view="labs")
    return home


@pytest.fixture(autouse=True)
def _there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)


def found(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    assert main([*arguments, "--json", "--quiet"]) == 0
    return list(json.loads(capsys.readouterr().out))


def test_index_says_what_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = ["index", "vectors.parquet", "-o", str(tmp_path / "i")]
    assert main(made) == 0
    printed = capsys.readouterr()
    assert printed.out == f"{tmp_path / 'i'}\n"
    assert printed.err == "60 rows of 4 numbers; search is exact\n"
    assert main([*made, "--replace", "--json", "--quiet"]) == 0
    about = json.loads(capsys.readouterr().out)
    assert (about["kind"], about["rows"], about["recall"], about["view"]) == ("exact", 60, 1.0, "joint")
    assert about["weights"] == Run(Path("run")).fingerprint()
    assert main(made) == 2
    assert "holds an index already; add --replace" in capsys.readouterr().err


def test_a_row_finds_others_and_not_itself(capsys: pytest.CaptureFixture[str]) -> None:
    hits = found(["search", "vectors.index", "id:p0_7", "-k", "5"], capsys)[0]["found"]
    values = np.stack(pq.read_table("vectors.parquet")["joint"].to_pylist())
    order = [row for row in np.argsort(-(values @ values[7])) if row != 7][:5]
    assert [hit["id"] for hit in hits] == [f"p0_{row}" for row in order]
    assert hits[0]["metadata"].keys() == {"visit", "sick"}


def test_a_file_and_a_record_find_their_own_rows(capsys: pytest.CaptureFixture[str]) -> None:
    rows = found(["search", "vectors.index", "rows.csv", "-k", "1"], capsys)
    assert [row["query"] for row in rows] == [row["found"][0]["id"] for row in rows]
    table = jobs.read_for(Run(Path("run")), Path("rows.csv"))
    record = {name: view.values[4].tolist() for name, view in table.views.items()}
    hit = found(["search", "vectors.index", json.dumps(record), "--run", "run"], capsys)[0]["found"][0]
    assert (hit["id"], hit["score"]) == ("p0_4", pytest.approx(1, abs=1e-5))


def test_some_views_and_an_index_of_one_view(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert found(["search", "labs.index", "rows.csv", "-k", "1"], capsys)[5]["found"][0]["id"] == "p0_5"
    new = write_rows(tmp_path / "new.csv", rows=3, without=("ecg", "vit"))
    assert len(found(["search", "vectors.index", str(new), "--given", "labs", "-k", "2"], capsys)) == 3


def test_filters_and_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["search", "vectors.index", "id:p0_7", "--where", "sick=1", "--where", "visit>=10", "-k", "3"]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split() == ["query", "rank", "id", "score", "visit", "sick"]
    assert len(lines) == 3
    assert all(line.split()[-1] == "1" and int(line.split()[-2]) >= 10 for line in lines)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["search", "nowhere", "id:a"], "nowhere is not an index"),
        (["search", "vectors.index", "id:nobody"], 'no id "nobody" in this index (it has 60, such as p0_0'),
        (["search", "vectors.index", "a fine day"], "record 1 is text, not an object of views"),
        (["search", "vectors.index", "{labs"], "starts like a JSON object but is none"),
        (["search", "vectors.index", '{"labz": [1]}'], 'unknown view "labz"; did you mean "labs"'),
        (["search", "vectors.index", "absent.csv"], "absent.csv: no such file"),
        (["search", "vectors.index", "rows.csv", "--run", "other"], "vectors.index and other do not belong together"),
        (["search", "vectors.index", "id:p0_1", "--where", "sik=1"], 'no metadata column "sik"; did you mean "sick"'),
        (["search", "vectors.index", "id:p0_1", "--where", "sick"], "write col=value"),
        (["search", "vectors.index", "id:p0_1", "-k", "0"], "'-k'"),
        (["index", "absent.parquet"], "absent.parquet: no such file"),
        (["index", "rows.csv"], "rows.csv: cannot be read as vectors"),
        (
            ["index", "vectors.parquet", "--view", "lab", "-o", "x"],
            'has no vectors "lab" with ids; did you mean "labs"',
        ),
        (
            ["recommend", "run", "--user", "ann"],
            "clip cannot recommend; methods that can: sasrec, sasrec-attributes",
        ),
    ],
)
def test_a_mistake_is_one_line(arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert line in printed.err
    assert printed.err.count("\n") == 1


def test_an_index_of_vectors_from_elsewhere(tmp_path: Path) -> None:
    table = pq.read_table("vectors.parquet").replace_schema_metadata(None)
    pq.write_table(table, tmp_path / "v.parquet")
    search.build(tmp_path / "v.parquet")
    with pytest.raises(UserError, match="needs the run the vectors came from; add --run RUN"):
        search.search(tmp_path / "v.index", "rows.csv")
    assert len(search.search(tmp_path / "v.index", "rows.csv", run=Path("run"))) == 60
    assert isinstance(search.open_for(tmp_path / "v.index", Path("run")), Index)


def test_a_method_that_recommends_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    class Shop(Method):
        def recommend(self, users: list[str], k: int) -> list[list[dict[str, Any]]]:
            return [[{"id": f"{user}{place}", "score": 1.0} for place in range(k)] for user in users]

    monkeypatch.setattr(recommending, "load", lambda run: Shop())
    found = recommending.recommend(Path("run"), ["a"], k=1)
    assert found == [{"user": "a", "found": [{"id": "a0", "score": 1.0}]}]


def test_embedding_goes_on_where_it_was_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vectors, "ROWS", 16)
    real, calls = vectors._rows, []

    def stopping(method: Any, table: Any, split: str | None) -> Any:
        calls.append(len(table))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(method, table, split)

    monkeypatch.setattr(vectors, "_rows", stopping)
    output = tmp_path / "v.parquet"
    with pytest.raises(KeyboardInterrupt):
        jobs.embed(Path("run"), Path("rows.csv"), output)
    assert not output.exists()
    jobs.embed(Path("run"), Path("rows.csv"), output)
    assert calls == [16, 16, 16, 16, 12]  # two of four blocks were done, the third is repeated
    assert pq.read_table(output).equals(pq.read_table("vectors.parquet"))
    assert [path.name for path in tmp_path.iterdir()] == ["v.parquet"]


def test_parts_of_another_run_are_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vectors, "ROWS", 16)
    output, real, calls = tmp_path / "v.parquet", vectors._rows, []

    def stopping(method: Any, table: Any, split: str | None) -> Any:
        calls.append(len(table))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(method, table, split)

    monkeypatch.setattr(vectors, "_rows", stopping)
    with pytest.raises(KeyboardInterrupt):
        jobs.embed(Path("run"), Path("rows.csv"), output)
    jobs.embed(Path("other"), Path("rows.csv"), output)
    assert len(calls) == 3 + 4
    assert not pq.read_table(output)["joint"].equals(pq.read_table("vectors.parquet")["joint"])
    assert vectors.read_about(output)["run"] == "other"


def test_a_worker_of_bulk_embedding_makes_the_same_vectors(tmp_path: Path) -> None:
    table = jobs.read_for(Run(Path("run")), Path("rows.csv"))
    rows = pa.table({"id": table.ids.tolist()})
    for name, view in table.views.items():
        lists = [row.tolist() if there else None for row, there in zip(view.values, view.present, strict=True)]
        rows = rows.append_column(name, pa.array(lists))
    made = bulk.Embedder("run")(rows)
    assert np.allclose(np.stack(made["joint"].to_pylist()), load("run").embed(table).numpy(), atol=1e-6)  # type: ignore[operator]
    (tmp_path / "made").mkdir()
    pq.write_table(made, tmp_path / "made" / "0.parquet")
    bulk.collect(tmp_path / "made", tmp_path / "all.parquet", Path("run"))
    assert search.build(tmp_path / "all.parquet")["weights"] == Run(Path("run")).fingerprint()
    with pytest.raises(UserError, match="no column id"):
        bulk.Embedder("run")(rows.drop_columns(["id"]))


@pytest.mark.filterwarnings("ignore")  # Ray's own
def test_bulk_embedding_on_ray(tmp_path: Path) -> None:
    pytest.importorskip("ray.data")
    ray = pytest.importorskip("ray")
    ray.init(num_cpus=2, include_dashboard=False, object_store_memory=100_000_000)
    table = jobs.read_for(Run(Path("run")), Path("rows.csv"))
    (tmp_path / "in").mkdir()
    rows = pa.table({"id": table.ids.tolist(), "labs": table.views["labs"].values.tolist()})
    pq.write_table(rows, tmp_path / "in" / "0.parquet")
    try:
        bulk.embed(Path("run"), str(tmp_path / "in"), str(tmp_path / "out"))
    finally:
        ray.shutdown()
    made = pq.read_table(bulk.collect(tmp_path / "out", tmp_path / "all.parquet", Path("run")))
    wanted = load("run").embed(replace(table, views={"labs": table.views["labs"]})).numpy()  # type: ignore[operator]
    order = [made["id"].to_pylist().index(name) for name in table.ids]
    assert np.allclose(np.stack(made["joint"].to_pylist())[order], wanted, atol=1e-6)
