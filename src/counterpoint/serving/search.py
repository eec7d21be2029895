"""What `index` and `search` do, callable from Python; they print nothing."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float32

from counterpoint import catalog, jobs, vectors
from counterpoint.errors import UserError, nearest
from counterpoint.serving.ann import FROM
from counterpoint.serving.filters import parse
from counterpoint.serving.hits import Hits, Searchable
from counterpoint.serving.index import Index, Kind
from counterpoint.training import Method, Run, load

Say = Callable[[str], None]
ID = "id:"
REMOTE = "qdrant:"
JOINT = "joint"


def build(
    source: Path,
    output: str | None = None,
    view: str = JOINT,
    kind: Kind = "auto",
    replace: bool = False,
    say: Say = jobs.silent,
) -> dict[str, Any]:
    """Index one kind of vector of a file that `embed` or `fit` wrote; the file's other columns become metadata.

    `output` is a folder (default: beside the file, with the suffix .index) or "qdrant:ADDRESS/COLLECTION". Returns what
    the index says about itself. Raises `UserError` when the file lacks the vectors, or an index stands there already.
    """
    place = output or str(source.with_suffix(".index"))
    if not place.startswith(REMOTE) and (Path(place) / "index.json").exists() and not replace:
        raise UserError(f"{place} holds an index already; add --replace, or name another folder with -o")
    table = _vectors_of(source, view)
    known = vectors.read_about(source)
    about = {name: known[name] for name in ("run", "weights") if name in known} | {"view": view}
    ids, values, metadata = table["id"], _matrix(table["vector"]), table.drop_columns(["id", "vector"])
    made: Any
    if place.startswith(REMOTE):
        from counterpoint.serving.qdrant import QdrantIndex

        made = QdrantIndex.build(place.removeprefix(REMOTE), ids, values, metadata, about=about, replace=replace)
    else:
        _say_what_helps(kind, len(values), say)
        made = Index.build(place, ids, values, metadata, kind=kind, about=about)
    say(made.words)
    return {"index": place, **made.about}


def open_index(place: str | Path) -> Searchable:
    """Open an index: a folder, or "qdrant:ADDRESS/COLLECTION"."""
    if str(place).startswith(REMOTE):
        from counterpoint.serving.qdrant import QdrantIndex

        return QdrantIndex.open(str(place).removeprefix(REMOTE))
    return Index.open(place)


def check_pair(index: Searchable, run: Path, name: str | Path = "the index") -> None:
    """Raise `UserError` unless an index holds vectors of this run; one of unknown origin is taken as it is."""
    weights = index.about.get("weights")
    if weights is not None and weights != Run(run).fingerprint():
        raise UserError(
            f"{name} and {run} do not belong together: the index is of {index.about.get('run')} as it was then; "
            "embed and index again with this run"
        )


def open_for(place: str | Path, run: Path) -> Index:
    """Open an index folder to be asked with a run; raises `UserError` when the two do not belong together."""
    index = Index.open(place)
    check_pair(index, run, place)
    return index


def search(
    place: str | Path,
    query: str,
    run: Path | None = None,
    k: int = 10,
    where: Sequence[str] = (),
    given: Sequence[str] | None = None,
    say: Say = jobs.silent,
) -> list[dict[str, Any]]:
    """The k nearest rows of an index to each row that a query names, best first, with their metadata.

    A query is `id:ROW` of the index (which itself is left out), a file that the run can read, a record as JSON, or a
    text for a run on texts. All but the first need the run: the one given, or the one the index was made with.
    `given` names the views to use of a file's rows.
    """
    index, conditions = open_index(place), parse(where)
    if query.startswith(ID):
        wanted = query.removeprefix(ID)
        hits = index.search(index.vector(wanted)[None], k + 1, conditions)
        return [_answer(wanted, index, _without(hits, wanted, k))]
    asked = run or _run_of(index, place)
    check_pair(index, asked, place)
    names, values = _embedded(load(asked), asked, query, index.about.get("view", JOINT), given, say)
    hits = index.search(values, k, conditions)
    return [
        _answer(name, index, Hits(hits.ids[row : row + 1], hits.scores[row : row + 1], hits.rows[row : row + 1]))
        for row, name in enumerate(names)
    ]


def require(method: Method, capability: str) -> Method:
    """The method, if it has a capability ("recommend", "predict"); raises `UserError` naming those that do."""
    if callable(getattr(method, capability, None)):
        return method
    able = [row.name for row in catalog.rows().values() if callable(getattr(row.load(), capability, None))]
    raise UserError(f"{method.name} cannot {capability}; methods that can: {', '.join(able) or 'none so far'}")


# --- reading vectors


def _vectors_of(path: Path, view: str) -> pa.Table:
    """The ids, the vectors of a view as `vector`, and the other columns; rows without the view are left out."""
    try:
        names = pq.read_schema(path).names
        views = [name.removeprefix(vectors.VIEW) for name in names if name.startswith(vectors.VIEW)]
        column = JOINT if view == JOINT else vectors.VIEW + view
        if "id" not in names or column not in names:
            raise UserError(f'{path}: has no vectors "{view}" with ids; {nearest(view, [JOINT, *views])}')
        kept = [name for name in names if name not in ("id", JOINT) and not name.startswith(vectors.VIEW)]
        table = pq.read_table(path, columns=["id", column, *kept], memory_map=True)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0][:200]
        raise UserError(f"{path}: cannot be read as vectors ({reason}); counterpoint embed writes such files") from None
    table = table.rename_columns(["id", "vector", *(f"{name} (column)" if name == "vector" else name for name in kept)])
    table = table.drop_columns([name for name in table.column_names[2:] if table[name].equals(table["id"])])
    return table.filter(table["vector"].is_valid()) if table["vector"].null_count else table


def _matrix(column: pa.ChunkedArray) -> Float32[np.ndarray, "n d"]:
    """A column of equally long lists as a matrix."""
    kind = column.type
    if not pa.types.is_fixed_size_list(kind):
        raise UserError(f"the vectors are {kind}, not lists of one length; counterpoint embed writes those")
    whole = column.combine_chunks()
    return np.asarray(whole.flatten().to_numpy(zero_copy_only=False), np.float32).reshape(-1, kind.list_size)


def _say_what_helps(kind: Kind, rows: int, say: Say) -> None:
    if kind == "auto" and rows >= FROM:
        say(f"{rows} rows: building an approximate index; --kind exact searches every row instead")


# --- queries


def _run_of(index: Searchable, place: str | Path) -> Path:
    run = index.about.get("run")
    if run is None or not (Path(run) / "config.yaml").is_file():
        raise UserError(f"{place}: searching by anything but id:ROW needs the run the vectors came from; add --run RUN")
    return Path(run)


def _embedded(
    method: Any, run: Path, query: str, view: str, given: Sequence[str] | None, say: Say
) -> tuple[list[Any], Float32[np.ndarray, "n d"]]:
    """The names and vectors of what a query stands for."""
    path = Path(query)
    if len(query) < 1000 and (path.is_file() or path.suffix.lower() in (".csv", ".tsv", ".parquet", ".npz")):
        data = jobs.read_for(Run(run), path, [view] if view != JOINT else given)
        say(f"{query}: {len(data)} rows")
        return [jobs.plain(name) for name in data.ids], _encode(method, data, view)
    data = type(method).Data.of_records([_record(query)], method.facts, source="query")
    return [query], _encode(method, data, view)


def _record(query: str) -> Any:
    """A JSON object as such; anything else is a text."""
    if query.lstrip().startswith("{"):
        try:
            return json.loads(query)
        except ValueError:
            raise UserError(f"query {query[:60]}: starts like a JSON object but is none") from None
    return query


def _encode(method: Any, data: Any, view: str) -> Float32[np.ndarray, "n d"]:
    if view == JOINT:
        found = method.embed(data)
    else:
        encoded = method.embed_views(data, [view])
        found = encoded.vectors[view] * encoded.present[view][:, None]
    values = np.asarray(found.detach().float().numpy())
    if not values.any(axis=1).all():
        row = int(np.argmin(values.any(axis=1)))
        raise UserError(f"row {row + 1} of the query has no vector: the views it needs are missing")
    return values


def _without(hits: Hits, name: str, k: int) -> Hits:
    """The hits of one query but for the row that was asked with."""
    others = [place for place, one in enumerate(hits.ids[0]) if str(one) != name][:k]
    return Hits(hits.ids[:, others], hits.scores[:, others], hits.rows[:, others])


def _answer(query: Any, index: Searchable, hits: Hits) -> dict[str, Any]:
    rows: list[Mapping[str, Any]] = [dict(one) for one in index.metadata(hits.rows[0].tolist())]
    found = zip(hits.ids[0].tolist(), hits.scores[0].tolist(), rows, strict=True)
    return {
        "query": query,
        "found": [
            {"id": one, "score": round(float(score), 6), "metadata": _json(metadata)} for one, score, metadata in found
        ],
    }


def _json(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Metadata as JSON can hold them: dates as text, NaN as null."""
    plain = {}
    for name, value in metadata.items():
        missing = isinstance(value, float) and not np.isfinite(value)
        plain[name] = None if missing else value if isinstance(value, str | int | float | bool | None) else str(value)
    return plain
