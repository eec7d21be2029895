"""Trackers from the command line."""

from pathlib import Path

import pytest

from counterpoint import jobs
from counterpoint.cli import main
from small import VIEWS, write_rows


@pytest.fixture(autouse=True)
def _no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "report_of", lambda folder, say: None)


def fit(folder: Path, *more: str) -> int:
    data = write_rows(folder / "rows.csv")
    return main(["fit", "mcca", str(data), *VIEWS, "dims=4", "--out", str(folder / "run"), "--quiet", *more])


def test_tensorboard_beside_the_run(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    assert fit(tmp_path, "--track", "tensorboard") == 0
    assert [path.name[:19] for path in (tmp_path / "run" / "tensorboard").iterdir()] == ["events.out.tfevents"]


def test_off_by_default(tmp_path: Path) -> None:
    assert fit(tmp_path) == 0
    assert not (tmp_path / "run" / "tensorboard").exists()


def test_an_unknown_tracker_is_refused_before_the_fit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert fit(tmp_path, "--track", "tensorbord") == 2
    assert 'did you mean "tensorboard"' in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
