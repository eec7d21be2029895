"""Files of records: JSON lines, CSV, TSV, Parquet, as dictionaries that may be nested."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from counterpoint.errors import UserError

SUFFIXES = (".jsonl", ".ndjson", ".csv", ".tsv", ".parquet", ".pq")


def read_records(path: Path) -> list[dict[str, Any]]:
    """All records of a file, those of CSV and TSV as texts; raises `UserError` naming file and line.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "a.jsonl"
    >>> _ = path.write_text('{"question": "1 + 1?", "answer": "2"}')
    >>> read_records(path)
    [{'question': '1 + 1?', 'answer': '2'}]
    """
    if not path.is_file():
        raise UserError(f"{path}: there is no such file")
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise UserError(f'{path}: records are read from {", ".join(SUFFIXES)}, not "{suffix}"')
    try:
        if suffix in (".parquet", ".pq"):
            found: list[dict[str, Any]] = pq.read_table(path).to_pylist()
        else:
            text = path.read_text(encoding="utf-8-sig")
            found = list(_lines(text, path) if suffix in (".jsonl", ".ndjson") else _separated(text, suffix))
    except (pa.ArrowException, OSError, csv.Error, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({str(error).splitlines()[0]})") from None
    if not found:
        raise UserError(f"{path}: has no rows")
    return found


def _separated(text: str, suffix: str) -> Iterator[dict[str, Any]]:
    yield from csv.DictReader(text.splitlines(keepends=True), delimiter="," if suffix == ".csv" else "\t", strict=True)


def _lines(text: str, path: Path) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        if not isinstance(row, dict):
            raise UserError(f"{path}: line {number} is not a JSON object")
        yield row
