"""Records, as a program sends them, as a table: each gives some of a run's views."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float32

from counterpoint.errors import UserError, nearest
from counterpoint.multimodal.table import Table


def table_of_records(records: Sequence[Any], facts: Mapping[str, Any], source: str = "records") -> Table:
    """Records of the form {view: list of numbers} as rows of the views that any of them gives.

    A view that is left out or null is absent from that row, a null in a list is a missing value. `facts` are those of
    the fitted method, `source` names the records in errors. Raises `UserError` naming the record and the view.
    """
    widths: dict[str, int] = {name: view["width"] for name, view in facts["views"].items()}
    for number, record in enumerate(records, start=1):
        _check(record, widths, f"{source}: record {number}")
    given = [name for name in widths if any(record.get(name) is not None for record in records)]
    blocks = {name: np.full((len(records), widths[name]), np.nan, dtype=np.float32) for name in given}
    for row, record in enumerate(records):
        for name in given:
            if record.get(name) is not None:
                where = f'{source}: record {row + 1}, view "{name}"'
                blocks[name][row] = _numbers(record[name], widths[name], where)
    return Table.of(blocks, source=source)


def _check(record: Any, widths: Mapping[str, int], where: str) -> None:
    """A record is a mapping of known views, with at least one of them."""
    if not isinstance(record, Mapping):
        kind = "text" if isinstance(record, str) else type(record).__name__
        raise UserError(f"{where} is {kind}, not an object of views: {{view: numbers}}; views: {', '.join(widths)}")
    for name in record:
        if name not in widths:
            raise UserError(f'{where}: unknown view "{name}"; {nearest(str(name), widths)}')
    if all(value is None for value in record.values()):
        raise UserError(f"{where} gives no view; give at least one of {', '.join(widths)}")


def _numbers(values: Any, width: int, where: str) -> Float32[np.ndarray, " d"]:
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Sequence | np.ndarray):
        raise UserError(f"{where}: must be a list of {width} numbers, not {type(values).__name__}")
    if len(values) != width:
        raise UserError(f"{where}: {len(values)} numbers, where the run was fitted on {width}")
    row = np.empty(width, dtype=np.float32)
    for place, value in enumerate(values):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float | np.number)):
            raise UserError(f"{where}: value {place + 1} is {type(value).__name__}, not a number")
        row[place] = np.nan if value is None else _float32(value)
        if np.isinf(row[place]):
            raise UserError(f"{where}: value {place + 1} is infinite or too large for a 32-bit number")
    return row


def _float32(value: Any) -> float:
    """A number that float32 can hold, or infinity."""
    try:
        number = float(value)
    except OverflowError:
        return float("inf")
    return float("inf") if abs(number) > float(np.finfo(np.float32).max) else number
