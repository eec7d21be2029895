"""Candidate chunks of a text by rules: no parser, no model; what they miss is reported as a ceiling."""

import re
from collections.abc import Iterator, Sequence

from counterpoint.text.private.spans import overlap

Chunk = tuple[int, int]
"""A stretch of a text, in characters."""
WORDS = 8
"""Words of a chunk that begins with a verb, as in the published code."""
LONGEST = 24
"""Words of any chunk; a longer run is cut."""
WORD = re.compile(r"\w+(?:[-'\u2019.&/@:+_]+\w+)*")
WHOLE = re.compile(
    r"[\w.+-]{1,64}@[\w-]{1,64}(?:\.[\w-]{1,64}){1,8}|(?:https?://|www\.)\S{1,400}|[@#]\w{1,64}|"
    r"\+?\(?\d[\d\s().-]{5,40}\d"
)
"""Mail addresses, links, handles and long numbers, whatever signs are inside them; bounded, so that time is linear."""
_FUNCTION = """
a about above after again against all also am an and any are as at be because been before being below between both but
by can could did do does doing done down during each even ever few for from further get gets getting go goes going gone
got had has have having he her here hers herself him himself his how however i i'd i'll i'm i've if in into is isn't it
it's its itself just let let's like ll made make makes many may me might more most much must my myself need needs never
no nor not now of off on once only or other ought our ours ourselves out over own please put rt s said same say says see
shall she should so some such t than that that's the their theirs them themselves then there there's these they they're
this those though through to too under until up upon us very was wasn't we we're went were what what's when where which
while who whom whose why will with won't would yet you you'd you'll you're you've your yours yourself
"""
FUNCTION = frozenset(_FUNCTION.split())
_JOINTS = "of the de la du da del di van von der den and & y e bin al el le dos st"
JOINTS = frozenset(_JOINTS.split())
"""Small words that stand inside names."""
FRAMES = re.compile(
    r"\b(?:history of|symptoms? of|signs? of|diagnosed with|diagnosis of|suffer(?:s|ed|ing)? from|complain(?:s|ed)? of|"
    r"treated (?:for|with)|allergic to|protected by|accused of|charged with|convicted of|guilty of|claims? for|"
    r"breach of|violation of|liable for)\s+",
    re.IGNORECASE,
)
STOP = re.compile(r"[.;:!?\n()\[\]]")
LIST = re.compile(r",|\b(?:and|or)\b")
JOIN = re.compile(r"[ \t]+")
LOOSE = re.compile(r"[\s,.]+")
EDGES = " \t\r\n,.;:!?\"'\u201c\u201d\u2018\u2019()[]{}<>|*~`-\u2013\u2014_"
LEADING = re.compile(r"(?:and|or)\s+", re.IGNORECASE)
Runs = Iterator[Chunk]


def chunks(text: str) -> list[Chunk]:
    """Candidate chunks of a text, in its order, each once.

    Runs of words between function words (noun chunks), runs of capitalised or numbered words, single words, verbs in
    -ing and infinitives with up to seven words after them, what stands after frames such as "history of", and whole
    mail addresses, links and numbers. Leading "and" and "or" and signs at the ends are cut off. Time grows with the
    length of the text alone. Source: the chunk kinds of arXiv 2604.10145's code, by rules instead of a parser.

    >>> text = "Ann Lee, 42, has a history of asthma and gout."
    >>> [text[a:b] for a, b in chunks(text)]
    ['Ann', 'Ann Lee', 'Ann Lee, 42', 'Lee', '42', 'history', 'asthma', 'gout']
    """
    words = [(found.start(), found.end()) for found in WORD.finditer(text)]
    found = {cut for kind in KINDS for cut in (trimmed(text, *chunk) for chunk in kind(text, words)) if cut is not None}
    return sorted(chunk for chunk in found if text[slice(*chunk)].lower() not in FUNCTION)


def trimmed(text: str, start: int, end: int) -> Chunk | None:
    """A chunk without signs at its ends and without a leading "and" or "or"; None when nothing is left.

    >>> trimmed("and (Ann)", 0, 9)
    (5, 8)
    """
    while True:
        while start < end and text[start] in EDGES:
            start += 1
        while end > start and text[end - 1] in EDGES:
            end -= 1
        leading = LEADING.match(text, start, end)
        if leading is None:
            return (start, end) if start < end else None
        start = leading.end()


def _runs(text: str, words: Sequence[Chunk], kept: Sequence[bool], gap: re.Pattern[str]) -> Runs:
    """Longest runs of words that are kept, with nothing but `gap` between them."""
    first = last = None
    for place, (start, _) in enumerate(words):
        joined = last is not None and place - last == 1 and gap.fullmatch(text, words[last][1], start)
        if kept[place] and joined and first is not None and place - first < LONGEST:
            last = place
            continue
        if first is not None and last is not None:
            yield words[first][0], words[last][1]
        first, last = (place, place) if kept[place] else (None, None)
    if first is not None and last is not None:
        yield words[first][0], words[last][1]


def _nouns(text: str, words: Sequence[Chunk]) -> Runs:
    """Runs of words between function words and signs."""
    return _runs(text, words, [text[a:b].lower() not in FUNCTION for a, b in words], JOIN)


def _names(text: str, words: Sequence[Chunk]) -> Runs:
    """Runs of capitalised words, as they are and with small words inside."""
    capital = [text[a].isupper() for a, _ in words]
    small = [text[a:b].lower() in JOINTS for a, b in words]
    inside = [
        one or (little and 0 < place < len(words) - 1 and (capital[place - 1] or small[place - 1]))
        for place, (one, little) in enumerate(zip(capital, small, strict=True))
    ]
    yield from _runs(text, words, capital, JOIN)
    for run in _runs(text, words, inside, JOIN):
        start, pieces = run[0], text[slice(*run)].split(" ")
        while pieces and pieces[-1].lower() in JOINTS:
            pieces.pop()
        if pieces:
            yield start, start + len(" ".join(pieces))


def _numbered(text: str, words: Sequence[Chunk]) -> Runs:
    """Runs of words with digits; and of words with digits or capitals, over commas and lines (addresses, dates)."""
    digits = [any(letter.isdigit() for letter in text[a:b]) for a, b in words]
    yield from _runs(text, words, digits, re.compile(r"[\s()./-]+"))
    either = [has or text[a].isupper() for has, (a, _) in zip(digits, words, strict=True)]
    yield from _runs(text, words, either, JOIN)
    for start, end in _runs(text, words, either, LOOSE):
        if any(letter.isdigit() for letter in text[start:end]):
            yield start, end


def _singles(text: str, words: Sequence[Chunk]) -> Runs:
    return iter(words)


def _verbs(text: str, words: Sequence[Chunk]) -> Runs:
    """A verb in -ing, or "to" and a verb, with the words after it up to the next sign."""
    for place, (start, end) in enumerate(words):
        word = text[start:end]
        ing = len(word) > 4 and word.endswith("ing")
        infinitive = word == "to" and place + 1 < len(words) and text[words[place + 1][0]].islower()
        if not ing and not infinitive:
            continue
        last = place
        while (
            last + 1 < len(words)
            and last + 1 - place < WORDS
            and JOIN.fullmatch(text, words[last][1], words[last + 1][0])
        ):
            last += 1
        if last > place:
            yield start, words[last][1]


def _framed(text: str, words: Sequence[Chunk]) -> Runs:
    """The parts of an enumeration after a frame such as "history of"."""
    frames = list(FRAMES.finditer(text))
    for frame, after in zip(frames, [*frames[1:], None], strict=False):
        stop = STOP.search(text, frame.end())
        ends = [stop.start() if stop else len(text), after.start() if after else len(text), frame.end() + 400]
        end = min(ends)
        start = frame.end()
        for joint in [*LIST.finditer(text, start, end), None]:
            upto = joint.start() if joint else end
            if len(text[start:upto].split()) <= WORDS:
                yield start, upto
            start = joint.end() if joint else end


def _whole(text: str, words: Sequence[Chunk]) -> Runs:
    return (found.span() for found in WHOLE.finditer(text))


KINDS = (_nouns, _names, _numbered, _singles, _verbs, _framed, _whole)


def remainders(text: str, chunk: Chunk, taken: Sequence[Chunk]) -> list[Chunk]:
    """What is left of a chunk beside stretches that others have taken, trimmed.

    >>> remainders("Dr Ann Lee", (0, 10), [(3, 6)])
    [(0, 2), (7, 10)]
    """
    pieces, start = [], chunk[0]
    for one in sorted(other for other in taken if overlap(chunk, other)):
        pieces.append((start, one[0]))
        start = max(start, one[1])
    pieces.append((start, chunk[1]))
    cut = [trimmed(text, a, b) for a, b in pieces if a < b]
    return [one for one in cut if one is not None]
