"""Approximate search with faiss, for collections in which looking at every row takes too long."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Int64

from counterpoint.errors import UserError, need
from counterpoint.files import atomic_path
from counterpoint.serving.exact import nearest

FROM = 300_000  # rows: below, exact search is quick and needs no building
WANTED = 0.95  # recall at 10 that an index is tuned to
SAMPLE = 200  # rows asked for when recall is measured
EFFORTS = {"ivf": (4, 8, 16, 32, 64, 128), "hnsw": (32, 64, 128, 256, 512)}
EFFORT = {"ivf": "nprobe", "hnsw": "efSearch"}
LINKS = 16  # neighbours of a node of HNSW
BLOCK = 65_536
TRAINING = 64  # rows per list that IVF's centres are learned from


@dataclass(frozen=True)
class Approximate:
    """A faiss index over the first `covered` vectors of a file; `effort` is what its recall was measured with."""

    faiss: Any
    kind: str
    effort: int
    covered: int
    recall: float = 1.0

    def search(
        self, queries: Float32[np.ndarray, "n d"], k: int, alive: Bool[np.ndarray, " m"] | None
    ) -> tuple[Float32[np.ndarray, "n k"], Int64[np.ndarray, "n k"]]:
        """Scores and places of the k best found among the `alive`; -1 where fewer were found."""
        library = need("faiss", "search")
        selector = None
        if alive is not None:
            bits = np.packbits(alive[: self.covered], bitorder="little")
            selector = library.IDSelectorBitmap(self.covered, library.swig_ptr(bits))
        of_kind = library.SearchParametersIVF if self.kind == "ivf" else library.SearchParametersHNSW
        effort = {EFFORT[self.kind]: max(self.effort, k) if self.kind == "hnsw" else self.effort}
        found = self.faiss.search(queries, k, params=of_kind(sel=selector, **effort))
        return np.asarray(found[0], dtype=np.float32), np.asarray(found[1], dtype=np.int64)


def build(kind: str, vectors: Float32[np.ndarray, "m d"]) -> Approximate:
    """Index all vectors; "auto" is IVF, or HNSW where IVF would have to look at too much."""
    if kind == "auto":
        first = build("ivf", vectors)
        return first if first.recall >= WANTED else build("hnsw", vectors)
    return tuned(untuned(kind, vectors), vectors)


def untuned(kind: str, vectors: Float32[np.ndarray, "m d"]) -> Approximate:
    """All vectors in an index of this kind, searched with the least effort."""
    library = need("faiss", "search")
    dim, lists = vectors.shape[1], max(1, int(np.sqrt(len(vectors))))
    layout = f"IVF{lists},Flat" if kind == "ivf" else f"HNSW{LINKS},Flat"
    index = library.index_factory(dim, layout, library.METRIC_INNER_PRODUCT)
    if kind == "ivf":
        chosen = np.random.default_rng(0).permutation(len(vectors))[: TRAINING * lists]
        index.train(np.ascontiguousarray(vectors[np.sort(chosen)]))
    return add(Approximate(index, kind, EFFORTS[kind][0], 0), vectors)


def add(index: Approximate, vectors: Float32[np.ndarray, "m d"]) -> Approximate:
    """Take in the vectors beyond those covered."""
    for start in range(index.covered, len(vectors), BLOCK):
        index.faiss.add(np.ascontiguousarray(vectors[start : start + BLOCK]))
    return Approximate(index.faiss, index.kind, index.effort, len(vectors), index.recall)


def tuned(index: Approximate, vectors: Float32[np.ndarray, "m d"]) -> Approximate:
    """With the least effort that finds the wanted share of the ten true neighbours of sampled rows."""
    sample = np.sort(np.random.default_rng(1).permutation(len(vectors))[:SAMPLE])
    queries = np.ascontiguousarray(vectors[sample])
    _, true = nearest(queries, vectors, np.arange(len(vectors)), 11)
    lists = index.faiss.nlist if index.kind == "ivf" else None
    best = index
    for effort in EFFORTS[index.kind]:
        if lists is not None and effort > max(EFFORTS["ivf"][0], lists // 4):
            break
        tried = Approximate(index.faiss, index.kind, effort, index.covered)
        _, found = tried.search(queries, true.shape[1], None)
        recall = _recall(sample, true, found)
        best = Approximate(index.faiss, index.kind, effort, index.covered, recall)
        if recall >= WANTED:
            break
    return best


def _recall(sample: Int64[np.ndarray, " n"], true: Int64[np.ndarray, "n k"], found: Int64[np.ndarray, "n k"]) -> float:
    """Mean share of true neighbours found; a row does not count as a neighbour of itself."""
    shares = []
    for row, wanted, got in zip(sample, true, found, strict=True):
        others = set(wanted.tolist()) - {int(row)}
        shares.append(len(others & set(got.tolist())) / max(1, len(others)))
    return round(float(np.mean(shares)), 4)


def write(index: Approximate, path: Path) -> None:
    """Write the faiss index, atomically."""
    with atomic_path(path) as temporary:
        need("faiss", "search").write_index(index.faiss, str(temporary))


def read(path: Path, kind: str, effort: int, covered: int, recall: float) -> Approximate:
    """Read a faiss index; raises `UserError` when the file is damaged or of something else."""
    library = need("faiss", "search")
    try:
        index = library.read_index(str(path))
    except RuntimeError:
        raise UserError(f"{path} is missing or damaged; build the index again") from None
    if index.ntotal != covered or not hasattr(index, "nlist" if kind == "ivf" else "hnsw"):
        raise UserError(f"{path} is of another index; build the index again")
    return Approximate(index, kind, effort, covered, recall)
