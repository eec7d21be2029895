"""How one row of a table becomes several views: what training rows say about each, and tensors of rows."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from counterpoint.errors import UserError
from counterpoint.multimodal.kinds import KINDS
from counterpoint.multimodal.kinds.kind import Front, How
from counterpoint.multimodal.kinds.numbers import Standardise as Standardise
from counterpoint.multimodal.table import Table
from counterpoint.objectives import Ids
from counterpoint.objectives.ranks import gather, sizes
from counterpoint.training import Batch

Fronts = Mapping[str, Front]


def measure_views(table: Table, how: How | None = None) -> dict[str, Any]:
    """What makes the first part of each view's encoder, from these rows alone; see the kinds' `measure`.

    `how` says what the method asks (default: scaled numbers, nothing that learns).
    """
    asked = how or How()
    for name in asked.encoder:
        if name not in table.views:
            raise UserError(f'encoder.{name}: there is no view "{name}"; views: {", ".join(table.views)}')
        if KINDS[(view := table.views[name]).kind].read_by(view, asked) is None:
            raise UserError(f'encoder.{name}: view "{name}" is {view.kind}, which no pretrained encoder reads')
    return {name: {"kind": view.kind} | KINDS[view.kind].measure(view, asked) for name, view in table.views.items()}


def front_of(facts: Mapping[str, Any], base: Any = None) -> Front:
    """The first part of a view's encoder."""
    return KINDS[facts.get("kind", "numbers")].front(facts, base)


def batch_of(
    table: Table, rows: Int[Tensor, " n"], fronts: Fronts | None = None, augment: torch.Generator | None = None
) -> Batch:
    """Some rows as tensors, one per view, NaN or -1 where missing; a row is its own positive in every other view.

    `fronts` are those of a method's encoders; without them views of numbers alone can be taken, as they are. With
    `augment` a generator, kinds that know augmentations draw them. Raises `UserError` for a view without a front that
    is not numbers.
    """
    index = rows.numpy()
    views: dict[str, Any] = {}
    for name, view in table.views.items():
        if fronts is None and view.items is not None:
            raise UserError(f'{table.source}: view "{name}" is {view.kind}; this method takes numbers and vectors only')
        values = torch.from_numpy(view.values[index]) if fronts is None else fronts[name].tensor(view, index)
        views[name] = values if fronts is None or augment is None else fronts[name].augmented(values, augment)
    return Batch(ids=Ids(row=rows, positive=rows), views=views)


def of_all_ranks(batch: Batch) -> Batch:
    """The rows of all ranks, in the order of the data, for what is solved or kept as a whole."""
    rows = sizes(len(batch.ids))
    return Batch(batch.ids.gathered(rows), {name: gather(values, rows) for name, values in batch.views.items()})


def hide_views(batch: Batch, share: float, generator: torch.Generator) -> None:
    """Make a random share of the views absent, always leaving each row at least two."""
    names = list(batch.views)
    order = torch.rand(len(batch.ids.row), len(names), generator=generator)
    protected = order.argsort(dim=1).argsort(dim=1) < 2
    hidden = (torch.rand(order.shape, generator=generator) < share) & ~protected
    for column, name in enumerate(names):
        batch.views[name] = without(batch.views[name], hidden[:, column])


def mixes(facts: Mapping[str, Any]) -> bool:
    """Whether a view's rows can be mixed: numbers, vectors, and what frozen encoders give."""
    kind = facts.get("kind", "numbers")
    return kind in ("numbers", "vector") or (kind in ("text", "pictures") and facts["pretrained"] == "frozen")


def mix_rows(batch: Batch, strength: float, generator: torch.Generator) -> None:
    """Mixup of a batch: each row becomes a weighted mean with another, the same two rows and weights in every view.

    The row itself has the larger weight, from Beta(strength, strength). A row whose partner lacks a view that it has
    stays as it is. Source: arXiv 1710.09412, section 2, on all views of a row at once instead of inputs and labels.
    """
    rows = len(batch.ids)
    partner = torch.randperm(rows, generator=generator)
    seed = int(torch.randint(2**62, (1,), generator=generator))
    share = torch.from_numpy(np.random.Generator(np.random.PCG64(seed)).beta(strength, strength, rows))
    share = torch.maximum(share, 1 - share)
    present = torch.stack([~values.isnan().all(dim=1) for values in batch.views.values()])
    share[(present & ~present[:, partner]).any(dim=0)] = 1.0
    for name, values in batch.views.items():
        own = share.to(values)[:, None]
        mixed = own * values + (1 - own) * values[partner]
        batch.views[name] = torch.where(own == 1, values, mixed)


def without(values: Tensor, hidden: Bool[Tensor, " n"]) -> Tensor:
    """The tensor of a view, everything missing in the hidden rows.

    >>> without(torch.tensor([[3], [4]]), torch.tensor([True, False])).tolist()
    [[-1], [4]]
    """
    mask = hidden.reshape(-1, *[1] * (values.ndim - 1))
    return values.masked_fill(mask, torch.nan if values.is_floating_point() else -1)


def parts_of(
    table: Table, facts: Mapping[str, Any], needed: list[str], fronts: Fronts, rows: int
) -> Iterator[dict[str, Float[Tensor, "..."] | Int[Tensor, "..."]]]:
    """The views a fitted method needs from a table, at most `rows` rows at a time, at least one part.

    Raises `UserError` when a view is missing, or is of another kind or width than the run's.
    """
    for name in needed:
        _check(table, name, facts)
    step = min([rows, *(fronts[name].rows for name in needed)])
    for start in range(0, max(1, len(table)), step):
        yield {name: fronts[name].tensor(table.views[name], slice(start, start + step)) for name in needed}


def _check(table: Table, name: str, facts: Mapping[str, Any]) -> None:
    if name not in table.views:
        raise UserError(f'{table.source} has no view "{name}"; this run needs {", ".join(facts)}')
    view, fitted = table.views[name], facts[name]
    kind = fitted.get("kind", "numbers")
    if (view.items is None) != (kind in ("numbers", "vector")) or (view.items is not None and view.kind != kind):
        raise UserError(f'{table.source}: view "{name}" is {view.kind}, the run was fitted on {kind}; use kind.{name}')
    width = fitted.get("columns", 1) if view.items is not None else fitted["width"]
    if view.width != width:
        what = "columns" if view.items is not None else "numbers a row"
        raise UserError(f'{table.source}: view "{name}" has {view.width} {what}, the run was fitted on {width}')
