"""The same index on Qdrant, for collections past one machine: a collection of unit vectors with ids and metadata."""

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Float32

from counterpoint.errors import UserError, nearest, need
from counterpoint.serving.filters import BOUNDS, value_for
from counterpoint.serving.given import aligned, block_of, ids_of, metadata_of, refuse_repeated
from counterpoint.serving.hits import Hits, Rows
from counterpoint.serving.store import units

BATCH = 1000  # points sent at a time
KEY = "QDRANT_API_KEY"
_RANGE = {">=": "gte", "<=": "lte", ">": "gt", "<": "lt"}


class QdrantIndex:
    """An index in a Qdrant collection, with the interface of `Index`; row numbers are the points' numbers.

    An address is "http://host:6333/collection" or "folder/collection" for the client's own in-process mode. The key of
    a server that wants one is read from the environment variable QDRANT_API_KEY. Changes are sent in batches: one that
    is stopped may have been made in part, and can be repeated.
    """

    def __init__(self, client: Any, name: str) -> None:
        self._client, self._name = client, name
        self._models = need("qdrant_client.models", "qdrant")
        with _talking(name):
            self._about = dict(client.get_collection(name).config.metadata or {})
        if "columns" not in self._about:
            raise UserError(f"the Qdrant collection {name} was not made by counterpoint; index into another one")
        kinds = {column: pa.type_for_alias(kind) for column, kind in self._about.pop("columns").items()}
        self._ids, self._columns = kinds.pop("id"), kinds

    @classmethod
    def build(
        cls,
        address: str,
        ids: Any,
        vectors: Any,
        metadata: pa.Table | None = None,
        about: Mapping[str, Any] | None = None,
        replace: bool = False,
    ) -> "QdrantIndex":
        """Make a collection and fill it; `replace` empties one that exists, which else is refused."""
        keys, block = ids_of(ids), block_of(vectors)
        table = metadata_of(metadata, len(keys))
        kinds = {"id": keys.type} | {field.name: _kept_as(field.type) for field in table.schema}
        client, name = _client(address)
        models = need("qdrant_client.models", "qdrant")
        with _talking(name):
            if client.collection_exists(name):
                if not replace:
                    raise UserError(f"the Qdrant collection {name} exists already; add --replace, or name another")
                client.delete_collection(name)
            client.create_collection(
                name,
                vectors_config=models.VectorParams(size=block.shape[1], distance=models.Distance.COSINE),
                metadata={**(about or {}), "columns": {column: str(kind) for column, kind in kinds.items()}},
            )
        made = cls(client, name)
        made.add(keys, block, table)
        return made

    @classmethod
    def open(cls, address: str) -> "QdrantIndex":
        """Open a collection that `build` made; raises `UserError` when it cannot be reached or is another's."""
        return cls(*_client(address))

    def __len__(self) -> int:
        with _talking(self._name):
            return int(self._client.count(self._name).count)

    @property
    def about(self) -> dict[str, Any]:
        """`kind`, `dim`, `rows`, and what was given to `build`; recall is Qdrant's affair and not known."""
        return {**self._about, "kind": "qdrant", "dim": self._dim, "rows": len(self), "recall": None}

    @property
    def words(self) -> str:
        """What kind of search this is, in a sentence."""
        return f"{len(self)} rows of {self._dim} numbers in the Qdrant collection {self._name}"

    def search(self, queries: Any, k: int = 10, where: Mapping[str, Any] | None = None) -> Hits:
        """The k rows nearest to each query, among those whose metadata match `where`; see `Index.search`."""
        asked = units(block_of(queries, self._dim), lambda row: f"query {row + 1}")
        if k < 1:
            raise UserError(f"k must be at least 1, not {k}")
        condition = self._filter(where or {})
        requests = [
            self._models.QueryRequest(query=query.tolist(), limit=k, with_payload=["id"], filter=condition)
            for query in asked
        ]
        with _talking(self._name):
            answers = [found.points for found in self._client.query_batch_points(self._name, requests)]
        width = min((len(points) for points in answers), default=0)
        shape = (len(answers), width)
        cells = [point for points in answers for point in points[:width]]
        names = np.empty(len(cells), dtype=np.int64 if pa.types.is_integer(self._ids) else object)
        names[:] = [point.payload["id"] for point in cells]
        scores = np.array([point.score for point in cells], dtype=np.float32)
        rows = np.array([point.id for point in cells], dtype=np.int64)
        return Hits(names.reshape(shape), scores.reshape(shape), rows.reshape(shape))

    def add(self, ids: Any, vectors: Any, metadata: pa.Table | None = None) -> None:
        """Add rows with new ids; see `Index.add`."""
        keys, block = ids_of(ids, self._ids), block_of(vectors, self._dim)
        if len(keys) != len(block):
            raise UserError(f"{len(block)} vectors for {len(keys)} ids")
        refuse_repeated(keys)
        names = keys.to_pylist()
        if there := self._present(names):
            raise UserError(f"id {there[0]} is in the index already; delete it first")
        vectors = units(block, lambda row: f"id {names[row]}")
        like = pa.schema(list(self._columns.items())).empty_table()
        fields = aligned(metadata, like, len(names)).to_pylist() or [{} for _ in names]
        points = [
            self._models.PointStruct(id=_number(name), vector=vector.tolist(), payload={"id": name, "metadata": row})
            for name, vector, row in zip(names, vectors, fields, strict=True)
        ]
        with _talking(self._name):
            for start in range(0, len(points), BATCH):
                self._client.upsert(self._name, points[start : start + BATCH], wait=True)

    def delete(self, ids: Sequence[Any]) -> None:
        """Take rows out; see `Index.delete`."""
        names = ids_of(ids, self._ids).to_pylist()
        if absent := sorted(set(names) - set(self._present(names)), key=str):
            raise UserError(f"id {absent[0]} is not in the index; nothing was deleted")
        with _talking(self._name):
            selected = self._models.PointIdsList(points=[_number(name) for name in names])
            self._client.delete(self._name, selected, wait=True)

    def metadata(self, rows: Rows) -> list[dict[str, Any]]:
        """The metadata of rows, by row number."""
        found = {point.id: point.payload["metadata"] for point in self._points(rows)}
        return [{name: found[int(row)].get(name) for name in self._columns} for row in rows]

    def vector(self, id: Any) -> Float32[np.ndarray, " d"]:
        """The unit vector of an id; raises `UserError` when there is none such."""
        try:
            name = pa.scalar(id).cast(self._ids).as_py()
        except (pa.ArrowException, OverflowError):
            name = None
        points = [] if name is None else self._points([_number(name)])
        if not points:
            raise UserError(f'no id "{id}" in this index')
        return np.asarray(points[0].vector, dtype=np.float32)

    def close(self) -> None:
        """Let go of the server, or of the folder, which one process may hold at a time."""
        self._client.close()

    @property
    def _dim(self) -> int:
        with _talking(self._name):
            return int(self._client.get_collection(self._name).config.params.vectors.size)

    def _points(self, rows: Rows) -> list[Any]:
        numbers = [int(row) for row in rows]
        with _talking(self._name):
            return list(self._client.retrieve(self._name, numbers, with_payload=True, with_vectors=True))

    def _present(self, names: Sequence[Any]) -> list[Any]:
        """Those ids that are in the collection."""
        found: list[Any] = []
        for start in range(0, len(names), BATCH):
            numbers = [_number(name) for name in names[start : start + BATCH]]
            with _talking(self._name):
                points = self._client.retrieve(self._name, numbers, with_payload=["id"], with_vectors=False)
            found += [point.payload["id"] for point in points]
        return found

    def _filter(self, where: Mapping[str, Any]) -> Any:
        """Conditions as Qdrant writes them; the rules are those of `filters`."""
        return self._models.Filter(must=[self._condition(name, wanted) for name, wanted in where.items()])

    def _condition(self, name: str, wanted: Any) -> Any:
        models, kinds = self._models, {"id": self._ids, **self._columns}
        if name not in kinds:
            raise UserError(f'where: no metadata column "{name}"; {nearest(name, kinds)}')
        key, kind = (name if name == "id" and name not in self._columns else f"metadata.{name}"), kinds[name]
        if wanted is None:
            return models.IsEmptyCondition(is_empty=models.PayloadField(key=key))
        if isinstance(wanted, list | tuple | set | frozenset):
            return models.Filter(should=[self._condition(name, one) for one in wanted])
        if isinstance(wanted, Mapping):
            if unknown := [sign for sign in wanted if sign not in BOUNDS]:
                raise UserError(f'where "{name}": unknown bound "{unknown[0]}"; {nearest(str(unknown[0]), BOUNDS)}')
            if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
                raise UserError(f'where "{name}": Qdrant compares numbers only, and this column is text')
            bounds = {_RANGE[sign]: float(value_for(name, kind, value).as_py()) for sign, value in wanted.items()}
            return models.FieldCondition(key=key, range=models.Range(**bounds))
        value = value_for(name, kind, wanted).as_py()
        if isinstance(value, float):
            return models.FieldCondition(key=key, range=models.Range(gte=value, lte=value))
        return models.FieldCondition(key=key, match=models.MatchValue(value=value))


def _client(address: str) -> tuple[Any, str]:
    place, _, name = address.rpartition("/")
    if not place or not name:
        raise UserError(f"qdrant:{address}: write qdrant:http://host:6333/collection or qdrant:folder/collection")
    qdrant = need("qdrant_client", "qdrant")
    with _talking(name):
        if "://" in place:
            # The client would compare versions in a thread of its own, which complains elsewhere.
            return qdrant.QdrantClient(url=place, api_key=os.environ.get(KEY), check_compatibility=False), name
        return qdrant.QdrantClient(path=place), name


@contextmanager
def _talking(name: str) -> Iterator[None]:
    """Say in one line what a server, or its absence, has to say."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # the client raises those of its several transports
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"the Qdrant collection {name} cannot be used ({reason})") from error


def _number(name: Any) -> int:
    """The point number of an id: the same everywhere, and different for different ids (63 bits of a hash)."""
    digest = hashlib.blake2b(repr(name).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def _kept_as(kind: pa.DataType) -> pa.DataType:
    """What a metadata column becomes: whole numbers, numbers, truth values, or text."""
    if pa.types.is_boolean(kind):
        return pa.bool_()
    if pa.types.is_integer(kind):
        return pa.int64()
    return pa.float64() if pa.types.is_floating(kind) else pa.string()
