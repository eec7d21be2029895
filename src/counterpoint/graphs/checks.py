"""What is made of given nodes and edges before anything is learned from them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float32, Int64, Shaped

from counterpoint.errors import UserError
from counterpoint.training.sparse import Sparse


def clean_edges(edges: Any, nodes: int, source: str) -> tuple[Int64[np.ndarray, "2 e"], tuple[str, ...]]:
    """Undirected edges, each once, lower node first and in rising order, and what was changed, in words.

    Raises `UserError` for a node that is not there, naming the edge.

    >>> edges, notes = clean_edges([[0, 1, 2, 2, 1], [1, 0, 2, 1, 2]], 3, "memory")
    >>> edges.tolist(), notes
    ([[0, 1], [1, 2]], ('1 loop left out',))
    """
    given = np.asarray(edges, dtype=np.int64).reshape(2, -1)
    wrong = (given < 0) | (given >= nodes)
    if wrong.any():
        at = int(np.flatnonzero(wrong.any(axis=0))[0])
        raise UserError(
            f"{source}: edge {at + 1} joins {given[0, at]} and {given[1, at]}, and nodes are 0 to {nodes - 1}"
        )
    loops = int((given[0] == given[1]).sum())
    kept = given[:, given[0] != given[1]]
    ways, times = np.unique(kept[0] * nodes + kept[1], return_counts=True)
    twice = int((times - 1).sum())
    low, high = np.sort(kept, axis=0)
    keys = np.unique(low * nodes + high)
    one_way = len(keys) * 2 - len(ways)
    notes = []
    if loops:
        notes.append(f"{loops} loop{'s' * (loops > 1)} left out")
    if twice:
        notes.append(f"{twice} edges occur more than once and count once")
    if 0 < one_way < len(keys):
        notes.append(f"{one_way} of {len(keys)} edges go one way only; all are taken as going both ways")
    return np.stack([keys // max(1, nodes), keys % max(1, nodes)]), tuple(notes)


def clean_features(features: Any, source: str) -> Float32[np.ndarray, "n d"] | Sparse:
    """Numbers per node, as they are when sparse; raises `UserError` naming the first that is not finite."""
    if isinstance(features, Sparse):
        return features
    held = np.ascontiguousarray(np.asarray(features, dtype=np.float32))
    held = held.reshape(len(held), -1)
    if not np.isfinite(held).all():
        row, place = (int(one[0]) for one in np.nonzero(~np.isfinite(held)))
        raise UserError(
            f"{source}: node {row + 1}, feature {place + 1} is not a finite number; fill it or leave it out"
        )
    return held


def clean_texts(texts: Sequence[str | None] | Shaped[np.ndarray, " n"]) -> Shaped[np.ndarray, " n"]:
    """Texts, None for what is empty or blank."""
    found = np.empty(len(texts), dtype=object)
    found[:] = [text if isinstance(text, str) and text.strip() else None for text in texts]
    return found


def column(values: Any) -> Shaped[np.ndarray, " n"]:
    """A column of numbers, or of objects where there are texts or gaps."""
    found = np.asarray(values)
    if found.dtype.kind in "iufb" and found.ndim == 1:
        return found
    made = np.empty(len(values), dtype=object)
    made[:] = list(values)
    return made


def label(value: Any) -> str | None:
    """A class as a text, whole numbers without a point; None where it is missing.

    >>> label(2.0), label(" x "), label(float("nan"))
    ('2', 'x', None)
    """
    if value is None or value != value or (isinstance(value, str) and not value.strip()):
        return None
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()
