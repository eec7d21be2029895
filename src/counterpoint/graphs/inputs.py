"""Features of nodes as whatever can be multiplied by a weight matrix: dense, sparse, masked, permuted."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from counterpoint.graphs.graph import AttributedGraph
from counterpoint.graphs.structure import Structure
from counterpoint.training.sparse import Sparse

HASHED = "hashed"
"""A base without a model: every word has a vector of signs that its hash gives."""
WIDTH = 256
WORD = re.compile(r"\w+")


@runtime_checkable
class Features(Protocol):
    """What a layer's weights are multiplied by."""

    def __matmul__(self, weight: Float[Tensor, "d h"], /) -> Float[Tensor, "n h"]:
        """The features times a weight matrix."""


@dataclass(frozen=True, eq=False)
class Masked:
    """Features of which some columns are 0: their rows of the weights are.

    >>> Masked(torch.ones(1, 2), torch.tensor([1.0, 0.0])) @ torch.ones(2, 1)
    tensor([[1.]])
    """

    features: Any
    kept: Float[Tensor, " d"]

    def __matmul__(self, weight: Float[Tensor, "d h"]) -> Float[Tensor, "n h"]:
        product: Tensor = self.features @ (self.kept[:, None].to(weight) * weight)
        return product


@dataclass(frozen=True, eq=False)
class Permuted:
    """Features handed to other nodes."""

    features: Any
    order: Int[Tensor, " n"]

    def __matmul__(self, weight: Float[Tensor, "d h"]) -> Float[Tensor, "n h"]:
        product: Tensor = (self.features @ weight)[self.order]
        return product


@dataclass(frozen=True, eq=False)
class Replaced:
    """Features where some nodes have one learned vector in place of their own."""

    features: Any
    nodes: Bool[Tensor, " n"]
    token: Float[Tensor, " d"]

    def __matmul__(self, weight: Float[Tensor, "d h"]) -> Float[Tensor, "n h"]:
        return torch.where(self.nodes[:, None], self.token @ weight, self.features @ weight)


def prepared(data: AttributedGraph, base: str) -> tuple[Tensor | Sparse, Structure]:
    """Features and structure of the whole graph, made once for all parts of it.

    Sparse features (bags of words) are divided by their row's sum, as published figures on Cora have it; dense ones are
    taken as they are; without features the texts are encoded by `base`.
    """
    if "structure" not in data.held:
        data.held["structure"] = Structure.of(torch.from_numpy(data.edges), data.nodes)
    key = ("features", base if data.features is None else None)
    if key not in data.held:
        data.held[key] = _features(data, base)
    return data.held[key], data.held["structure"]


def _features(data: AttributedGraph, base: str) -> Tensor | Sparse:
    if isinstance(data.features, Sparse):
        return _by_row_sum(data.features)
    if data.features is not None:
        return torch.from_numpy(data.features)
    assert data.texts is not None
    return text_vectors(data.texts, base)


def width_of(features: Tensor | Sparse) -> int:
    """Numbers per node."""
    return int(features.shape[1])


def dense(features: Tensor | Sparse) -> Float[Tensor, "n d"]:
    """Features as a dense matrix."""
    if isinstance(features, Tensor):
        return features
    found = features.value.new_zeros(features.shape)
    found[torch.repeat_interleave(features.crow.diff()), features.col] = features.value
    return found


def cast(features: Tensor | Sparse, dtype: torch.dtype) -> Tensor | Sparse:
    """Dense features in a precision; a sparse matrix takes that of what it is multiplied with."""
    return features.to(dtype) if isinstance(features, Tensor) else features


def rows_of(features: Tensor | Sparse, nodes: Int[Tensor, " k"]) -> Tensor | Sparse:
    """The features of some nodes."""
    return features[nodes] if isinstance(features, Tensor) else sparse_rows(features, nodes.numpy())


def sparse_rows(matrix: Sparse, rows: Int[np.ndarray, " k"]) -> Sparse:
    """Some rows of a sparse matrix."""
    at = torch.from_numpy(np.asarray(rows, dtype=np.int64))
    counts = matrix.crow.diff()[at]
    own = torch.repeat_interleave(counts)
    first = counts.cumsum(0) - counts
    place = matrix.crow[at][own] + torch.arange(len(own)) - first[own]
    return Sparse.of(own, matrix.col[place], matrix.value[place], (len(at), matrix.columns))


def _by_row_sum(matrix: Sparse) -> Sparse:
    rows = torch.repeat_interleave(matrix.crow.diff())
    sums = torch.zeros(matrix.shape[0]).index_add_(0, rows, matrix.value.abs()).clamp(min=1e-12)
    return Sparse.of(rows, matrix.col, matrix.value / sums[rows], matrix.shape)


# Texts ----------------------------------------------------------------------------------------------------------------


def text_vectors(texts: Shaped[np.ndarray, " n"] | Sequence[str | None], base: str) -> Float[Tensor, "n d"]:
    """A unit vector per text by a frozen encoder, "hashed" or any of `TextEncoder.from_source`; 0 where there is none.

    >>> text_vectors(["a b", None, "b a"], "hashed") @ torch.ones(256, 1) == 0
    tensor([[False],
            [ True],
            [False]])
    """
    different = {text: place for place, text in enumerate(dict.fromkeys(text for text in texts if text))}
    if not different:
        width = WIDTH if base == HASHED else _encoder(base).width
        return torch.zeros(len(texts), width)
    made = hashed(list(different)) if base == HASHED else _encoder(base).encode(list(different))
    found = torch.zeros(len(texts), made.shape[1])
    there = [row for row, text in enumerate(texts) if text]
    found[there] = made[[different[texts[row]] for row in there]].to(found)
    return found


def hashed(texts: Sequence[str]) -> Float[Tensor, "n d"]:
    """The normalised sum of the vectors of signs of each text's words, in lower case; needs no model.

    A random projection of bags of words: cosines are about those of the bags. Source: feature hashing, arXiv 0902.2206.
    """
    words = [WORD.findall(text.lower()) for text in texts]
    place = {word: number for number, word in enumerate(dict.fromkeys(word for row in words for word in row))}
    table = torch.zeros(max(1, len(place)), WIDTH)
    for word, number in place.items():
        bits = np.frombuffer(hashlib.blake2b(word.encode(), digest_size=WIDTH // 8).digest(), dtype=np.uint8)
        table[number] = torch.from_numpy(np.unpackbits(bits).astype(np.float32)) * 2 - 1
    rows = torch.repeat_interleave(torch.tensor([len(row) for row in words]))
    column = torch.tensor([place[word] for row in words for word in row], dtype=torch.int64)
    total = torch.zeros(len(texts), WIDTH).index_add_(0, rows, table[column])
    return torch.nn.functional.normalize(total, dim=1)


@lru_cache(maxsize=2)
def _encoder(base: str) -> Any:
    from counterpoint.pretrained.texts import TextEncoder

    return TextEncoder.from_source(base)
