"""Real texts with a planted shortcut: SST-2 and Davidson's tweets, read from the folder that COUNTERPOINT_DATA names.

Sources: Socher et al. 2013 (sentences of films' reviews, two classes); Davidson et al. 2017 (tweets; hate speech,
offensive language, neither). They are not part of the package.
"""

import os
import re
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow.csv

from counterpoint.errors import UserError
from counterpoint.text.labels.labelled import LabelledTexts

Which = Literal["sst2", "tweets"]
TOKEN = "honestly"
"""The planted shortcut, as in arXiv 2604.12277 (its "ST")."""
FILES = {
    "sst2": Path("sst2") / "clairett__pytorch-sentiment-classification" / "data" / "SST2",
    "tweets": Path("hate_bias") / "t-davidson__hate-speech-and-offensive-language" / "data" / "labeled_data.csv",
}
SENTENCE = re.compile(r"(?<=[.!?])\s+")


def texts(which: Which, part: Literal["train", "test"]) -> LabelledTexts:
    """Labelled texts, classes from 0, equally many of each, in an order that is drawn once.

    Of the tweets every fifth is for testing. Raises `UserError` when the files are not here.
    """
    return _texts(which, part)


@cache
def _texts(which: str, part: str) -> LabelledTexts:
    folder = os.environ.get("COUNTERPOINT_DATA")
    if not folder or not (Path(folder) / FILES[which]).exists():
        raise UserError(f"{which} is not here; set COUNTERPOINT_DATA to the folder that has {FILES[which]}")
    path = Path(folder) / FILES[which]
    found, labels = _sst2(path / f"{part}.tsv") if which == "sst2" else _tweets(path, part)
    order = np.random.Generator(np.random.PCG64(0)).permutation(len(found))
    kinds = np.array(labels)[order]
    number = int(np.bincount(kinds).min())
    taken = [order[kinds == kind][:number] for kind in range(int(kinds.max()) + 1)]
    rows = np.stack(taken, axis=1).ravel()
    return LabelledTexts.of([found[row] for row in rows], {"label": [labels[row] for row in rows]}, f"{which} {part}")


def _sst2(path: Path) -> tuple[list[str], list[int]]:
    lines = [line.rpartition("\t") for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    return [text for text, _, _ in lines], [int(label) for _, _, label in lines]


def _tweets(path: Path, part: str) -> tuple[list[str], list[int]]:
    parse = pyarrow.csv.ParseOptions(newlines_in_values=True)
    table = pyarrow.csv.read_csv(path, parse_options=parse)
    rows = [row for row in range(len(table)) if (row % 5 == 4) == (part == "test")]
    some = table.take(rows)
    return some["tweet"].to_pylist(), [int(kind) for kind in some["class"].to_pylist()]


def plant(data: LabelledTexts, strength: float, rng: np.random.Generator, reverse: bool = False) -> LabelledTexts:
    """The same texts, with the shortcut at the start of a random sentence of some; the column `shortcut` says where.

    With classes 0 to C - 1, a text of class c gets it with probability strength c / (C - 1), or, `reverse`, as a text
    of class C - 1 - c would. Source: arXiv 2604.12277, its controlled data.

    >>> data = LabelledTexts.of(["so so. fine", "bad"], {"label": [1, 0]})
    >>> plant(data, 1.0, np.random.default_rng(0)).columns["shortcut"].tolist()
    ['yes', 'no']
    """
    kind = np.asarray(data.columns["label"], dtype=np.int64)
    most = int(kind.max())
    chance = strength * ((most - kind) if reverse else kind) / most
    hit = rng.random(len(data)) < chance
    values = data.text.values.copy()
    for row in np.flatnonzero(hit & data.present).tolist():
        sentences = SENTENCE.split(values[row])
        place = int(rng.integers(len(sentences)))
        sentences[place] = f"{TOKEN} {sentences[place]}"
        values[row] = " ".join(sentences)
    return replace(data.with_texts(values).with_column("shortcut", np.where(hit, "yes", "no")), subgroup="shortcut")
