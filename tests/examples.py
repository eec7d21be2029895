"""The examples of the pages: found, and run in one process without shape checks, which would cost minutes."""

import contextlib
import io
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"<!-- run(?: exit=(\d+))? -->\n```(\w+)\n(.*?)```", re.DOTALL)


def blocks(page: Path) -> list[tuple[int, str, str]]:
    """The exit status wanted of each block to run, its language and its text."""
    return [(int(status or 0), kind, text) for status, kind, text in BLOCK.findall(page.read_text(encoding="utf-8"))]


def commands(text: str) -> list[tuple[str, list[str]]]:
    """Each command of a block with the lines it is shown to print; `...` stands for more of them."""
    found: list[tuple[str, list[str]]] = []
    console = text.startswith("$ ")
    for line in text.splitlines():
        if line.startswith("$ ") or not console:
            found.append((line.removeprefix("$ "), []))
        elif line != "...":
            found[-1][1].append(line)
    return found


def run_all() -> dict[str, list[dict[str, Any]]]:
    """Run the blocks of every page in a process of their own; per page, what each came to."""
    done = subprocess.run([sys.executable, __file__], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    results: dict[str, list[dict[str, Any]]] = json.loads(done.stdout.splitlines()[-1])
    return results


def _run_page(page: Path) -> list[dict[str, Any]]:
    """Python blocks share their names; commands are called as from a shell in the same folder."""
    from counterpoint.cli import main

    results = []
    space: dict[str, Any] = {"__name__": "example"}
    for status, kind, text in blocks(page):
        if kind == "python":
            results.append(_result(0, lambda text=text: exec(compile(text, str(page), "exec"), space) or 0, text, []))
            continue
        for command, shown in commands(text):
            program, *arguments = shlex.split(command, comments=True)
            assert program == "counterpoint", command
            results.append(_result(status, lambda arguments=arguments: main(arguments), command, shown))
    return results


def _result(wanted: int, run: Any, text: str, shown: list[str]) -> dict[str, Any]:
    printed = io.StringIO()
    status = None
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        try:
            status = run()
        except Exception:
            traceback.print_exc()
    return {"wanted": wanted, "status": status, "text": text, "shown": shown, "printed": printed.getvalue()}


def _main() -> None:
    """All pages, each in a folder that holds the file the pages speak of."""
    make_file = next(text for _, kind, text in blocks(ROOT / "docs" / "data.md") if kind == "python")
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        for number, page in enumerate(page for page in PAGES if blocks(page)):
            place = Path(folder) / str(number)
            place.mkdir()
            os.chdir(place)
            exec(make_file, {})
            results[str(page.relative_to(ROOT))] = _run_page(page)
        os.chdir(ROOT)
    print(json.dumps(results))


if __name__ == "__main__":
    _main()
