"""Making views wrong, worse or missing on purpose: drawn once, with a record of what was hit.

`swap`, `hide` and `noise` replace one whole view of some rows; `perturb` makes a view worse by degrees, as strongly as
each row says; `degrade` does that to one view of some rows.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int, Shaped

from counterpoint.errors import UserError, nearest
from counterpoint.multimodal.kinds import KINDS
from counterpoint.multimodal.table import Table, View, lacking

Generator = np.random.Generator | torch.Generator
Masks = dict[str, Bool[np.ndarray, " n"]]
Change = Callable[[View, Bool[np.ndarray, " n"]], Shaped[np.ndarray, "k d"]]
Degree = Literal["noise", "drop", "exchange"]
Strengths = Float[np.ndarray, " n"]
SPLIT: dict[str, Callable[[Any], np.ndarray]] = {
    "tokens": lambda entry: entry,
    "text": lambda entry: np.array(entry.split(), dtype=object),
}
"""The kinds whose rows are sequences, and the parts of an entry."""


def swap(
    table: Table,
    views: str | Sequence[str],
    share: float,
    generator: Generator,
    *,
    among: Literal["hit", "all"] = "hit",
    columns: slice = slice(None),
) -> tuple[Table, Masks]:
    """Give each row, with probability `share`, another row's values in one of `views`: plausible but wrong.

    Of several views one is picked per row, each equally likely. `among="hit"` moves values in one random cycle
    through the rows hit, so that none keeps its own (a single hit row stays as it was and is not recorded);
    `among="all"` takes one random permutation of all rows, by which a row may meet itself, as in the released
    code of arXiv 2604.05834. `columns` limits the swap to some of the view's numbers.
    Returns the table, whose column "corrupt" names the view hit ("none" if none was, or what the column said
    before), and a mask per view. Raises `UserError` for an unknown view or a share outside 0..1.

    >>> table = Table.of({"a": [[1], [2], [3]], "b": [[4], [5], [6]]})
    >>> wrong, masks = swap(table, "b", 1.0, np.random.default_rng(0))
    >>> bool(masks["b"].all()), bool((wrong.views["b"].values == table.views["b"].values).any())
    (True, False)
    """
    rng = _numpy(generator)
    masks = _hits(table, views, share, rng)
    donors: dict[str, Int[np.ndarray, " n"]] = {}
    everywhere = rng.permutation(len(table)) if among == "all" else None
    for name, mask in masks.items():
        if among == "hit" and mask.sum() < 2:
            mask[:] = False
        donors[name] = _cycle(mask, rng) if everywhere is None else everywhere

    def another(view: View, mask: Bool[np.ndarray, " n"]) -> Shaped[np.ndarray, "k d"]:
        changed: Shaped[np.ndarray, "k d"] = view.values[mask]
        changed[:, columns] = view.values[donors[view.name][mask], columns]
        return changed

    return _apply(table, masks, another)


def hide(table: Table, views: str | Sequence[str], share: float, generator: Generator) -> tuple[Table, Masks]:
    """Make one of `views` missing in each row with probability `share`; returns and raises as `swap` does.

    >>> table = Table.of({"a": [[1.0], [2.0]], "b": [[3.0], [4.0]]})
    >>> hidden, masks = hide(table, ["a", "b"], 1.0, np.random.default_rng(0))
    >>> (hidden.views["a"].present ^ hidden.views["b"].present).tolist()
    [True, True]
    """
    masks = _hits(table, views, share, _numpy(generator))
    return _apply(
        table, masks, lambda view, mask: np.full_like(view.values[mask], np.nan if view.items is None else -1)
    )


def noise(
    table: Table,
    views: str | Sequence[str],
    share: float,
    generator: Generator,
    *,
    scale: float | None = None,
) -> tuple[Table, Masks]:
    """Replace one of `views` in each row, with probability `share`, by Gaussian noise: uninformative.

    The noise has mean 0 and standard deviation `scale`; by default each number's own mean and standard deviation
    over the table. Returns and raises as `swap` does, and for a view that is not of numbers.

    >>> table = Table.of({"a": [[1.0], [2.0]], "b": [[3.0], [4.0]]})
    >>> noise(table, "a", 1.0, np.random.default_rng(0))[0].columns["corrupt"].tolist()
    ['a', 'a']
    """
    rng = _numpy(generator)
    masks = _hits(table, views, share, rng)
    for name in masks:
        if table.views[name].items is not None:
            raise UserError(
                f'{table.source}: view "{name}" is {table.views[name].kind}; noise is for numbers, use swap'
            )

    def gaussian(view: View, mask: Bool[np.ndarray, " n"]) -> Float32[np.ndarray, "k d"]:
        drawn = rng.standard_normal((int(mask.sum()), view.width))
        if scale is not None:
            return np.asarray(scale * drawn, dtype=np.float32)
        known = view.values.astype(np.float64)
        known[:, np.isnan(known).all(0)] = 0
        return np.asarray(np.nanmean(known, 0) + np.nanstd(known, 0) * drawn, dtype=np.float32)

    return _apply(table, masks, gaussian)


def perturb(table: Table, view: str, strength: float | Strengths, generator: Generator, how: Degree = "noise") -> Table:
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
    old = _named(table, view)
    strengths = np.broadcast_to(np.asarray(strength, dtype=np.float64), (len(table),))
    if not (strengths >= 0).all() or (how != "noise" and (strengths > 1).any()):
        raise UserError(f"strength must be {'at least 0' if how == 'noise' else 'from 0 to 1'}")
    if old.kind in ("pictures", "events") or (how == "noise" and old.kind in ("text", "categories")):
        raise UserError(f'{how} is not for a view of {old.kind} ("{view}"); use drop or exchange, or another view')
    made = (_sequences if old.kind in SPLIT else _block)(old, strengths, _numpy(generator), how)
    columns = {**table.columns, "strength": strengths.copy()}
    return replace(table, views={**table.views, view: made}, columns=columns)


def degrade(
    table: Table, views: str | Sequence[str], share: float, generator: Generator, how: Degree, strength: float
) -> tuple[Table, Masks]:
    """Make one of `views` worse in each row with probability `share`, as `perturb` does; returns as `swap` does.

    Raises `UserError` as `swap` and `perturb` do.

    >>> table = Table.of({"a": [[1.0], [2.0]], "b": [[3.0], [4.0]]})
    >>> worse, masks = degrade(table, "a", 1.0, np.random.default_rng(0), "drop", 1.0)
    >>> worse.views["a"].present.tolist(), worse.columns["corrupt"].tolist()
    ([False, False], ['a', 'a'])
    """
    rng = _numpy(generator)
    masks = _hits(table, views, share, rng)
    for name, mask in masks.items():
        table = perturb(table, name, strength * mask, rng, how)
    table.columns["strength"] = strength * np.any(list(masks.values()), axis=0)
    return _apply(table, masks, lambda view, mask: view.values[mask])


def _hits(table: Table, views: str | Sequence[str], share: float, rng: np.random.Generator) -> Masks:
    """Which rows are hit (independently, with probability `share`), each in one of the views."""
    names = [views] if isinstance(views, str) else list(views)
    for name in names:
        _named(table, name)
    if not 0 <= share <= 1:
        raise UserError(f"the share of rows to corrupt must be from 0 to 1, not {share}")
    hit = rng.random(len(table)) < share
    which = rng.integers(len(names), size=len(table))
    return {name: hit & (which == i) for i, name in enumerate(names)}


def _named(table: Table, name: str) -> View:
    """A view of the table."""
    if name not in table.views:
        raise UserError(f'{table.source}: no view "{name}" to corrupt; {nearest(name, table.views)}')
    return table.views[name]


def _cycle(mask: Bool[np.ndarray, " n"], rng: np.random.Generator) -> Int[np.ndarray, " n"]:
    """For every row the row it takes its values from: one random cycle through the masked rows."""
    donors = np.arange(len(mask))
    order = rng.permutation(np.flatnonzero(mask))
    donors[order] = np.roll(order, 1)
    return donors


def _apply(table: Table, masks: Masks, change: Change) -> tuple[Table, Masks]:
    """The table with the masked rows of each view changed, and the record of it."""
    views = dict(table.views)
    record: Shaped[np.ndarray, " n"] = np.full(len(table), "none", dtype=object)
    record = table.columns["corrupt"].copy() if "corrupt" in table.columns else record
    for name, mask in masks.items():
        values = table.views[name].values.copy()
        values[mask] = change(table.views[name], mask)
        views[name] = replace(table.views[name], values=values)
        record[mask] = name
    return replace(table, views=views, columns={**table.columns, "corrupt": record}), masks


def _numpy(generator: Generator) -> np.random.Generator:
    """A numpy generator as it is; from a torch one, a numpy generator seeded by its next draw."""
    if isinstance(generator, np.random.Generator):
        return generator
    seed = torch.randint(2**62, (), generator=generator)
    return np.random.Generator(np.random.PCG64(int(seed)))


def _block(view: View, strengths: Strengths, rng: np.random.Generator, how: Degree) -> View:
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


def _sequences(view: View, strengths: Strengths, rng: np.random.Generator, how: Degree) -> View:
    """Words or tokens, row by row."""
    assert view.items is not None
    if not view.present.any():
        return view
    parts = [None if n < 0 else SPLIT[view.kind](view.items.entries[n]) for n in view.values[:, 0].tolist()]
    pool = np.concatenate([part for part in parts if part is not None])
    spread = pool.std(axis=0) if how == "noise" else None
    filled = []
    for number, part, strength in zip(view.values[:, 0].tolist(), parts, strengths.tolist(), strict=True):
        worse = None if part is None else _worse(part, strength, pool, spread, rng, how)
        if worse is None or worse is part:
            filled.append(view.items.entries[number] if number >= 0 else None)
        else:
            filled.append((" ".join(worse) if view.kind == "text" else worse) if len(worse) else None)
    made = KINDS[view.kind].of_records(view.name, filled, lambda row: f'view "{view.name}", row {row + 1}')
    return replace(view, values=made.values, items=made.items)


def _worse(
    part: Shaped[np.ndarray, "l ..."], strength: float, pool: Any, spread: Any, rng: np.random.Generator, how: Degree
) -> Shaped[np.ndarray, "k ..."]:
    """One row's words or tokens."""
    if how == "noise":
        return np.asarray(part + strength * spread * rng.standard_normal(part.shape), dtype=np.float32)
    hit = rng.random(len(part)) < strength
    if not hit.any():
        return part
    if how == "drop":
        return part[~hit]
    changed = part.copy()
    changed[hit] = pool[rng.integers(len(pool), size=int(hit.sum()))]
    return changed
