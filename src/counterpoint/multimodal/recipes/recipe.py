"""What the recipes for real tables share: files of packages and of databases, codes as columns, and their command."""

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
from jaxtyping import Float32

from counterpoint.errors import UserError, nearest
from counterpoint.files import atomic_path
from counterpoint.multimodal.reading.sources import reading

LEAST_ROWS = 5
"""A code that fewer rows have gets no column."""
MOST_COLUMNS = 500
"""Only so many codes get a column: those that the most rows have."""


def package_folder(package: str, install: str) -> Path:
    """The folder of an installed package, found without importing it; raises `UserError` with the command for it."""
    found = find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise UserError(f"the table comes with {package}, which is not installed; run: {install}")
    return Path(found.submodule_search_locations[0])


def write(path: str | Path, columns: Mapping[str, Any]) -> None:
    """Write columns as Parquet, whole or not at all."""
    with atomic_path(path) as temporary:
        pq.write_table(pa.table(dict(columns)), temporary)


def command(module: str, arguments: Sequence[str], needed: Sequence[str], make: Callable[..., str]) -> int:
    """Run a recipe on the words of a command line; `make` returns what was written, in words. Returns the exit code."""
    if len(arguments) != len(needed):
        print(f"usage: python -m counterpoint.multimodal.recipes.{module} {' '.join(needed)}", file=sys.stderr)
        return 2
    try:
        print(make(*arguments))
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def database(folder: str | Path, name: str, columns: Sequence[str]) -> pa.Table:
    """Some columns, as text, of a database's CSV file NAME.csv or NAME.csv.gz; upper and lower case are alike.

    Raises `UserError` naming the folder that lacks the file, or the file and the column it lacks.
    """
    found = database_if_there(folder, name, columns)
    if found is None:
        raise UserError(f"{folder}: has no {name}.csv or {name}.csv.gz; name the folder of the database's CSV files")
    return found


def database_if_there(folder: str | Path, name: str, columns: Sequence[str]) -> pa.Table | None:
    """As `database`, but None when the file is absent."""
    place = Path(folder)
    if not place.is_dir():
        raise UserError(f"{place}: is not a folder; name the one of the database's CSV files")
    files = {path.name.lower(): path for path in sorted(place.iterdir())}
    path = files.get(f"{name}.csv".lower()) or files.get(f"{name}.csv.gz".lower())
    if path is None:
        return None
    with reading(path, "CSV"):
        # What fits into no other type: codes such as 0389 keep their zeros.
        with pa.csv.open_csv(path) as head:
            known = {column.lower(): column for column in head.schema.names}
        missing = [column for column in columns if column.lower() not in known]
        if missing:
            raise UserError(f'{path}: has no column "{missing[0]}"; {nearest(missing[0], known)}')
        kept = [known[column.lower()] for column in columns]
        convert = pa.csv.ConvertOptions(
            include_columns=kept, column_types=dict.fromkeys(kept, pa.string()), strings_can_be_null=True
        )
        parse = pa.csv.ParseOptions(newlines_in_values=True)
        return pa.csv.read_csv(path, parse_options=parse, convert_options=convert).rename_columns(list(columns))


def texts(table: pa.Table, column: str) -> list[str | None]:
    """A column as text."""
    values: list[str | None] = table[column].to_pylist()
    return values


def numbers(table: pa.Table, column: str) -> Float32[np.ndarray, " n"]:
    """A column of text as numbers, NaN where it is none."""
    values = pc.utf8_trim_whitespace(table[column])
    spelled = pc.match_substring_regex(values, r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$")
    known = pc.if_else(pc.fill_null(spelled, False), values, None).cast(pa.float64())
    found: Float32[np.ndarray, " n"] = np.array(known.to_numpy(), dtype=np.float32)
    return found


def code_columns(
    rows: Sequence[str], records: Iterable[tuple[str | None, str | None]], prefix: str, least: int = LEAST_ROWS
) -> dict[str, Float32[np.ndarray, " n"]]:
    """How often each row has each code, as ln(1 + count) in a column `prefix`CODE; NaN in rows without any record.

    `records` are (row, code); records of other rows or without a code are passed over. Codes that fewer than `least`
    rows have get no column, nor do those after the 500 that the most rows have.

    >>> {name: values.round(1).tolist() for name, values in
    ...  code_columns(["a", "b", "c"], [("a", "x"), ("b", "x"), ("a", "x")], "dx_", least=2).items()}
    {'dx_x': [1.100000023841858, 0.699999988079071, nan]}
    """
    place = {row: number for number, row in enumerate(rows)}
    counts: dict[str, dict[int, int]] = {}
    recorded = np.zeros(len(rows), dtype=bool)
    for row, code in records:
        if row in place and code:
            counted = counts.setdefault(code, {})
            counted[place[row]] = counted.get(place[row], 0) + 1
            recorded[place[row]] = True
    found = {}
    frequent = sorted((code for code in counts if len(counts[code]) >= least), key=lambda code: -len(counts[code]))
    for code in sorted(frequent[:MOST_COLUMNS]):
        values = np.where(recorded, 0.0, np.nan).astype(np.float32)
        for number, count in counts[code].items():
            values[number] = np.log1p(count)
        found[f"{prefix}{code}"] = values
    return found


def mean_columns(
    rows: Sequence[str], records: Iterable[tuple[str | None, str | None, float]], prefix: str, least: int = LEAST_ROWS
) -> dict[str, Float32[np.ndarray, " n"]]:
    """The mean value of each measurement of each row, in a column `prefix`NAME; NaN where a row has none.

    `records` are (row, name, value); what fewer than `least` rows have gets no column.

    >>> mean_columns(["a", "b"], [("a", "k", 3.0), ("a", "k", 5.0)], "lab_", least=1)["lab_k"].tolist()
    [4.0, nan]
    """
    place = {row: number for number, row in enumerate(rows)}
    sums: dict[str, Float32[np.ndarray, "n 2"]] = {}
    for row, name, value in records:
        if row in place and name and np.isfinite(value):
            sums.setdefault(name, np.zeros((len(rows), 2)))[place[row]] += (value, 1)
    found = {}
    for name in sorted(sums):
        total, count = sums[name].T
        if (count > 0).sum() >= least:
            found[f"{prefix}{name}"] = np.where(count > 0, total / np.maximum(count, 1), np.nan).astype(np.float32)
    return found


def event_columns(
    rows: Sequence[str], records: Iterable[tuple[str | None, float, float, str | None]], prefix: str
) -> dict[str, pa.Array]:
    """The same measurements one by one: list columns `prefix`values, times and types, null in rows without any.

    `records` are (row, value, time, type).
    """
    found: dict[str, list[tuple[float, float, str]]] = {}
    for row, value, time, kind in records:
        if row is not None and kind and np.isfinite(value) and np.isfinite(time):
            found.setdefault(row, []).append((float(value), float(time), kind))
    kept = [sorted(found[row], key=lambda event: event[1]) if row in found else None for row in rows]
    kinds = {"values": pa.list_(pa.float32()), "times": pa.list_(pa.float32()), "types": pa.list_(pa.string())}
    return {
        f"{prefix}{part}": pa.array([None if e is None else [event[i] for event in e] for e in kept], kind)
        for i, (part, kind) in enumerate(kinds.items())
    }
