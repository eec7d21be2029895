"""A rewritten text as a page for its owner: what was found, how sure, what stands there now, the budget."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from counterpoint.files import write_text
from counterpoint.reports.frame import framed
from counterpoint.reports.markup import Html, join, table, tag

SHOWN = 50
"""Texts that are shown."""
WARNING = "This page shows the original words. It is for whoever owns the text; do not send it on."


def write_rewriting(page: Path, run: Path, made: Sequence[Any]) -> Path:
    """Write a page on rewritten texts, and return its path; it opens from disk, runs nothing and loads nothing."""
    parts = [
        tag("section", tag("p", WARNING, class_="warning", role="note"), _key(), _budgets(made)),
        *(_text(number, one) for number, one in enumerate(made[:SHOWN], start=1)),
    ]
    if len(made) > SHOWN:
        parts.append(tag("section", tag("p", f"{len(made) - SHOWN:,} more texts are not shown.", class_="absent")))
    title = join([f"Private spans rewritten by {run.name}"])
    write_text(page, framed("rewriting", title, join(parts)))
    return page


def _key() -> Html:
    return tag(
        "p",
        "Marked in the first form are the found spans; the darker, the higher the score, the number behind it. Marked "
        "in the second is what was drawn for them. What is not marked is unchanged.",
        class_="note",
    )


def _budgets(made: Sequence[Any]) -> Html:
    """Tabulate what each text cost."""
    head = ["Text", "Spans", "Placeholders", "Epsilon per span", "Draws per span", "Epsilon of the text"]
    rows = [
        [
            number,
            one.budget.spans,
            one.budget.placeholders,
            f"{one.budget.epsilon:g}",
            one.budget.draws,
            f"{one.budget.total:g}",
        ]
        for number, one in enumerate(made[:SHOWN], start=1)
    ]
    return table(head, rows, "numbers")


def _text(number: int, one: Any) -> Html:
    """Show one text before and after, and what is guaranteed."""
    before = marked(one.original, [(p.found.start, p.found.end, p.original, p.found.score) for p in one.replacements])
    after = marked(one.original, [(p.found.start, p.found.end, p.replacement, None) for p in one.replacements])
    domains = sorted({p.found.domain for p in one.replacements})
    return tag(
        "section",
        tag("h2", f"Text {number}" + (f": {', '.join(domains)}" if domains else ": nothing was found")),
        tag("h3", "As it was"),
        tag("p", before, class_="leaned before", style="white-space:pre-wrap"),
        tag("h3", "Rewritten"),
        tag("p", after, class_="leaned after", style="white-space:pre-wrap"),
        tag("h3", "What is guaranteed"),
        tag("ul", *(tag("li", sentence) for sentence in one.statement)),
        aria_label=f"text {number}",
    )


def marked(text: str, spans: Sequence[tuple[int, int, str, float | None]]) -> Html:
    """A text with some stretches replaced by words that are marked, each with its score if there is one.

    >>> marked("Ann <x>", [(0, 3, "Bo", 0.9)])
    '<mark style="--heat:0.900;white-space:normal">Bo<sub>0.90</sub></mark> &lt;x&gt;'
    """
    pieces: list[object] = []
    at = 0
    for start, end, words, score in spans:
        heat = 0.35 if score is None else min(max(score, 0.0), 1.0)
        more = () if score is None else (tag("sub", f"{score:.2f}"),)
        pieces += [text[at:start], tag("mark", words, *more, style=f"--heat:{heat:.3f};white-space:normal")]
        at = end
    return join([*pieces, text[at:]])
