"""Graphs from files: tables of nodes and edges, npz archives, folders of the THUNLP form, PyG's Data.

A table of nodes is CSV, TSV or Parquet with a column of ids; its table of edges has two columns of such ids. An npz
archive holds `edge_index` (or the adjacency as `adj_indptr` and `adj_indices`), features as `x` or in compressed rows
(`feat_...` or `attr_...`: data, indices, indptr, shape), `labels` or `y`, and perhaps `train`, `val` and `test`, as
numbers or masks. A folder holds `data.txt` (line i is the text of node i), `graph.txt` (two numbers a line) and perhaps
`group.txt` (line i is its class).
"""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet
import torch
from jaxtyping import Int64, Shaped

from counterpoint.errors import UserError, nearest
from counterpoint.graphs.graph import AttributedGraph
from counterpoint.training.sparse import Sparse

IDS = ("id", "node", "node_id", "paper_id", "_id")
TEXTS = ("text", "abstract", "content", "description", "title", "body")
PARTS = ("train", "validation", "test")
Columns = Mapping[str, str | None]


def read(path: Path, edges: str | None, columns: Columns) -> AttributedGraph:
    """A graph from a file or folder; `columns` says which column is what. Raises `UserError` naming what is wrong."""
    if not path.exists():
        raise UserError(f"{path}: there is no such file")
    if path.is_dir():
        return _folder(path)
    if path.suffix.lower() == ".npz":
        return _archive(path, columns)
    if edges is None:
        raise UserError(f"{path}: name the file of its edges too: edges=FILE")
    return _tables(path, _beside(path, edges), columns)


def of_pyg(data: Any, source: str) -> AttributedGraph:
    """A graph from PyG's Data, or anything with its attributes."""
    columns: dict[str, Any] = {}
    if getattr(data, "y", None) is not None:
        columns["label"] = data.y.reshape(-1).numpy()
    masks = {
        name: getattr(data, f"{short}_mask", None) for name, short in zip(PARTS, ("train", "val", "test"), strict=True)
    }
    masks = {name: mask.numpy() for name, mask in masks.items() if mask is not None and mask.ndim == 1}
    if masks:
        columns["split"] = _said(masks, data.num_nodes)
    texts = getattr(data, "raw_texts", None) or getattr(data, "raw_text", None)
    x = getattr(data, "x", None)
    return AttributedGraph.of(
        data.edge_index.numpy(),
        features=None if x is None else x.to_dense().numpy(),
        texts=texts,
        columns=columns,
        source=source,
        parts="split" if masks else None,
    )


# Tables ---------------------------------------------------------------------------------------------------------------


def _beside(path: Path, name: str) -> Path:
    """A file beside another, or else where the name leads."""
    found = next((place for place in (path.parent / name, Path(name)) if place.is_file()), None)
    if found is None:
        raise UserError(f"edges={name}: there is no such file, neither in {path.parent} nor here")
    return found


def _table(path: Path) -> pa.Table:
    """All columns of a file; raises `UserError` naming it."""
    suffix = path.suffix.lower()
    try:
        if suffix in (".csv", ".tsv"):
            parse = pa.csv.ParseOptions(delimiter="," if suffix == ".csv" else "\t", newlines_in_values=True)
            table = pa.csv.read_csv(path, parse_options=parse)
        elif suffix in (".parquet", ".pq"):
            table = pa.parquet.read_table(path)
        else:
            raise UserError(f'{path}: graphs are read from .csv, .tsv, .parquet, .npz and folders, not "{suffix}"')
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path}: cannot be read ({str(error).splitlines()[0]})") from None
    return table


def _tables(path: Path, of_edges: Path, columns: Columns) -> AttributedGraph:
    nodes, edges = _table(path), _table(of_edges)
    if not len(nodes):
        raise UserError(f"{path}: has no rows")
    named = {what: name for what, name in columns.items() if name is not None}
    for what in ("id", "classes", "parts"):
        if what in named:
            _known(path, what, named[what], nodes)
    key = named.get("id") or next((name for name in IDS if name in nodes.column_names), None)
    if key is None:
        raise UserError(f"{path}: no column of ids; name one: id=COLUMN (columns: {', '.join(nodes.column_names)})")
    ids = nodes[key].combine_chunks()
    _each_once(path, key, ids)
    text_columns = _text_columns(path, named.get("text"), nodes)
    feature_columns = _feature_columns(path, named.get("features"), nodes)
    taken = {key, *text_columns, *feature_columns}
    kept = {name: _plain(nodes[name]) for name in nodes.column_names if name not in taken}
    return AttributedGraph.of(
        _numbers(of_edges, edges, ids),
        features=_features(path, nodes, feature_columns),
        texts=_joined(nodes, text_columns) if text_columns else None,
        columns={name: values for name, values in kept.items() if values is not None},
        ids=_plain(nodes[key]),
        source=str(path),
        **({"classes": named["classes"]} if "classes" in named else {}),
        parts=named.get("parts"),
    )


def _known(path: Path, what: str, name: str, table: pa.Table) -> None:
    if name not in table.column_names:
        raise UserError(f"{path}: {what}={name}: no such column; {nearest(name, table.column_names)}")


def _each_once(path: Path, key: str, ids: pa.Array) -> None:
    """Raise `UserError` for an id that is missing or occurs twice."""
    if ids.null_count:
        row = ids.is_null().to_pylist().index(True) + 1
        raise UserError(f'{path}: row {row}, column "{key}": the id is missing')
    counts = pc.value_counts(ids)
    twice = counts.filter(pc.greater(counts.field("counts"), 1))
    if len(twice):
        raise UserError(f'{path}: column "{key}": {twice[0]["values"]} is the id of {twice[0]["counts"]} nodes')


def _text_columns(path: Path, named: str | None, table: pa.Table) -> list[str]:
    """The columns of the text: those named, or one called as texts are."""
    if named is not None:
        found = [part.strip() for part in named.split(",")]
        for name in found:
            _known(path, "text", name, table)
        return found
    return next(([name] for name in TEXTS if name in table.column_names and _is_text(table[name].type)), [])


def _feature_columns(path: Path, named: str | None, table: pa.Table) -> list[str]:
    """The columns of the features by names or patterns, or the only column of lists."""
    if named is None:
        lists = [name for name in table.column_names if pa.types.is_nested(table[name].type)]
        return lists if len(lists) == 1 else []
    patterns = [part.strip() for part in named.split(",")]
    found = [name for name in table.column_names if any(fnmatch(name, pattern) for pattern in patterns)]
    if not found:
        raise UserError(f"{path}: features={named}: no such column; {nearest(named, table.column_names)}")
    return found


def _features(path: Path, table: pa.Table, columns: Sequence[str]) -> Any:
    """Numbers per node of some columns; None where there are no columns."""
    blocks = []
    for name in columns:
        values = table[name]
        try:
            if pa.types.is_nested(values.type):
                blocks.append(np.array(values.to_pylist(), dtype=np.float32))
            else:
                blocks.append(values.cast(pa.float32()).to_numpy().reshape(-1, 1))
        except (ValueError, TypeError, pa.ArrowException):
            raise UserError(f'{path}: column "{name}" holds no numbers, or lists that differ in length') from None
    return np.concatenate(blocks, axis=1) if blocks else None


def _joined(table: pa.Table, columns: Sequence[str]) -> list[str | None]:
    """The texts of some columns, joined by a space."""
    parts = [table[name].cast(pa.string()).to_pylist() for name in columns]
    return [" ".join(text for text in row if text) or None for row in zip(*parts, strict=True)]


def _numbers(path: Path, table: pa.Table, ids: pa.Array) -> Int64[np.ndarray, "2 e"]:
    """The two columns of node ids as node numbers; raises `UserError` naming the row of an unknown one."""
    if table.num_columns < 2:
        raise UserError(f"{path}: edges need two columns of node ids, and there is {table.num_columns}")
    known = ids.cast(pa.string())
    sides = []
    for name in table.column_names[:2]:
        given = table[name].combine_chunks().cast(pa.string())
        place = pc.index_in(given, value_set=known)
        if place.null_count:
            row = place.is_null().to_pylist().index(True)
            raise UserError(f'{path}: row {row + 1}, column "{name}": no node has the id {given[row]}')
        sides.append(place.to_numpy().astype(np.int64))
    return np.stack(sides)


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _plain(values: pa.ChunkedArray) -> Shaped[np.ndarray, " n"] | None:
    """A column as numpy: numbers, or texts as objects; None for nested values."""
    kind = values.type
    if pa.types.is_nested(kind) or pa.types.is_null(kind):
        return None
    if _is_text(kind) or pa.types.is_temporal(kind):
        return np.array(values.cast(pa.string()).to_pylist(), dtype=object)
    whole = values.null_count == 0
    return np.asarray((values if whole else values.cast(pa.float64(), safe=False)).to_numpy())


# Archives and folders -------------------------------------------------------------------------------------------------


def _archive(path: Path, columns: Columns) -> AttributedGraph:
    """An npz file without pickled objects."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            held = {name: archive[name] for name in archive.files}
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as npz without pickled objects ({error})") from None
    edges = _archived_edges(path, held)
    features = _archived_features(path, held)
    nodes = features.shape[0]
    kept: dict[str, Any] = {}
    labels = next((held[name] for name in ("labels", "y", "label") if name in held), None)
    if labels is not None:
        kept["label"] = labels
    short = dict(zip(PARTS, ("train", "val", "test"), strict=True))
    masks = {part: next((held[n] for n in (name, f"{name}_mask") if n in held), None) for part, name in short.items()}
    found = {part: mask for part, mask in masks.items() if mask is not None}
    if found:
        kept["split"] = _said(found, nodes)
    more = {"classes": columns["classes"]} if columns.get("classes") else {}
    return AttributedGraph.of(
        edges, features=features, columns=kept, source=str(path), parts=columns.get("parts"), **more
    )


def _archived_edges(path: Path, held: Mapping[str, Any]) -> Int64[np.ndarray, "2 e"]:
    if "edge_index" in held:
        found = held["edge_index"]
        return np.asarray(found if found.shape[0] == 2 else found.T, dtype=np.int64)
    if "adj_indptr" in held:
        counts = np.diff(held["adj_indptr"])
        return np.stack([np.repeat(np.arange(len(counts)), counts), held["adj_indices"]]).astype(np.int64)
    raise UserError(f"{path}: holds neither edge_index nor adj_indptr (arrays: {', '.join(held)})")


def _archived_features(path: Path, held: Mapping[str, Any]) -> Any:
    for prefix in ("feat", "attr"):
        if f"{prefix}_indptr" in held:
            parts = [held[f"{prefix}_{part}"] for part in ("indptr", "indices", "data")]
            crow, col = (torch.from_numpy(part.astype(np.int64)) for part in parts[:2])
            value, columns = torch.from_numpy(parts[2].astype(np.float32)), int(held[f"{prefix}_shape"][1])
            rows = torch.repeat_interleave(crow.diff())
            return Sparse.of(rows, col, value, (len(crow) - 1, columns))
    for name in ("x", "features"):
        if name in held:
            return held[name]
    raise UserError(f"{path}: holds no features: x, or feat_indptr and its fellows (arrays: {', '.join(held)})")


def _said(masks: Mapping[str, Any], nodes: int) -> Shaped[np.ndarray, " n"]:
    """Which part each node is in, from masks or node numbers."""
    said = np.full(nodes, None, dtype=object)
    for name, mask in masks.items():
        said[mask] = name
    return said


def _folder(path: Path) -> AttributedGraph:
    """A folder of the THUNLP form."""
    for name in ("data.txt", "graph.txt"):
        if not (path / name).is_file():
            raise UserError(f"{path}: a folder of a graph holds data.txt and graph.txt; there is no {name}")
    texts = _lines(path / "data.txt")
    columns: dict[str, Any] = {}
    if (path / "group.txt").is_file():
        groups = _lines(path / "group.txt")
        columns["label"] = [groups[i].split()[0] if i < len(groups) and groups[i] else None for i in range(len(texts))]
    pairs = []
    for number, line in enumerate(_lines(path / "graph.txt"), start=1):
        parts = line.split()
        if len(parts) < 2 or not all(part.isdigit() for part in parts[:2]):
            raise UserError(f"{path / 'graph.txt'}: line {number} is not two node numbers")
        pairs.append((int(parts[0]), int(parts[1])))
    edges = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    return AttributedGraph.of(edges, texts=texts, columns=columns, source=str(path))


def _lines(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: byte {error.start + 1} is not UTF-8; convert the file") from None
    return [line.strip() for line in text.removesuffix("\n").split("\n")]
