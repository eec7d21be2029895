"""How one row of a table becomes several views: what training rows say about their scale, and tensors of rows."""

from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from counterpoint.errors import UserError
from counterpoint.multimodal.table import Table
from counterpoint.objectives import Ids
from counterpoint.objectives.ranks import gather, sizes
from counterpoint.training import Batch

CHUNK = 65_536  # rows read at a time for the statistics, so that no copy of a large table is made


def measure_views(table: Table, scaled: bool = True) -> dict[str, Any]:
    """What sizes and scales an encoder of each view, from these rows alone; unscaled, the mean is 0 and the scale 1.

    `gaps` are the columns with missing values in rows that have the view: each gets a missingness indicator.
    `complete` says that no row lacks the view. A constant column gets scale 1.
    """
    facts = {name: _measure(view.values) for name, view in table.views.items()}
    if not scaled:
        for view in facts.values():
            view |= {"mean": [0.0] * view["width"], "scale": [1.0] * view["width"]}
    return facts


def _measure(values: Float[np.ndarray, "n d"]) -> dict[str, Any]:
    width = values.shape[1]
    count, total, square = np.zeros(width), np.zeros(width), np.zeros(width)
    gaps, absent = np.zeros(width, dtype=np.int64), 0
    shift = np.nan_to_num(values[:1].astype(np.float64)).sum(axis=0)  # keeps the sums well conditioned
    for start in range(0, len(values), CHUNK):
        part = values[start : start + CHUNK].astype(np.float64) - shift
        missing: Bool[np.ndarray, "n d"] = np.isnan(part)
        lacking = np.asarray(missing.all(axis=1))
        absent += int(lacking.sum())
        gaps += (missing & ~lacking[:, None]).sum(axis=0)
        part[missing] = 0.0
        count += (~missing).sum(axis=0)
        total += part.sum(axis=0)
        square += (part**2).sum(axis=0)
    known = np.maximum(count, 1)
    mean = total / known
    deviation = np.sqrt(np.maximum(square / known - mean**2, 0.0))
    return {
        "width": width,
        "mean": (mean + shift).tolist(),
        "scale": np.where(deviation > 1e-8 * (1 + np.abs(mean + shift)), deviation, 1.0).tolist(),
        "gaps": np.flatnonzero(gaps).tolist(),
        "complete": absent == 0,
    }


def batch_of(table: Table, rows: Int[Tensor, " n"]) -> Batch:
    """Raw values of some rows, NaN where missing; a row is its own positive in every other view."""
    index = rows.numpy()
    views = {name: torch.from_numpy(view.values[index]) for name, view in table.views.items()}
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
        batch.views[name] = batch.views[name].masked_fill(hidden[:, column, None], torch.nan)


def tensors_of(table: Table, facts: dict[str, Any], needed: list[str]) -> dict[str, Float[Tensor, "n _"]]:
    """The views a fitted method needs from a table; raises `UserError` when one is missing or has another width."""
    found = {}
    for name in needed:
        if name not in table.views:
            raise UserError(f'{table.source} has no view "{name}"; this run needs {", ".join(facts)}')
        values = table.views[name].values
        if values.shape[1] != facts[name]["width"]:
            raise UserError(
                f'{table.source}: view "{name}" has {values.shape[1]} numbers a row, '
                f"the run was fitted on {facts[name]['width']}"
            )
        found[name] = torch.from_numpy(values)
    return found


class Standardise(nn.Module):
    """Scale by the training rows' mean and deviation, put 0 (the mean) for a gap, and append a 0/1 gap indicator.

    >>> layer = Standardise({"width": 2, "mean": [1.0, 0.0], "scale": [2.0, 1.0], "gaps": [1]})
    >>> layer(torch.tensor([[3.0, float("nan")]]))
    tensor([[1., 0., 1.]])
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, facts: dict[str, Any]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(facts["mean"], dtype=torch.float32))
        self.register_buffer("scale", torch.tensor(facts["scale"], dtype=torch.float32))
        self.gaps: list[int] = facts["gaps"]
        self.width = int(facts["width"]) + len(self.gaps)

    def forward(self, values: Float[Tensor, "n d"]) -> Float[Tensor, "n _"]:
        scaled = (values - self.mean) / self.scale
        if self.gaps:
            scaled = torch.cat([scaled, values[:, self.gaps].isnan().to(scaled.dtype)], dim=1)
        return scaled.nan_to_num()

    def present(self, values: Float[Tensor, "n d"]) -> Bool[Tensor, " n"]:
        """Rows that have the view: some value there, and no gap in a column that had none in training.

        Such a gap has no indicator the encoder could have learned from, so the view counts as absent.
        """
        missing = values.isnan()
        learned = torch.zeros(values.shape[1], dtype=torch.bool, device=values.device)
        learned[self.gaps] = True
        return ~missing.all(dim=1) & ~(missing & ~learned).any(dim=1)
