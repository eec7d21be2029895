"""Making views wrong or missing on purpose: drawn once, with a record of what was hit."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int, Shaped

from counterpoint.errors import UserError, nearest
from counterpoint.multimodal.table import Table, View

Generator = np.random.Generator | torch.Generator
Masks = dict[str, Bool[np.ndarray, " n"]]
Change = Callable[[View, Bool[np.ndarray, " n"]], Shaped[np.ndarray, "k d"]]


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


def _hits(table: Table, views: str | Sequence[str], share: float, rng: np.random.Generator) -> Masks:
    """Which rows are hit (independently, with probability `share`), each in one of the views."""
    names = [views] if isinstance(views, str) else list(views)
    for name in names:
        if name not in table.views:
            raise UserError(f'{table.source}: no view "{name}" to corrupt; {nearest(name, table.views)}')
    if not 0 <= share <= 1:
        raise UserError(f"the share of rows to corrupt must be from 0 to 1, not {share}")
    hit = rng.random(len(table)) < share
    which = rng.integers(len(names), size=len(table))
    return {name: hit & (which == i) for i, name in enumerate(names)}


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
