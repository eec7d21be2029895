"""What an answer says, which answers say the same, and how near a free text is to another."""

import re
from collections.abc import Sequence
from fractions import Fraction

_LATEX = re.compile(r"\\[dt]?frac\{([^{}]*)\}\{([^{}]*)\}")
_MARKED = re.compile(r"(?:####|\banswer\b\s*(?:is|:|=)+|\banswer\b\s+is\b)\s*[:=]?\s*(.+)", re.IGNORECASE)
_FOUND = re.compile(r"[-+]?\$?(?:\d[\d,]*\.?\d*|\.\d+)(?:\s*/\s*\d+)?")
SHORT = 5
"""Words of an unmarked answer that is taken as it stands."""


def extract(text: str, choices: Sequence[str] = ()) -> str | None:
    """The answer in a text: the last \\boxed{...}, else what follows "####" or "Answer:", else its last number.

    With `choices` it is the last of them that is named after the mark, or anywhere; a text of a few words without a
    number is an answer as it stands. None when nothing is found.

    >>> extract("So 6 * 7 = 42. Answer: 42 apples"), extract("Let me see."), extract("\\\\boxed{\\\\frac{1}{2}}")
    ('42', 'Let me see.', '\\\\frac{1}{2}')
    >>> extract("I say Positive, not sure", ("positive", "negative")), extract("no idea at all, dear friend of mine")
    ('positive', None)
    """
    marked = [found.strip() for found in _MARKED.findall(text)]
    if choices:
        return _chosen(marked[-1], choices) or _chosen(text, choices) if marked else _chosen(text, choices)
    boxed = _boxed(text)
    if boxed:
        return boxed
    if marked:
        first = marked[-1].splitlines()[0].strip().strip("*.\"'` ")
        first = re.sub(r"^[A-Za-z]\s*=\s*", "", first)
        begins = _FOUND.match(first)
        return begins.group().strip().rstrip(",.") if begins else (first or None)
    numbers = _FOUND.findall(text)
    if numbers:
        return str(numbers[-1]).strip().rstrip(".,")
    plain = text.strip()
    return plain if plain and "\n" not in plain and len(plain.split()) <= SHORT else None


def equivalent(one: str, other: str) -> bool:
    """Whether two answers are equal as numbers, or else as texts without case, signs and articles.

    Source: arXiv 2604.13552 groups answers by mathematical equivalence; what is compared is ours: decimals, fractions,
    thousands with commas, currency and per cent signs. Expressions with unknowns are compared as texts.

    >>> equivalent("1,200.0", "$1200"), equivalent("\\\\frac{1}{2}", "0.5"), equivalent("The cat.", "cat")
    (True, True, True)
    """
    return canonical(one) == canonical(other)


def canonical(answer: str) -> str:
    """A text that is equal for equivalent answers."""
    text = _LATEX.sub(r"(\1)/(\2)", answer.strip().strip("$"))
    bare = re.sub(r"[\s$£€%,()]|\\(?:left|right|text|%|,|!)|\\\$", "", text).rstrip(".")
    try:
        return str(Fraction(bare))
    except (ValueError, ZeroDivisionError):
        pass
    words = re.sub(r"[^\w\s/+*^=-]", " ", text.casefold()).split()
    return " ".join(word for word in words if word not in ("a", "an", "the"))


def grouped(answers: Sequence[str | None]) -> list[list[int]]:
    """Places of equivalent answers, in the order of their first; each None stands alone.

    >>> grouped(["7", None, "7.0", None])
    [[0, 2], [1], [3]]
    """
    groups: dict[str, list[int]] = {}
    for place, answer in enumerate(answers):
        key = f"none {place}" if answer is None else f"is {canonical(answer)}"
        groups.setdefault(key, []).append(place)
    return list(groups.values())


def without_answers(text: str) -> str:
    """A text whose boxed answers are left out, so that a rule cannot copy them.

    >>> without_answers("so \\\\boxed{42} it is")
    'so \\\\boxed{} it is'
    """
    boxed = _boxed(text)
    while boxed:
        text = text.replace(f"{{{boxed}}}", "{}")
        boxed = _boxed(text)
    return text


def rouge_l(text: str, reference: str) -> float:
    """ROUGE-L: the F-measure of the longest common subsequence of words.

    Source: Lin 2004, section 3, with equal weight for precision and recall.

    >>> rouge_l("the cat sat", "the cat sat down")
    0.8571428571428571
    """
    a, b = (re.findall(r"\w+", one.casefold()) for one in (text, reference))
    before = [0] * (len(b) + 1)
    for word in a:
        row = [0]
        for place, other in enumerate(b, start=1):
            row.append(before[place - 1] + 1 if word == other else max(before[place], row[-1]))
        before = row
    return 2 * before[-1] / (len(a) + len(b)) if a and b else 0.0


def _boxed(text: str) -> str | None:
    """What the last \\boxed{...} with something in it holds, inner braces counted."""
    for found in reversed(list(re.finditer(r"\\boxed\s*\{", text))):
        depth, start = 1, found.end()
        for place in range(start, len(text)):
            depth += {"{": 1, "}": -1}.get(text[place], 0)
            if depth == 0:
                if inside := text[start:place].strip():
                    return inside
                break
    return None


def _chosen(text: str, choices: Sequence[str]) -> str | None:
    """The choice that is named last, as a whole word; of two that end together the longer one."""
    named = [
        (found.end(), len(choice), choice)
        for choice in choices
        for found in re.finditer(rf"(?<!\w){re.escape(choice)}(?!\w)", text, re.IGNORECASE)
    ]
    return max(named)[2] if named else None
