"""What a report shows of rows: a small picture, and the words of texts, levels and events."""

import io
from collections.abc import Collection
from typing import Any

import numpy as np
import pyarrow as pa

from counterpoint.multimodal.kinds import KINDS
from counterpoint.multimodal.table import Table, View

MOST = 1000
"""Rows shown beside those that are needed."""
SIDE = 96
"""Pixels of a small picture's longer side."""
LETTERS = 160


def display(table: Table, needed: Collection[Any] = (), pictures: bool = True) -> pa.Table | None:
    """Columns id, picture (PNG) and caption of the needed ids and the first rows; None when there is nothing to show.

    >>> table = Table.of({"note": ["a cough", None], "x": [[1], [2]]}, kind={"note": "text"})
    >>> display(table).column("caption").to_pylist()
    ['a cough', None]
    """
    drawn = next((view for view in table.views.values() if pictures and view.kind == "pictures"), None)
    worded = [view for view in table.views.values() if view.kind in ("text", "categories", "events")]
    if drawn is None and not worded:
        return None
    ids = table.ids.tolist()
    wanted = set(needed)
    rows = [row for row, key in enumerate(ids) if row < MOST or key in wanted]
    return pa.table({
        "id": pa.array(table.ids[np.array(rows, dtype=np.int64)]),
        "picture": pa.array([None if drawn is None else _thumbnail(drawn, row) for row in rows], pa.binary()),
        "caption": pa.array([caption(worded, row) for row in rows], pa.string()),
    })  # fmt: skip


def caption(views: list[View], row: int) -> str | None:
    """The words of a row, each view's shortened so that all have room."""
    words = [text for view in views if (text := KINDS[view.kind].shown(view, row)) is not None]
    room = max(40, LETTERS // max(1, len(words)))
    return " | ".join(text if len(text) <= room else f"{text[: room - 2]}.." for text in words) or None


def _thumbnail(view: View, row: int) -> bytes | None:
    """A row's picture as a small PNG."""
    from PIL import Image, ImageOps

    (picture,) = view.entries(row)
    if picture is None:
        return None
    with Image.open(io.BytesIO(picture) if isinstance(picture, bytes) else picture) as opened:
        small = ImageOps.exif_transpose(opened).convert("RGB")
    small.thumbnail((SIDE, SIDE))
    made = io.BytesIO()
    small.save(made, "PNG", optimize=True)
    return made.getvalue()
