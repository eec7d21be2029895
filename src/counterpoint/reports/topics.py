"""Topics as a page of their own: a map, the topics' words, their documents, and a slider along the goal."""

from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import Any

from counterpoint.files import write_text
from counterpoint.reports.frame import SCRIPTED, asset, framed
from counterpoint.reports.markup import Html, join, json_text, table, tag
from counterpoint.reports.project import pca
from counterpoint.reports.words import number

PAGE = "topics.html"
UNSCRIPTED = tag("noscript", tag("p", "The map needs JavaScript; the table does not."))
SHORT = 300
"""Letters of a document that the page shows."""


def write_topics(folder: Path, found: Mapping[str, Any]) -> Path:
    """Write `topics.html` from what `serving.topics` found, and return its path.

    The page opens from disk and loads nothing; without JavaScript it still has the table of topics.
    """
    body = Template(asset("topics.html")).substitute(lead=_lead(found), table=_table(found), measures=_measures(found))
    data = tag("script", json_text(_data(found)), type="application/json", id="data")
    page = framed(
        "topics",
        join([f"Topics of {found['source']}"]),
        Html(body),
        skip=tag("a", "Skip to the topics", class_="skip", href="#topics"),
        scripts=join([UNSCRIPTED, data, tag("script", Html(asset("topics.js")))]),
        allowed=SCRIPTED,
        style=asset("topics.css"),
    )
    write_text(folder / PAGE, page)
    return folder / PAGE


def _lead(found: Mapping[str, Any]) -> Html:
    """Say what was asked, and how many documents speak to it."""
    goal = [tag("strong", found["goal"]), " "] if found["goal"] else []
    return tag(
        "p",
        *goal,
        f"{found['documents']:,} documents in {len(found['topics'])} topics; {found['off_goal']:,} documents say "
        "nothing near the goal.",
        class_="lead",
    )


def _table(found: Mapping[str, Any]) -> Html:
    """All topics in one table, nearest to the goal first."""
    head = ["Topic", "Words", "Documents", "Alignment", "NPMI", "C_V", "C_P"]
    rows = [
        [
            str(one["topic"]),
            ", ".join(word for word, _ in one["words"]),
            f"{one['documents']:,}",
            *(number(one[name]) for name in ("goal_alignment", "npmi", "c_v", "c_p")),
        ]
        for one in found["topics"]
    ]
    return table(head, rows, "topics")


def _measures(found: Mapping[str, Any]) -> Html:
    """The measures of the whole, beside those of the phrases' clusters where they were made."""
    against = found["against"]
    cards = []
    for name, cell in found["measures"].items():
        beside = number(against["measures"][name]["value"]) if against else None
        note = [tag("dd", f"{against['name']}: {beside}", class_="note")] if beside is not None else []
        cards.append(tag("div", tag("dt", name), tag("dd", number(cell["value"])), *note))
    return tag("dl", *cards, class_="cards")


def _data(found: Mapping[str, Any]) -> dict[str, Any]:
    """What the script draws: topics with their places, and their documents."""
    places = pca(found["vectors"])
    topics = [
        {
            "topic": one["topic"],
            "words": one["words"],
            "x": float(x),
            "y": float(y),
            "alignment": one["goal_alignment"],
            "above": one["above"],
            "examples": [{**example, "text": _short(example["text"])} for example in one["examples"]],
        }
        for one, (x, y) in zip(found["topics"], places, strict=True)
    ]
    return {"topics": topics, "documents": found["documents"]}


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= SHORT else line[: SHORT - 1] + "…"
