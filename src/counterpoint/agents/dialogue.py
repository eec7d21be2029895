"""What each role is asked, and how its reply is read. Whatever comes from outside stands between marks, as data."""

import html
import re
from collections.abc import Sequence
from functools import cache
from typing import Any

from counterpoint.agents.answers import without_answers
from counterpoint.agents.rules import Rule
from counterpoint.language import Ask, Prompt, fenced

RULE_WORDS, RULE_TOKENS = 32, 100
"""Longest rule, and tokens that it may take to write (arXiv 2604.13552, released code)."""
SPARE = 2
"""Variants that the Tutor is asked for beyond those that are used."""
_VARIANT = re.compile(
    r"<variant>\s*<text>(.*?)</text>\s*(?:<probability>\s*([\d.]*)[^<]*(?:</probability>)?)?", re.DOTALL | re.IGNORECASE
)
_LEAD = re.compile(
    r"^(?:[-*•\d.)\s]+|(?:general |positive |negative )?rule\s*(?:\d+)?\s*:\s*|[\"'`“]+)+", re.IGNORECASE
)


@cache
def prompt(name: str) -> Prompt:
    """A prompt of this wing."""
    return Prompt.of("counterpoint.agents", name)


def ending(choices: Sequence[str], free: bool) -> str:
    """How an answer shall end, so that it can be found."""
    if free:
        return "Answer in a few sentences."
    if choices:
        return f"Write one line: Answer: {' or '.join(choices)}"
    return "Think in short steps, then write one last line: Answer: the result alone."


def teacher(question: str, rules: Sequence[Rule], end: str, max_tokens: int, seed: int) -> Ask:
    """The Teacher answers greedily; rules come after its own prompt, do and avoid in turn."""
    listed = "\n".join(f"- {rule.text}" for rule in rules)
    shown = f"Rules learned from earlier questions; use those that fit:\n{listed}" if rules else ""
    system = prompt("teacher").filled(ending=end, rules=shown).strip()
    return Ask.of(fenced(question), system, max_tokens=max_tokens, seed=seed)


def student(question: str, rules: Sequence[Rule], end: str, seed: int, **sampling: Any) -> Ask:
    """A Student draws an answer; rules are a list of what to do and one of what not to do."""
    parts = []
    for bank, head in (("do", "Do:"), ("avoid", "Don't:")):
        lines = [f"- {rule.text}" for rule in rules if rule.bank == bank]
        parts += [head, *lines] if lines else []
    system = prompt("student").filled(ending=end, rules="\n".join(parts)).strip()
    return Ask.of(fenced(question), system, seed=seed, **sampling)


def tutor(question: str, count: int, seed: int, **sampling: Any) -> Ask:
    """The Tutor is asked for variants with their own probabilities; it never sees rules."""
    room = (count + SPARE) * (len(question) // 2 + 40)
    text = prompt("tutor").filled(question=fenced(question), count=str(count + SPARE))
    return Ask.of(text, max_tokens=room, seed=seed, stop=("</variants>",), **sampling)


def paraphrase(question: str, seed: int, **sampling: Any) -> Ask:
    """One variant, without a probability."""
    text = prompt("paraphrase").filled(question=fenced(question))
    return Ask.of(text, max_tokens=len(question) // 2 + 40, seed=seed, **sampling)


def variants(reply: str, count: int) -> list[str]:
    """The most probable variants of a Tutor's reply, each once; one without a probability counts as 0.

    >>> variants("<variant><text>A?</text><probability>.2</probability></variant><variant><text>B?</text>"
    ...     "<probability>.7</probability></variant><variant><text>a?</text><probability>.1</probability>", 4)
    ['B?', 'A?']
    """
    found = [(_share(share), html.unescape(text).strip()) for text, share in _VARIANT.findall(reply)]
    kept: dict[str, str] = {}
    for _, text in sorted(found, key=lambda one: -one[0]):
        if text:
            kept.setdefault(text.casefold(), text)
    return list(kept.values())[:count]


def positive(cases: Sequence[tuple[str, str]], seed: int, **sampling: Any) -> Ask:
    """One rule from questions and their good answers."""
    shown = "\n".join(_case(question, good=good) for question, good in cases)
    return _rule("positive", shown, seed, sampling)


def negative(cases: Sequence[tuple[str, str, str]], seed: int, **sampling: Any) -> Ask:
    """One rule from questions, their good and their bad answers."""
    shown = "\n".join(_case(question, good=good, bad=bad) for question, good, bad in cases)
    return _rule("negative", shown, seed, sampling)


def rule_text(reply: str) -> str | None:
    """A rule as one line of at most 32 words, without bullets and quotation marks; None for a reply that has none.

    >>> rule_text('1. "Add the parts before you compare."'), rule_text("...")
    ('Add the parts before you compare.', None)
    """
    for line in without_answers(reply).splitlines():
        words = _LEAD.sub("", line.strip()).strip("\"'`” ").split()
        if len(words) >= 2:
            return " ".join(words[:RULE_WORDS])
    return None


def wrong_rules() -> list[tuple[str, str]]:
    """Banks and texts of rules that are wrong, for trying how much harm they do."""
    lines = prompt("wrong").text.splitlines()
    return [(bank, text) for bank, _, text in (line.partition(" ") for line in lines)]


def _rule(name: str, cases: str, seed: int, sampling: dict[str, Any]) -> Ask:
    text = prompt(name).filled(cases=cases)
    return Ask.of(text, max_tokens=RULE_TOKENS, seed=seed, stop=("\n",), **sampling)


def _case(question: str, **answers: str) -> str:
    parts = [f"Question:\n{fenced(question)}"]
    parts += [f"{name.capitalize()} answer:\n{fenced(without_answers(text))}" for name, text in answers.items()]
    return "\n".join(parts)


def _share(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0
