"""What all data of rows do alike: their columns are checked, and they are divided at random, whole groups together."""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
from jaxtyping import Int, Shaped

from counterpoint.errors import UserError, nearest


def check_rows(
    source: str,
    ids: Shaped[np.ndarray, " n"],
    views: Mapping[str, Shaped[np.ndarray, "..."]],
    columns: Mapping[str, Shaped[np.ndarray, " _"]],
    group: str | None,
) -> None:
    """Raise `UserError` unless views and columns have a row per id, and the group is a column.

    >>> check_rows("memory", np.arange(2), {"labs": np.zeros((2, 3))}, {"who": np.arange(2)}, "who")
    """
    lengths = {f'view "{name}"': len(values) for name, values in views.items()}
    lengths |= {f'column "{name}"': len(values) for name, values in columns.items()}
    for what, length in lengths.items():
        if length != len(ids):
            raise UserError(f"{source}: {what} has {length} rows, the ids {len(ids)}")
    if group is not None and group not in columns:
        raise UserError(f'{source}: no column "{group}" to group by; {nearest(group, columns)}')


def split_rows(
    rows: int,
    shares: Mapping[str, float],
    seed: int,
    groups: Shaped[np.ndarray, " n"] | None = None,
    source: str = "data",
    by: str = "",
) -> dict[str, Int[np.ndarray, " k"]]:
    """The row numbers of each part, rising; shares add up to 1.

    Rows of an equal value in `groups` stay together; a row without a value is a group of its own. Large groups are
    placed first, each into the part that is least full. `source` and `by` are for the message. Raises `UserError` for
    wrong shares and when a part would stay empty.

    >>> parts = split_rows(10, {"train": 0.6, "test": 0.4}, seed=1, groups=np.arange(10) // 2)
    >>> {name: len(rows) for name, rows in parts.items()}
    {'train': 6, 'test': 4}
    """
    if any(share <= 0 for share in shares.values()) or abs(sum(shares.values()) - 1) > 1e-6:
        raise UserError(f"shares must be above 0 and add up to 1, not {dict(shares)}")
    rng = np.random.Generator(np.random.PCG64(seed))
    parts = _single(rows, shares, rng) if groups is None else _grouped(groups, shares, rng)
    if empty := [part for part, chosen in parts.items() if not len(chosen)]:
        what = f'rows with different values of "{by}"' if by else "rows"
        raise UserError(f'{source}: too few {what} for {len(shares)} parts, "{empty[0]}" would be empty')
    return parts


def _single(rows: int, shares: Mapping[str, float], rng: np.random.Generator) -> dict[str, Int[np.ndarray, " k"]]:
    ends = np.round(np.cumsum(list(shares.values())) * rows).astype(int)
    pieces = np.split(rng.permutation(rows), ends[:-1])
    return {part: np.sort(piece) for part, piece in zip(shares, pieces, strict=True)}


def _grouped(
    values: Shaped[np.ndarray, " n"], shares: Mapping[str, float], rng: np.random.Generator
) -> dict[str, Int[np.ndarray, " k"]]:
    encoded = pa.array(values, from_pandas=True).dictionary_encode()
    groups = len(encoded.dictionary)
    alone = encoded.indices.is_null().to_numpy(zero_copy_only=False)
    code = encoded.indices.fill_null(0).to_numpy().astype(np.int64)
    code[alone] = groups + np.arange(alone.sum())
    sizes = np.bincount(code)
    shuffled = rng.permutation(len(sizes))
    part_of = np.empty(len(sizes), dtype=np.int64)
    held = [0.0] * len(shares)
    wanted = list(shares.values())
    for one in shuffled[np.argsort(-sizes[shuffled], kind="stable")]:
        part = min(range(len(wanted)), key=lambda i: (held[i] / wanted[i], -wanted[i]))
        part_of[one] = part
        held[part] += int(sizes[one])
    return {name: np.flatnonzero(part_of[code] == i) for i, name in enumerate(shares)}
