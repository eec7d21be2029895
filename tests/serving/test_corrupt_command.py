"""`counterpoint corrupt`: what it writes is what the tool makes, and mistakes write nothing."""

import json
from pathlib import Path

import numpy as np
import pytest

from counterpoint.cli import main
from counterpoint.multimodal import corrupt
from counterpoint.multimodal.reading.readers import read
from small import VIEWS, write_rows

VIEW = {name.partition("=")[0][5:]: name.partition("=")[2] for name in VIEWS}


@pytest.mark.parametrize("how", ["swap", "hide", "noise"])
def test_the_file_is_what_the_tool_makes(how: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows, out = write_rows(tmp_path / "rows.csv"), tmp_path / "out.parquet"
    words = [
        "corrupt",
        str(rows),
        "id=who",
        *VIEWS,
        "--how",
        how,
        "--views",
        "labs,ecg",
        "--share",
        "0.5",
        "--seed",
        "3",
    ]
    assert main([*words, "-o", str(out), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    table = read(rows, view=VIEW, id="who")
    wanted, masks = getattr(corrupt, how)(table, ["labs", "ecg"], 0.5, np.random.Generator(np.random.PCG64(3)))
    assert said == {"file": str(out), "rows": 60, "hit": {name: int(mask.sum()) for name, mask in masks.items()}}
    found = read(out, view=VIEW, id="who")
    assert found.fingerprint() == wanted.fingerprint()
    assert found.columns["corrupt"].tolist() == wanted.columns["corrupt"].tolist()


def test_mistakes_are_one_line_and_write_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows, out = write_rows(tmp_path / "rows.csv"), tmp_path / "out.parquet"
    for words, line in (
        (["--views", "lab"], 'no view "lab" to corrupt; did you mean "labs"'),
        (["--share", "1.5"], "the share of rows to corrupt must be from 0 to 1, not 1.5"),
        (["epochs=3"], 'unknown option "epochs"'),
        (["--how", "drop"], "--how drop needs --strength"),
        (["--how", "hide", "--strength", "1"], "--how hide takes a whole view and no --strength"),
    ):
        assert main(["corrupt", str(rows), "id=who", *VIEWS, *words, "-o", str(out)]) == 2
        assert line in capsys.readouterr().err
    assert main(["corrupt", str(rows), "-o", str(tmp_path)]) == 2
    assert "is a folder" in capsys.readouterr().err
    assert not out.exists()


def test_a_view_is_made_worse_by_a_degree(tmp_path: Path) -> None:
    rows, out = write_rows(tmp_path / "rows.csv"), tmp_path / "out.parquet"
    words = ["--how", "noise", "--strength", "0.5", "--views", "labs", "--share", "0.5", "-o", str(out)]
    assert main(["corrupt", str(rows), "id=who", *VIEWS, *words]) == 0
    table = read(rows, view=VIEW, id="who")
    wanted, _ = corrupt.degrade(table, ["labs"], 0.5, np.random.Generator(np.random.PCG64(0)), "noise", 0.5)
    assert read(out, view=VIEW, id="who").fingerprint() == wanted.fingerprint()
