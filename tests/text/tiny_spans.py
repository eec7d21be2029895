"""Texts with private spans for the tiny encoder: which words are private depends on their number and the domain."""

import numpy as np

from counterpoint.text.private.spans import Span, SpannedTexts

DOMAINS = ("cases", "notes")


def spanned(rows: int, seed: int, complete: bool = False) -> SpannedTexts:
    """Texts of phrases between function words; those of low numbers are private in notes, the next ones in cases.

    Unless complete, some texts are missing and some have no private span.
    """
    random = np.random.default_rng(seed)
    texts: list[str | None] = []
    spans: list[list[Span]] = []
    for row in range(rows):
        domain, private = row % 2, complete or row % 5 != 3
        text, found = "", []
        for place in range(2):
            text += ["the ", " of the "][place]
            mine = private and place == row // 2 % 2
            low = 20 * (1 - domain) if mine else 40
            words = " ".join(f"word{low + random.integers(20)}" for _ in range(int(random.integers(1, 5))))
            if mine:
                found.append(Span(len(text), len(text) + len(words), "NAME"))
            text += words
        missing = not complete and row % 11 == 4
        texts.append(None if missing else text)
        spans.append([] if missing else found)
    return SpannedTexts.of(texts, spans, [DOMAINS[row % 2] for row in range(rows)], {"row": list(range(rows))})
