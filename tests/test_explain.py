"""`counterpoint explain`: what is printed, the page it leaves, and what it says of other methods."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chromium import chromium, look
from counterpoint import jobs
from counterpoint.cli import main
from small import VIEWS, write_rows

LINEAR = ("id=who", *VIEWS, "ranks=1")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("explain")
    jobs.fit(jobs.Fit("hcl-linear", write_rows(folder / "rows.csv", rows=200), folder / "run", LINEAR))
    return folder / "run"


def test_a_line_per_structure_and_one_for_the_rest(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", str(run)]) == 0
    head, *lines, page = capsys.readouterr().out.splitlines()
    assert head.split() == ["structure", "factors", "labs", "vitals", "ecg", "columns"]
    assert [line.split("  ")[0] for line in lines] == [
        *("labs + vitals + ecg", "labs + vitals", "labs + ecg", "vitals + ecg", "labs", "vitals", "ecg", "(none)")
    ]
    assert "lab_" in lines[0]
    assert page == f"page: {run / 'explain.html'}"


def test_json_holds_the_same(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", str(run), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found["structures"]) == 7
    assert found["page"] == str(run / "explain.html")
    assert 0 < found["structures"][0]["share"]["labs"] < 1


def test_the_page_stands_alone_and_escapes_names(run: Path) -> None:
    from counterpoint.reports import write_structures

    found = jobs.explain(run)
    page = (run / "explain.html").read_text()
    assert "labs + vitals + ecg" in page
    assert "lab_0" in page
    assert not [word for word in ("http://", "https://", "<script", "src=") if word in page]
    found["structures"][0]["name"] = "<b>x</b>"
    write_structures(run, found)
    assert "<b>x</b>" not in (run / "explain.html").read_text()


def test_before_training_the_structures_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = write_rows(tmp_path / "rows.csv")
    given = ["plan", "hcl", str(rows), "id=who", *VIEWS, "dim=4", "hidden=8", "head=4", "rank=1", "epochs=1"]
    assert main([*given, "batch_size=16", "--device", "cpu"]) == 0
    assert "7 structures of 3 views (2^3 - 1): 12 heads of" in capsys.readouterr().err


def test_a_method_without_structures_is_told_who_has_some(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from counterpoint import read_table
    from counterpoint.multimodal.cca.mcca import MCCA

    views = {"labs": "lab_*", "vitals": "vit_*", "ecg": "ecg_*"}
    MCCA(dims=(2,)).fit(read_table(write_rows(tmp_path / "rows.csv"), views=views, id="who")).save(tmp_path / "run")
    assert main(["explain", str(tmp_path / "run")]) == 2
    said = capsys.readouterr().err
    assert "mcca does not say which views share what; these methods do: hcl, hcl-linear" in said
    assert not (tmp_path / "run" / "explain.html").exists()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    yield from chromium(tmp_path_factory.mktemp("profile"))


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("dark", [False, True])
def test_the_page_fits_the_screen_and_is_quiet(browser: Any, run: Path, width: int, dark: bool) -> None:
    jobs.explain(run)
    look(browser, (run / "explain.html").as_uri(), width, dark)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    cells = browser.find_elements("css selector", ".heat span:not(.blank)")
    assert len(cells) == 12 + 3  # twelve blocks, and what is left of each view
    assert browser.get_log("browser") == []
