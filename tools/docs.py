"""Fill the generated parts of README.md and docs/ from the catalog, the Configs and the committed results.

`python tools/docs.py` writes them, `python tools/docs.py --check` names the pages that are stale and exits with 1.
A part stands between `<!-- NAME:begin -->` and `<!-- NAME:end -->`; docs/claims.md is generated whole. Claims come from
src/counterpoint/results/*.json, timings from benchmarks/results/*.json, comparisons with other libraries from
conformance/results.json.
"""

import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from counterpoint import catalog, claims
from counterpoint.claims.units import load_claim
from counterpoint.evaluation import Claim
from counterpoint.files import write_text
from counterpoint.multimodal.encoders import ViewsConfig
from counterpoint.options import Option, describe, reader_model
from counterpoint.recommend.search import TRIALS

ROOT = Path(__file__).resolve().parent.parent
TIMINGS = ROOT / "benchmarks" / "results"
PEERS = ROOT / "conformance" / "results.json"
PAGE_OF = {"engine": "docs/engine.md", "engine-bf16": "docs/engine.md"}
"""Timings with a page of their own, which the README sums up."""
Result = Mapping[str, Any]


def pages(root: Path, results: Path, timings: Path) -> Iterator[tuple[Path, str]]:
    """Every page with a generated part, and its text as it should be."""
    found = read_results(results)
    parts = {
        "README.md": {"status": status(found, timings)},
        "docs/index.md": {"methods": methods()},
        "docs/engine.md": {
            "timings": engine_timings(timings / "engine.json"),
            "bf16": engine_timings(timings / "engine-bf16.json"),
        },
        "docs/peers.md": compared(_json(PEERS)),
        "docs/text.md": {
            "reader": option_table(describe(reader_model(catalog.row("contrast").reader()))),
            "labelled": option_table(describe(reader_model(catalog.row("text-classifier").reader()))),
            "corpus": option_table(describe(reader_model(catalog.row("gctm-ot").reader()))),
            "spans": option_table(describe(reader_model(catalog.row("damper").reader()))),
        },
        "docs/recommend.md": {
            "reader": option_table(describe(reader_model(catalog.row("sasrec").reader()))),
            "search": trials(TRIALS),
        },
        "docs/graphs.md": {
            "reader": option_table(describe(reader_model(catalog.row("grace").reader()))),
            "cora": on_cora(timings / "graphs_cora.json"),
        },
        "docs/agents.md": {
            "questions": option_table(describe(reader_model(catalog.row("tf-ttcl").reader()))),
            "runs": option_table(describe(reader_model(catalog.row("clear").reader()))),
        },
        "docs/cli.md": {"reader": reader(), "shared": option_table(describe(ViewsConfig)), "own": own_options()},
    }
    for row in catalog.OWN:
        options = option_table(describe(row.load().Config))
        parts[f"docs/methods/{row.name}.md"] = {"options": options, "found": findings(row, found)}
    for name, texts in parts.items():
        path = root / name
        yield path, filled(path.read_text(encoding="utf-8"), texts, name)
    yield root / "docs" / "claims.md", claims.board(results)


def filled(text: str, parts: Mapping[str, str], name: str) -> str:
    """A page with new text between the markers of each part; raises ValueError unless each has its markers once.

    >>> filled("<!-- a:begin -->old<!-- a:end -->", {"a": "new"}, "page.md").splitlines()
    ['<!-- a:begin -->', '', 'new', '', '<!-- a:end -->']
    """
    for part, new in parts.items():
        marked = re.compile(rf"(<!-- {part}:begin -->).*?(<!-- {part}:end -->)", re.DOTALL)
        if len(marked.findall(text)) != 1:
            raise ValueError(f"{name}: needs the markers of {part} once")
        text = marked.sub(lambda match, new=new: f"{match[1]}\n\n{new}\n\n{match[2]}", text)
    return text


def read_results(folder: Path) -> list[Result]:
    """The committed results; a quick one only where there is no full one."""
    found = [_json(path) for path in sorted(folder.glob("*.json"))]
    full = {result["name"] for result in found if not result["quick"]}
    return [result for result in found if not result["quick"] or result["name"] not in full]


def _json(path: Path) -> Result:
    result: Result = json.loads(path.read_text(encoding="utf-8"))
    return result


# --- options


def option_table(options: Iterable[Option]) -> str:
    """A line per option."""
    lines = [[f"`{o.name}`", f"`{o.default}`" if o.default else "", o.kind, o.about] for o in options]
    return table(["Option", "Default", "Values", "Meaning"], lines)


def reader() -> str:
    """The options of the reader of tables."""
    return option_table(describe(reader_model(catalog.OWN[0].reader())))


def own_options() -> str:
    """Per method the options that the shared ones do not have, or have with another default."""
    shared = {option.name: option for option in describe(ViewsConfig)}
    parts = []
    for row in catalog.OWN:
        own = [option for option in describe(row.load().Config) if option != shared.get(option.name)]
        parts.append(f"**[{row.name}](methods/{row.name}.md)**\n\n{option_table(own)}")
    return "\n\n".join(parts)


def trials(searched: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """What a search tries for each method: the values of each option that differ between its trials.

    >>> print(trials({"sasrec": [{"dropout": 0.2}, {"dropout": 0.5}]}).splitlines()[-1])
    | [sasrec](methods/sasrec.md) | 2 | `dropout` 0.2, 0.5 |
    """
    lines = []
    for name, tried in searched.items():
        values: dict[str, list[str]] = {}
        for option, value in (pair for one in tried for pair in _flat(one)):
            values.setdefault(option, []).append(f"{value}")
        knobs = "; ".join(f"`{option}` {', '.join(dict.fromkeys(found))}" for option, found in values.items())
        lines.append([f"[{name}](methods/{name}.md)", str(len(tried)), knobs])
    return table(["Method", "Trials", "Every combination of"], lines)


def _flat(options: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in options.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


# --- the catalog and its claims


def methods() -> str:
    """The catalog as a table."""
    lines = [
        [f"[{row.name}](methods/{row.name}.md)", row.summary, row.paper, row.status, row.wing] for row in catalog.OWN
    ]
    return table(["Method", "In a phrase", "Paper", "Status", "Wing"], lines)


def status(results: Sequence[Result], timings: Path) -> str:
    """Where things stand: a line per claim, run or not, and a line per timing."""
    lines = [_claim_line(result) for result in results]
    done = {result["name"] for result in results}
    lines += [[name, "not run yet", "", ""] for name in known_claims() if name not in done]
    measured = [line for path in sorted(timings.glob("*.json")) for line in _timing_lines(_json(path))]
    measured = measured or [["none committed yet", "", "", ""]]
    claimed = table(["Claim", "Verdict", "Required predictions seen", "Numbers"], lines)
    return claimed + "\n\n" + table(["Timing", "Measured", "Wanted", "Met"], measured)


def _timing_lines(record: Result) -> Iterator[list[str]]:
    """The rows of a benchmark that have a goal, each with its first number; one line when they have a page."""
    rows = [row for row in record["rows"] if "goal" in row]
    if page := PAGE_OF.get(record.get("name", "")):
        met = sum(row["met"] for row in rows)
        yield [f"[{record['name']}]({page})", f"{met} of {len(rows)} goals", "all", "yes" if met == len(rows) else "no"]
        return
    for row in rows:
        yield [row["what"], _measured(row), row["goal"], "yes" if row["met"] else "no"]


def _measured(row: Result) -> str:
    numbers = (item for item in row.items() if isinstance(item[1], int | float) and not isinstance(item[1], bool))
    unit, value = next(numbers)
    return f"{value:.3g} ({unit})"


def engine_timings(path: Path) -> str:
    """Every row of the engine's benchmark, met or not, with what each side needed."""
    if not path.exists():
        return "Not measured yet."
    record = _json(path)
    lines = [
        [row["what"], _measured(row), row["goal"], row["aim"], "yes" if row["met"] else "**no**", _sides(row)]
        for row in record["rows"]
    ]
    machine, used = record["machine"], ", ".join(f"{name} {version}" for name, version in record["versions"].items())
    shown = table(["What", "Measured", "Goal", "Aim", "Met", "Each side"], lines)
    return f"{shown}\n\nMeasured on {record['date']}, {machine['cores']} cores ({machine['processor']}); {used}."


def on_cora(path: Path) -> str:
    """Every method's accuracy on Cora beside the published one, and why they differ."""
    if not path.exists():
        return "Not measured yet."
    record = _json(path)
    lines = [
        [f"[{r['method']}](methods/{r['method']}.md)", r["public"], r["random"], r["published"], r["why"]]
        for r in record["rows"]
    ]
    shown = table(["Method", "Public split, %", "20 random splits, %", "Published, %", "Why they differ"], lines)
    return f"{shown}\n\n{record['about']}"


def _sides(row: Result) -> str:
    sides = [f"{name} {value:.3g} {unit}" for unit in ("ms", "mib") if isinstance(row.get(unit), Mapping)
             for name, value in row[unit].items()]  # fmt: skip
    return ", ".join(sides).replace("of_", "").replace("_", " ")


# --- other libraries


def compared(record: Result) -> dict[str, str]:
    """What agrees, what does not, and how the peers' own tests went."""
    same = [
        [r["peer"], r["what"], *(f"{r[k]:.0e}" if r[k] else "0" for k in ("value", "gradient"))] for r in record["same"]
    ]
    differs = [[r["peer"], r["what"], r["ours"], r["theirs"], r["why"]] for r in record["differs"]]
    suites = [[r["peer"], f"`{r['file']}`", _outcome(r)] for r in record["suites"]]
    used = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
    return {
        "same": table(["Library", "What", "Value", "Gradient"], same),
        "differs": table(["Library", "What", "Here", "There", "Why"], differs),
        "suites": table(["Library", "Test file", "On our objective"], suites),
        "versions": f"Compared on {record['date']} with {used}.",
    }


def _outcome(row: Result) -> str:
    if "note" in row:
        return str(row["note"])
    failed = f"{len(row['failed'])} fail: {', '.join(row['failed'])}" if row["failed"] else "none fails"
    expected = "".join(f", {test} as expected: {why}" for test, why in row.get("expected", {}).items())
    left_out = f", {row['left_out']} left out" if row["left_out"] else ""
    commit = f" ({row['commit'][:9]})" if "commit" in row else ""
    return f"{row['passed']} pass, {failed}{expected}{left_out}{commit}"


def known_claims() -> list[str]:
    """The claims that the wings state, whether run or not."""
    stated = [claim for row in catalog.OWN if row.claim for claim in (row.claim, *row.further_claims)]
    modules = dict.fromkeys(claim.partition(":")[0] for claim in stated)
    return [value.name for name in modules for value in vars(import_module(name)).values() if isinstance(value, Claim)]


def _claim_line(result: Result) -> list[str]:
    required = [p["verdict"] for p in result["predictions"] if p["required"]]
    seen = f"{required.count('holds')} of {len(required)}"
    return [f"[{_titled(result)}](docs/claims.md)", result["verdict"], seen, _headline(result)]


def _headline(result: Result) -> str:
    """The first shown measure of method and baselines in the setting that most arms ran in, the last of equals."""
    measure, ran = result["shown"][0], [cell["setting"] for cell in result["table"]]
    fullest = max(reversed(ran), key=ran.count)
    roles = {arm["name"]: arm["role"] for arm in result["arms"]}
    chosen = [
        f"{cell['arm']} {interval(cell['measures'].get(measure))}"
        for cell in result["table"]
        if cell["setting"] == fullest and roles[cell["arm"]] in ("method", "baseline")
    ]
    return f"{measure}{_at(fullest)}: {', '.join(chosen)}"


def findings(row: catalog.Row, results: Sequence[Result]) -> str:
    """What the committed claims say about one method: its own first, then those it is an arm of."""
    own = {load_claim(claim).name for claim in (row.claim, *row.further_claims) if claim}
    parts = [text for result in results if (text := _finding(row.name, result, result["name"] in own))]
    unrun = "Its claim: not run yet." if row.claim else "No claim of its own; those it is an arm of: not run yet."
    return "\n\n".join(parts) or unrun


def _finding(method: str, result: Result, own: bool) -> str:
    """The verdict of a claim, and the first shown measure of this method's arms in every setting; "" without any.

    A claim of the method's own may fit it by another name; then all arms are shown.
    """
    arms = {arm["name"] for arm in result["arms"] if arm["method"] == method}
    arms = arms or {arm["name"] for arm in result["arms"] if own}
    if not arms:
        return ""
    measure = result["shown"][0]
    cells = [cell for cell in result["table"] if cell["arm"] in arms]
    lines = [[cell["arm"], _at(cell["setting"])[2:], interval(cell["measures"].get(measure))] for cell in cells]
    head = f"**{_titled(result)}: {result['verdict']}.** {result['sentence']}."
    return f"{head}\n\n{table(['Arm', 'Setting', measure], lines)}\n\nAll arms: [claims](../claims.md)."


def _titled(result: Result) -> str:
    return result["name"] + (" (quick form)" if result["quick"] else "")


def _at(setting: Mapping[str, Any]) -> str:
    return "".join(f", {name} = {value}" for name, value in setting.items())


# --- words


def interval(value: Result | None) -> str:
    """A number with its interval, as far as there is one.

    >>> interval({"value": 0.5, "low": 0.4, "high": 0.625})
    '0.500 (0.400 to 0.625)'
    """
    if value is None or value["value"] is None:
        return ""
    return f"{value['value']:.3f}" + ("" if value["low"] is None else f" ({value['low']:.3f} to {value['high']:.3f})")


def table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows)


def main(arguments: Sequence[str]) -> int:
    """Write the pages, or with --check only say which are stale."""
    stale = []
    for path, text in pages(ROOT, catalog.RESULTS, TIMINGS):
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            stale.append(str(path.relative_to(ROOT)))
            if "--check" not in arguments:
                write_text(path, text)
    if "--check" in arguments:
        print(f"stale, run python tools/docs.py: {', '.join(stale)}" if stale else "generated parts are fresh")
        return 1 if stale else 0
    print(f"written: {', '.join(stale) or 'nothing, all was fresh'}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
