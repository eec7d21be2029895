"""Making a view worse by degrees: noise added, parts left out or exchanged, as strongly as each row says."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Shaped

from counterpoint.errors import UserError, nearest
from counterpoint.multimodal.kinds import KINDS
from counterpoint.multimodal.table import Table, View, lacking

How = Literal["noise", "drop", "exchange"]
Strengths = Float[np.ndarray, " n"]
SPLIT: dict[str, Callable[[Any], np.ndarray]] = {
    "tokens": lambda entry: entry,
    "text": lambda entry: np.array(entry.split(), dtype=object),
}
"""The kinds whose rows are sequences, and the parts of an entry."""


def perturb(
    table: Table, view: str, strength: float | Strengths, generator: np.random.Generator, how: How = "noise"
) -> Table:
    """The table with one view made worse in every row, by a strength for all rows or one for each.

    "noise" adds Gaussian noise of `strength` times the standard deviation of each number (of each feature, for
    tokens); "drop" leaves out, with probability `strength`, each number, level, word or token; "exchange" takes, with
    that probability, another row's in its place. A row that loses all of the view lacks it. Pictures and events, and
    noise for texts and categories, are refused. Column "strength" records what was done. Raises `UserError` for an
    unknown view, a kind that is refused, or a strength below 0 (or above 1 as a probability).

    >>> table = Table.of({"note": ["a b c d", "e f g h"]}, kind="text")
    >>> perturb(table, "note", 1.0, np.random.default_rng(0), "drop").views["note"].present.tolist()
    [False, False]
    """
    if view not in table.views:
        raise UserError(f'{table.source}: no view "{view}" to perturb; {nearest(view, table.views)}')
    old = table.views[view]
    strengths = np.broadcast_to(np.asarray(strength, dtype=np.float64), (len(table),))
    if not (strengths >= 0).all() or (how != "noise" and (strengths > 1).any()):
        raise UserError(f"strength must be {'at least 0' if how == 'noise' else 'from 0 to 1'}")
    if old.kind in ("pictures", "events") or (how == "noise" and old.kind in ("text", "categories")):
        raise UserError(f'{how} is not for a view of {old.kind} ("{view}"); use drop or exchange, or another view')
    made = (_sequences if old.kind in SPLIT else _block)(old, strengths, generator, how)
    columns = {**table.columns, "strength": strengths.copy()}
    return replace(table, views={**table.views, view: made}, columns=columns)


def _block(view: View, strengths: Strengths, rng: np.random.Generator, how: How) -> View:
    """Numbers or levels, column by column."""
    old = view.values
    if how == "noise":
        known = old.astype(np.float64)
        spread = np.sqrt(np.nan_to_num(_mean(np.square(known - _mean(known)))))
        noise = strengths[:, None] * spread * rng.standard_normal(old.shape)
        return replace(view, values=(known + noise).astype(np.float32))
    hit = (rng.random(old.shape) < strengths[:, None]) & ~lacking(old)
    missing = np.nan if old.dtype.kind == "f" else -1
    if how == "drop":
        return replace(view, values=np.where(hit, missing, old).astype(old.dtype))
    donors = rng.integers(len(old), size=old.shape)
    return replace(view, values=np.where(hit, np.take_along_axis(old, donors, axis=0), old).astype(old.dtype))


def _mean(values: Float[np.ndarray, "n d"]) -> Float[np.ndarray, " d"]:
    """Column means of what is known; 0 for a column without anything."""
    known = ~np.isnan(values)
    return np.asarray(np.nan_to_num(values).sum(axis=0) / np.maximum(known.sum(axis=0), 1))


def _sequences(view: View, strengths: Strengths, rng: np.random.Generator, how: How) -> View:
    """Words or tokens, row by row."""
    assert view.items is not None
    parts = [None if n < 0 else SPLIT[view.kind](view.items.entries[n]) for n in view.values[:, 0].tolist()]
    pool = np.concatenate([part for part in parts if part is not None])
    spread = pool.std(axis=0) if how == "noise" else None
    records = [
        None if part is None else _worse(part, strength, pool, spread, rng, how)
        for part, strength in zip(parts, strengths.tolist(), strict=True)
    ]
    whole = [" ".join(r) if view.kind == "text" and r is not None else r for r in records]
    filled = [None if r is None or not len(r) else r for r in whole]
    made = KINDS[view.kind].of_records(view.name, filled, lambda row: f'view "{view.name}", row {row + 1}')
    return replace(view, values=made.values, items=made.items)


def _worse(
    part: Shaped[np.ndarray, "l ..."], strength: float, pool: Any, spread: Any, rng: np.random.Generator, how: How
) -> Shaped[np.ndarray, "k ..."]:
    """One row's words or tokens."""
    if how == "noise":
        return np.asarray(part + strength * spread * rng.standard_normal(part.shape), dtype=np.float32)
    hit = rng.random(len(part)) < strength
    if how == "drop":
        return part[~hit]
    changed = part.copy()
    changed[hit] = pool[rng.integers(len(pool), size=int(hit.sum()))]
    return changed
