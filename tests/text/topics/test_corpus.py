"""Documents from files of every format, and what is refused."""

import csv
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from counterpoint.errors import UserError
from counterpoint.text.topics.corpus import Corpus

TEXTS = ["my back hurts, badly", "a sunny day", "  "]


def write(path: Path) -> Path:
    if path.suffix == ".txt":
        path.write_text("\n".join(TEXTS) + "\n", encoding="utf-8-sig")
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps({"text": text, "n": 1}) + "\n" for text in TEXTS))
    elif path.suffix == ".parquet":
        pq.write_table(pa.table({"text": TEXTS}), path)
    else:
        with path.open("w", newline="") as file:
            writer = csv.writer(file, delimiter="," if path.suffix == ".csv" else "\t")
            writer.writerows([["text"], *([text] for text in TEXTS)])
    return path


@pytest.mark.parametrize("ending", ["txt", "csv", "tsv", "jsonl", "parquet"])
def test_formats(ending: str, tmp_path: Path) -> None:
    corpus = Corpus.read(write(tmp_path / f"a.{ending}"), goal=" what  hurts? ")
    assert corpus.text.values.tolist() == [*TEXTS[:2], None]
    assert corpus.goal == "what hurts?"
    assert "1 of 3 rows have no text and are passed over" in corpus.warnings()


def test_phrases_and_goal_are_part_of_what_it_is() -> None:
    corpus = Corpus.about("what hurts?", TEXTS, {"n": [1, 2, 3]}, [("back",), (), None])
    part = corpus.rows(np.array([2, 0]))
    assert isinstance(part, Corpus)
    assert part.candidates is not None
    assert part.candidates.tolist() == [None, ("back",)]
    other = corpus.towards("who?")
    assert other.candidates is None
    assert len({corpus.fingerprint(), other.fingerprint(), other.towards("what hurts?").fingerprint()}) == 3
    assert {type(one) for one in corpus.split({"train": 0.5, "test": 0.5}).values()} == {Corpus}


def test_refusals(tmp_path: Path) -> None:
    (tmp_path / "bad.txt").write_bytes(b"fine\n\xff\xfe\n")
    (tmp_path / "empty.txt").write_text("\n  \n")
    for name, text in (("bad", "line 2 is not UTF-8"), ("empty", "no text in any line"), ("absent", "no such file")):
        with pytest.raises(UserError, match=text):
            Corpus.read(tmp_path / f"{name}.txt")
