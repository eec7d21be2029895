"""Files of events as streams of columns: what columns a file has, and its rows a batch at a time."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from counterpoint.errors import UserError, nearest

BLOCK = 16_000_000
"""Bytes of a text file that are parsed at a time; no line may be longer."""
ROWS = 1_000_000
"""Rows of a Parquet file, or events of sequences, that are read at a time."""
Batches = Iterator[dict[str, pa.Array]]


@dataclass(frozen=True)
class Source:
    """A file of events: the names of its columns, and a function that streams some of them.

    `kinds` holds what the header of a RecBole file says of each column (token, float, token_seq, float_seq).
    """

    path: Path
    names: tuple[str, ...]
    stream: Callable[[Sequence[str]], Batches]
    kinds: Mapping[str, str]


def open_source(path: Path) -> Source:
    """See what a file is by its suffix; a folder is that of RecBole's atomic files, with one `.inter` in it.

    Raises `UserError` for an absent file, an unknown suffix, a damaged header or a column that is there twice.
    """
    if path.is_dir():
        found = sorted(path.glob("*.inter"))
        if len(found) != 1:
            raise UserError(f"{path}: the folder has {len(found)} files *.inter, where one is needed; name the file")
        path = found[0]
    if not path.is_file():
        raise UserError(f"{path}: there is no such file")
    suffix = path.suffix.lower()
    if suffix not in READERS:
        raise UserError(
            f'{path}: events are read from {", ".join(READERS)}, not "{suffix}"; {nearest(suffix, READERS)}'
        )
    try:
        source = READERS[suffix](path)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({str(error).splitlines()[0]})") from None
    if twice := sorted({name for name in source.names if source.names.count(name) > 1}):
        raise UserError(f'{path}: two columns are named "{twice[0]}"')
    return source


def rows_of(source: Source, columns: Sequence[str]) -> Batches:
    """The rows of a file; what is wrong in its middle is a `UserError`, too."""
    try:
        yield from source.stream(columns)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise UserError(f"{source.path}: cannot be read ({str(error).splitlines()[0]})") from None


def table_of(path: Path) -> tuple[pa.Table, Mapping[str, str]]:
    """A whole file of items or users, and the kinds of its columns."""
    source = open_source(path)
    parts = [pa.table(batch) for batch in rows_of(source, source.names)]
    if not parts or not sum(map(len, parts)):
        raise UserError(f"{path}: has no rows")
    return pa.concat_tables(parts), source.kinds


# --- the formats


def _atomic(path: Path) -> Source:
    """RecBole's atomic file: tabs between, a header of `name:kind`, no quotes."""
    with path.open(encoding="utf-8") as file:
        head = file.readline().rstrip("\r\n").split("\t")
    kinds = {}
    for cell in head:
        name, colon, kind = cell.partition(":")
        if not colon or kind not in ("token", "float", "token_seq", "float_seq"):
            raise UserError(
                f'{path}: its header has "{cell}", where a RecBole file has name:kind, the kind being token, float, '
                "token_seq or float_seq"
            )
        kinds[name] = kind
    names = tuple(cell.partition(":")[0] for cell in head)
    typed = [f"{name}:{kinds[name]}" for name in names]

    def stream(columns: Sequence[str]) -> Batches:
        wanted = {typed[names.index(name)]: name for name in columns}
        for batch in _separated_rows(path, "\t", list(wanted), quotes=False):
            yield {wanted[name]: column for name, column in batch.items()}

    return Source(path, names, stream, kinds)


def _separated(path: Path, delimiter: str) -> Source:
    parse = pa.csv.ParseOptions(delimiter=delimiter)
    with pa.csv.open_csv(path, read_options=pa.csv.ReadOptions(block_size=BLOCK), parse_options=parse) as reader:
        names = tuple(reader.schema.names)
    return Source(path, names, lambda columns: _separated_rows(path, delimiter, list(columns)), {})


def _separated_rows(path: Path, delimiter: str, columns: list[str], quotes: bool = True) -> Batches:
    """All as texts: an id such as 007 stays what it is."""
    parse = pa.csv.ParseOptions(delimiter=delimiter, quote_char='"' if quotes else False)
    convert = pa.csv.ConvertOptions(
        include_columns=columns, column_types=dict.fromkeys(columns, pa.string()), strings_can_be_null=False
    )
    read = pa.csv.ReadOptions(block_size=BLOCK)
    with pa.csv.open_csv(path, read_options=read, parse_options=parse, convert_options=convert) as reader:
        for batch in reader:
            yield dict(zip(columns, batch.columns, strict=True))


def _parquet(path: Path) -> Source:
    file = pa.parquet.ParquetFile(path)

    def stream(columns: Sequence[str]) -> Batches:
        for batch in file.iter_batches(batch_size=ROWS, columns=list(columns)):
            yield dict(zip(batch.schema.names, batch.columns, strict=True))

    return Source(path, tuple(file.schema_arrow.names), stream, {})


def _sequences(path: Path) -> Source:
    """A line per user: the user, then items in the order of time, with blanks or tabs between."""

    def stream(columns: Sequence[str]) -> Batches:
        users: list[str] = []
        lengths: list[int] = []
        items: list[str] = []
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                user, *sequence = line.split() or ("",)
                if not sequence:
                    raise UserError(f'{path}: line {number}: "{line.strip()}" is not a user and then items')
                users.append(user)
                lengths.append(len(sequence))
                items += sequence
                if len(items) >= ROWS:
                    yield _unrolled(users, lengths, items)
                    users, lengths, items = [], [], []
        if items:
            yield _unrolled(users, lengths, items)

    return Source(path, ("user", "item"), stream, {})


def _unrolled(users: list[str], lengths: list[int], items: list[str]) -> dict[str, pa.Array]:
    repeated = pa.array([place for place, length in enumerate(lengths) for _ in range(length)])
    return {"user": pa.array(users).take(repeated), "item": pa.array(items)}


READERS: dict[str, Callable[[Path], Source]] = {
    ".inter": _atomic,
    ".item": _atomic,
    ".user": _atomic,
    ".csv": lambda path: _separated(path, ","),
    ".tsv": lambda path: _separated(path, "\t"),
    ".parquet": _parquet,
    ".pq": _parquet,
    ".txt": _sequences,
}
