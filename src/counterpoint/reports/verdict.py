"""The first section: what was found, in one sentence, and the numbers it rests on."""

from typing import Any

from counterpoint.reports.folder import Folder
from counterpoint.reports.markup import Html, join, table, tag
from counterpoint.reports.parts import Section, cell
from counterpoint.reports.words import between, headline, measured, standing, title, unit

PAIRED = (
    "A difference is this run minus the baseline on the same rows; it counts as better or worse when its 95 % "
    "interval leaves out 0."
)
STANDINGS = {
    "better": "▲ It is better than {}",
    "worse": "▼ It is worse than {}",
    "cannot tell": "≈ Whether it is better or worse than {} cannot be told",
}


def verdict(folder: Folder) -> Section:
    """Say what was found, in one sentence, and show the numbers it rests on."""
    name = headline(folder.evaluation.get("measures") or {})
    if name is None:
        why = "It has not been judged on test rows."
        return Section("verdict", "Verdict", tag("p", f"{_fitted(folder)}. {why}", class_="lead"))
    against = folder.evaluation.get("against")
    rest = _compared(name, against) if against else " It was not compared with a baseline."
    return Section("verdict", "Verdict", join([tag("p", _found(folder, name), rest, class_="lead"), _numbers(folder)]))


def _fitted(folder: Folder) -> str:
    """Name the method and the data."""
    return f"{folder.method} was fitted on {folder.source}"


def _found(folder: Folder, name: str) -> Html:
    """State the headline number."""
    found = folder.evaluation["measures"][name]
    interval = between(name, found)
    value = tag("strong", measured(name, found.get("value")))
    about = f" (95 % interval {interval})" if interval else ""
    if name == "top1":
        return join([_fitted(folder), " and finds the right row first in ", value, about, _among(folder), "."])
    return join([_fitted(folder), f" and reaches {title(name).lower()} ", value, about, "."])


def _among(folder: Folder) -> str:
    """Say among how many candidates, and what chance would give, where that is one number."""
    counts = {task.get("candidates") for task in folder.assessment.get("tasks") or []} - {None}
    if len(counts) != 1:
        return " of searches"
    count = counts.pop()
    return f" of searches among {count:,} candidates; chance would give {100 / count:.2g} %"


def _compared(name: str, against: dict[str, Any]) -> Html:
    """State the paired difference to the baseline."""
    gap = (against.get("difference") or {}).get(name) or {}
    theirs = measured(name, ((against.get("measures") or {}).get(name) or {}).get("value"))
    word, interval = standing(name, gap), between(name, gap, sign=True)
    text = STANDINGS[word].format(f"{against.get('name')} ({theirs})")
    points = f"paired difference {measured(name, gap.get('value'), sign=True)}{unit(name)}"
    about = f"{points}, 95 % interval {interval}" if interval else points
    return join([" ", tag("span", text, class_=f"standing {word.split()[0]}"), f": {about}."])


def _numbers(folder: Folder) -> Html:
    """Tabulate every measure, beside the baseline's where there is one."""
    measures, against = folder.evaluation["measures"], folder.evaluation.get("against") or {}
    theirs, gaps = against.get("measures") or {}, against.get("difference") or {}
    head = ["", folder.method, *([str(against.get("name")), "Difference", ""] if against else [])]
    rows: list[list[object]] = [[title(name), cell(name, measures[name])] for name in measures]
    if against:
        for row, name in zip(rows, measures, strict=True):
            gap = gaps.get(name) or {}
            row += [cell(name, theirs.get(name) or {}), cell(name, gap, sign=True), standing(name, gap)]
    count = folder.evaluation.get("rows")
    judged = f"Judged on {count:,} rows. " if isinstance(count, int) else ""
    return join([table(head, rows, "numbers"), tag("p", judged, PAIRED if against else "", class_="note")])
