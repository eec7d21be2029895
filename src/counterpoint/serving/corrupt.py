"""What `corrupt` does, callable from Python; it prints nothing."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np

from counterpoint import options
from counterpoint.errors import UserError
from counterpoint.training import MethodConfig

How = Literal["swap", "hide", "noise", "drop", "exchange"]
DEGREES = ("noise", "drop", "exchange")


def corrupt(
    data: Path,
    given: Sequence[str],
    output: Path,
    how: How = "swap",
    views: Sequence[str] | None = None,
    share: float = 0.3,
    seed: int = 0,
    strength: float | None = None,
) -> dict[str, Any]:
    """Read a table, make one of `views` (default: any) wrong or missing in a share of its rows, write it as Parquet.

    With `strength` the view is made worse by that degree ("noise", "drop", "exchange"), else replaced ("swap", "hide",
    "noise"). `given` are `key=value` options of the reader. The column `corrupt` names the view that was hit, or
    "none"; see `counterpoint.multimodal.corrupt`. Returns how many rows were hit, by view. Raises `UserError` for a
    file that cannot be read, an unknown view, a share or strength out of range, a way that needs a strength or takes
    none, or noise for a view that is not of numbers.
    """
    from counterpoint.multimodal import corrupt as tool
    from counterpoint.multimodal.reading.written import write_table
    from counterpoint.multimodal.table import Table

    if output.is_dir():
        raise UserError(f"{output} is a folder; name a file to write, such as {output / 'corrupt.parquet'}")
    if strength is None and how in ("drop", "exchange"):
        raise UserError(f"--how {how} needs --strength, the share of a view's parts that are hit, such as 0.5")
    if strength is not None and how not in DEGREES:
        raise UserError(f"--how {how} takes a whole view and no --strength; with one, --how is {', '.join(DEGREES)}")
    reading, _ = options.divide(given, Table, MethodConfig)
    table = Table.read(data, **reading)
    hit, rng = list(views or table.views), np.random.Generator(np.random.PCG64(seed))
    if strength is None:
        made, masks = {"swap": tool.swap, "hide": tool.hide, "noise": tool.noise}[how](table, hit, share, rng)
    else:
        made, masks = tool.degrade(table, hit, share, rng, cast("tool.Degree", how), strength)
    write_table(output, made)
    return {"file": str(output), "rows": len(table), "hit": {name: int(mask.sum()) for name, mask in masks.items()}}
