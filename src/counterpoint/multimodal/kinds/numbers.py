"""Blocks of measurements and vectors: float32 numbers, scaled by the training rows, with indicators of gaps."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from jaxtyping import Bool, Float, Float32
from torch import Tensor

from counterpoint.errors import UserError
from counterpoint.multimodal.kinds.kind import Front, How, Index, Kind, Where
from counterpoint.multimodal.reading.sources import as_float32, is_vector
from counterpoint.multimodal.table import Kind as Name
from counterpoint.multimodal.table import View
from counterpoint.training.budget import free_memory

CHUNK = 65_536  # rows read at a time for the statistics, so that no copy of a large table is made


class Standardise(Front):
    """Scale by the training rows' mean and deviation, put 0 (the mean) for a gap, and append a 0/1 gap indicator.

    >>> layer = Standardise({"width": 2, "mean": [1.0, 0.0], "scale": [2.0, 1.0], "gaps": [1]})
    >>> layer(torch.tensor([[3.0, float("nan")]]))
    tensor([[1., 0., 1.]])
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, facts: Mapping[str, Any]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(facts["mean"], dtype=torch.float32))
        self.register_buffer("scale", torch.tensor(facts["scale"], dtype=torch.float32))
        self.gaps: list[int] = facts["gaps"]
        self.width = int(facts["width"]) + len(self.gaps)

    def tensor(self, view: View, index: Index) -> Float[Tensor, "n d"]:
        """Raw values."""
        return torch.from_numpy(view.values[index])

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

    def sample(self, rows: int, generator: torch.Generator) -> Float[Tensor, "n d"]:
        """Values on the scale of the training rows, some missing."""
        values = self.mean + self.scale * torch.randn(rows, len(self.mean), generator=generator)
        values[torch.rand(values.shape, generator=generator) < 0.02] = torch.nan
        return values


class Numbers(Kind):
    """Columns of numbers side by side, or one column of equally long lists."""

    name: ClassVar[Name] = "numbers"
    form: ClassVar[str] = "a list of numbers"

    def reading(self, path: Path, rows: int, schema: pa.Schema, columns: Sequence[str]) -> "Block":
        """One array of float32, filled batch by batch."""
        return Block(path, rows, schema, columns)

    def measure(self, view: View, how: How) -> dict[str, Any]:
        """Width, mean, scale and gaps."""
        return moments(view.values.shape, lambda rows: view.values[rows], how.scaled)

    def front(self, facts: Mapping[str, Any], base: Any = None) -> Standardise:
        """The scaling."""
        return Standardise(facts)

    def of_records(
        self, name: str, records: Sequence[Any], where: Where, facts: Mapping[str, Any] | None = None
    ) -> View:
        """Lists of numbers, None for one that is missing."""
        known: Any = next((record for record in records if record is not None), [])
        width = int(facts["width"]) if facts is not None else len(known)
        block = np.full((len(records), width), np.nan, dtype=np.float32)
        for row, record in enumerate(records):
            if record is not None:
                block[row] = _numbers(record, width, where(row))
        return View(name, self.name, (name,), block)


class Vector(Numbers):
    """Lists whose numbers mean something together alone."""

    name: ClassVar[Name] = "vector"


# --- statistics


def moments(
    shape: tuple[int, ...], values: Callable[[slice], Float32[np.ndarray, "m d"]], scaled: bool = True
) -> dict[str, Any]:
    """What sizes and scales numbers, from training rows alone; unscaled, the mean is 0 and the scale 1.

    `gaps` are the columns with missing values in rows that have the view: each gets a missingness indicator.
    `complete` says that no row lacks the view. A constant column gets scale 1. `values` gives some rows.
    """
    rows, width = shape
    count, total, square = np.zeros(width), np.zeros(width), np.zeros(width)
    gaps, absent = np.zeros(width, dtype=np.int64), 0
    # The first row keeps the sums well conditioned.
    shift = np.nan_to_num(values(slice(0, 1)).astype(np.float64)).sum(axis=0)
    for part in _parts(rows, values):
        part -= shift
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
    scale = np.where(deviation > 1e-8 * (1 + np.abs(mean + shift)), deviation, 1.0)
    return {
        "width": width,
        "mean": (mean + shift).tolist() if scaled else [0.0] * width,
        "scale": scale.tolist() if scaled else [1.0] * width,
        "gaps": np.flatnonzero(gaps).tolist(),
        "complete": absent == 0,
    }


def _parts(rows: int, values: Callable[[slice], Float32[np.ndarray, "m d"]]) -> Iterator[Float[np.ndarray, "m d"]]:
    for start in range(0, rows, CHUNK):
        yield values(slice(start, start + CHUNK)).astype(np.float64)


# --- reading


class Block:
    """The array of one view while its file streams by."""

    def __init__(self, path: Path, rows: int, schema: pa.Schema, columns: Sequence[str]) -> None:
        self._path, self._columns, self._rows = path, columns, rows
        self._lists = is_vector(schema.field(columns[0]).type)
        if self._lists and len(columns) > 1:
            raise UserError(
                f'{path}: the list column "{columns[0]}" shares its view with other columns; '
                "give every list column a view of its own"
            )
        self._values: Float32[np.ndarray, "n d"] | None = None if self._lists else self._allocate(len(columns))

    def view(self, name: str, kind: Name, columns: tuple[str, ...]) -> View:
        """All rows; a list column that is null in every row has one missing value per row."""
        return View(name, kind, columns, self._allocate(1) if self._values is None else self._values)

    def put(self, column: str, start: int, array: pa.Array) -> None:
        """Store a batch of one column, whose first row is `start`."""
        rows = slice(start, start + len(array))
        if self._lists:
            self._put_lists(column, start, array)
            part = None if self._values is None else self._values[rows]
        else:
            assert self._values is not None
            part = self._values[rows, self._columns.index(column), None]
            part[:, 0] = as_float32(array)
        if part is not None:
            self._check(column, start, part, array)

    def _put_lists(self, column: str, start: int, array: pa.Array) -> None:
        known = array.is_valid().to_numpy(zero_copy_only=False)
        if not known.any():
            return
        lengths = pc.list_value_length(array).fill_null(0).to_numpy()
        width = int(lengths[known.argmax()]) if self._values is None else self._values.shape[1]
        wrong = np.flatnonzero(known & ((lengths != width) | (lengths == 0)))
        if len(wrong):
            raise UserError(
                f'{self._path}: row {start + wrong[0] + 1}, column "{column}": a vector of '
                f"{lengths[wrong[0]]} numbers where the first has {width}; all must have the same length, at least 1"
            )
        if self._values is None:
            self._values = self._allocate(width)
        part = self._values[start : start + len(array)]
        part[known] = as_float32(array.flatten()).reshape(-1, width)

    def _check(self, column: str, start: int, part: Float32[np.ndarray, "k w"], array: pa.Array) -> None:
        """Refuse infinities; give every missing value the same bits, for equal tables to hash equally."""
        if np.isinf(part).any():
            row, position = np.argwhere(np.isinf(part))[0].tolist()
            value = array[row].as_py()
            value = value[position] if self._lists else value
            raise UserError(
                f'{self._path}: row {start + row + 1}, column "{column}": {value} is infinite or too large '
                "for a 32-bit number; correct it, or leave it empty if it is missing"
            )
        part[np.isnan(part)] = np.nan

    def _allocate(self, width: int) -> Float32[np.ndarray, "n d"]:
        needed, free = 4 * self._rows * width, free_memory(torch.device("cpu"))
        if free is not None and needed > free:
            raise UserError(
                f"{self._path}: a view of {width:,} columns and {self._rows:,} rows needs {needed / 2**30:.1f} GiB, "
                f"{free / 2**30:.1f} GiB of memory are free; name fewer columns, or take fewer rows"
            )
        return np.full((self._rows, width), np.nan, dtype=np.float32)


# --- records


def _numbers(values: Any, width: int, where: str) -> Float32[np.ndarray, " d"]:
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Sequence | np.ndarray):
        raise UserError(f"{where}: must be a list of {width} numbers, not {type(values).__name__}")
    if len(values) != width:
        raise UserError(f"{where}: {len(values)} numbers, where the run was fitted on {width}")
    row = np.empty(width, dtype=np.float32)
    for place, value in enumerate(values):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float | np.number)):
            raise UserError(f"{where}: value {place + 1} is {type(value).__name__}, not a number")
        row[place] = np.nan if value is None else float32(value)
        if np.isinf(row[place]):
            raise UserError(f"{where}: value {place + 1} is infinite or too large for a 32-bit number")
    return row


def float32(value: Any) -> float:
    """A number that float32 can hold, or infinity."""
    try:
        number = float(value)
    except OverflowError:
        return float("inf")
    return float("inf") if abs(number) > float(np.finfo(np.float32).max) else number
