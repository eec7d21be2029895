"""The claims board: a page made from result files alone, so that the same files always give the same page."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from counterpoint.errors import UserError

Result = Mapping[str, Any]
WORDS = {
    "holds": "**Holds**: every required prediction was seen, with its whole interval on the predicted side.",
    "fails": "**Fails**: at least one required prediction is contradicted by its whole interval.",
    "inconclusive": "**Inconclusive**: at least one required prediction can neither be confirmed nor ruled out.",
}
INTRODUCTION = """# Claims

What the papers say, run here: `counterpoint verify NAME` runs a claim again. Numbers are means over seeds
with the 95 % interval of a paired bootstrap over seeds and test rows. A prediction holds when its whole
interval is on the predicted side, fails when it is on the other side, and is inconclusive otherwise. This
page is generated from the result files; a result stays, whatever it is.
"""


def result_path(folder: str | os.PathLike[str], name: str, quick: bool) -> Path:
    """Where the result of a claim goes.

    >>> result_path("results", "clip", quick=True).name
    'clip-quick.json'
    """
    return Path(folder) / f"{name}{'-quick' if quick else ''}.json"


def board(folder: str | os.PathLike[str]) -> str:
    """The board as Markdown, one section per claim; a quick result is shown where there is no full one.

    Raises `UserError` for a file that is not a result.
    """
    results = [_read(path) for path in sorted(Path(folder).glob("*.json"))]
    full = {result["name"] for result in results if not result["quick"]}
    shown = [result for result in results if not result["quick"] or result["name"] not in full]
    return "\n".join([INTRODUCTION, *(_section(result) for result in shown)])


def _read(path: Path) -> Result:
    try:
        result: Result = json.loads(path.read_text(encoding="utf-8"))
        _section(result)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        raise UserError(f"{path}: not the result of a claim; restore it, or remove it and verify again") from None
    return result


def _section(result: Result) -> str:
    parts = [
        f"## {result['name']}{' (quick form)' if result['quick'] else ''}",
        f"> {result['sentence']}\n>\n> Source: {result['source']}",
        WORDS[result["verdict"]],
        _predictions(result["predictions"]),
        *(_measure(result, name) for name in result["shown"]),
        _arms(result["arms"]),
        _small_print(result),
    ]
    return "\n\n".join(parts) + "\n"


def _predictions(predictions: Sequence[Result]) -> str:
    """Positive numbers are as predicted."""
    rows = [
        [p["prediction"] + ("" if p["required"] else " (not required)"), _interval(p), p["verdict"]]
        for p in predictions
    ]
    return _table(["Prediction", "By how much (above 0: as predicted)", "Verdict"], rows)


def _measure(result: Result, name: str) -> str:
    """One measure, arms by settings."""
    cells = {(cell["arm"], _at(cell["setting"])): cell["measures"].get(name) for cell in result["table"]}
    settings = list(dict.fromkeys(setting for _, setting in cells))
    rows = [
        [arm["name"], *(_interval(cells.get((arm["name"], setting))) for setting in settings)] for arm in result["arms"]
    ]
    return _table([name, *(setting or "value" for setting in settings)], rows)


def _arms(arms: Sequence[Result]) -> str:
    rows = []
    for arm in arms:
        notes = [arm["about"]] if arm["about"] else []
        if arm["training data changed by"]:
            notes.append(f"training data changed by `{arm['training data changed by'].split(':')[-1]}`")
        if arm["own budget"]:
            notes.append("on its own budget")
        options = ", ".join(f"{name} = {json.dumps(value)}" for name, value in sorted(arm["options"].items()))
        rows.append([arm["name"], arm["role"], "; ".join(notes), f"`{options}`" if options else ""])
    return _table(["Arm", "Role", "What it is", "Options"], rows)


def _small_print(result: Result) -> str:
    seconds, tests = result["seconds"], [entry["test"]["rows"] for entry in result["data"]]
    minutes = f"{seconds / 60:.0f} minutes" if seconds >= 120 else f"{seconds:.0f} seconds"
    rows = f"{min(tests):,} to {max(tests):,}" if len(set(tests)) > 1 else f"{tests[0]:,}"
    versions = "; ".join(f"counterpoint {v['counterpoint']}, torch {v['torch']}" for v in result["versions"])
    lines = [
        f"- Seeds: {len(result['seeds'])}; test rows: {rows}; fits and judging: {minutes} of one thread.",
        f"- Made on {result['date']} with {versions}; claim `{result['hash']}`.",
    ]
    if result["search"]:
        arms = len({trial["arm"] for trial in result["search"]})
        each = len(result["search"]) // arms
        lines.append(f"- Knobs: {each} trials for each of {arms} arms, chosen on validation rows.")
    if result["cut"]:
        lines.append(f"- Cut: {result['cut']}")
    return "\n".join(lines)


def _interval(value: Result | None) -> str:
    if value is None or value["value"] is None:
        return ""
    if value["low"] is None:
        return f"{value['value']:.3f}"
    return f"{value['value']:.3f} ({value['low']:.3f} to {value['high']:.3f})"


def _at(setting: Result) -> str:
    return ", ".join(f"{name} = {value}" for name, value in setting.items())


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
