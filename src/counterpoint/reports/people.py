"""The sections of a recommender: lists beside what people took next, neighbours of items, the lists as a whole."""

from typing import Any

from counterpoint.reports.folder import Folder
from counterpoint.reports.markup import Html, join, table, tag
from counterpoint.reports.parts import Section, absent, details
from counterpoint.reports.words import number

SHARED = {
    "coverage": "Share of the items that are in any list.",
    "gini": "How unequally the places in the lists go to items; 0 is evenly, near 1 is the same few for everybody.",
    "popularity": "Mean number of training events of what is listed.",
    "popularity asked for": "The same of what people took.",
}


def lists_of(folder: Folder) -> bool:
    """Whether the run is one of a recommender."""
    return "lists" in folder.assessment


def people(folder: Folder) -> Section:
    """Show what some users did, what was listed for them and what they took next."""
    heading, users = "What it lists, and what people took next", folder.assessment.get("users") or []
    if not users:
        return absent("people", heading, "The evaluation holds no users to look at.")
    head = ["User", "Did before, the latest last", "Was listed, the best first", "Took next"]
    rows = [[one["user"], _lines(one["history"]), _listed(one), _lines(one["taken"])] for one in users]
    right = sum(one.get("place") is not None for one in users)
    share = f"{right} of these {len(users)} lists hold it."
    note = f"Users at even distances through the test part; ✓ is what they took. {share}"
    return Section("people", heading, join([table(head, rows, "lists"), tag("p", note, class_="note")]))


def neighbours(folder: Folder) -> Section:
    """Show the items that are most like the best known ones."""
    heading, known = "Neighbours of well-known items", folder.assessment.get("neighbours") or []
    if not any(one["near"] for one in known):
        return absent("neighbours", heading, "The method does not say which items are alike.")
    rows = [[one["item"], f"{one['events']:,}", _alike(one["near"])] for one in known]
    note = "The items with most training events, and those most like them by the method's own similarity."
    body = [table(["Item", "Events", "Most alike"], rows, "lists"), tag("p", note, class_="note")]
    return Section("neighbours", heading, join(body))


def shared(folder: Folder) -> Section:
    """Show the lists as a whole: how much of the catalogue they reach, and under which rules they were judged."""
    found = folder.assessment["lists"]
    numbers = {name: found[name] for name in SHARED if found.get(name) is not None}
    cards = (
        tag("div", tag("dt", name.capitalize()), tag("dd", number(value)), tag("dd", SHARED[name], class_="note"))
        for name, value in numbers.items()
    )
    parts = [tag("dl", *cards, class_="cards")]
    rules = {**(folder.assessment.get("protocol") or {}), **(folder.assessment.get("asked") or {})}
    parts += [details("Rules of the judgement, and what was asked", rules)] if rules else []
    return Section("lists", "The lists as a whole", join(parts))


def _lines(names: list[str]) -> Html:
    return tag("ul", *(tag("li", name) for name in names))


def _listed(one: dict[str, Any]) -> Html:
    """A list with the first right item marked."""
    right = (one.get("place") or 0) - 1
    items = (
        tag("li", tag("strong", f"✓ {name}") if place == right else name, class_="true" if place == right else None)
        for place, name in enumerate(one["listed"])
    )
    return tag("ol", *items)


def _alike(near: list[dict[str, Any]]) -> Html:
    parts = (tag("li", one["item"], " ", tag("small", f"{one['similarity']:.2f}")) for one in near)
    return tag("ul", *parts)
