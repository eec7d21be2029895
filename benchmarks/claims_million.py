"""A million short claims deduplicated: static word vectors, a streamed graph of near-duplicates, time and peak memory.

The claims are real ones, of the folder COUNTERPOINT_DATA, altered: a word dropped, two words swapped, a number changed,
and words of other claims put behind, so that of every claim some copies are near and most are not. Beside it the rate
of MiniLM on the same texts. `--rows N` tries fewer; nothing is written then. Runs in a process of its own.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from harness import peak_mib, write

from counterpoint.pretrained.texts import TextEncoder
from counterpoint.serving.cluster import embedded
from counterpoint.serving.duplicates import near_duplicates
from counterpoint.text.clusters.factcheck import real_claims
from counterpoint.training.progress import Progress

ROWS = 1_000_000
THRESHOLD = 0.95
NEAR = 4
"""Of so many altered claims one is a near copy of the one before it."""
ALONE = 512
"""Texts that MiniLM's rate is measured on."""


def made(rows: int, seed: int = 0) -> tuple[list[str], np.ndarray]:
    """Different short claims, and a number equal for a claim and its near copies."""
    random = np.random.default_rng(seed)
    real = [claim.split() for claim in real_claims() if 5 <= len(claim.split()) <= 20]
    words = sorted({word for claim in real for word in claim})
    found: dict[str, int] = {}
    group, last = -1, real[0]
    while len(found) < rows:
        picks = random.integers(len(real), size=4096)
        others = random.integers(len(words), size=(4096, 4))
        places = random.random((4096, 2))
        for number, pick in enumerate(picks.tolist()):
            near = number % NEAR == NEAR - 1
            if near:
                claim = list(last)
                del claim[int(places[number, 0] * len(claim))]
            else:
                claim = [*real[pick], *(words[other] for other in others[number])]
                at, to = (places[number] * len(claim)).astype(int).tolist()
                claim[at], claim[to] = claim[to], claim[at]
                group, last = group + 1, claim
            found.setdefault(" ".join(claim), group)
            if len(found) == rows:
                break
    return list(found), np.fromiter(found.values(), dtype=np.int64)


class Static:
    """What `embedded` asks of a method."""

    def __init__(self) -> None:
        self.encoder = TextEncoder.from_source("static", max_length=64)

    def prompt(self, view: str) -> str:
        return "query"


def measured(rows: int) -> list[dict[str, Any]]:
    """The peak of this process, seconds of each part and how well the copies were found, and MiniLM's rate."""
    from counterpoint.evaluation import errors

    texts, truth = made(rows)
    before, start = peak_mib(), time.perf_counter()
    method = Static()
    with tempfile.TemporaryDirectory() as folder:
        vectors, _ = embedded(method, texts, Path(folder) / "vectors.npy", Progress("embed", rows, on=False))
        embedding = time.perf_counter()
        graph = near_duplicates(vectors, THRESHOLD)
        done = time.perf_counter()
    mini = TextEncoder.from_source("minilm", max_length=64)
    some = texts[:: max(1, rows // ALONE)][:ALONE]
    mini.encode(some[:16])
    began = time.perf_counter()
    mini.encode(some)
    rate = len(some) / (time.perf_counter() - began)
    what, gib = f"{rows:,} short claims, static vectors of {vectors.shape[1]}", peak_mib() / 1024
    return [
        {
            "what": f"{what}: memory to embed, deduplicate and cluster them",
            "gib": round(gib, 2),
            "gib_of_texts_alone": round(before / 1024, 2),
            "goal": "<= 6 GiB",
            "met": gib <= 6,
        },
        {
            "what": f"{what}: embedded and clustered at cosine {THRESHOLD}",
            "seconds": round(done - start, 1),
            "embedding_seconds": round(embedding - start, 1),
            "graph_seconds": round(done - embedding, 1),
            "claims_per_second": round(rows / (done - start)),
            "search": graph.kind,
            "recall_of_pairs": graph.recall,
            "clusters": int(graph.assigned.max()) + 1,
            "made_of": int(truth.max()) + 1,
            **{name: round(value, 4) for name, value in errors(truth, graph.assigned).items()},
            "goal": "stated",
            "met": True,
        },
        {
            "what": f"{rows:,} short claims embedded by MiniLM, from its rate on {len(some)}",
            "hours": round(rows / rate / 3600, 2),
            "claims_per_second": round(rate),
            "goal": "stated",
            "met": True,
        },
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--alone", action="store_true")
    given = parser.parse_args()
    if given.alone:
        print(json.dumps(measured(given.rows)))
    else:
        command = [sys.executable, __file__, "--alone", "--rows", str(given.rows)]
        made_rows = json.loads(
            subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1]
        )
        if given.rows == ROWS:
            write("claims_million", made_rows, __doc__, "faiss-cpu", "wordllama")
        else:
            print(json.dumps(made_rows, indent=2))
