"""The first section: what was found, in one sentence, and the numbers it rests on."""

from typing import Any

from counterpoint.reports.folder import Folder
from counterpoint.reports.markup import Html, join, table, tag
from counterpoint.reports.parts import Section, cell
from counterpoint.reports.people import lists_of
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
    if against and lists_of(folder):
        return Section(
            "verdict", "Verdict", join([tag("p", _winner(folder, name, against), class_="lead"), _numbers(folder)])
        )
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
    return join([_fitted(folder), f" and reaches {_inside(title(name))} ", value, about, "."])


def _inside(name: str) -> str:
    """A name as it stands inside a sentence.

    >>> _inside("Median rank"), _inside("nDCG@10"), _inside("MRR@10")
    ('median rank', 'nDCG@10', 'MRR@10')
    """
    return name if "@" in name else name.lower()


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


def _winner(folder: Folder, name: str, against: dict[str, Any]) -> Html:
    """Say in one sentence who lists better on these data, and by how much."""
    gap, theirs = ((against.get(part) or {}).get(name) or {} for part in ("difference", "measures"))
    word, interval = standing(name, gap), between(name, gap, sign=True)
    values = measured(name, folder.evaluation["measures"][name].get("value")), measured(name, theirs.get("value"))
    own, other = (
        f"{method} ({value})" for method, value in zip((folder.method, against.get("name")), values, strict=True)
    )
    text = {"better": f"▲ {own} beats {other}", "worse": f"▼ {other} beats {own}"}.get(
        word, f"≈ neither {own} nor {other} can be said to win"
    )
    among = (folder.assessment.get("protocol") or {}).get("candidates")
    by = f" by {measured(name, gap.get('value'), sign=True).lstrip('+-')}" if word != "cannot tell" else ""
    about = f" over {among:,} items" if isinstance(among, int) else ""
    sign = f": {folder.method} minus {against.get('name')}, 95 % interval {interval}" if interval else ""
    said = tag("span", text, class_=f"standing {word.split()[0]}")
    return join([f"On {folder.source}, by {title(name)}{about}, ", said, f"{by}{sign}."])


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
