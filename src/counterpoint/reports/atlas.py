"""The map's data: places, ids, columns to colour by, and pictures."""

import base64
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from counterpoint.reports.folder import Folder
from counterpoint.reports.project import lay_out

FEW = 12
TITLE = "title"
"""The column that names a row; it is told, not coloured by."""
CATEGORIES = ("category", "categories", "genre", "genres", "class", "kind", "type", "department")
"""Names of columns that are coloured by first."""
PICTURE_BYTES = 12_000_000


def atlas(folder: Folder) -> dict[str, Any] | None:
    """Gather what the map draws; None when the run holds no vectors."""
    if folder.rows is None or not folder.rows.num_rows:
        return None
    plane = lay_out(vectors(folder.rows["joint"]), folder.seed)
    rows = folder.rows.take(pa.array(plane.index))
    names = [name for name in rows.column_names if name not in ("id", "joint", TITLE)]
    columns = {name: column(rows[name].to_pylist()) for name in names}
    titles = rows[TITLE].to_pylist() if TITLE in rows.column_names else None
    return {
        "x": plane.places[:, 0].tolist(),
        "y": plane.places[:, 1].tolist(),
        "ids": [str(key) for key in rows["id"].to_pylist()],
        "columns": [{"name": name, **shown} for name, shown in columns.items() if shown],
        "titles": titles and [None if title is None else str(title) for title in titles],
        "first": folder.label if folder.label in columns else telling(columns),
        "how": plane.how,
    }


def telling(columns: Mapping[str, dict[str, Any] | None]) -> str | None:
    """The column to colour by: one that is called a category, or the first whose groups are most rows; else none.

    >>> telling({"code": column("abcd"), "half": column("aabb")})
    'half'
    """
    groups = {name: shown for name, shown in columns.items() if shown is not None and shown["kind"] == "groups"}
    for name, shown in groups.items():
        rest = len(shown["names"]) - 1 if "texts" in shown else -1
        inside = [value for value in shown["values"] if value not in (-1, rest)]
        most = 2 * len(inside) >= len(shown["values"]) and len(inside) > len(set(inside)) > 1
        if name.lower() in CATEGORIES or (most and not set(CATEGORIES) & {other.lower() for other in groups}):
            return name
    return None


def vectors(lists: pa.ChunkedArray) -> np.ndarray:
    """Turn a column of equally long lists into an n x d array; a missing list is a row of NaN."""
    rows = lists.combine_chunks()
    if isinstance(rows, pa.ChunkedArray):
        rows = pa.concat_arrays(rows.chunks)
    flat = rows.flatten().to_numpy(zero_copy_only=False).astype(np.float32)
    present = rows.is_valid().to_numpy(zero_copy_only=False)
    width = len(flat) // max(1, int(present.sum()))
    whole = np.full((len(rows), width), np.nan, dtype=np.float32)
    whole[present] = flat.reshape(-1, width)
    return whole


def column(values: Sequence[Any]) -> dict[str, Any] | None:
    """Describe a column: a scale of numbers, or 12 groups (the rest is "other"); None when it is neither.

    >>> column([3, 1, 3])
    {'kind': 'groups', 'names': ['1', '3'], 'values': [1, 0, 1]}
    >>> column([0.5, None, 1.5])
    {'kind': 'scale', 'values': [0.5, None, 1.5]}
    """
    present = [value for value in values if value is not None]
    if not present or any(isinstance(value, list | dict | bytes) for value in present):
        return None
    numeric = all(isinstance(value, int | float) and not isinstance(value, bool) for value in present)
    whole = numeric and all(float(value).is_integer() for value in present)
    if numeric and not (whole and len(set(present)) <= FEW):
        return {"kind": "scale", "values": [None if value is None else float(value) for value in values]}
    texts = [None if value is None else f"{value:g}" if whole else str(value) for value in values]
    return {"kind": "groups", **_groups(texts, float if whole else str)}


def _groups(texts: Sequence[str | None], order: Callable[[str], Any]) -> dict[str, Any]:
    """Number the groups; those beyond the 12 largest are one, and the texts stay. A missing value is -1."""
    counts = Counter(text for text in texts if text is not None)
    names = [name for name, _ in counts.most_common(FEW if len(counts) <= FEW else FEW - 1)]
    names.sort(key=order)
    code = {name: i for i, name in enumerate(names)}
    values = [-1 if text is None else code.get(text, len(names)) for text in texts]
    if len(names) == len(counts):
        return {"names": names, "values": values}
    return {"names": [*names, "other"], "values": values, "texts": list(texts)}


def pictures(folder: Folder, first: Iterable[str], then: Iterable[str]) -> tuple[dict[str, str], int]:
    """Encode the pictures of some ids as base64, in order of need until 12 MB; also count those left out."""
    encoded: dict[str, str] = {}
    left_out = size = 0
    for key in dict.fromkeys([*first, *then]):
        picture = folder.pictures.get(key)
        if picture is None:
            continue
        size += len(picture)
        if size > PICTURE_BYTES:
            left_out += 1
        else:
            encoded[key] = base64.b64encode(picture).decode("ascii")
    return encoded, left_out


def captions(folder: Folder, keys: Iterable[str]) -> dict[str, str]:
    """Give some rows' words, after their value in the label column, as text by id."""
    wanted = dict.fromkeys(keys)
    labels: dict[str, str] = {}
    if folder.rows is not None and folder.label in folder.rows.column_names:
        pairs = zip(folder.rows["id"].to_pylist(), folder.rows[folder.label].to_pylist(), strict=True)
        labels = {str(key): str(label) for key, label in pairs if str(key) in wanted and label is not None}
    both = {key: ": ".join(part for part in (labels.get(key), folder.words.get(key)) if part) for key in wanted}
    return {key: text for key, text in both.items() if text}
