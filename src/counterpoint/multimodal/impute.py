"""Filling in a view that rows lack, from the known rows that fit their other views best."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Shaped

from counterpoint.errors import UserError, nearest
from counterpoint.multimodal.items import Items
from counterpoint.multimodal.table import Table, View
from counterpoint.multimodal.use import check_views, embed_views, retrieve

ROWS = 4096
"""Rows filled in at a time, so that their neighbours' values stay few."""
IMPUTED = "imputed"
LEAST = 1e-9
"""The weight of the last neighbour, as a share of the first one's: it counts where no other has a value."""


def impute(self: Any, rows: Table, target: str, known: Table, k: int = 10) -> Table:
    """The rows, with the `target` view of those that lack it taken from the k known rows that fit them best.

    How well a known row fits is the method's own score of its target view, given all other views that the row has.
    Numbers become the neighbours' mean and categories their vote, each neighbour weighted by how far its score lies
    above that of the next best known row after the k; a neighbour that lacks a value is passed over for that value. Of
    texts, pictures and tokens the best neighbour's own is taken. The column "imputed" of the result says which rows
    were filled in; a row that has no other view of the run stays as it is. `known` needs the target view alone, `rows`
    may lack it entirely.
    Raises `UserError` for an unknown view, rows without any other view of the run, known rows without the target, or a
    target of events, of which there is no mean.

    >>> from counterpoint.multimodal.clip import CLIP
    >>> from counterpoint.multimodal.corrupt import hide
    >>> from counterpoint.multimodal.simulate import xnor
    >>> table = xnor(128, p=0.0, seed=0)
    >>> holes, _ = hide(table, "A", 0.5, np.random.default_rng(0))
    >>> filled = CLIP(dim=8, epochs=1, batch_size=64).fit(table).impute(holes, "A", known=table.rows(slice(0, 64)), k=3)
    >>> filled.views["A"].missing, bool(filled.columns["imputed"].any())
    (0.0, True)
    """
    given = [name for name in self.facts.get("views", {}) if name in rows.views and name != target]
    check_views(self, target, given)
    view, offset = _with_room(rows, target, known)
    values = view.values.copy()
    mask: Bool[np.ndarray, " n"] = ~view.present
    if mask.any():
        mask[mask] = _told(self, rows.rows(mask), given)
    source, pool = known.views[target].values, embed_views(self, known, [target])
    for part in _parts(mask):
        found = retrieve(self, rows.rows(part), target, given, pool, k + 1)
        neighbours = source[found.index[:, :k].numpy()]
        values[part] = _put_together(view.kind, neighbours, _leads(found.scores.double().numpy(), k), offset)
    filled = replace(view, values=values)
    return replace(rows, views={**rows.views, target: filled}, columns={**rows.columns, IMPUTED: mask})


def _with_room(rows: Table, target: str, known: Table) -> tuple[View, int]:
    """The target view of the rows, the items of the known rows behind its own, and how many of its own there are."""
    if target not in known.views:
        raise UserError(f'{known.source} has no view "{target}"; {nearest(target, known.views)}')
    source = known.views[target]
    if source.kind == "events":
        raise UserError(f'{known.source}: view "{target}" is events, of which there is no mean; use retrieve instead')
    if target not in rows.views:
        nothing = np.nan if source.items is None else -1
        return replace(source, values=np.full((len(rows), source.width), nothing, dtype=source.values.dtype)), 0
    own = rows.views[target]
    if own.kind != source.kind or own.width != source.width:
        raise UserError(
            f'view "{target}" is {own.kind}, {own.width} wide, in {rows.source}, '
            f"but {source.kind}, {source.width} wide, in {known.source}"
        )
    if own.items is None or source.items is None:
        return own, 0
    return replace(own, items=Items([*own.items.entries, *source.items.entries])), len(own.items)


def _told(self: Any, rows: Table, given: list[str]) -> Bool[np.ndarray, " n"]:
    """Which rows have any of the given views, as the method sees it."""
    present = embed_views(self, rows, given).present
    return np.asarray(torch.stack(list(present.values())).any(dim=0).cpu().numpy())


def _parts(mask: Bool[np.ndarray, " n"]) -> Iterator[Int[np.ndarray, " m"]]:
    """The numbers of the masked rows, some at a time."""
    wanted = np.flatnonzero(mask)
    for start in range(0, len(wanted), ROWS):
        yield wanted[start : start + ROWS]


def _leads(scores: Float[np.ndarray, "n m"], k: int) -> Float[np.ndarray, "n m2"]:
    """The weights of the first k of m scores, best first: how far each lies above the last one; alike if none does."""
    leads = scores[:, :k] - scores[:, -1:]
    return np.where(leads[:, :1] > 0, leads + LEAST * leads[:, :1], 1.0)


def _put_together(
    kind: str, values: Shaped[np.ndarray, "n k d"], weights: Float[np.ndarray, "n k"], offset: int
) -> Shaped[np.ndarray, "n d"]:
    """One value of the k neighbours' for each row and column: a mean, a vote, or the best neighbour's own."""
    if kind in ("numbers", "vector"):
        known = ~np.isnan(values)
        total = (np.nan_to_num(values) * weights[..., None]).sum(axis=1)
        share = (known * weights[..., None]).sum(axis=1)
        return np.asarray(np.divide(total, share, out=np.full_like(total, np.nan), where=share > 0), dtype=np.float32)
    chosen = _votes(values, weights) if kind == "categories" else values[:, 0]
    return np.where(chosen < 0, -1, chosen + offset)


def _votes(levels: Int[np.ndarray, "n k d"], weights: Float[np.ndarray, "n k"]) -> Int[np.ndarray, "n d"]:
    """The level with the most weight among the neighbours, the nearest one's of equals; -1 where none is known."""
    alike = levels[:, :, None] == levels[:, None]
    votes = (alike * weights[:, None, :, None]).sum(axis=2)
    winner = np.where(levels < 0, -np.inf, votes).argmax(axis=1)
    return np.take_along_axis(levels, winner[:, None], axis=1)[:, 0]
