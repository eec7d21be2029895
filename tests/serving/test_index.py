"""The index: against a dictionary, across processes and kills, approximate, and with everything that can be wrong."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from counterpoint.errors import UserError
from counterpoint.serving import ann, filters, store
from counterpoint.serving import index as module
from counterpoint.serving.index import Index
from serving.index_oracle import Oracle, agree


def points(rows: int, dim: int = 6, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(rows, dim)).astype(np.float32)


def fields(rows: int, seed: int = 0) -> list[dict[str, Any]]:
    random = np.random.default_rng(seed)
    sites = ("oslo", "bergen", None)
    return [{"age": int(random.integers(90)), "site": sites[int(random.integers(3))]} for _ in range(rows)]


SCHEMA = pa.schema({"age": pa.int64(), "site": pa.string()})


def table(rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=SCHEMA)


@pytest.fixture
def index(tmp_path: Path) -> Index:
    return Index.build(tmp_path / "i", [f"r{n}" for n in range(50)], points(50), table(fields(50)), about={"run": "a"})


WHERES: dict[str, tuple[dict[str, Any], Any]] = {
    "equal": ({"site": "oslo"}, lambda row: row["site"] == "oslo"),
    "list": ({"site": ["oslo", "bergen"]}, lambda row: row["site"] is not None),
    "range": ({"age": {">=": 30, "<": 60}}, lambda row: 30 <= row["age"] < 60),
    "text of a number": ({"age": {">": "45.5"}}, lambda row: row["age"] > 45.5),
    "missing": ({"site": None}, lambda row: row["site"] is None),
    "both": ({"site": "oslo", "age": {"<=": 40}}, lambda row: row["site"] == "oslo" and row["age"] <= 40),
    "none": ({"site": "nowhere"}, lambda row: False),
}


@pytest.mark.parametrize("name", WHERES)
def test_filters_agree_with_python(index: Index, name: str) -> None:
    where, keep = WHERES[name]
    oracle = Oracle()
    oracle.add([f"r{n}" for n in range(50)], points(50), fields(50))
    query = points(1, seed=3)
    hits = index.search(query, 7, where)
    agree((hits.ids[0], hits.scores[0]), oracle.search(query[0], 7, keep))
    assert [keep(row) for row in index.metadata(hits.rows[0])] == [True] * hits.ids.shape[1]


class Changes(RuleBasedStateMachine):
    """Any series of additions, deletions and reopenings leaves what a dictionary would hold."""

    folder: Path

    def __init__(self) -> None:
        super().__init__()
        self.count = 5
        self.index = Index.build(self.folder, list(range(5)), points(5), table(fields(5)))
        self.oracle = Oracle()
        self.oracle.add(list(range(5)), points(5), fields(5))

    @rule(rows=st.integers(0, 6))
    def add(self, rows: int) -> None:
        ids, seed = list(range(self.count, self.count + rows)), self.count
        self.index.add(ids, points(rows, seed=seed), table(fields(rows, seed)))
        self.oracle.add(ids, points(rows, seed=seed), fields(rows, seed))
        self.count += rows

    @precondition(lambda self: self.oracle.rows)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        gone = data.draw(st.lists(st.sampled_from(sorted(self.oracle.rows)), min_size=1, unique=True))
        self.index.delete(gone)
        self.oracle.delete(gone)

    @rule()
    def reopen(self) -> None:
        self.index = Index.open(self.folder)

    @invariant()
    def agrees(self) -> None:
        assert len(self.index) == self.index.about["rows"] == len(self.oracle.rows)
        query = points(1, seed=self.count + 1000)
        for where, keep in ({}, lambda row: True), WHERES["range"]:
            hits = self.index.search(query, 4, where)
            agree((hits.ids[0], hits.scores[0]), self.oracle.search(query[0], 4, keep))
            assert self.index.metadata(hits.rows[0]) == [self.oracle.rows[one][1] for one in hits.ids[0].tolist()]


def test_any_series_of_changes(tmp_path_factory: pytest.TempPathFactory) -> None:
    def machine() -> Changes:
        Changes.folder = tmp_path_factory.mktemp("series") / "i"
        return Changes()

    run_state_machine_as_test(machine, settings=settings(max_examples=8, stateful_step_count=15))


@given(st.lists(st.integers(0, 3), min_size=1, max_size=40), st.integers(1, 50))
def test_equal_vectors_come_in_the_order_of_their_rows(which: list[int], k: int) -> None:
    vectors = points(4)[which]

    with tempfile.TemporaryDirectory() as folder:
        hits = Index.build(f"{folder}/i", list(range(len(which))), vectors).search(vectors[:1], k)
    same = [row for row, one in enumerate(which) if one == which[0]]
    assert hits.rows[0].tolist()[: len(same)] == same[:k]


def test_what_it_says_about_itself(index: Index, tmp_path: Path) -> None:
    about = Index.open(tmp_path / "i").about
    assert about == {"run": "a", "kind": "exact", "dim": 6, "rows": 50, "recall": 1.0}
    assert "exact" in index.words
    assert np.allclose(index.vector("r3"), points(50)[3] / np.linalg.norm(points(50)[3]))
    assert index.ids[[2, 4]].tolist() == ["r2", "r4"]
    assert index.search(points(1), 2, {"id": ["r7", "r9"]}).rows[0].tolist() in ([7, 9], [9, 7])


def test_opening_reads_no_vectors(index: Index, tmp_path: Path) -> None:
    assert isinstance(Index.open(tmp_path / "i")._state.vectors, np.memmap)


def test_without_metadata(tmp_path: Path) -> None:
    index = Index.build(tmp_path / "i", [3, 4], np.eye(2))
    index.add([5], [[1, 1]])
    index.delete([4])
    assert index.metadata([0, 1]) == [{}, {}]
    assert Index.open(tmp_path / "i").search([[1, 1]], 5).ids.tolist() == [[5, 3]]


def test_an_open_index_survives_changes_by_another(index: Index, tmp_path: Path) -> None:
    old = Index.open(tmp_path / "i")
    Index.open(tmp_path / "i").delete([f"r{n}" for n in range(40)])  # more holes than rows: written anew
    assert len(old) == 50
    assert len(old.metadata(range(50))) == 50
    assert old.search(points(1), 50).ids.shape == (1, 50)
    old.add(["new"], points(1, seed=9))
    assert len(old) == 11


# --- stopped half-way, and two at once


KILLED = """
import os, shutil, signal, sys
import numpy as np
from counterpoint.serving.index import Index

CALLS = {
    "add": lambda folder: Index.open(folder).add(["x", "y"], np.ones((2, 6))),
    "delete": lambda folder: Index.open(folder).delete(["r0", "r1"]),
    "rebuild": lambda folder: Index.build(folder, ["z"], np.ones((1, 6))),
}

def dying_at(last, real, steps=[0]):
    def step(*args, **kwargs):
        if steps[0] == last:
            os.kill(os.getpid(), signal.SIGKILL)
        steps[0] += 1
        return real(*args, **kwargs)
    return step

for call in CALLS:
    for last in range(10):
        folder = f"{call}-{last}"
        shutil.copytree("i", folder)
        if (child := os.fork()) == 0:
            os.fsync, os.replace = dying_at(last, os.fsync), dying_at(last, os.replace)
            CALLS[call](folder)
            os._exit(0)
        print(call, last, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_kill_while_writing_leaves_the_old_index_or_the_new(index: Index, tmp_path: Path) -> None:
    """Processes die in their first, second, .. step to the disk; each index is whole and can still be changed."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", KILLED], cwd=tmp_path, capture_output=True, text=True, env=environment, timeout=100
    )
    outcomes = [line.split() for line in done.stdout.splitlines()]
    assert len(outcomes) == 30, done.stderr
    assert {code for _, _, code in outcomes} == {"0", str(-signal.SIGKILL)}
    seen = set()
    for call, last, code in outcomes:
        folder, after = tmp_path / f"{call}-{last}", {"add": 52, "delete": 48, "rebuild": 1}[call]
        found = Index.open(folder)
        seen.add((call, len(found)))
        assert len(found) in ((50, after) if code != "0" else (after,))
        if len(found) == 50:
            assert found.search(points(50), 1).ids[:, 0].tolist() == [f"r{n}" for n in range(50)]
        found.add(["later"], points(1, seed=5))
        assert Index.open(folder).search(points(1, seed=5), 1).ids.tolist() == [["later"]]
        assert not [path for path in folder.iterdir() if path.name.endswith(".tmp")]
    assert len(seen) == 6, "both the old and the new index are met for every call"


def test_two_cannot_change_it_at_once(index: Index, tmp_path: Path) -> None:
    with store.changing(tmp_path / "i"), pytest.raises(UserError, match="another process is changing this index"):
        index.delete(["r1"])
    assert len(Index.open(tmp_path / "i")) == 50


# --- approximate


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Approximate from few rows on."""
    pytest.importorskip("faiss")
    monkeypatch.setattr(ann, "FROM", 1500)
    monkeypatch.setattr(module, "FEW", 100)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("kind", ["auto", "ivf", "hnsw"])
def test_approximate_above_many_rows_with_its_recall_measured(tmp_path: Path, kind: Any) -> None:
    centres = points(30, 16, seed=1)
    near = centres[np.random.default_rng(2).integers(30, size=2000)] + 0.4 * points(2000, 16, seed=3)
    index = Index.build(tmp_path / "i", list(range(2000)), near, table(fields(2000)), kind=kind)
    assert index.about["kind"] in (("ivf", "hnsw") if kind == "auto" else (kind,))
    assert 0.95 <= index.about["recall"] <= 1
    assert "approximate" in index.words
    oracle = Oracle()
    oracle.add(list(range(2000)), near, fields(2000))
    queries = near[::100] + 0.05 * points(20, 16, seed=4)
    index = Index.open(tmp_path / "i")
    for where, keep in ({}, lambda row: True), WHERES["equal"]:
        hits = index.search(queries, 10, where)
        wanted = [{name for name, _ in oracle.search(query, 10, keep)} for query in queries]
        shares = [len(right & set(got)) / 10 for right, got in zip(wanted, hits.ids.tolist(), strict=True)]
        assert np.mean(shares) >= 0.9
        assert (np.diff(hits.scores, axis=1) <= 0).all()
        assert all(keep(row) for row in index.metadata(hits.rows.reshape(-1)))


@pytest.mark.usefixtures("small")
def test_changes_of_an_approximate_index_are_seen_at_once(tmp_path: Path) -> None:
    index = Index.build(tmp_path / "i", list(range(1600)), points(1600), kind="auto")
    far = np.full((1, 6), 9.0) + 0.01 * points(1, seed=1)
    index.add([5000], far)
    assert index.search(far, 1).ids.tolist() == [[5000]]
    index.delete([5000])
    assert 5000 not in index.search(far, 20).ids
    covered = index._state.card["covered"]
    index.add(list(range(2000, 2400)), points(400, seed=2))  # a fifth: taken in
    assert index._state.card["covered"] == index._state.stored > covered
    assert Index.open(tmp_path / "i").search(points(400, seed=2)[:5], 1).ids[:, 0].tolist() == list(range(2000, 2005))


@pytest.mark.usefixtures("small")
def test_an_exact_index_becomes_approximate_when_it_has_grown(tmp_path: Path) -> None:
    index = Index.build(tmp_path / "i", list(range(1400)), points(1400))
    assert index.about["kind"] == "exact"
    index.add(list(range(1400, 1700)), points(300, seed=1))
    assert index.about["kind"] != "exact"


def test_exact_when_asked(tmp_path: Path, small: None) -> None:
    assert Index.build(tmp_path / "i", list(range(1600)), points(1600), kind="exact").about["kind"] == "exact"


def test_without_faiss_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(UserError, match=r"counterpoint\[search\]"):
        Index.build(tmp_path / "i", list(range(60)), points(60), kind="ivf")


# --- what can be wrong


@pytest.mark.parametrize(
    ("ids", "vectors", "line"),
    [
        (["a", "a"], np.eye(2), "id a is given 2 times"),
        (["a", None], np.eye(2), "row 2: the id is missing"),
        (["a", "b", "c"], np.eye(2), "2 vectors for 3 ids"),
        (["a", 1], np.eye(2), "ids must all be whole numbers or all be text"),
        (["a", "b"], [[1.0, 0.0], [float("nan"), 0.0]], "the vector of id b holds NaN or infinite values"),
        (["a", "b"], [[1.0, 0.0], [1.0]], "vectors must be rows of numbers"),
        (["a", "b"], [1.0, 0.0], "vectors must be rows of numbers"),
    ],
)
def test_bad_rows_are_refused(tmp_path: Path, ids: Any, vectors: Any, line: str) -> None:
    with pytest.raises(UserError, match=line):
        Index.build(tmp_path / "i", ids, vectors)
    with pytest.raises(UserError, match="is not an index"):
        Index.open(tmp_path / "i")


@pytest.mark.parametrize(
    ("where", "line"),
    [
        ({"agee": 3}, 'no metadata column "agee"; did you mean "age"'),
        ({"age": "old"}, "'old' is no value of a column of int64"),
        ({"age": {"~": 3}}, 'unknown bound "~"'),
        ({"site": 3}, "3 is no value of a column of string|'3' is no value of a column of string"),
    ],
)
def test_bad_filters_are_refused(index: Index, where: dict[str, Any], line: str) -> None:
    with pytest.raises(UserError, match=line):
        index.search(points(1), 1, where)


def test_bad_questions_and_changes_are_refused_and_change_nothing(index: Index) -> None:
    for call, line in (
        (lambda: index.search(points(1, 5)), "vectors of 5 numbers, where the index holds 6"),
        (lambda: index.search([[np.inf] * 6]), "the vector of query 1 holds NaN or infinite"),
        (lambda: index.search(points(1), 0), "k must be at least 1"),
        (lambda: index.vector("zz"), 'no id "zz" in this index'),
        (lambda: index.add(["n", "r1"], points(2)), "id r1 is in the index already"),
        (lambda: index.add(["n"], points(1), pa.table({"sight": ["x"]})), 'did you mean "site"'),
        (lambda: index.add(["n"], [[np.nan] * 6]), "the vector of id n holds NaN"),
        (lambda: index.delete(["r1", "zz"]), "id zz is not in the index; nothing was deleted"),
    ):
        with pytest.raises(UserError, match=line):
            call()
        assert len(index) == len(Index.open(index._state.folder)) == 50


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(UserError, match="holds other files"):
        Index.build(tmp_path, ["a"], [[1.0]])
    assert os.listdir(tmp_path) == ["letter.txt"]


@pytest.mark.parametrize("damage", ["card", "newer", "short", "rows", "no rows", "no vectors", "outside"])
def test_a_damaged_index_is_one_line(index: Index, tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "i"
    card = json.loads((folder / "index.json").read_text())
    vectors, rows = (folder / card["files"][part] for part in ("vectors", "rows"))
    lines = {"newer": "newer version", "no rows": "is missing", "no vectors": "is missing"}
    if damage == "card":
        (folder / "index.json").write_text("{")
    elif damage == "newer":
        (folder / "index.json").write_text(json.dumps(card | {"format": 99}))
    elif damage == "outside":
        card["files"]["vectors"] = "../elsewhere"
        (folder / "index.json").write_text(json.dumps(card))
    elif damage == "short":
        vectors.write_bytes(vectors.read_bytes()[:-5])
    elif damage == "rows":
        rows.write_bytes(rows.read_bytes()[:-40])
    else:
        (rows if damage == "no rows" else vectors).unlink()
    with pytest.raises(UserError, match=lines.get(damage, "damaged")) as said:
        Index.open(folder)
    assert "\n" not in str(said.value)


@pytest.mark.parametrize("text", ["age", "=3", "age~3", "age>=1,"])
def test_conditions_of_the_command_line(text: str) -> None:
    if text == "age>=1,":
        assert filters.parse([text]) == {"age": {">=": "1,"}}
    else:
        with pytest.raises(UserError, match="write col=value"):
            filters.parse([text])
    with pytest.raises(UserError, match="another condition"):
        filters.parse(["a=1", "a=2"])
