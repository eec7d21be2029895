"""Search: exact against faiss-flat on 100,000 x 384, and the memory of 1,000,000 x 128, indexed and searched.

The second runs in a process of its own, so that its peak is its own: search.py --memory ROWS DIM.
"""

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from harness import interleave, peak_mib, write

from counterpoint.serving.exact import nearest
from counterpoint.serving.index import Index

ROWS, DIM, QUERIES, K = 100_000, 384, 1000, 10
LARGE, NARROW = 1_000_000, 128


def clustered(rows: int, dim: int, seed: int) -> np.ndarray:
    """Unit vectors around 1,000 centres, made in pieces so that this process stays small."""
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(0).normal(size=(1000, dim)).astype(np.float32)
    vectors = np.empty((rows, dim), dtype=np.float32)
    for start in range(0, rows, 50_000):
        part = vectors[start : start + 50_000]
        part[:] = centres[random.integers(1000, size=len(part))] + random.normal(size=part.shape).astype(np.float32)
        part /= np.linalg.norm(part, axis=1, keepdims=True)
    return vectors


def throughput(rows: int = ROWS, dim: int = DIM, queries: int = QUERIES, repeats: int = 7) -> list[dict[str, Any]]:
    """Time of faiss-flat over ours, with float32 and with bf16 proposals, and recall against float64."""
    import faiss

    vectors, asked = clustered(rows, dim, 1), clustered(queries, dim, 2)
    flat = faiss.IndexFlatIP(dim)
    flat.add(vectors)
    every = np.arange(rows)
    true = _true(vectors, asked[:100])
    seconds = interleave(
        {
            "faiss": lambda: flat.search(asked, K),
            "float32": lambda: nearest(asked, vectors, every, K, half=False),
            "bf16": lambda: nearest(asked, vectors, every, K, half=True),
        },
        repeats,
    )
    found = []
    for name, goal in (("float32", 0.7), ("bf16", 1.0)):
        _, places = nearest(asked[:100], vectors, every, K, half=name == "bf16")
        recall = np.mean([len(set(a) & set(b)) / K for a, b in zip(true.tolist(), places.tolist(), strict=True)])
        ratio = round(seconds["faiss"] / seconds[name], 2)
        found.append({
            "what": f"exact search, {rows} x {dim}, {name}: faiss-flat / ours",
            "ratio": ratio,
            "goal": f">= {goal}",
            "met": bool(ratio >= goal and recall == 1.0),
            "recall": round(float(recall), 4),
            "queries_per_second": round(queries / seconds[name]),
        })  # fmt: skip
    return found


def _true(vectors: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """The best rows in float64, a block of rows at a time."""
    asked, blocks = queries.astype(np.float64), range(0, len(vectors), 20_000)
    scores = np.concatenate([asked @ vectors[i : i + 20_000].astype(np.float64).T for i in blocks], axis=1)
    return np.argsort(-scores, axis=1, kind="stable")[:, :K]


def memory(rows: int = LARGE, dim: int = NARROW) -> dict[str, Any]:
    """Peak memory of a process that builds an index and searches it."""
    command = [sys.executable, __file__, "--memory", str(rows), str(dim)]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    gib, recall = float(said[0]), float(said[1])
    return {
        "what": f"{rows} x {dim} indexed and searched",
        "gib": round(gib, 2),
        "goal": "<= 6 GiB",
        "met": gib <= 6,
        "recall": recall,
        "kind": said[2],
    }


def _measured(rows: int, dim: int) -> None:
    vectors = clustered(rows, dim, 1)
    with tempfile.TemporaryDirectory() as folder:
        Index.build(Path(folder) / "i", np.arange(rows), vectors)
        index = Index.open(Path(folder) / "i")
        index.search(vectors[:1000], K)
        print(peak_mib() / 1024, index.about["recall"], index.about["kind"])


if __name__ == "__main__":
    if "--memory" in sys.argv:
        _measured(*map(int, sys.argv[-2:]))
    else:
        write("search", [*throughput(), memory()], __doc__, "faiss-cpu")
