"""Sequences of token features: for each row some vectors of one width, as another encoder left them."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Bool, Float, Float32
from torch import Tensor

from counterpoint.errors import UserError
from counterpoint.multimodal.items import Items
from counterpoint.multimodal.kinds.kind import Front, How, Index, Kind, Where
from counterpoint.multimodal.table import Kind as Name
from counterpoint.multimodal.table import View

TOGETHER = 8192
"""Rows looked at together for the statistics."""


class TokenRows(Front):
    """Tokens of a row, scaled by the mean and deviation of the training tokens; forward gives their mean."""

    mean: Tensor
    scale: Tensor

    def __init__(self, facts: Mapping[str, Any]) -> None:
        super().__init__()
        self.width = int(facts["features"])
        self.register_buffer("mean", torch.tensor(facts["mean"], dtype=torch.float32))
        self.register_buffer("scale", torch.tensor(facts["scale"], dtype=torch.float32))

    def tensor(self, view: View, index: Index) -> Float[Tensor, "n l d"]:
        """The tokens of some rows, NaN behind the last one."""
        numbers = view.values[index, 0]
        assert view.items is not None
        found = [view.items.entries[number] for number in numbers[numbers >= 0].tolist()]
        longest = max([1, *map(len, found)])
        whole = np.full((len(numbers), longest, self.width), np.nan, dtype=np.float32)
        for row, tokens in zip(np.flatnonzero(numbers >= 0), found, strict=True):
            if tokens.shape[1] != self.width:
                raise UserError(
                    f'view "{view.name}" has tokens of {tokens.shape[1]} numbers, the run was fitted on {self.width}'
                )
            whole[row, : len(tokens)] = tokens
        return torch.from_numpy(whole)

    def known(self, values: Float[Tensor, "n l d"]) -> Bool[Tensor, "n l"]:
        """Which tokens are there."""
        return ~values.isnan().any(dim=2)

    def scaled(self, values: Float[Tensor, "n l d"]) -> Float[Tensor, "n l d"]:
        """The tokens on the scale of the training rows, 0 where there is none."""
        return ((values - self.mean) / self.scale).nan_to_num()

    def forward(self, values: Float[Tensor, "n l d"]) -> Float[Tensor, "n d"]:
        known = self.known(values)
        mean: Tensor = (self.scaled(values) * known[..., None]).sum(dim=1) / known.sum(dim=1, keepdim=True).clamp(min=1)
        return mean


class TokenKind(Kind):
    """A list of equally long lists of numbers per row; an array of three axes in npz."""

    name: ClassVar[Name] = "tokens"
    unit: ClassVar[str] = "numbers a token"
    form: ClassVar[str] = "a list of tokens, each a list of equally many numbers"

    def reading(self, path: Path, rows: int, schema: pa.Schema, columns: Sequence[str]) -> "TokenReading":
        """Rows kept as they come."""
        return TokenReading(path, rows, columns)

    def measure(self, view: View, how: How) -> dict[str, Any]:
        """Numbers of a token, their mean and deviation over all tokens of the rows."""
        assert view.items is not None
        used = [view.items.entries[number] for number in view.values[view.values >= 0].tolist()]
        if not used:
            raise UserError(f'view "{view.name}" has no tokens in any row; leave it out')
        width = used[0].shape[1]
        if not how.scaled:
            return {"features": width, "mean": [0.0] * width, "scale": [1.0] * width}
        count, total, square = 0, np.zeros(width), np.zeros(width)
        shift = used[0].astype(np.float64).mean(axis=0)  # keeps the sums well conditioned
        for start in range(0, len(used), TOGETHER):
            part = np.concatenate(used[start : start + TOGETHER]).astype(np.float64) - shift
            count, total, square = count + len(part), total + part.sum(axis=0), square + (part**2).sum(axis=0)
        mean = total / count
        deviation = np.sqrt(np.maximum(square / count - mean**2, 0.0))
        return {
            "features": width,
            "mean": (mean + shift).tolist(),
            "scale": np.where(deviation > 1e-8, deviation, 1.0).tolist(),
        }

    def front(self, facts: Mapping[str, Any], base: Any = None) -> TokenRows:
        """The scaling, and the mean over a row's tokens."""
        return TokenRows(facts)

    def of_records(
        self, name: str, records: Sequence[Any], where: Where, facts: Mapping[str, Any] | None = None
    ) -> View:
        """Arrays of tokens x numbers, None or no tokens for a row without."""
        width = int(facts["features"]) if facts is not None else None
        return _view(name, (name,), [_tokens(r, where(row)) for row, r in enumerate(records)], where, width)


class TokenReading:
    """Collects one column of lists of lists."""

    def __init__(self, path: Path, rows: int, columns: Sequence[str]) -> None:
        if len(columns) != 1:
            raise UserError(f"{path}: a view of tokens is one column; give {', '.join(columns)} a view each")
        self._path, self._column = path, columns[0]
        self._found: list[Float32[np.ndarray, "_ d"] | None] = [None] * rows

    def put(self, column: str, start: int, array: pa.Array) -> None:
        """Take a batch of the column."""
        for row, record in enumerate(array.to_pylist(), start=start):
            self._found[row] = _tokens(record, self._where(row))

    def view(self, name: str, kind: Name, columns: tuple[str, ...]) -> View:
        """The view, when all has come."""
        return _view(name, columns, self._found, self._where, None)

    def _where(self, row: int) -> str:
        return f'{self._path}: row {row + 1}, column "{self._column}"'


def _view(
    name: str,
    columns: tuple[str, ...],
    found: Sequence[Float32[np.ndarray, "_ d"] | None],
    where: Callable[[int], str],
    width: int | None,
) -> View:
    """A view with an item per row that has tokens; raises `UserError` for tokens of different widths."""
    numbers = np.full((len(found), 1), -1, dtype=np.int64)
    entries: list[Float32[np.ndarray, "_ d"]] = []
    for row, tokens in enumerate(found):
        if tokens is not None:
            width = width or tokens.shape[1]
            if tokens.shape[1] != width:
                raise UserError(f"{where(row)}: tokens of {tokens.shape[1]} numbers, where {width} are expected")
            numbers[row] = len(entries)
            entries.append(tokens)
    return View(name, "tokens", columns, numbers, Items(entries))


def _tokens(record: Any, where: str) -> Float32[np.ndarray, "l d"] | None:
    """One row's tokens; None when there are none. Rows of NaN at the end are filling."""
    if record is None:
        return None
    try:
        tokens = np.array(record, dtype=np.float32)
    except (TypeError, ValueError):
        raise UserError(f"{where}: is not {TokenKind.form}") from None
    if tokens.size == 0:
        return None
    if tokens.ndim != 2:
        raise UserError(f"{where}: is not {TokenKind.form}")
    tokens = tokens[~np.isnan(tokens).all(axis=1)]
    if not np.isfinite(tokens).all():
        raise UserError(f"{where}: a token holds a number that is missing, infinite or too large for 32 bits")
    return tokens if len(tokens) else None
