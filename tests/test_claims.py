"""Claims from end to end with a tiny learner: what is kept, what is run again, and the page."""

import json
import multiprocessing
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from counterpoint import catalog
from counterpoint.claims import board, result_path
from counterpoint.claims import verify as verify_with
from counterpoint.claims.units import Store, Unit, load_claim
from counterpoint.errors import UserError
from counterpoint.evaluation import Mean, Outcome, Verdict

CLAIM, CHANGED, NEWER, SLOW, SEARCHED, MISTAKEN, FORGETFUL = (
    f"evaluation.fake_claims:{name}"
    for name in ("CLAIM", "CHANGED", "NEWER", "SLOW", "SEARCHED", "MISTAKEN", "FORGETFUL")
)
FITS = 3 * (2 + 2 + 1)


def verify(claim: str, **options: Any) -> Verdict:
    """With few draws, because the numbers do not matter here."""
    return verify_with(claim, draws=50, **options)


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file with one line per fit."""
    path = tmp_path / "fits.txt"
    path.touch()
    monkeypatch.setenv("FAKE_CLAIMS_LOG", str(path))
    return path


def fits(log: Path) -> list[str]:
    """The fits since the last look."""
    lines = log.read_text().splitlines()
    log.write_text("")
    return lines


def result(folder: Path, quick: bool = False) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(result_path(folder, "fake", quick).read_text())
    return content


def timeless(content: dict[str, Any]) -> dict[str, Any]:
    """A result without what a clock says."""
    table = [{**cell, "seconds": 0} for cell in content["table"]]
    return {**content, "seconds": 0, "date": "", "table": table}


def test_a_claim_is_run_decided_and_written(tmp_path: Path, log: Path) -> None:
    verdict = verify(CLAIM, folder=tmp_path, workers=1)
    assert verdict.word == "holds"
    assert len(fits(log)) == FITS
    content = result(tmp_path)
    assert content["verdict"] == "holds"
    assert [line["verdict"] for line in content["predictions"] if line["required"]] == ["holds", "holds"]
    assert content["bootstrap"] == {"draws": 50, "level": 0.95}
    assert {cell["arm"] for cell in content["table"]} == {"nearest", "always", "placebo"}
    assert len(content["table"]) == 5
    assert all(set(cell["measures"]) == {"accuracy", "middle", "spread"} for cell in content["table"])
    assert content["data"][0]["train"]["rows"] == 120
    assert content["arms"][0]["options"] == {"epochs": 3}
    assert content["arms"][1] == content["arms"][1] | {"options": {}, "own budget": True}
    assert content["versions"][0]["torch"]


def test_nothing_is_run_twice(tmp_path: Path, log: Path) -> None:
    verify(CLAIM, folder=tmp_path, workers=1)
    first = result_path(tmp_path, "fake", False).read_bytes()
    fits(log)
    verify(CLAIM, folder=tmp_path, workers=1)
    assert fits(log) == []
    assert result_path(tmp_path, "fake", False).read_bytes() == first


def test_a_stopped_claim_goes_on(tmp_path: Path, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_CLAIMS_STOP", "5")
    with pytest.raises(KeyboardInterrupt, match=f"4 of {FITS} runs of fake are kept .* the same command continues"):
        verify(CLAIM, folder=tmp_path / "stopped", workers=1)
    assert not result_path(tmp_path / "stopped", "fake", False).exists()
    monkeypatch.delenv("FAKE_CLAIMS_STOP")
    fits(log)
    verify(CLAIM, folder=tmp_path / "stopped", workers=1)
    assert len(fits(log)) == FITS - 4
    verify(CLAIM, folder=tmp_path / "whole", workers=1)
    assert timeless(result(tmp_path / "stopped")) == timeless(result(tmp_path / "whole"))


def test_a_changed_option_runs_that_arm_again(tmp_path: Path, log: Path) -> None:
    verify(CLAIM, folder=tmp_path, workers=1)
    fits(log)
    verify(CHANGED, folder=tmp_path, workers=1)
    assert sorted(fits(log)) == sorted(f"Nearest 0.1 {seed}" for seed in (0, 0, 1, 1, 2, 2))
    verify(NEWER, folder=tmp_path, workers=1)
    assert len(fits(log)) == FITS


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 no archive", None], ids=["empty", "garbage", "absent"])
def test_a_damaged_unit_is_run_again(tmp_path: Path, log: Path, damage: bytes | None) -> None:
    verify(CLAIM, folder=tmp_path, workers=1)
    whole = result(tmp_path)
    fits(log)
    broken = sorted((tmp_path / "fake" / "arms").glob("*.npz"))[0]
    broken.unlink() if damage is None else broken.write_bytes(damage)
    verify(CLAIM, folder=tmp_path, workers=1)
    assert len(fits(log)) == 1
    assert timeless(result(tmp_path)) == timeless(whole)


def test_workers_change_nothing(tmp_path: Path, log: Path) -> None:
    verify(CLAIM, folder=tmp_path / "one", workers=1)
    fits(log)
    verify(CLAIM, folder=tmp_path / "two", workers=2)
    assert len(fits(log)) == FITS
    assert timeless(result(tmp_path / "one")) == timeless(result(tmp_path / "two"))


def test_ctrl_c_stops_the_workers(tmp_path: Path, log: Path) -> None:
    """Two fits of a minute each have begun; Ctrl-C ends them at once and what is finished stays."""

    def interrupt() -> None:
        while "Slow" not in log.read_text():
            time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGINT)

    before = set(multiprocessing.active_children())
    threading.Thread(target=interrupt, daemon=True).start()
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt, match="the same command continues"):
        verify(SLOW, folder=tmp_path, workers=2)
    assert time.monotonic() - start < 50
    assert set(multiprocessing.active_children()) <= before


def test_knobs_are_searched_on_validation_rows_and_used(tmp_path: Path, log: Path) -> None:
    verify(SEARCHED, folder=tmp_path, workers=1)
    lines = fits(log)
    assert lines[:2] == ["Nearest 3.0 0", "Nearest 0.0 0"]
    assert len(lines) == 2 + FITS
    content = result(tmp_path)
    options = {arm["name"]: arm["options"] for arm in content["arms"]}
    assert options == {"nearest": {"epochs": 3, "offset": 0.0}, "always": {}, "placebo": {"epochs": 3, "offset": 0.0}}
    assert [trial["options"] for trial in content["search"]] == [{"offset": 3.0}, {"offset": 0.0}]
    assert content["search"][1]["score"] > content["search"][0]["score"]


def test_quick_has_its_own_result(tmp_path: Path, log: Path) -> None:
    verify(CLAIM, folder=tmp_path, workers=1, quick=True)
    assert len(fits(log)) == 5
    assert result(tmp_path, quick=True)["quick"] is True
    assert not result_path(tmp_path, "fake", False).exists()


@pytest.mark.parametrize(
    ("claim", "said"),
    [
        (MISTAKEN, "claim fake, nearest, seed 0, p = 0.5: unknown option ofset"),
        ("evaluation.fake_claims:HERE", "is not a counterpoint.evaluation.Claim"),
        ("ridge-cca", "ridge-cca has no claim to verify; these have one:"),
        ("gated-symle", 'did you mean "gated-symile"'),
        ("table-digts", 'did you mean "table-digits"'),
    ],
)
def test_mistakes_are_named(tmp_path: Path, log: Path, claim: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        verify(claim, folder=tmp_path, workers=1)


def test_what_was_judged_is_found_again_whole(tmp_path: Path) -> None:
    columns = {"y": np.array([1.0, 0.0, 1.0]), "place": np.array(["a", "a", "b"])}
    made = Outcome(np.arange(3), columns, {"y": Mean("y", ("place", "a"))}, np.array([0, 0, 1]), strata="place")
    store = Store(load_claim(CLAIM), tmp_path)
    unit = Unit(store.claim.arms[0].name, 0, (), {}, {})
    store.keep(unit, made, {})
    found = store.outcome(unit)
    assert (found.strata, found.measures, found.summary()) == ("place", made.measures, {"y": 0.5})
    assert found.unit is not None
    for kept, first in ((found.ids, made.ids), (found.unit, made.unit), (found.columns["y"], columns["y"])):
        assert np.array_equal(kept, first)


def test_a_measure_that_cannot_be_found_again_is_named(tmp_path: Path, log: Path) -> None:
    with pytest.raises(ValueError, match=r"give the judge's spread in Claim.measures"):
        verify(FORGETFUL, folder=tmp_path, workers=1)


def test_no_workers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="workers=0"):
        verify(CLAIM, folder=tmp_path, workers=0)


def test_the_board_is_a_function_of_the_files(tmp_path: Path, log: Path) -> None:
    verify(CLAIM, folder=tmp_path, workers=1)
    page = board(tmp_path)
    assert page == board(tmp_path)
    for part in (
        "## fake\n",
        "> The nearer mean tells two classes apart.",
        "**Holds**",
        "| accuracy | p = 0.5 | p = 2.0 |",
        "| placebo | placebo | training data changed by `shuffled` | `epochs = 3` |",
        "| always | baseline | on its own budget |  |",
    ):
        assert part in page


def test_the_board_prefers_the_full_result(tmp_path: Path, log: Path) -> None:
    verify(CLAIM, folder=tmp_path, workers=1, quick=True)
    assert "## fake (quick form)" in board(tmp_path)
    assert "- Cut: one seed" in board(tmp_path)
    verify(CLAIM, folder=tmp_path, workers=1)
    assert "quick form" not in board(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"name": "x", "quick": false}'])
def test_a_file_that_is_no_result_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(UserError, match=r"x.json: not the result of a claim"):
        board(tmp_path)


def test_an_empty_board_has_its_introduction(tmp_path: Path) -> None:
    assert board(tmp_path).startswith("# Claims")


@pytest.mark.parametrize("name", catalog.further_claims())
def test_a_further_claim_is_found_by_its_own_name(name: str) -> None:
    assert load_claim(name).name == name
