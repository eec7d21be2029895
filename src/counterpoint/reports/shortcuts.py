"""The section on the words that a classifier leaned on, before and after its guardrail, marked in the texts."""

from collections.abc import Mapping, Sequence
from typing import Any

from counterpoint.reports.folder import Folder
from counterpoint.reports.markup import Html, join, table, tag
from counterpoint.reports.parts import Section

NAMES = {"before": "Before", "after": "After"}


def has_shortcuts(folder: Folder) -> bool:
    """Whether the run is a guarded classifier's."""
    return bool(folder.assessment.get("shortcuts"))


def shortcuts(folder: Folder) -> Section:
    """Show how strong the repair is and why, which words counted, and texts with these words marked."""
    found = folder.assessment["shortcuts"]
    parts = [
        tag("p", _strength(found)),
        tag("p", _shift(found)),
        tag("h3", "Right on the labelled rows, by strength"),
        _calibration(found),
        tag("h3", "Words it leaned on"),
        _words(found["words"]),
        tag("h3", "Texts that changed most" if found["alpha"] else "Texts that lean on one word most"),
        tag("p", _key(), class_="note"),
        *(_example(one) for one in found["examples"]),
    ]
    return Section("shortcuts", "Words the classifier leaned on", join(parts))


def _strength(found: Mapping[str, Any]) -> str:
    """Say what was chosen."""
    alpha, support = found["alpha"], found["support"]
    why = f"on {support} labelled rows no other strength is right more often, and no smaller one as often"
    if alpha == 0:
        return f"The strength is 0: the classifier stays as it was, because {why}."
    return f"The strength is {alpha:g} of 1: {why}."


def _shift(found: Mapping[str, Any]) -> str:
    """Say what one word does on average."""
    before, after = (100 * found["mstps"][part] for part in NAMES)
    return (
        f"Hiding the one word that counts most moves the probability of the class by {before:.1f} points on average, "
        f"and by {after:.1f} after the repair ({found['texts']} texts, {found['k']} words each)."
    )


def _calibration(found: Mapping[str, Any]) -> Html:
    """Tabulate the calibration; the strength that was taken is marked."""
    head = ["Strength", *(_taken(f"{alpha:g}", alpha == found["alpha"]) for alpha in found["grid"])]
    return table(head, [["Right", *map(str, found["right"])]], "numbers")


def _taken(text: str, chosen: bool) -> Html | str:
    return tag("strong", text) if chosen else text


def _words(words: Sequence[Mapping[str, Any]]) -> Html:
    """Tabulate the words with what masking them costs."""
    if not words:
        return tag("p", "No word could be masked in any of the texts.", class_="absent")
    rows = [[one["word"], f"{one['texts']:,}", *(f"{100 * one[part]:.1f}" for part in NAMES)] for one in words]
    return table(["Word", "Texts", "Points before", "Points after"], rows, "numbers")


def _key() -> str:
    return (
        "Marked are the most important words before the repair; the darker, the more the probability of the class "
        "moves when the word is hidden. The number behind it says how many points it costs."
    )


def _example(one: Mapping[str, Any]) -> Html:
    """Show one text twice."""
    lines = []
    for part, name in NAMES.items():
        said = one[part]
        verdict = f"{name}: {said['class']}, {100 * said['chance']:.0f} %"
        more = "…" if one["cut"] else ""
        lines += [tag("p", verdict, class_="note"), tag("p", marked(one["text"], said["marks"]), more, class_="leaned")]
    return tag("article", *lines, aria_label=f"text {one['id']}", class_="twice")


def marked(text: str, marks: Sequence[Sequence[Any]]) -> Html:
    """A text with the words of some spans marked, each with the points that hiding it costs.

    >>> marked("so <good>", [[0, 2, 0.5]])
    '<mark style="--heat:0.500">so<sub>50</sub></mark> &lt;good&gt;'
    """
    pieces: list[object] = []
    at = 0
    for start, end, drop in sorted(marks, key=list):
        if start < at or end > len(text):
            continue
        word = tag("mark", text[start:end], tag("sub", round(100 * drop)), style=f"--heat:{min(abs(drop), 1.0):.3f}")
        pieces += [text[at:start], word]
        at = end
    return join([*pieces, text[at:]])
