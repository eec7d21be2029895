"""An index on disk: vectors in a file that only grows, the rows that count in another, index.json, which names both.

The rows file has the metadata, each row's id (`_id`) and where in the vectors file its vector stands (`_at`). A change
writes what is new, then replaces index.json; whoever is stopped before that leaves the old index in force. One process
changes an index at a time; readers are never in the way, for what they have opened stays.
"""

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float32, Int64, Shaped

from counterpoint.errors import UserError
from counterpoint.files import atomic_path, write_json
from counterpoint.serving.given import RESERVED

FORMAT = 1  # raised when an older library could misread the folder
CARD = "index.json"
BLOCK = 65_536  # vectors checked and written at a time
NUMBER = 4  # bytes


@dataclass(frozen=True)
class Store:
    """The state of an index folder at one moment; a change makes another state."""

    folder: Path
    card: dict[str, Any] = field(repr=False)

    @property
    def stored(self) -> int:
        """Vectors in the vectors file, those of deleted rows among them."""
        return int(self.card["stored"])

    @property
    def dim(self) -> int:
        return int(self.card["dim"])

    @cached_property
    def vectors(self) -> Float32[np.ndarray, "m d"]:
        """Every vector stored, mapped from the file and not read before it is used."""
        if not self.stored:
            return np.zeros((0, self.dim), dtype=np.float32)
        # Copy-on-write, because torch refuses arrays that cannot be written to.
        return np.memmap(self.path("vectors"), dtype="<f4", mode="c", shape=(self.stored, self.dim))

    @cached_property
    def _file(self) -> pq.ParquetFile:
        """The rows file; once open it stays readable, whatever becomes of the folder."""
        with _damage(self.path("rows")):
            return pq.ParquetFile(pa.memory_map(str(self.path("rows"))))

    def _columns(self, names: list[str]) -> pa.Table:
        with _damage(self.path("rows")):
            return self._file.read(names)

    @cached_property
    def _keys(self) -> pa.Table:
        return self._columns(list(RESERVED))

    @property
    def ids(self) -> pa.Array:
        """The id of each row."""
        return _whole(self._keys["_id"])

    @cached_property
    def names(self) -> Shaped[np.ndarray, " n"]:
        """The ids as Python has them."""
        return np.asarray(self.ids.to_numpy(zero_copy_only=False))

    @cached_property
    def at(self) -> Int64[np.ndarray, " n"]:
        """Where each row's vector stands, rising."""
        return np.asarray(_whole(self._keys["_at"]).to_numpy(), dtype=np.int64)

    @cached_property
    def metadata(self) -> pa.Table:
        """The metadata columns, read when they are first asked for."""
        names = [name for name in self._file.schema_arrow.names if name not in RESERVED]
        return self._columns(names) if names else pa.table({})

    def path(self, part: str) -> Path:
        """The file of one part ("vectors", "rows", "ann")."""
        return self.folder / str(self.card["files"][part])

    def rows_at(self, places: Int64[np.ndarray, "n k"]) -> Int64[np.ndarray, "n k"]:
        """Row numbers of places in the vectors file."""
        return np.searchsorted(self.at, places)


def load(folder: Path) -> Store:
    """The state that index.json describes; raises `UserError` when the folder is no index, damaged or newer."""
    for last in (False, True):
        store = Store(folder, _card(folder))
        try:
            _check(store)
        except FileNotFoundError as missing:
            if last:
                raise UserError(f"{missing.filename} is missing; the index is damaged, build it again") from None
            continue  # another process has replaced the files since index.json was read
        break
    return store


def _card(folder: Path) -> dict[str, Any]:
    path = folder / CARD
    if not path.is_file():
        raise UserError(f"{folder} is not an index (no {CARD}); counterpoint index makes one from vectors")
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
        newer = int(card["format"]) > FORMAT
        sound = all(isinstance(card[name], int) for name in ("dim", "stored", "rows", "generation"))
        named = isinstance(card["about"], dict) and all(Path(name).name == name for name in card["files"].values())
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UserError(f"{path} is damaged; build the index again") from None
    if newer:
        raise UserError(f"{path} was written by a newer version ({card.get('counterpoint')}); upgrade counterpoint")
    if not (sound and named and card["dim"] > 0 and {"vectors", "rows"} <= card["files"].keys()):
        raise UserError(f"{path} is damaged; build the index again")
    return dict(card)


def _check(store: Store) -> None:
    """Open the files, so that they stay readable, and compare their sizes with the card's."""
    if store.path("vectors").stat().st_size < store.stored * store.dim * NUMBER:
        raise UserError(f"{store.path('vectors')} is damaged: it is too short; build the index again")
    at, held = store.at, len(store.vectors)
    rising = not len(at) or (at[0] >= 0 and at[-1] < held and bool((np.diff(at) > 0).all()))
    if len(at) != store.card["rows"] or not rising:
        raise UserError(f"{store.path('rows')} is damaged: its rows are not those of {CARD}; build the index again")


def is_foreign(folder: Path) -> bool:
    """Whether a folder holds something that is no index, or a file stands in its place."""
    if not folder.is_dir():
        return folder.exists()
    return not (folder / CARD).exists() and any(not path.name.startswith(".") for path in folder.iterdir())


def create(folder: Path, ids: pa.Array, vectors: Any, metadata: pa.Table, card: Mapping[str, Any]) -> Store:
    """Write a whole index; one that stands in the folder stays in force until this one is complete."""
    generation = _generation(folder) + 1
    files = {"vectors": f"vectors-{generation}.f32", "rows": f"rows-{generation}.parquet"}
    with atomic_path(folder / files["vectors"]) as temporary, temporary.open("wb") as file:
        _write_units(file, ids, vectors)
    dim = int(vectors.shape[1])
    whole = {"dim": dim, "stored": len(ids), "files": files, "generation": generation, **card}
    return _commit(Store(folder, whole), ids, np.arange(len(ids)), metadata)


def append(store: Store, ids: pa.Array, vectors: Any, metadata: pa.Table) -> Store:
    """Add rows at the end."""
    with store.path("vectors").open("r+b") as file:
        file.truncate(store.stored * store.dim * NUMBER)  # what a stopped process may have left
        file.seek(0, os.SEEK_END)
        _write_units(file, ids, vectors)
        file.flush()
        os.fsync(file.fileno())
    at = np.concatenate([store.at, store.stored + np.arange(len(ids))])
    grown = _next(store, stored=store.stored + len(ids))
    return _commit(grown, pa.concat_arrays([store.ids, ids]), at, pa.concat_tables([store.metadata, metadata]))


def keep(store: Store, rows: Shaped[np.ndarray, " n"]) -> Store:
    """Go on with some rows only; the vectors of the others stay in the file, unused."""
    mask = pa.array(rows)
    kept = store.metadata.filter(mask) if store.metadata.column_names else store.metadata
    return _commit(_next(store), store.ids.filter(mask), store.at[rows], kept)


def attach(store: Store, part: str, name: str, card: Mapping[str, Any]) -> Store:
    """Name a further file of the index, which has been written, and what index.json says of it."""
    changed = _next(store, files={**store.card["files"], part: name}, **card)
    write_json(store.folder / CARD, changed.card)
    _sweep(changed)
    return changed


@contextmanager
def changing(folder: Path) -> Iterator[None]:
    """Hold the right to change an index; raises `UserError` when another process holds it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = open(folder / ".lock", "w")  # noqa: SIM115
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({error.strerror})") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"{folder}: another process is changing this index; try again when it is done") from None
        yield


def _next(store: Store, **changes: Any) -> Store:
    return Store(store.folder, {**store.card, "generation": store.card["generation"] + 1, **changes})


def _generation(folder: Path) -> int:
    """The number of the newest files that stand in a folder, complete or not."""
    numbers = [path.stem.rpartition("-")[2] for path in folder.glob("*-*.*")]
    return max((int(number) for number in numbers if number.isdigit()), default=0)


def _commit(store: Store, ids: pa.Array, at: Int64[np.ndarray, " n"], metadata: pa.Table) -> Store:
    """Write the rows, then index.json, and only then remove what nothing names any more."""
    rows = f"rows-{store.card['generation']}.parquet"
    columns = {"_id": ids, "_at": at, **dict(zip(metadata.column_names, metadata.columns, strict=True))}
    with atomic_path(store.folder / rows) as temporary:
        pq.write_table(pa.table(columns), temporary)
    files = {**store.card["files"], "rows": rows}
    card = {**store.card, "format": FORMAT, "counterpoint": version("counterpoint"), "files": files, "rows": len(ids)}
    write_json(store.folder / CARD, card)
    written = Store(store.folder, card)
    _sweep(written)
    return written


def _sweep(store: Store) -> None:
    named = {*store.card["files"].values(), CARD}
    for pattern in ("vectors-*.f32", "rows-*.parquet", "ann-*.faiss", ".*.tmp"):
        for path in store.folder.glob(pattern):
            if path.name not in named:
                path.unlink(missing_ok=True)


def _write_units(file: Any, ids: pa.Array, vectors: Any) -> None:
    """Write vectors scaled to length 1 (zero stays zero); raises `UserError` for one that is not finite."""
    for start in range(0, len(vectors), BLOCK):
        block = units(vectors[start : start + BLOCK], lambda row, first=start: f"id {ids[first + row].as_py()}")
        file.write(block.astype("<f4", copy=False).data)


def units(vectors: Any, name: Any) -> Float32[np.ndarray, "n d"]:
    """Vectors scaled to length 1; `name(row)` says in an error which one it is."""
    block = np.asarray(vectors, dtype=np.float64)
    finite = np.isfinite(block).all(axis=1)
    if not finite.all():
        raise UserError(f"the vector of {name(int(np.argmin(finite)))} holds NaN or infinite values")
    length = np.linalg.norm(block, axis=1, keepdims=True)
    return np.ascontiguousarray(block / np.where(length > 0, length, 1.0), dtype=np.float32)


@contextmanager
def _damage(path: Path) -> Iterator[None]:
    """Say in one line that a file cannot be read; one that is absent is the caller's business."""
    try:
        yield
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError, KeyError) as error:
        raise UserError(f"{path} is damaged ({str(error).splitlines()[0][:200]}); build the index again") from None


def _whole(column: pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
