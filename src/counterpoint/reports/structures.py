"""What is shared by which views, as a page of its own: a heat map of structures by views, and the columns behind it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from counterpoint.files import write_text
from counterpoint.reports.folder import read
from counterpoint.reports.frame import framed
from counterpoint.reports.markup import Html, join, table, tag
from counterpoint.reports.words import number

PAGE = "explain.html"


def write_structures(run: Path, found: Mapping[str, Any]) -> Path:
    """Write `explain.html` into a run folder from what the method's `explain` says, and return its path.

    The page opens from disk, runs nothing and loads nothing.
    """
    folder = read(run)
    parts = [
        tag("section", tag("h2", "How much of each view"), heat_map(found), tag("p", about(found), class_="note")),
        tag("section", tag("h2", "Which columns carry it"), *(_columns(part) for part in found["structures"])),
    ]
    title = join([f"What the views share: {folder.method} on {folder.source}"])
    write_text(run / PAGE, framed("explanation", title, join(parts)))
    return run / PAGE


def heat_map(found: Mapping[str, Any]) -> Html:
    """Tabulate structures by views, shaded by share; what no structure explains is the last row.

    >>> part = {"name": "a + b", "rank": 1, "share": {"a": 0.25, "b": 1.0}}
    >>> "25.0" in heat_map({"views": ["a", "b"], "structures": [part], "unexplained": {"a": 0.75, "b": 0.0}})
    True
    """
    parts = found["structures"]
    agrees = any(part.get("agreement") is not None for part in parts)
    head = ["Shared by", *found["views"], "factors", *(["agreement"] if agrees else [])]
    rows = [
        [
            part["name"],
            *(_shade(part["share"].get(view)) for view in found["views"]),
            _plain(part["rank"]),
            *([_plain(part.get("agreement"))] if agrees else []),
        ]
        for part in parts
    ]
    rest = [_shade(found["unexplained"][view]) for view in found["views"]]
    return table(head, [*rows, ["(none of them)", *rest, *[_plain(None)] * (2 if agrees else 1)]], "heat")


def about(found: Mapping[str, Any]) -> str:
    """Say what the numbers are."""
    agrees = any(part.get("agreement") is not None for part in found["structures"])
    more = (
        " Agreement is how much nearer the views of one row are in this structure than those of two rows, as a "
        "difference of cosines: near 0, nothing is shared."
        if agrees
        else ""
    )
    return f"Per cent: {found['about']}. A view takes no part in structures that do not name it.{more}"


def _shade(value: float | None) -> Html:
    if value is None:
        return tag("span", "·", class_="blank")
    return tag("span", f"{100 * value:.1f}", style=f"--heat:{min(max(value, 0.0), 1.0):.3f}")


def _plain(value: int | float | None) -> Html:
    return tag("span", number(value), class_="blank")


def _columns(part: Mapping[str, Any]) -> Html:
    """List the columns of one structure, the strongest of each view first."""
    rows = [[one["column"], one["view"], f"{100 * one['share']:.1f} %"] for one in part["columns"]]
    body = (
        table(["Column", "View", "of its variance"], rows, "numbers")
        if rows
        else tag("p", "No column to name.", class_="note")
    )
    return tag("details", tag("summary", part["name"]), body)
