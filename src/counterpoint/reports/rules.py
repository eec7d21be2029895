"""The sections of a run that learned rules in words: each rule with its evidence, use and worth; cases and costs."""

from collections.abc import Mapping
from typing import Any

from counterpoint.reports.folder import Folder
from counterpoint.reports.markup import Html, join, table, tag
from counterpoint.reports.parts import Section, absent, details

CASES = {
    "equal": "All answers agreed: the surest one was taken, and a rule from it.",
    "mixed": "Most agreed: a rule from the surest of them, and one against the surest of the others.",
    "different": "No two agreed: the Teacher's answer was taken, and nothing was learned.",
    "open": "Free texts: those like the Teacher's against the rest.",
}
SHOWN = 200
"""Rules that the page lists, those used most."""
HINT = (
    "Helped compares questions that were given the rule with those, after it was made, that were not, by {by}; "
    "these are different questions, so it is a hint and no proof."
)


def has_rules(folder: Folder) -> bool:
    """Whether the run learned rules."""
    return "rules" in folder.assessment


def rules(folder: Folder) -> Section:
    """Show each rule, the question it came from, how often it was used and whether that helped."""
    heading, found = "Rules it wrote for itself", folder.assessment["rules"]
    if not found:
        return absent("rules", heading, "No rule was written.")
    shown = sorted(found, key=lambda rule: -rule["used"])[:SHOWN]
    head = ["Rule", "Bank", "From", "Evidence", "Merged", "Used", "Helped"]
    rows = [
        [rule["text"], rule["bank"], _when(rule), _evidence(rule), rule["frequency"], rule["used"], _helped(rule)]
        for rule in shown
    ]
    left = f"{len(found) - len(shown):,} rules that were used less are in tables/rules.jsonl. " if found[SHOWN:] else ""
    note = left + HINT.format(by=folder.assessment.get("rules by", "agreement"))
    return Section("rules", heading, join([table(head, rows, "rules"), tag("p", note, class_="note")]))


def stream(folder: Folder) -> Section:
    """Show which cases the stream had, and what it cost."""
    cases: Mapping[str, int] = folder.assessment.get("cases") or {}
    total = sum(cases.values()) or 1
    rows = [[case, f"{count:,}", f"{100 * count / total:.0f} %", CASES.get(case, "")] for case, count in cases.items()]
    parts: list[Html] = [table(["Case", "Questions", "Share", "What was done"], rows)]
    costs = folder.assessment.get("costs") or {}
    parts += [details("What it cost, whoever answered", costs, shown=True)] if costs else []
    hits = [event["notes"]["cached"] for event in folder.events if "cached" in (event.get("notes") or {})]
    if hits:
        parts.append(
            tag("p", f"{int(hits[-1]):,} of the calls of the last process came from the cache.", class_="note")
        )
    return Section("stream", "The stream, case by case", join(parts))


def _when(rule: Mapping[str, Any]) -> str:
    return "put in" if rule["step"] < 0 else f"question {rule['step'] + 1}"


def _evidence(rule: Mapping[str, Any]) -> Html:
    surely = "" if rule["perplexity"] is None else f", perplexity {rule['perplexity']:.2f}"
    return join([rule["question"], " ", tag("small", f"({rule['role']}{surely})")])


def _helped(rule: Mapping[str, Any]) -> str:
    return "" if rule.get("helped") is None else f"{100 * rule['helped']:+.0f} points"
