"""Assemble the page: sections, data, style and script in one file."""

from pathlib import Path
from string import Template
from typing import Any

from counterpoint.errors import need
from counterpoint.files import write_text
from counterpoint.reports import people, rules, sections, trials
from counterpoint.reports.atlas import atlas, captions, pictures
from counterpoint.reports.folder import Folder, read
from counterpoint.reports.frame import SCRIPTED, asset, framed
from counterpoint.reports.made import made
from counterpoint.reports.markup import Html, join, json_text, tag
from counterpoint.reports.parts import Section
from counterpoint.reports.shortcuts import has_shortcuts, shortcuts
from counterpoint.reports.verdict import verdict

SCRIPTS = ("page.js", "map.js", "finder.js")
OF_VIEWS = {"tasks", "examples", "reliability", "probes"}
"""What is judged where rows have several views; the nodes of a graph have one."""


def write(run: Path) -> Path:
    """Write `report.html` into a run folder from the folder's files alone, and return its path.

    The page opens from disk and loads nothing. Raises `UserError` when the folder is no run, when one of its
    files is damaged, or when plotly is not installed.
    """
    folder = read(run)
    shown = atlas(folder)
    needed, left_out = _pictures(folder, shown)
    parts = _sections(folder, shown, str(run))
    if left_out:
        parts.append(Section("left-out", "Left out", tag("p", f"{left_out:,} pictures, to keep the page small.")))
    data = {"map": shown, "examples": _examples(folder), "pictures": needed, "captions": _captions(folder)}
    links = tag("ul", *(tag("li", tag("a", part.key.capitalize(), href=f"#{part.key}")) for part in parts))
    scripts = Template(asset("scripts.html")).substitute(
        data=json_text(data),
        plotly=need("plotly.offline", "report").get_plotlyjs(),
        script="\n".join(asset(name) for name in SCRIPTS),
    )
    page = framed(
        "report",
        join([f"{folder.method} on {folder.source}"]),
        join(_part(part) for part in parts),
        skip=tag("a", "Skip to the verdict", class_="skip", href="#verdict"),
        contents=tag("nav", links, aria_label="Sections"),
        scripts=scripts,
        allowed=SCRIPTED,
    )
    write_text(run / "report.html", page)
    return run / "report.html"


def _sections(folder: Folder, shown: dict[str, Any] | None, run: str) -> list[Section]:
    """List the sections in their order."""
    if people.lists_of(folder):
        return [
            verdict(folder),
            people.people(folder),
            people.neighbours(folder),
            sections.space(folder, shown),
            people.shared(folder),
            sections.curves(folder),
            made(folder, run),
        ]
    if rules.has_rules(folder):
        parts = [verdict(folder), rules.rules(folder), rules.stream(folder)]
        return [*parts, sections.curves(folder), made(folder, run)]
    if has_shortcuts(folder):
        return [verdict(folder), shortcuts(folder), sections.curves(folder), made(folder, run)]
    classes = trials.classes(folder)
    of_views = not folder.assessment or not OF_VIEWS.isdisjoint(folder.assessment)
    return [
        verdict(folder),
        *([classes] if classes is not None else []),
        sections.curves(folder),
        sections.space(folder, shown),
        *([sections.finder(folder), sections.matrix(folder), trials.reliability(folder)] if of_views else []),
        sections.geometry(folder),
        *([trials.probes(folder)] if of_views else []),
        made(folder, run),
    ]


def _part(part: Section) -> Html:
    """Write one section."""
    return tag("section", tag("h2", part.heading), part.body, id=part.key)


def _examples(folder: Folder) -> list[dict[str, Any]]:
    """Write the examples' ids as text, as everywhere on the page."""
    return [
        {**one, "query": str(one["query"]), "found": [str(key) for key in one["found"]]}
        for one in sections.shown_examples(folder)
    ]


def _example_ids(folder: Folder) -> list[str]:
    """List the rows that the examples show."""
    return [key for one in _examples(folder) for key in (one["query"], *one["found"])]


def _pictures(folder: Folder, shown: dict[str, Any] | None) -> tuple[dict[str, str], int]:
    """Encode the pictures that the examples and the map need."""
    return pictures(folder, first=_example_ids(folder), then=shown["ids"] if shown else ())


def _captions(folder: Folder) -> dict[str, str]:
    """Caption the rows that the examples show."""
    return captions(folder, _example_ids(folder))
