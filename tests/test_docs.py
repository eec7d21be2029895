"""The pages say what is there: examples run, links lead somewhere, options are named, nothing is stale."""

import doctest
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from counterpoint import catalog
from counterpoint.options import describe
from examples import PAGES, ROOT, blocks, run_all

LINK = re.compile(r"\]\(([^)\s]+)\)")
NUMBER = re.compile(r"-?\d[\d.]*(e-?\d+)?")

sys.path.insert(0, str(ROOT / "tools"))
import docs as tool  # noqa: E402


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.fixture(scope="module")
def results() -> dict[str, list[dict[str, Any]]]:
    return run_all()


@pytest.mark.parametrize("page", [named(page) for page in PAGES if blocks(page)])
def test_examples_run_and_print_what_is_shown(page: str, results: dict[str, list[dict[str, Any]]]) -> None:
    for result in results[page]:
        assert result["status"] == result["wanted"], f"{result['text']}\n{result['printed']}"
        said = {shape(line) for line in result["printed"].splitlines()}
        assert {shape(line) for line in result["shown"]} <= said, f"{result['text']}\n{result['printed']}"


def shape(line: str) -> str:
    """A printed line without its numbers and with single spaces."""
    return " ".join(NUMBER.sub("#", line).split())


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(page.read_text(encoding="utf-8")):
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), link


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as code hosts make them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_page_is_linked_from_the_index() -> None:
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    assert {named(page) for page in PAGES[1:]} - {f"docs/{link.partition('#')[0]}" for link in LINK.findall(index)} == {
        "docs/index.md"
    }


@pytest.mark.parametrize("row", catalog.OWN, ids=lambda row: row.name)
def test_a_method_has_a_page_that_names_its_options(row: catalog.Row) -> None:
    text = (ROOT / "docs" / "methods" / f"{row.name}.md").read_text(encoding="utf-8")
    assert row.paper in " ".join(text.split())
    assert [option.name for option in describe(row.load().Config) if f"`{option.name}`" not in text] == []


def test_the_readme_shows_both_commands_and_the_status() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert all(part in text for part in ("make demo", "make test", "<!-- status:begin -->", "<!-- status:end -->"))


def test_the_generated_parts_are_fresh() -> None:
    done = subprocess.run([sys.executable, ROOT / "tools" / "docs.py", "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_results_and_timings_are_shown(tmp_path: Path) -> None:
    cell = {"value": 0.5, "low": 0.4, "high": 0.6}
    arms = {"gated": ("gated-symile", "method"), "clip": ("clip", "baseline"), "half": ("clip", "ablation")}
    result = {
        "name": "gated-symile",
        "quick": True,
        "sentence": "It wins",
        "verdict": "fails",
        "predictions": [{"required": True, "verdict": "holds"}, {"required": True, "verdict": "fails"}],
        "shown": ["top1"],
        "arms": [{"name": name, "method": method, "role": role} for name, (method, role) in arms.items()],
        "table": [{"arm": name, "setting": {"p": p}, "measures": {"top1": cell}} for p in (0, 1) for name in arms],
    }
    (tmp_path / "gated-symile-quick.json").write_text(json.dumps(result))
    timing = {"rows": [{"what": "step", "ratio": 1.5, "goal": "<= 2", "met": True}, {"what": "rest", "ratio": 1.0}]}
    (tmp_path / "timings").mkdir()
    (tmp_path / "timings" / "gate.json").write_text(json.dumps(timing))
    found = tool.read_results(tmp_path)
    shown = tool.status(found, tmp_path / "timings")
    assert "(quick form)](docs/claims.md) | fails | 1 of 2 | top1, p = 1: gated 0.500 (0.400 to 0.600), clip" in shown
    assert "| step | 1.5 (ratio) | <= 2 | yes |" in shown
    assert "rest" not in shown
    assert "gated-symile-digits | not run yet" in shown
    assert "| half | p = 0 | 0.500 (0.400 to 0.600) |" in tool.findings(catalog.row("clip"), found)
    assert "not run yet" in tool.findings(catalog.row("gram"), found)
    (tmp_path / "gated-symile.json").write_text(json.dumps(result | {"quick": False}))
    assert [one["quick"] for one in tool.read_results(tmp_path)] == [False]


def test_a_page_without_its_markers_is_refused() -> None:
    with pytest.raises(ValueError, match="needs the markers of status once"):
        tool.filled("<!-- status:begin -->", {"status": "new"}, "README.md")


def test_the_tools_own_examples() -> None:
    assert doctest.testmod(tool).failed == 0
