"""A few documents of the tiny encoder's words, with a goal, for methods that find topics."""

import numpy as np

from counterpoint.text.topics.corpus import Corpus

GOAL = "which word1 word2"


def corpus(rows: int, seed: int, complete: bool = False) -> Corpus:
    """Documents of two labels; the complete ones with phrases, the others with gaps."""
    random = np.random.default_rng(seed)
    label = np.arange(rows) % 2
    texts: list[str | None] = []
    for kind in label:
        own = [f"word{number}" for number in random.integers(20 * kind, 20 * kind + 20, 4)]
        rest = [f"word{number}" for number in random.integers(40, 60, 3)]
        texts.append(f"the {own[0]} {own[1]}. about {own[2]} and {rest[0]} {rest[1]}, {own[3]} {rest[2]}")
    phrases = [tuple(text.split()[1:3]) for text in texts if text]
    if not complete:
        texts[3::11] = [None] * len(texts[3::11])
    plain = [tuple(word.strip(".,") for word in row) for row in phrases]
    return Corpus.about(GOAL, texts, {"label": label}, plain if complete else None)
