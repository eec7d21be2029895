"""NFCorpus, 3,633 medical documents and 3,237 questions of laymen: read from the folder that COUNTERPOINT_DATA names.

Source: Boteva et al. 2016, in the copy of arXiv 2405.16546 (documents by people). It is not part of the package.
"""

import os
import zipfile
from functools import cache
from pathlib import Path

import numpy as np
import torch

from counterpoint.errors import UserError
from counterpoint.text import beir
from counterpoint.text.pairs import Pairs

PLACE = Path("retrieval") / "KID-22__Cocktail" / "dataset" / "nfcorpus.zip"
PER_QUERY = 2
"""Training documents of each query; a query has 43 on average, and most say little more than the first."""


def nfcorpus(seed: int) -> tuple[Pairs, Pairs, Pairs]:
    """Two documents of each training query, drawn by the seed; the validation and the test queries, all documents."""
    return _drawn("train", seed, per_query=PER_QUERY), _judged("dev"), _judged("test")


def nfcorpus_quick(seed: int) -> tuple[Pairs, Pairs, Pairs]:
    """One document of each of 640 training queries; 60 test queries among 600 documents."""
    train = _drawn("train", seed, per_query=1)
    few = train.rows(np.sort(np.random.Generator(np.random.PCG64(seed)).permutation(len(train))[:640]))
    return few, _few(_judged("dev")), _few(_judged("test"))


def shuffled_documents(pairs: Pairs, generator: torch.Generator) -> Pairs:
    """The same queries and documents, paired at random."""
    order = torch.randperm(len(pairs), generator=generator).numpy()
    document = pairs.views["document"]
    return pairs.with_texts("document", document.values[order])


@cache
def _judged(part: str) -> Pairs:
    """The pairs of one set of judgements."""
    folder = os.environ.get("COUNTERPOINT_DATA")
    if not folder or not (Path(folder) / PLACE).is_file():
        raise UserError(f"NFCorpus is not here; set COUNTERPOINT_DATA to the folder that has {PLACE}")
    return beir.read(zipfile.Path(Path(folder) / PLACE), (part,), corpus="human")


def _drawn(part: str, seed: int, per_query: int) -> Pairs:
    """At most so many pairs of each query, none whose text a validation or test query has, too, as five do."""
    pairs = _judged(part)
    held = {text for other in ("dev", "test") for text in _judged(other).views["query"].values}
    pairs = pairs.rows(np.array([text not in held for text in pairs.views["query"].values]))
    order = np.random.Generator(np.random.PCG64(seed)).permutation(len(pairs))
    taken: dict[str, int] = {}
    kept = []
    for row in order.tolist():
        query = pairs.columns["query_id"][row]
        taken[query] = taken.get(query, 0) + 1
        if taken[query] <= per_query:
            kept.append(row)
    return pairs.rows(np.sort(np.array(kept)))


def _few(pairs: Pairs, queries: int = 60, documents: int = 600) -> Pairs:
    """The first queries, judged among the first documents."""
    pool = pairs.pool[:documents]
    inside = np.isin(pairs.views["document"].values, np.array(pool, dtype=object))
    names = list(dict.fromkeys(pairs.columns["query_id"][inside]))[:queries]
    rows = np.flatnonzero(inside & np.isin(pairs.columns["query_id"], np.array(names, dtype=object)))
    return pairs.rows(rows).among(pool)
