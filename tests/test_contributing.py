"""The worked example of CONTRIBUTING.md runs as it stands there: as a third party's package."""

import importlib
import re
from pathlib import Path

import pytest

from counterpoint import catalog
from counterpoint.cli import main
from small import QUICK, write_rows

TEXT = (Path(__file__).resolve().parent.parent / "CONTRIBUTING.md").read_text(encoding="utf-8")


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The example's files on the path, with the metadata that installing it would leave."""
    for source in re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL):
        name = source.splitlines()[0].removeprefix("# ")
        (tmp_path / name).write_text(source)
    entry = re.search(r'```toml\n\[project\.entry-points\."(.+?)"\]\n(\w+) = "(.+?)"\n```', TEXT)
    assert entry is not None
    info = tmp_path / "decoupled-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: decoupled\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{entry[1]}]\n{entry[2]} = {entry[3]}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_the_example_is_listed_fitted_and_used(package: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert catalog.row("decoupled").paper == "arXiv 2110.06848"
    rows, run = write_rows(package / "rows.csv"), package / "run"
    assert main(["fit", "decoupled", str(rows), *QUICK, "temperature=0.2", "--out", str(run), "--quiet"]) == 0
    capsys.readouterr()
    assert main(["retrieve", str(run), "--target", "ecg", "--given", "labs", "--rows", str(rows), "--json"]) == 0
    assert '"found"' in capsys.readouterr().out
    assert main(["fit", "decoupled", str(rows), "temprature=1", "--out", str(run)]) == 2
    assert 'did you mean "temperature"?' in capsys.readouterr().err


def test_the_examples_own_test_passes(package: Path) -> None:
    module = importlib.import_module("test_decoupled")
    tests = [test for name, test in vars(module).items() if name.startswith("test_")]
    assert tests
    for test in tests:
        test()
