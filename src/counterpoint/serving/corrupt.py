"""What `corrupt` does, callable from Python; it prints nothing."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from counterpoint import options
from counterpoint.errors import UserError
from counterpoint.training import MethodConfig

How = Literal["swap", "hide", "noise"]


def corrupt(
    data: Path,
    given: Sequence[str],
    output: Path,
    how: How = "swap",
    views: Sequence[str] | None = None,
    share: float = 0.3,
    seed: int = 0,
) -> dict[str, Any]:
    """Read a table, make one of `views` (default: any) wrong or missing in a share of its rows, write it as Parquet.

    `given` are `key=value` options of the reader. The column `corrupt` names the view that was hit, or "none"; see
    `counterpoint.multimodal.corrupt`. Returns how many rows were hit, by view. Raises `UserError` for a file that
    cannot be read, an unknown view, a share outside 0..1, or noise for a view that is not of numbers.
    """
    from counterpoint.multimodal import corrupt as tool
    from counterpoint.multimodal.reading.written import write_table
    from counterpoint.multimodal.table import Table

    if output.is_dir():
        raise UserError(f"{output} is a folder; name a file to write, such as {output / 'corrupt.parquet'}")
    reading, _ = options.divide(given, Table, MethodConfig)
    table = Table.read(data, **reading)
    damage = {"swap": tool.swap, "hide": tool.hide, "noise": tool.noise}[how]
    made, masks = damage(table, list(views or table.views), share, np.random.Generator(np.random.PCG64(seed)))
    write_table(output, made)
    return {"file": str(output), "rows": len(table), "hit": {name: int(mask.sum()) for name, mask in masks.items()}}
