"""Nodes with texts or features, and edges between them: the data of the graphs wing."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Int, Int64, Shaped

from counterpoint.errors import UserError, nearest
from counterpoint.rows import check_rows, split_rows
from counterpoint.training.sparse import Sparse

Index = slice | Int[np.ndarray, " k"] | Bool[np.ndarray, " n"]
CLASSES = ("label", "labels", "class", "y")
"""Columns taken for the classes, the first that there is."""
UNPROBED = "vectors are judged by the edges they saw (held_out=0.1 takes some out first)"
PARTS = {"train": "train", "validation": "validation", "val": "validation", "valid": "validation", "test": "test"}


@dataclass(frozen=True, eq=False)
class AttributedGraph:
    """A graph, and which of its nodes are meant: rows are nodes, and the graph around them stays whole.

    `edges` are undirected, each once, without loops. `features` are dense numbers or, for bags of words, sparse;
    `texts` are None where a node has none. `focus` are the nodes that are the rows, `known` those whose class may be
    learned from (None: nothing says). `classes` names the column of classes, `parts` the one that says which part a
    node is in. With `inductive`, training sees only the graph of its own nodes. `asked` are edges taken out, to be
    predicted.

    >>> graph = AttributedGraph.of([[0, 1], [1, 2]], texts=["a", "b", None], columns={"label": ["x", "y", "x"]})
    >>> len(graph), graph.edges.tolist(), graph.labels.tolist()
    (3, [[0, 1], [1, 2]], ['x', 'y', 'x'])
    """

    node_ids: Shaped[np.ndarray, " n"]
    edges: Int64[np.ndarray, "2 e"]
    features: Float32[np.ndarray, "n d"] | Sparse | None
    texts: Shaped[np.ndarray, " n"] | None
    node_columns: dict[str, Shaped[np.ndarray, " n"]]
    source: str
    focus: Int64[np.ndarray, " r"]
    known: Int64[np.ndarray, " k"] | None = None
    classes: str | None = None
    parts: str | None = None
    inductive: bool = False
    asked: Int64[np.ndarray, "2 m"] | None = None
    notes: tuple[str, ...] = ()
    held: dict[Any, Any] = field(default_factory=dict, repr=False)
    """What was made of nodes and edges, shared by all parts of one graph."""
    beside = "edges"

    def __len__(self) -> int:
        return len(self.focus)

    @classmethod
    def of(
        cls,
        edges: Any,
        features: Any = None,
        texts: Sequence[str | None] | Shaped[np.ndarray, " n"] | None = None,
        columns: Mapping[str, Any] | None = None,
        ids: Any = None,
        source: str = "memory",
        **more: Any,
    ) -> "AttributedGraph":
        """From arrays: two rows of node numbers, and per node features, a text or both.

        Edges that occur twice or both ways count once, loops not at all; the notes say how many. Raises `UserError` for
        an edge to a node that is not there, and for nodes with neither features nor texts.
        """
        from counterpoint.graphs.checks import clean_edges, clean_features, clean_texts, column

        held = None if features is None else clean_features(features, source)
        said = None if texts is None else clean_texts(texts)
        if held is None and said is None:
            raise UserError(f"{source}: nodes have neither texts nor features; name a column: text=COLUMN")
        nodes = len(said) if said is not None else held.shape[0] if held is not None else 0
        kept, notes = clean_edges(edges, nodes, source)
        kept_columns = {name: column(values) for name, values in (columns or {}).items()}
        own = np.arange(nodes) if ids is None else np.asarray(ids)
        lengths = {} if held is None else {"features": np.empty(held.shape[0])}
        check_rows(source, own, lengths, kept_columns, None)
        more = {"classes": next((name for name in CLASSES if name in kept_columns), None)} | more
        for what in ("classes", "parts"):
            if (name := more.get(what)) is not None and name not in kept_columns:
                raise UserError(f"{source}: {what}={name}: no such column; {nearest(name, kept_columns)}")
        notes = (*more.pop("notes", ()), *notes)
        return cls(own, kept, held, said, kept_columns, source, np.arange(nodes), notes=notes, **more)

    @classmethod
    def of_pyg(cls, data: Any, source: str = "PyG data") -> "AttributedGraph":
        """From a `torch_geometric.data.Data`: `edge_index`, `x`, `y` and the three masks where there are some."""
        from counterpoint.graphs.readers import of_pyg

        return of_pyg(data, source)

    @classmethod
    def read(
        cls,
        path: str | Path,
        *,
        edges: str | None = None,
        id: str | None = None,
        text: str | None = None,
        features: str | None = None,
        classes: str | None = None,
        parts: str | None = None,
        inductive: bool = False,
        held_out: float = 0.0,
        decoupled: str | None = None,
    ) -> "AttributedGraph":
        """Read a table of nodes with its table of edges, an npz file, or a folder; see `counterpoint.graphs.readers`.

        `edges` is the file of edges, looked for beside the nodes first; `id`, `text` (several with commas), `features`
        (names or patterns with commas, or one column of lists), `classes` and `parts` name columns of the nodes.
        `held_out` is a share of the edges to be taken out and predicted. `decoupled` is a file of signal and noise per
        node that a language model wrote (`counterpoint.graphs.decouple`).
        """
        from counterpoint.graphs.readers import read

        columns = {"id": id, "text": text, "features": features, "classes": classes, "parts": parts}
        graph = read(Path(path), edges, columns)
        if decoupled is not None:
            from counterpoint.graphs.decouple import read_decoupled

            graph = read_decoupled(graph, decoupled)
        if held_out:
            graph = graph.without_edges(held_out)
        return replace(graph, inductive=inductive)

    # Rows ---------------------------------------------------------------------------------------------------------

    @property
    def ids(self) -> Shaped[np.ndarray, " r"]:
        """The ids of the rows."""
        return np.asarray(self.node_ids[self.focus])

    @property
    def columns(self) -> dict[str, Shaped[np.ndarray, " r"]]:
        """What is known of the rows beside texts and features."""
        return {name: values[self.focus] for name, values in self.node_columns.items()}

    @property
    def views(self) -> dict[str, Any]:
        """A graph's node is described one way only."""
        return {}

    @property
    def shown(self) -> dict[str, Shaped[np.ndarray, " r"]]:
        """What people are shown of a row beside its id."""
        return {} if self.texts is None else {"text": self.texts[self.focus]}

    @property
    def nodes(self) -> int:
        """Nodes of the whole graph."""
        return len(self.node_ids)

    @property
    def labels(self) -> Shaped[np.ndarray, " n"]:
        """The class of every node of the whole graph as a text, None where there is none."""
        from counterpoint.graphs.checks import label

        found = np.full(self.nodes, None, dtype=object)
        if self.classes is not None:
            found[:] = [label(value) for value in self.node_columns[self.classes].tolist()]
        return found

    def learnable(self) -> Int64[np.ndarray, " k"]:
        """The nodes whose class may be learned from: those known, else the rows; all have a class."""
        nodes = self.focus if self.known is None else self.known
        found: Int64[np.ndarray, " k"] = nodes[self.labels[nodes] != None]  # noqa: E711 - elementwise
        return found

    @property
    def degrees(self) -> Int64[np.ndarray, " n"]:
        """Neighbours of every node of the whole graph."""
        return np.asarray(np.bincount(self.edges.ravel(), minlength=self.nodes), dtype=np.int64)

    def rows(self, index: Index) -> "AttributedGraph":
        """Some rows; the graph stays whole."""
        return replace(self, focus=self.focus[index])

    def focused(self, nodes: Int[np.ndarray, " k"]) -> "AttributedGraph":
        """Other nodes of the same graph as its rows, by their numbers."""
        return replace(self, focus=np.asarray(nodes, dtype=np.int64))

    def rows_of_all(self) -> "AttributedGraph":
        """All nodes as rows."""
        return self.focused(np.arange(self.nodes))

    def induced(self, nodes: Int[np.ndarray, " k"]) -> "AttributedGraph":
        """The graph of some nodes alone, all of them its rows, whose classes may be learned from."""
        place = np.full(self.nodes, -1, dtype=np.int64)
        place[nodes] = np.arange(len(nodes))
        moved = place[self.edges]
        features = self.features
        if isinstance(features, Sparse):
            from counterpoint.graphs.inputs import sparse_rows

            features = sparse_rows(features, nodes)
        elif features is not None:
            features = features[nodes]
        return replace(
            self,
            node_ids=self.node_ids[nodes],
            edges=moved[:, (moved >= 0).all(axis=0)],
            features=features,
            texts=None if self.texts is None else self.texts[nodes],
            node_columns={name: values[nodes] for name, values in self.node_columns.items()},
            focus=np.arange(len(nodes)),
            known=np.arange(len(nodes)),
            asked=None,
            held={},
        )

    def with_columns(self, **columns: Any) -> "AttributedGraph":
        """The same graph with columns more, or others in their place, a value for each node of the whole graph."""
        from counterpoint.graphs.checks import column

        made = {name: column(values) for name, values in columns.items()}
        check_rows(self.source, self.node_ids, {}, made, None)
        return replace(self, node_columns={**self.node_columns, **made}, held={})

    def without_edges(self, share: float, seed: int = 0) -> "AttributedGraph":
        """A share of the edges taken out and kept as `asked`, to be predicted; raises `UserError` when none is left."""
        parts = split_rows(self.edges.shape[1], {"asked": share, "kept": 1 - share}, seed, None, self.source)
        note = f"{len(parts['asked'])} edges taken out, to be predicted"
        return replace(
            self,
            edges=self.edges[:, parts["kept"]],
            asked=self.edges[:, parts["asked"]],
            notes=(*self.notes, note),
            held={},
        )

    def split(
        self, shares: Mapping[str, float], seed: int = 0, group: str | None = None
    ) -> dict[str, "AttributedGraph"]:
        """Divide the rows at random by shares that add up to 1, or as the column `parts` says.

        All parts keep the whole graph (transductive: texts and edges of the other nodes are seen, their classes are
        not), but with `inductive` the training part has the graph of its own nodes alone. Raises `UserError` when a
        part would stay empty.
        """
        rows = split_rows(len(self), shares, seed, None, self.source) if self.parts is None else self._said(shares)
        known = self.focus[rows["train"]] if "train" in rows else None
        parts = {name: replace(self, focus=self.focus[found], known=known) for name, found in rows.items()}
        if self.inductive and "train" in parts:
            parts["train"] = self.induced(parts["train"].focus)
        return parts

    def _said(self, shares: Mapping[str, float]) -> dict[str, Int[np.ndarray, " k"]]:
        """The rows of each part as a column says."""
        assert self.parts is not None
        said = np.array([PARTS.get(str(value).lower(), "") for value in self.node_columns[self.parts][self.focus]])
        found = {name: np.flatnonzero(said == name) for name in shares}
        if empty := [name for name, rows in found.items() if not len(rows)]:
            raise UserError(f'{self.source}: no row of column "{self.parts}" says {empty[0]}')
        return found

    # For the run folder and for people ------------------------------------------------------------------------------

    def fingerprint(self) -> str:
        """A hash of nodes, edges, columns and rows: equal data hash equally, whatever the file."""
        digest = hashlib.blake2b(repr((self.classes, self.nodes)).encode(), digest_size=16)
        texts = [] if self.texts is None else self.texts.tolist()
        for values in (
            self.node_ids.tolist(),
            texts,
            *(self.node_columns[n].tolist() for n in sorted(self.node_columns)),
        ):
            digest.update(repr(values).encode("utf-8", "surrogatepass"))
        held = self.features
        numbers = (held.col.numpy(), held.value.numpy()) if isinstance(held, Sparse) else (held,)
        for array in (self.edges, self.focus, self.known, self.asked, *numbers):
            digest.update(b"\0" if array is None else np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def schema(self) -> list[dict[str, Any]]:
        """What was recognised: texts, features and edges, a line each."""
        lines = []
        if self.texts is not None:
            lengths = [len(text) for text in self.texts if text is not None]
            lines.append(
                self._line("text", "text", round(sum(lengths) / max(1, len(lengths))), "characters", len(lengths))
            )
        if self.features is not None:
            kind = "sparse numbers" if isinstance(self.features, Sparse) else "numbers"
            lines.append(self._line("features", kind, int(self.features.shape[1]), "wide", self.nodes))
        degree = round(2 * self.edges.shape[1] / max(1, self.nodes), 1)
        lines.append(self._line("edges", "edges", degree, "a node", self.edges.shape[1]) | {"missing": 0.0})
        return lines

    def _line(self, view: str, kind: str, width: float | int, unit: str, rows: int) -> dict[str, Any]:
        missing = 1 - rows / max(1, self.nodes)
        return {"view": view, "kind": kind, "columns": f"{self.nodes} nodes", "width": width, "unit": unit,
                "rows": rows, "missing": missing}  # fmt: skip

    def warnings(self) -> list[str]:
        """What the reader noted and what looks wrong, in plain words."""
        found, nodes = list(self.notes), self.nodes
        if self.texts is not None and (silent := sum(text is None for text in self.texts)):
            found.append(f"{silent} of {nodes} nodes have no text: their vector comes from their neighbours alone")
        if not self.edges.shape[1]:
            found.append("there are no edges: every method sees each node alone")
        elif alone := int((self.degrees == 0).sum()):
            found.append(f"{alone} of {nodes} nodes have no edge")
        names = {name for name in self.labels if name is not None}
        if len(names) < 2:
            told = f'column "{self.classes}" has {len(names)} class: there is nothing to tell apart'
            told = "no column of classes; name one: classes=COLUMN" if self.classes is None else told
            found.append(told if self.asked is not None else f"{told}; {UNPROBED}")
        return found
