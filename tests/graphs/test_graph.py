"""The data of the wing: what is refused, what is mended and said, how nodes are divided."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from counterpoint.errors import UserError
from counterpoint.graphs.checks import clean_edges
from counterpoint.graphs.graph import AttributedGraph
from counterpoint.training.sparse import Sparse
from graphs.little import little

SHARES = {"train": 0.5, "test": 0.5}


@given(
    st.integers(2, 9).flatmap(
        lambda n: st.tuples(st.just(n), st.lists(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1))))
    )
)
def test_edges_are_each_there_once_in_order_without_loops(drawn: tuple[int, list[tuple[int, int]]]) -> None:
    nodes, pairs = drawn
    edges, _ = clean_edges(np.array(pairs, dtype=np.int64).reshape(-1, 2).T, nodes, "memory")
    assert set(map(tuple, edges.T.tolist())) == {(min(pair), max(pair)) for pair in pairs if pair[0] != pair[1]}
    assert edges.T.tolist() == sorted(edges.T.tolist())


def test_what_is_mended_is_said() -> None:
    graph = AttributedGraph.of(
        [[0, 1, 0, 2, 2], [1, 0, 1, 2, 1]], texts=["a", " ", "c", "d"], columns={"label": ["x", "x", None, ""]}
    )
    assert graph.warnings() == [
        "1 loop left out",
        "1 edges occur more than once and count once",
        "1 of 2 edges go one way only; all are taken as going both ways",
        "1 of 4 nodes have no text: their vector comes from their neighbours alone",
        "1 of 4 nodes have no edge",
        'column "label" has 1 class: there is nothing to tell apart; vectors are judged by the edges they saw '
        "(held_out=0.1 takes some out first)",
    ]
    empty = AttributedGraph.of(np.zeros((2, 0)), features=np.eye(2))
    assert "there are no edges: every method sees each node alone" in empty.warnings()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"edges": [[0], [3]], "texts": ["a", "b"]}, "edge 1 joins 0 and 3, and nodes are 0 to 1"),
        ({"edges": [[0], [1]]}, "neither texts nor features"),
        ({"edges": [[0], [1]], "features": [[1.0], [np.nan]]}, "node 2, feature 1 is not a finite number"),
        ({"edges": [[0], [1]], "texts": ["a", "b"], "columns": {"label": [1]}}, 'column "label" has 1 rows'),
        ({"edges": [[0], [1]], "texts": ["a", "b"], "classes": "lable", "columns": {"label": [1, 2]}}, "did you mean"),
    ],
)
def test_what_cannot_be_a_graph_is_refused(given: dict[str, object], said: str) -> None:
    with pytest.raises(UserError, match=said):
        AttributedGraph.of(given.pop("edges"), **given)  # type: ignore[arg-type]


def test_parts_keep_the_whole_graph_but_inductive_training_does_not() -> None:
    graph = little(40, 0)
    parts = graph.split(SHARES, seed=1)
    assert sorted(np.concatenate([part.focus for part in parts.values()]).tolist()) == list(range(40))
    assert all(part.nodes == 40 for part in parts.values())
    assert parts["test"].known is not None
    assert parts["test"].known.tolist() == parts["train"].focus.tolist()
    alone = replace(graph, inductive=True).split(SHARES, seed=1)["train"]
    assert alone.ids.tolist() == parts["train"].ids.tolist()
    inside = np.isin(graph.edges, parts["train"].focus).all(axis=0)
    theirs = {tuple(graph.node_ids[pair].tolist()) for pair in graph.edges[:, inside].T}
    assert {tuple(alone.node_ids[pair].tolist()) for pair in alone.edges.T} == theirs


def test_a_column_may_say_the_parts() -> None:
    graph = replace(little(20, 0), parts="split")
    said = graph.node_columns["split"]
    parts = graph.split({"train": 0.6, "validation": 0.2, "test": 0.2})
    assert {name: len(part) for name, part in parts.items()} == {
        name: int((said == name).sum()) for name in ("train", "validation", "test")
    }
    with pytest.raises(UserError, match='no row of column "split" says validation'):
        graph.with_columns(split=["train", "test"] * 10).split({"train": 0.6, "validation": 0.2, "test": 0.2})


def test_edges_taken_out_are_asked_and_gone() -> None:
    graph = little(40, 0, complete=True)
    held = graph.without_edges(0.25)
    assert held.asked is not None
    both = [set(map(tuple, edges.T.tolist())) for edges in (held.edges, held.asked)]
    assert not both[0] & both[1]
    assert both[0] | both[1] == set(map(tuple, graph.edges.T.tolist()))


def test_equal_graphs_hash_equally_and_others_do_not() -> None:
    graph = little(30, 0)
    assert graph.fingerprint() == little(30, 0).fingerprint()
    others = [graph.rows(slice(5)), graph.without_edges(0.1), graph.with_columns(signal=graph.texts), little(30, 1)]
    assert len({other.fingerprint() for other in [graph, *others]}) == 5


# Files ----------------------------------------------------------------------------------------------------------------


def write(folder: Path, nodes: str, edges: str) -> Path:
    (folder / "nodes.csv").write_text(nodes)
    (folder / "edges.csv").write_text(edges)
    return folder / "nodes.csv"


def test_tables_of_nodes_and_edges(tmp_path: Path) -> None:
    path = write(
        tmp_path, "paper,title,f_a,f_b,topic\np1,One,1,2,x\np2,,3,4,y\np3,Three,5,6,\n", "from,to\np1,p3\np3,p2\n"
    )
    graph = AttributedGraph.read(path, edges="edges.csv", id="paper", text="title", features="f_*", classes="topic")
    assert graph.edges.tolist() == [[0, 1], [2, 2]]
    assert graph.texts is not None
    assert graph.texts.tolist() == ["One", None, "Three"]
    assert isinstance(graph.features, np.ndarray)
    assert graph.features.tolist() == [[1, 2], [3, 4], [5, 6]]
    assert graph.labels.tolist() == ["x", "y", None]
    assert graph.ids.tolist() == ["p1", "p2", "p3"]


@pytest.mark.parametrize(
    ("nodes", "edges", "more", "said"),
    [
        ("id,text\n1,a\n2,b\n", "s,t\n1,7\n", {}, 'edges.csv: row 1, column "t": no node has the id 7'),
        ("id,text\n1,a\n1,b\n", "s,t\n1,1\n", {}, 'column "id": 1 is the id of 2 nodes'),
        ("id,text\n1,a\n,b\n", "s,t\n1,1\n", {}, 'row 2, column "id": the id is missing'),
        ("key,text\n1,a\n", "s,t\n1,1\n", {}, "no column of ids; name one"),
        ("id,text\n1,a\n", "s\n1\n", {}, "edges need two columns of node ids, and there is 1"),
        ("id,text\n1,a\n", "s,t\n1,1\n", {"text": "txet"}, 'did you mean "text"'),
        ("id,text\n1,a\n", "s,t\n1,1\n", {"classes": "label"}, "classes=label: no such column"),
        ("id,text\n1,a\n", "s,t\n1,1\n", {"features": "f_*"}, "no such column"),
        ("id,label\n1,a\n", "s,t\n1,1\n", {}, "neither texts nor features"),
    ],
)
def test_a_wrong_table_is_named_with_row_and_column(
    tmp_path: Path, nodes: str, edges: str, more: dict[str, str], said: str
) -> None:
    with pytest.raises(UserError, match=said.replace("*", r"\*")):
        AttributedGraph.read(write(tmp_path, nodes, edges), edges="edges.csv", **more)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="name the file of its edges too"):
        AttributedGraph.read(tmp_path / "nodes.csv")


def test_a_folder_of_texts(tmp_path: Path) -> None:
    (tmp_path / "data.txt").write_text("one\n\nthree")
    (tmp_path / "graph.txt").write_text("0\t2\n1 2\n")
    (tmp_path / "group.txt").write_text("a\n\nb")
    graph = AttributedGraph.read(tmp_path)
    assert graph.texts is not None
    assert (graph.texts.tolist(), graph.labels.tolist()) == (["one", None, "three"], ["a", None, "b"])
    assert graph.edges.tolist() == [[0, 1], [2, 2]]
    (tmp_path / "graph.txt").write_text("0 x\n")
    with pytest.raises(UserError, match=r"graph\.txt: line 1 is not two node numbers"):
        AttributedGraph.read(tmp_path)


def test_an_archive_with_sparse_features_and_parts(tmp_path: Path) -> None:
    np.savez(
        tmp_path / "a.npz",
        edge_index=np.array([[0, 1, 1, 2], [1, 0, 2, 1]]),
        feat_indptr=np.array([0, 1, 1, 3]), feat_indices=np.array([1, 0, 2]), feat_data=np.array([1.0, 2.0, 3.0]),
        feat_shape=np.array([3, 4]), labels=np.array([0, 1, 0]),
        train=np.array([0]), val=np.array([1]), test=np.array([False, False, True]),
    )  # fmt: skip
    graph = AttributedGraph.read(tmp_path / "a.npz", parts="split")
    assert isinstance(graph.features, Sparse)
    assert (graph.features @ torch.eye(4)).tolist() == [[0, 1, 0, 0], [0, 0, 0, 0], [2, 0, 3, 0]]
    assert graph.node_columns["split"].tolist() == ["train", "validation", "test"]
    induced = graph.induced(np.array([2, 1]))
    assert (induced.features @ torch.eye(4)).tolist() == [[2, 0, 3, 0], [0, 0, 0, 0]]
    np.savez(tmp_path / "b.npz", a=np.array([object()]))
    with pytest.raises(UserError, match="without pickled objects"):
        AttributedGraph.read(tmp_path / "b.npz")


def test_data_of_pyg() -> None:
    geometric = pytest.importorskip("torch_geometric.data")
    mask = torch.tensor([True, False, False])
    data = geometric.Data(
        x=torch.eye(3), edge_index=torch.tensor([[0, 1], [1, 0]]), y=torch.tensor([1, 0, 1]),
        train_mask=mask, val_mask=mask.roll(1), test_mask=mask.roll(2),
    )  # fmt: skip
    graph = AttributedGraph.of_pyg(data)
    assert graph.edges.tolist() == [[0], [1]]
    assert (graph.labels.tolist(), graph.parts) == (["1", "0", "1"], "split")


@pytest.mark.skipif("COUNTERPOINT_DATA" not in os.environ, reason="COUNTERPOINT_DATA names no data")
def test_cora_as_it_is_published() -> None:
    folder = Path(os.environ["COUNTERPOINT_DATA"]) / "citation_tag"
    graph = AttributedGraph.read(folder / "cora_planetoid.npz", parts="split")
    parts = graph.split({"train": 0.6, "validation": 0.2, "test": 0.2})
    assert (graph.nodes, graph.edges.shape[1], len(set(graph.labels))) == (2708, 5278, 7)
    assert {name: len(part) for name, part in parts.items()} == {"train": 140, "validation": 500, "test": 1000}
    text = AttributedGraph.read(folder / "thunlp__CANE" / "datasets" / "cora")
    assert (text.nodes, sum(label is None for label in text.labels)) == (2277, 66)
