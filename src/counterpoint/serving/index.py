"""Vectors that can be searched: a folder that grows and shrinks, opens at once, and finds the nearest rows exactly.

Above `ann.FROM` rows search is approximate (faiss); what that misses is measured when the index is built.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool, Float32, Int64, Shaped

from counterpoint.errors import UserError
from counterpoint.serving import ann, store
from counterpoint.serving.exact import nearest as nearest_rows
from counterpoint.serving.filters import matching
from counterpoint.serving.given import aligned, block_of, ids_of, metadata_of, refuse_repeated, similar
from counterpoint.serving.hits import Hits, Rows

Kind = Literal["auto", "exact", "ivf", "hnsw"]
FEW = 50_000
"""Rows that match a filter and are rather looked at one by one than looked for in an approximate index."""
TAIL = 0.1
"""Share of rows beyond the approximate index, searched exactly, above which they are taken in."""


class Index:
    """Unit vectors with ids and metadata in a folder; scores are cosine similarities.

    Ids are whole numbers or text, all of one kind, each once. `search` is exact unless `about["kind"]` is "ivf" or
    "hnsw". Changes reach the disk before the call returns; a process that is stopped leaves the index as it was.

    >>> import tempfile
    >>> index = Index.build(tempfile.mkdtemp(), ["a", "b"], np.eye(2), pa.table({"year": [1999, 2024]}))
    >>> index.search([[1.0, 0.1]], k=1).ids.tolist()
    [['a']]
    >>> index.search([[1.0, 0.1]], k=2, where={"year": {">=": 2000}}).ids.tolist()
    [['b']]
    >>> index.delete(["a"])
    >>> len(index)
    1
    """

    def __init__(self, state: store.Store) -> None:
        self._become(state)

    def _become(self, state: store.Store) -> None:
        self._state, self._ann = state, _opened(state)

    @classmethod
    def build(
        cls,
        folder: str | Path,
        ids: Any,
        vectors: Any,
        metadata: pa.Table | None = None,
        kind: Kind = "auto",
        about: Mapping[str, Any] | None = None,
    ) -> "Index":
        """Make an index ("n d" vectors of any length; one column per metadata field), replacing one that stands there.

        `about` is kept beside it (the run, its weights, the view). Raises `UserError` for ids that are missing or
        repeated, vectors that are not finite, or a folder that holds something else.
        """
        place = Path(folder)
        if (
            place.is_dir()
            and not (place / store.CARD).exists()
            and any(not f.name.startswith(".") for f in place.iterdir())
        ):
            raise UserError(f"{place} holds other files; name a new folder for the index")
        keys, block = ids_of(ids), block_of(vectors)
        table = metadata_of(metadata, len(keys))
        if len(keys) != len(block):
            raise UserError(f"{len(block)} vectors for {len(keys)} ids")
        refuse_repeated(keys)
        with store.changing(place):
            card = {"asked": kind, "kind": "exact", "recall": 1.0, "about": dict(about or {})}
            state = store.create(place, keys, block, table, card)
            return cls(_approximated(state))

    @classmethod
    def open(cls, folder: str | Path) -> "Index":
        """Open an index without reading its vectors; raises `UserError` when it is damaged or from a newer version."""
        return cls(store.load(Path(folder)))

    def __len__(self) -> int:
        return len(self._state.at)

    @property
    def about(self) -> dict[str, Any]:
        """`kind`, `dim`, `rows` and `recall` (at 10, measured when built), and what was given to `build`."""
        card = self._state.card
        return {**card["about"], "kind": card["kind"], "dim": card["dim"], "rows": len(self), "recall": card["recall"]}

    @property
    def words(self) -> str:
        """What kind of search this is, in a sentence."""
        if self._ann is None:
            return f"{len(self)} rows of {self._state.dim} numbers; search is exact"
        looked = {"ivf": "inverted lists", "hnsw": "a graph of neighbours"}[self._ann.kind]
        return (
            f"{len(self)} rows of {self._state.dim} numbers; search is approximate ({looked}, "
            f"{ann.EFFORT[self._ann.kind]}={self._ann.effort}) and found {100 * self._ann.recall:.1f} % of the ten "
            f"nearest rows of {ann.SAMPLE} sampled ones"
        )

    @property
    def ids(self) -> Shaped[np.ndarray, " n"]:
        """The id of each row."""
        return self._state.names

    def search(self, queries: Any, k: int = 10, where: Mapping[str, Any] | None = None) -> Hits:
        """The k rows nearest to each query ("n d", of any length), among those whose metadata match `where`.

        `where` maps a column (or "id") to a value, a list of values, None (missing) or bounds (`{">=": 40}`).
        Raises `UserError` for queries of another width or not finite, and for a column or value that cannot be.
        """
        asked = store.units(block_of(queries, self._state.dim), lambda row: f"query {row + 1}")
        if k < 1:
            raise UserError(f"k must be at least 1, not {k}")
        mask = self._matching(where) if where else None
        at = self._state.at if mask is None else self._state.at[mask]
        k = min(k, len(at))
        if self._ann is None or len(at) <= FEW:
            scores, places = nearest_rows(asked, self._state.vectors, at, k)
        else:
            scores, places = self._approximate(asked, at, k)
        rows = self._state.rows_at(places)
        return Hits(self.ids[rows], scores, rows)

    def add(self, ids: Any, vectors: Any, metadata: pa.Table | None = None) -> None:
        """Add rows with new ids; metadata columns that are left out are missing. All are added, or none.

        Raises `UserError` for an id that is there already, another width, or a metadata column that the index lacks.
        """
        keys, block = ids_of(ids, self._state.ids.type), block_of(vectors, self._state.dim)
        if len(keys) != len(block):
            raise UserError(f"{len(block)} vectors for {len(keys)} ids")
        refuse_repeated(keys)
        with store.changing(self._state.folder):
            state = store.load(self._state.folder)
            there = pc.is_in(keys, value_set=state.ids)
            if (first := pc.index(there, True).as_py()) >= 0:
                raise UserError(f"id {keys[first].as_py()} is in the index already; delete it first")
            state = store.append(state, keys, block, aligned(metadata, state.metadata, len(keys)))
            self._become(_caught_up(state))

    def delete(self, ids: Sequence[Any]) -> None:
        """Take rows out. All are taken out, or none; raises `UserError` for an id that is not there."""
        keys = ids_of(ids, self._state.ids.type)
        with store.changing(self._state.folder):
            state = store.load(self._state.folder)
            there = pc.is_in(keys, value_set=state.ids)
            if (first := pc.index(there, False).as_py()) >= 0:
                raise UserError(f"id {keys[first].as_py()} is not in the index; nothing was deleted")
            kept = ~np.asarray(pc.is_in(state.ids, value_set=keys).to_numpy(zero_copy_only=False), dtype=bool)
            state = store.keep(state, kept)
            if len(state.at) < state.stored / 2:  # more holes than rows
                card = {name: state.card[name] for name in ("asked", "about")} | {"kind": "exact", "recall": 1.0}
                vectors = np.asarray(state.vectors[state.at])
                state = _approximated(store.create(state.folder, state.ids, vectors, state.metadata, card))
            self._become(state)

    def metadata(self, rows: Rows) -> list[dict[str, Any]]:
        """The metadata of rows, by row number."""
        table = self._state.metadata
        return list(table.take(pa.array(rows, pa.int64())).to_pylist()) if table.column_names else [{} for _ in rows]

    def vector(self, id: Any) -> Float32[np.ndarray, " d"]:
        """The unit vector of an id; raises `UserError` when there is none such."""
        return np.asarray(self.vectors([self.row(id)])[0])

    def vectors(self, rows: Rows) -> Float32[np.ndarray, "n d"]:
        """The unit vectors of rows, by row number."""
        return np.asarray(self._state.vectors[self._state.at[np.asarray(rows, dtype=np.int64)]])

    def row(self, id: Any) -> int:
        """The row number of an id, which may be given as text; raises `UserError` when there is none such."""
        kind = self._state.ids.type
        try:
            found = pc.index(self._state.ids, pa.scalar(id).cast(kind)).as_py()
        except (pa.ArrowException, OverflowError):
            found = -1
        if found < 0:
            raise UserError(f'no id "{id}" in this index{similar(str(id), self._state.ids)}')
        return int(found)

    def _matching(self, where: Mapping[str, Any]) -> Bool[np.ndarray, " n"]:
        table = self._state.metadata
        if "id" in where and "id" not in table.column_names:
            table = (
                table.append_column("id", self._state.ids) if table.column_names else pa.table({"id": self._state.ids})
            )
        return matching(table, where)

    def _approximate(
        self, queries: Float32[np.ndarray, "n d"], at: Int64[np.ndarray, " r"], k: int
    ) -> tuple[Float32[np.ndarray, "n k"], Int64[np.ndarray, "n k"]]:
        """What faiss finds, with the rows added since searched exactly; queries it lets down are searched exactly."""
        assert self._ann is not None
        alive = None
        if len(at) < self._state.stored:
            alive = np.zeros(self._state.stored, dtype=bool)
            alive[at] = True
        scores, places = self._ann.search(queries, k, alive)
        tail = at[np.searchsorted(at, self._ann.covered) :]
        late, late_places = nearest_rows(queries, self._state.vectors, tail, k)
        scores = np.concatenate([np.where(places < 0, -np.inf, scores), late], axis=1)
        places = np.concatenate([places, late_places], axis=1)
        order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        scores, places = np.take_along_axis(scores, order, axis=1), np.take_along_axis(places, order, axis=1)
        short = np.isinf(scores).any(axis=1)
        if short.any():
            scores[short], places[short] = nearest_rows(queries[short], self._state.vectors, at, k)
        return scores.astype(np.float32), places


def _opened(state: store.Store) -> ann.Approximate | None:
    card = state.card
    if card["kind"] == "exact":
        return None
    return ann.read(state.path("ann"), card["kind"], card["effort"], card["covered"], card["recall"])


def _approximated(state: store.Store) -> store.Store:
    """The index with an approximate one beside it, when one was asked for or there are many rows."""
    asked = state.card["asked"]
    if asked == "exact" or (asked == "auto" and len(state.at) < ann.FROM) or not state.stored:
        return state
    return _attached(state, ann.build(asked, state.vectors))


def _caught_up(state: store.Store) -> store.Store:
    """The index after rows were added: they are taken into the approximate index when they have become many."""
    index = _opened(state)
    if index is None:
        return _approximated(state)
    if state.stored - index.covered <= TAIL * state.stored:
        return state
    return _attached(state, ann.tuned(ann.add(index, state.vectors), state.vectors))


def _attached(state: store.Store, index: ann.Approximate) -> store.Store:
    name = f"ann-{state.card['generation'] + 1}.faiss"
    ann.write(index, state.folder / name)
    card = {"kind": index.kind, "recall": index.recall, "effort": index.effort, "covered": index.covered}
    return store.attach(state, "ann", name, card)
