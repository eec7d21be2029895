"""The catalog: one row per method, third parties' rows through entry points, nothing heavy imported."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from counterpoint import catalog, options
from counterpoint.errors import UserError

PLUGIN = """
from counterpoint.catalog import Row

ROW = Row(
    name="theirs", target="their_method:Theirs", wing="theirs", data="their_method:Data",
    paper="a thesis", status="reconstruction", summary="someone else's",
)
"""


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the path in which distributions can be made."""
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def install(folder: Path, module: str, source: str, entry: str) -> None:
    """Put a module and the metadata of a distribution with one entry point into a folder on the path."""
    (folder / f"{module}.py").write_text(source)
    info = folder / f"{module}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{catalog.GROUP}]\n{entry}\n")


def test_every_own_row_can_be_resolved_and_named() -> None:
    for name, row in catalog.rows().items():
        assert row.name == name
        method, reader = row.load(), row.reader()
        assert catalog.name_of(method) == name
        assert method.Data is reader
        assert callable(reader.read)
        assert row.against is None or catalog.row(row.against).status == "baseline"


def test_no_option_belongs_to_both_the_reader_and_the_method() -> None:
    for row in catalog.rows().values():
        assert options.divide([], row.reader(), row.load().Config) == ({}, {})


def test_every_claim_can_be_resolved() -> None:
    for row in catalog.rows().values():
        if row.claim is not None:
            assert catalog.resolve(row.claim).name == row.name


def test_an_unknown_method_names_the_nearest() -> None:
    with pytest.raises(UserError, match='unknown method "symle"; did you mean "symile"'):
        catalog.row("symle")


def test_a_class_outside_the_catalog_has_no_name() -> None:
    with pytest.raises(UserError, match=r"Path is not in the catalog"):
        catalog.name_of(Path)


def test_a_third_partys_row_is_listed(plugin: Path) -> None:
    install(plugin, "their_row", PLUGIN, "theirs = their_row:ROW")
    assert catalog.rows()["theirs"].summary == "someone else's"
    assert catalog.row("theirs").status == "reconstruction"


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("import nowhere_to_be_found", 'their_row: its method "theirs" cannot be loaded'),
        ("ROW = 3", "is not a counterpoint.catalog.Row"),
        (PLUGIN.replace('name="theirs"', 'name="clip"'), 'its method "clip" has the name of another method'),
    ],
)
def test_a_bad_entry_point_is_named(plugin: Path, monkeypatch: pytest.MonkeyPatch, source: str, line: str) -> None:
    monkeypatch.delitem(sys.modules, "their_row", raising=False)
    install(plugin, "their_row", source, "theirs = their_row:ROW")
    with pytest.raises(UserError, match=r"their_row") as caught:
        catalog.rows()
    assert line in str(caught.value)


def test_an_absent_extra_is_named() -> None:
    with pytest.raises(UserError, match=r"pip install 'counterpoint\[graphs\]'"):
        catalog.resolve("nowhere_to_be_found:Thing", extra="graphs")
    with pytest.raises(ModuleNotFoundError):
        catalog.resolve("nowhere_to_be_found:Thing")


def test_the_latest_verdict_is_read_from_the_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "RESULTS", tmp_path)
    assert catalog.latest_verdict("clip") is None
    (tmp_path / "clip-quick.json").write_text(json.dumps({"verdict": "holds"}))
    assert catalog.latest_verdict("clip") == "holds (quick)"
    (tmp_path / "clip.json").write_text(json.dumps({"verdict": "fails"}))
    assert catalog.latest_verdict("clip") == "fails"
    (tmp_path / "clip.json").write_text("{")
    with pytest.raises(UserError, match=r"clip\.json: not the result of a claim"):
        catalog.latest_verdict("clip")


def test_the_ground_floor_imports_no_torch() -> None:
    modules = "catalog, errors, files, options, launch, cli"
    code = (
        f"import sys; from counterpoint import {modules}; catalog.rows(); "
        "print([m for m in ('torch', 'numpy', 'pyarrow', 'pydantic') if m in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.strip() == "[]"


def test_every_wing_is_held_to_the_checks() -> None:
    checked = {path.stem.removeprefix("test_") for path in (Path(__file__).parent / "conformance").glob("test_*.py")}
    assert {row.wing for row in catalog.OWN} == checked
