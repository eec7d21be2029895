"""BBC News and DBLP titles with stated goals, read from the folder that COUNTERPOINT_DATA names.

Source: the preprocessed corpora of OCTIS (MIT), lemmas without stop words, with splits and labels. They are not part of
the package.
"""

import os
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from counterpoint.errors import UserError
from counterpoint.text.topics.corpus import Corpus
from counterpoint.text.topics.simulate import GOALS as SIMULATED
from counterpoint.text.topics.simulate import goal_corpus

PLACE = Path("topics") / "MIND-Lab__OCTIS" / "preprocessed_datasets"
Three = tuple[Corpus, Corpus, Corpus]
GOALS = {
    "sport": "which sport is played and who won the match?",
    "money": "how are companies, markets and the economy doing?",
    "images": "what is recognised or measured in images and video?",
    "databases": "how are data stored, indexed and queried in databases?",
}
OTHER = {
    **dict(zip(GOALS.values(), [GOALS[name] for name in ("money", "sport", "databases", "images")], strict=True)),
    SIMULATED["a"]: SIMULATED["b"],
    SIMULATED["b"]: SIMULATED["a"],
}
"""The goal that takes a goal's place in the placebo: another of the same corpus."""


def simulated(seed: int, goal: Literal["a", "b"]) -> Three:
    """400 documents to learn from, 150 and 300 others; see `goal_corpus`."""
    train, validation, test = (goal_corpus(n, 3 * seed + part, goal) for part, n in enumerate((400, 150, 300)))
    return train, validation, test


def bbc(seed: int, goal: Literal["sport", "money"]) -> Three:
    """The 1,557 training, 334 validation and 335 test stories; the same whatever the seed."""
    return _parts("BBC_News", goal, None, 0)


def dblp(seed: int, goal: Literal["images", "databases"]) -> Three:
    """4,000 training titles, drawn by the seed, 1,000 validation and 2,000 test titles, drawn once."""
    return _parts("DBLP", goal, (4000, 1000, 2000), seed)


def wrong_goal(corpus: Corpus, generator: torch.Generator) -> Corpus:
    """The same documents with another goal."""
    return corpus.towards(OTHER[corpus.goal])


def _parts(name: str, goal: str, sizes: tuple[int, int, int] | None, seed: int) -> Three:
    parts = []
    for number, part in enumerate(("train", "val", "test")):
        texts, labels = _rows(name, part)
        if sizes is not None:
            random = np.random.Generator(np.random.PCG64(seed if part == "train" else 0))
            chosen = np.sort(random.permutation(len(texts))[: sizes[number]])
            texts, labels = [texts[row] for row in chosen], [labels[row] for row in chosen]
        parts.append(Corpus.about(GOALS[goal], texts, {"label": labels}, source=f"{name} {part}"))
    train, validation, test = parts
    return train, validation, test


@cache
def _rows(name: str, part: str) -> tuple[list[str], list[str]]:
    folder = os.environ.get("COUNTERPOINT_DATA")
    path = Path(folder or ".") / PLACE / name / "corpus.tsv"
    if not folder or not path.is_file():
        raise UserError(f"{name} is not here; set COUNTERPOINT_DATA to the folder that has {PLACE / name}")
    rows = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]
    kept = [row for row in rows if row[1] == part]
    return [row[0] for row in kept], [row[2] for row in kept]
