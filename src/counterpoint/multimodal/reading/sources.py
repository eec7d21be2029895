"""Files as streams of Arrow record batches: CSV, TSV, Parquet, Arrow/Feather, npz and saved Hugging Face data sets."""

import json
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.ipc
import pyarrow.parquet
from jaxtyping import Float32

from counterpoint.errors import UserError, nearest

BATCH_ROWS = 16_384
BATCH_BYTES = 32_000_000
# Arrow's streaming reader holds several tens of blocks; no line may be longer than one.
CSV_BLOCK = 2_000_000
# Decoding holds a dictionary and a page of about 1 MB for every column that is read at the same time.
COLUMNS_AT_ONCE = 16
DEEP = pa.list_(pa.list_(pa.list_(pa.float32())))
"""Stands in a schema for arrays of four or more axes, which no view can hold."""


@dataclass(frozen=True)
class Source:
    """An open file: what its columns are, how many rows it has, and how to stream them.

    `stream(numbers, others)` yields record batches of the named columns, rows in file order; `typed` is False
    for text formats, whose `others` arrive as strings.
    """

    path: Path
    schema: pa.Schema
    rows: int
    stream: Callable[[Sequence[str], Sequence[str]], Iterator[pa.RecordBatch]]
    columns_at_once: int | None = None
    typed: bool = True

    def batches(self, numbers: Sequence[str], others: Sequence[str]) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Yield (first row, batch); a batch has some columns; each column comes whole, in order."""
        for group in self._groups(numbers, others):
            start = 0
            for batch in self.stream(*group):
                yield start, batch
                start += batch.num_rows
            if start != self.rows:
                raise UserError(f"{self.path}: has {start} rows, not {self.rows}; it is damaged or being written")

    def head(self, numbers: Sequence[str], others: Sequence[str]) -> pa.Table:
        """The first rows of the named columns, for a look at their values."""
        columns: dict[str, pa.Array] = {}
        for group in self._groups(numbers, others):
            batch = next((batch for batch in self.stream(*group) if batch.num_rows), None)
            if batch is None:
                raise UserError(f"{self.path}: has no rows where {self.rows} were announced; it is damaged")
            columns |= zip(batch.schema.names, batch.columns, strict=True)
        rows = min((len(column) for column in columns.values()), default=0)
        return pa.table({name: column.slice(0, rows) for name, column in columns.items()})

    def _groups(self, numbers: Sequence[str], others: Sequence[str]) -> Iterator[tuple[list[str], list[str]]]:
        """Numbers and others to be read together, as many as the format reads well at once."""
        wanted = [*numbers, *others]
        at_once = self.columns_at_once or max(1, len(wanted))
        for first in range(0, len(wanted), at_once):
            cut = range(first, min(first + at_once, len(wanted)))
            yield [wanted[i] for i in cut if i < len(numbers)], [wanted[i] for i in cut if i >= len(numbers)]


def open_source(path: str | Path) -> Source:
    """Open a table by its suffix, or a folder that `datasets` saved.

    Raises `UserError` when it is missing, empty, damaged or unknown.
    """
    path = Path(path)
    if not path.exists():
        raise UserError(f"{path}: no such file")
    source = _saved(path) if path.is_dir() else _of_file(path)
    names = source.schema.names
    if repeated := [(name, times) for name, times in Counter(names).items() if times > 1]:
        raise UserError(f'{path}: column "{repeated[0][0]}" appears {repeated[0][1]} times; rename them')
    if odd := [name for name in names if not name.isprintable()]:
        raise UserError(f"{path}: the column name {odd[0][:40]!r} has unprintable characters; rename it")
    if source.rows == 0:
        raise UserError(f"{path}: has no rows")
    return source


def _of_file(path: Path) -> Source:
    opener = OPENERS.get(path.suffix.lower())
    if opener is None:
        raise UserError(f'{path}: unknown format "{path.suffix}"; {nearest(path.suffix, OPENERS)}')
    if path.stat().st_size == 0:
        raise UserError(f"{path}: the file is empty")
    return opener(path)


def is_number(kind: pa.DataType) -> bool:
    """Whether a column of this type is one number per row, as booleans and columns of only nulls are."""
    if pa.types.is_dictionary(kind):
        return is_number(kind.value_type)
    tests = (
        pa.types.is_boolean,
        pa.types.is_integer,
        pa.types.is_floating,
        pa.types.is_decimal,
        pa.types.is_null,
    )
    return any(test(kind) for test in tests)


def is_vector(kind: pa.DataType) -> bool:
    """Whether a column of this type is one list of numbers per row."""
    lists = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    return any(test(kind) for test in lists) and is_number(kind.value_type)


def as_float32(array: pa.Array | pa.ChunkedArray) -> Float32[np.ndarray, " n"]:
    """Numbers of any type as float32, NaN where null; what is too large becomes infinite."""
    if pa.types.is_dictionary(array.type):
        array = array.cast(array.type.value_type)
    return np.asarray(array.cast(pa.float32(), safe=False).to_numpy(zero_copy_only=False))


# What pyarrow, numpy and zipfile raise over files that are not what they should be.
DAMAGE = (
    *(pa.ArrowException, OSError, EOFError, KeyError, ValueError, RuntimeError, MemoryError),
    *(zipfile.BadZipFile, zlib.error),
)


@contextmanager
def reading(path: Path, what: str) -> Iterator[None]:
    """Turn what a library says about a bad file into one line."""
    try:
        yield
    except UserError:
        raise
    except UnicodeDecodeError:
        raise UserError(f"{path}: is not UTF-8 text; save it as UTF-8") from None
    except DAMAGE as error:
        reason = "".join(filter(str.isprintable, str(error).strip().split("\n")[0]))[:200]
        if "Empty CSV file" in reason:
            raise UserError(f"{path}: has no rows") from None
        raise UserError(f"{path}: cannot be read as {what} ({reason}); it is damaged or of another format") from error


def _slices(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """Cut a batch so that converting a piece stays within `BATCH_BYTES`."""
    step = min(BATCH_ROWS, max(1, BATCH_BYTES * batch.num_rows // max(1, batch.nbytes)))
    for start in range(0, batch.num_rows, step):
        yield batch.slice(start, step)


# --- Parquet and Arrow


def _parquet(path: Path) -> Source:
    # Without these two settings a whole row group is held in memory, often the whole file.
    def open_file() -> pa.parquet.ParquetFile:
        return pa.parquet.ParquetFile(path, pre_buffer=False, buffer_size=65_536)

    with reading(path, "Parquet"), open_file() as file:
        schema, rows = file.schema_arrow, file.metadata.num_rows
        size = sum(file.metadata.row_group(i).total_byte_size for i in range(file.metadata.num_row_groups))

    def stream(numbers: Sequence[str], others: Sequence[str]) -> Iterator[pa.RecordBatch]:
        step = min(BATCH_ROWS, max(1, BATCH_BYTES * rows // max(1, size)))
        names = [*numbers, *others]
        with reading(path, "Parquet"), open_file() as file:
            for batch in file.iter_batches(step, columns=names, use_threads=False):
                yield batch.select(names)

    return Source(path, schema, rows, stream, columns_at_once=COLUMNS_AT_ONCE)


def _arrow(path: Path) -> Source:
    def batches(fields: list[int]) -> Iterator[pa.RecordBatch]:
        options = pa.ipc.IpcReadOptions(included_fields=fields)
        with reading(path, "Arrow"), pa.OSFile(str(path)) as file:
            reader = _ipc_reader(file, options)
            filed = isinstance(reader, pa.ipc.RecordBatchFileReader)
            for batch in map(reader.get_batch, range(reader.num_record_batches)) if filed else reader:
                # Arrow trusts the offsets in a file; a spoilt one would be followed out of the buffer.
                batch.validate(full=True)
                yield batch

    with reading(path, "Arrow"), pa.OSFile(str(path)) as file:
        schema = _ipc_reader(file, pa.ipc.IpcReadOptions()).schema
        columns = {name: field for field, name in enumerate(schema.names)}
    rows = sum(batch.num_rows for batch in batches([0] if columns else []))

    def stream(numbers: Sequence[str], others: Sequence[str]) -> Iterator[pa.RecordBatch]:
        names = [*numbers, *others]
        for batch in batches([columns[name] for name in names]):
            yield from _slices(batch.select(names))

    return Source(path, schema, rows, stream, columns_at_once=COLUMNS_AT_ONCE)


def _ipc_reader(
    file: pa.NativeFile, options: pa.ipc.IpcReadOptions
) -> pa.RecordBatchReader | pa.ipc.RecordBatchFileReader:
    """A reader of the file format or of the stream format, whichever this is."""
    try:
        return pa.ipc.open_file(file, options=options)
    except pa.ArrowInvalid:
        file.seek(0)
        return pa.ipc.open_stream(file, options=options)


# --- a folder of Hugging Face datasets


def _saved(folder: Path) -> Source:
    """What `Dataset.save_to_disk` left: state.json names Arrow files, which are read one after the other."""
    if (folder / "dataset_dict.json").is_file():
        with reading(folder, "a data set"):
            parts = json.loads((folder / "dataset_dict.json").read_text(encoding="utf-8"))["splits"]
        raise UserError(f"{folder}: holds the parts {', '.join(parts)}; name one, such as {folder / parts[0]}")
    if not (folder / "state.json").is_file():
        raise UserError(f"{folder}: is a folder, and none that datasets saved (no state.json); name one file")
    with reading(folder, "a data set"):
        state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        names = [Path(file["filename"]).name for file in state["_data_files"]]
    if not names:
        raise UserError(f"{folder}: has no rows")
    files = [_arrow(folder / name) for name in names]

    def stream(numbers: Sequence[str], others: Sequence[str]) -> Iterator[pa.RecordBatch]:
        for file in files:
            yield from file.stream(numbers, others)

    rows = sum(file.rows for file in files)
    return Source(folder, files[0].schema, rows, stream, columns_at_once=COLUMNS_AT_ONCE)


# --- CSV and TSV


def _csv(path: Path, delimiter: str = ",") -> Source:
    parse = pa.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True)

    def reader(types: dict[str, pa.DataType] | None) -> pa.csv.CSVStreamingReader:
        convert = pa.csv.ConvertOptions(column_types=types, include_columns=list(types or ()), strings_can_be_null=True)
        return pa.csv.open_csv(path, pa.csv.ReadOptions(use_threads=False, block_size=CSV_BLOCK), parse, convert)

    with reading(path, "CSV"):
        with path.open("rb") as file:
            if file.read(2) in (b"\xff\xfe", b"\xfe\xff"):
                raise UserError(f"{path}: is UTF-16, not UTF-8 text; save it as UTF-8")
        with reader(None) as first:
            schema = first.schema
        if any(pa.types.is_binary(kind) for kind in schema.types):
            raise UserError(f"{path}: is not UTF-8 text; save it as UTF-8")
        with reader({schema.names[0]: pa.string()}) as column:
            rows = sum(batch.num_rows for batch in column)

    def stream(numbers: Sequence[str], others: Sequence[str]) -> Iterator[pa.RecordBatch]:
        booleans = {name for name in numbers if pa.types.is_boolean(schema.field(name).type)}
        types = {name: pa.bool_() if name in booleans else pa.float64() for name in numbers}
        types |= dict.fromkeys(others, pa.string())
        with reading(path, "CSV"):
            try:
                with reader(types) as batches:
                    yield from batches
            except pa.ArrowInvalid:
                with reader(dict.fromkeys(types, pa.string())) as batches:
                    _find_text(path, batches, types)
                raise

    return Source(path, schema, rows, stream, typed=False)


def _find_text(path: Path, batches: Iterator[pa.RecordBatch], types: dict[str, pa.DataType]) -> None:
    """Name the first value of a batch that is no number in a column of numbers."""
    start = 0
    for batch in batches:
        for name, kind in types.items():
            values = pc.utf8_trim_whitespace(batch.column(name))
            if not _casts(values, kind):
                row = next(i for i, value in enumerate(values) if not _casts(value, kind))
                raise text_among_numbers(path, start + row, name, values[row].as_py(), pa.types.is_boolean(kind))
        start += batch.num_rows


def _casts(values: pa.Array | pa.Scalar, kind: pa.DataType) -> bool:
    try:
        values.cast(kind)
    except pa.ArrowInvalid:
        return False
    return True


def text_among_numbers(path: Path, row: int, column: str, value: str, boolean: bool = False) -> UserError:
    """The error for a stray text; `row` counts from 0, the message from 1."""
    expected = "true or false, as the values above it are" if boolean else "a number"
    return UserError(
        f'{path}: row {row + 1}, column "{column}": "{value[:40]}" is not {expected}; correct it, or leave '
        "it empty if it is missing"
    )


# --- npz


def _npz(path: Path) -> Source:
    with path.open("rb") as file:
        whole = file.read(4) == b"PK\x03\x04" and zipfile.is_zipfile(path)
    if not whole:
        raise UserError(f"{path}: is not a whole npz archive; save it with numpy.savez")

    def array(name: str) -> np.ndarray:
        with reading(path, "npz"), path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            try:
                return np.asarray(archive[name])
            except ValueError as error:
                if "Object arrays" not in str(error):
                    raise
                raise UserError(
                    f'{path}: array "{name}" holds Python objects, never loaded; save numbers or text'
                ) from None

    with reading(path, "npz"), path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
        names = archive.files
    fields, lengths = [], {}
    for name in names:
        values = array(name)
        if values.ndim:
            fields.append(pa.field(name, _numpy_type(path, name, values)))
            lengths[name] = len(values)
    for (one, rows), (other, differing) in pairwise(lengths.items()):
        if rows != differing:
            raise UserError(f'{path}: array "{one}" has {rows} rows but "{other}" has {differing}')

    def stream(numbers: Sequence[str], others: Sequence[str]) -> Iterator[pa.RecordBatch]:
        with reading(path, "npz"):
            for name in [*numbers, *others]:
                values = array(name)
                step = min(BATCH_ROWS, max(1, BATCH_BYTES // max(1, values.nbytes // len(values))))
                for start in range(0, len(values), step):
                    yield pa.record_batch({name: _to_arrow(values[start : start + step])})

    return Source(path, pa.schema(fields), next(iter(lengths.values()), 0), stream, columns_at_once=1)


def _numpy_type(path: Path, name: str, values: np.ndarray) -> pa.DataType:
    if values.ndim > 3:
        return DEEP
    if values.ndim > 1 and 0 in values.shape[1:]:
        raise UserError(f'{path}: array "{name}" has no columns')
    try:
        return _to_arrow(values[:1]).type
    except (pa.ArrowException, TypeError, ValueError):
        raise UserError(f'{path}: array "{name}" of type {values.dtype} cannot be read; save numbers or text') from None


def _to_arrow(values: np.ndarray) -> pa.Array:
    """One axis becomes a column, two axes a column of vectors, three a column of lists of vectors."""
    found = pa.array(np.ascontiguousarray(values.astype(values.dtype.newbyteorder("="), copy=False)).reshape(-1))
    for length in reversed(values.shape[1:]):
        found = pa.FixedSizeListArray.from_arrays(found, length)
    return found


OPENERS: dict[str, Callable[[Path], Source]] = {
    ".csv": _csv,
    ".tsv": lambda path: _csv(path, "\t"),
    ".parquet": _parquet,
    ".pq": _parquet,
    ".arrow": _arrow,
    ".feather": _arrow,
    ".ipc": _arrow,
    ".npz": _npz,
}
