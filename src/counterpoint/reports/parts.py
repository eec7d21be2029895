"""What the sections of the page have in common."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from counterpoint.reports.figures import Figure
from counterpoint.reports.markup import Html, join, json_text, table, tag
from counterpoint.reports.words import between, measured

LISTED = 6


@dataclass(frozen=True)
class Section:
    """One part of the page: its anchor, its heading and its body."""

    key: str
    heading: str | Html
    body: Html


def cell(name: str, cell: dict[str, Any], sign: bool = False) -> Html:
    """Show a value with its interval beneath."""
    return join([measured(name, cell.get("value"), sign), tag("small", between(name, cell, sign))])


def charts(shown: Sequence[Figure], class_: str = "") -> Html:
    """Leave places for the page to draw charts in."""
    places = (
        tag(
            "div",
            role="img",
            aria_label=f"chart of {one['title']}",
            class_="chart",
            data_figure=json_text(one),
        )
        for one in shown
    )
    return tag("div", *places, class_=f"charts {class_}".strip())


def absent(key: str, heading: str, why: str) -> Section:
    """Say in one sentence why a section is empty."""
    return Section(key, heading, tag("p", why, class_="absent"))


def details(name: str, values: Mapping[str, Any], shown: bool = False) -> Html:
    """Tabulate settings under a heading that opens."""
    rows = [[key, _short(value)] for key, value in flat(values).items() if value is not None]
    return tag("details", tag("summary", name), table(["Name", "Value"], rows, "settings"), open=shown)


def _short(value: Any) -> str:
    """Write a value; of a long list the ends."""
    parts = str(value).split(",")
    return str(value) if len(parts) <= LISTED else f"{parts[0]}, {parts[1]}, … {parts[-1]} ({len(parts)} in all)"


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Write nested settings as the command line takes them.

    >>> flat({"optim": {"lr": 0.001}, "hidden": [64, 64], "gate": True})
    {'optim.lr': 0.001, 'hidden': '64,64', 'gate': 'true'}
    """
    found: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            found |= flat(value, f"{prefix}{key}.")
        elif isinstance(value, list):
            found[f"{prefix}{key}"] = ",".join(str(item) for item in value)
        else:
            found[f"{prefix}{key}"] = str(value).lower() if isinstance(value, bool) else value
    return found
