"""Which scripts and languages texts are in, as far as their letters and a column say."""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import islice

SAMPLE = 1000
"""Texts that are looked at to say what a file holds."""
SHOWN = 8
"""Kinds that are listed by name."""


def script_of(text: str) -> str:
    """The script of most letters of a text, as Unicode names it; "none" where there are no letters.

    >>> script_of("Привет, world"), script_of("日本の"), script_of("1984")
    ('cyrillic', 'cjk', 'none')
    """
    counts = Counter(kind for letter in text[:400] if (kind := _script(letter)))
    return counts.most_common(1)[0][0] if counts else "none"


def scripts_of(texts: Iterable[str | None]) -> str:
    """In which scripts the first 1,000 texts are, the commonest first; nothing is said of None.

    >>> scripts_of(["Привет", "hello", None, "world"]), scripts_of(["hello"])
    ('latin 67 %, cyrillic 33 %', 'latin')
    """
    counts = Counter(script_of(text) for text in islice((text for text in texts if text is not None), SAMPLE))
    return commonest([kind for kind, count in counts.items() for _ in range(count)], share=True)


def commonest(kinds: Sequence[str], share: bool = False) -> str:
    """The commonest kinds and how often each occurs, or which share of all it is.

    >>> commonest(["en", "ar", "en"])
    'en 2, ar 1'
    """
    counts = sorted(Counter(kinds).items(), key=lambda pair: (-pair[1], pair[0]))
    if share and len(counts) < 2:
        return counts[0][0] if counts else "none"
    told = [
        f"{kind} {100 * count / len(kinds):.0f} %" if share else f"{kind} {count}" for kind, count in counts[:SHOWN]
    ]
    return ", ".join(told) + (f", {len(counts) - SHOWN} more" if len(counts) > SHOWN else "")


@lru_cache(maxsize=4096)
def _script(letter: str) -> str:
    """Kana and Chinese characters count as one script, which Japanese mixes."""
    if not letter.isalpha():
        return ""
    kind = unicodedata.name(letter, "unknown").split()[0].lower()
    return "cjk" if kind in ("hiragana", "katakana", "katakana-hiragana", "halfwidth") else kind
