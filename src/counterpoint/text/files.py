"""Tables with texts in them: CSV, TSV, JSON lines, Parquet and Arrow files, whole, as Arrow tables."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.ipc
import pyarrow.parquet
from jaxtyping import Shaped

from counterpoint.errors import UserError

SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet", ".pq", ".arrow", ".feather", ".ipc")
CSV_BLOCK = 16_000_000
"""Bytes that Arrow parses together; no line may be longer."""


def read_file(path: Path) -> pa.Table:
    """All columns of a file, those of CSV and TSV as texts; raises `UserError` naming the file."""
    if not path.exists():
        raise UserError(f"{path}: there is no such file")
    suffix = path.suffix.lower()
    try:
        if suffix in (".csv", ".tsv"):
            table = _separated(path, "," if suffix == ".csv" else "\t")
        elif suffix in (".jsonl", ".ndjson"):
            table = _lines(path)
        elif suffix in (".parquet", ".pq"):
            table = pa.parquet.read_table(path)
        elif suffix in (".arrow", ".feather", ".ipc"):
            table = pa.ipc.open_file(path).read_all()
        else:
            raise UserError(f'{path}: texts are read from {", ".join(SUFFIXES)}, not "{suffix}"')
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({_not_utf8(path) or str(error).splitlines()[0]})") from None
    if twice := sorted({name for name in table.column_names if table.column_names.count(name) > 1}):
        raise UserError(f'{path}: two columns are named "{twice[0]}"')
    if not table.num_rows:
        raise UserError(f"{path}: has no rows")
    return table


def _not_utf8(path: Path) -> str | None:
    """Which line of a file of text is not UTF-8, if one is not."""
    if not path.is_file() or path.suffix.lower() not in SUFFIXES[:4]:
        return None
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                where = f"byte {error.start + 1}, 0x{line[error.start]:02x}"
                return f"line {number} is not UTF-8: {where}; convert the file, for example with iconv"
    return None


def is_text(kind: pa.DataType) -> bool:
    """Whether a column of this type holds texts."""
    if pa.types.is_dictionary(kind):
        return is_text(kind.value_type)
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def texts_of(column: pa.ChunkedArray) -> list[str | None]:
    """Texts as Python has them; what is empty or blank is None."""
    return [text if text and not text.isspace() else None for text in column.to_pylist()]


def plain(column: pa.ChunkedArray) -> Shaped[np.ndarray, " n"] | None:
    """A column as numpy, for labels and groups: numbers, booleans, or texts as objects; None for nested values."""
    kind = column.type
    if pa.types.is_nested(kind) or pa.types.is_null(kind):
        return None
    if is_text(kind) or pa.types.is_temporal(kind):
        return np.array(column.cast(pa.string()).to_pylist(), dtype=object)
    whole = column.null_count == 0
    return np.asarray((column if whole else column.cast(pa.float64(), safe=False)).to_numpy())


def _separated(path: Path, delimiter: str) -> pa.Table:
    parse = pa.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True)
    read = pa.csv.ReadOptions(block_size=CSV_BLOCK)
    with pa.csv.open_csv(path, read_options=read, parse_options=parse) as reader:
        names = reader.schema.names
    convert = pa.csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False)
    return pa.csv.read_csv(path, read_options=read, parse_options=parse, convert_options=convert)


def _lines(path: Path) -> pa.Table:
    """One JSON object per line; an absent field is null."""
    with path.open(encoding="utf-8") as file:
        rows = objects(file, str(path))
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = {}
    for name in names:
        values = [row.get(name) for row in rows]
        try:
            columns[name] = pa.array(values)
        except (pa.ArrowInvalid, pa.ArrowTypeError):
            raise UserError(f'{path}: field "{name}" has values of several kinds; make them all texts') from None
    return pa.table(columns)


def objects(lines: Any, source: str) -> list[dict[str, Any]]:
    """The JSON object of each line that is not blank; raises `UserError` with the number of a line that is none."""
    rows = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        if not isinstance(row, dict):
            raise UserError(f"{source}: line {number} is not a JSON object")
        rows.append(row)
    return rows
