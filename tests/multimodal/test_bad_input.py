"""Whatever is wrong with a file or its options, one line says where and what to do; nothing else is raised."""

import io
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.feather
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import counterpoint.multimodal.reading.sources as sources
from counterpoint.errors import UserError
from counterpoint.multimodal.reading.readers import read
from counterpoint.multimodal.table import Kind, Table

AB = {"a": "a*", "b": "b*"}
Make = str | bytes | Callable[[Path], None]


def parquet(**columns: Any) -> Callable[[Path], None]:
    return lambda path: pa.parquet.write_table(pa.table(columns), path)


def npz(**arrays: Any) -> Callable[[Path], None]:
    return lambda path: np.savez(path, **arrays)


def cut(make: Callable[[Path], None], keep: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        make(path)
        path.write_bytes(keep(path.read_bytes()))

    return write


def duplicated(path: Path) -> None:
    batch = pa.RecordBatch.from_arrays([pa.array([1.0]), pa.array([2.0])], ["a", "a"])
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, batch.schema) as writer:
        writer.write_batch(batch)


def events(values: Any, times: Any) -> Callable[[Path], None]:
    return parquet(v=values, t=times, k=[["x"], ["y"]], b=[1, 2])


EVENTS = {"view": {"a": "v,t,k", "b": "b"}}
ONES = np.ones((4, 2))
GOOD = parquet(a=[1.0, 2.0], b=[3.0, 4.0])
MANY = "1,2\n" * 200
CASES: dict[str, tuple[str, Make, dict[str, Any], list[str]]] = {
    # name: file, content, options, what the message must contain
    "empty file": ("t.csv", "", {}, ["t.csv", "empty"]),
    "no rows": ("t.csv", "a,b\n", {"view": AB}, ["t.csv", "no rows"]),
    "blank lines": ("t.csv", "\n\n", {"view": AB}, ["no rows"]),
    "no rows, parquet": ("t.parquet", parquet(a=pa.array([], "f4"), b=pa.array([], "f4")), {}, ["no rows"]),
    "no columns": ("t.parquet", parquet(), {}, ["no rows"]),
    "unknown suffix": ("t.xlsx", "a,b\n1,2\n", {}, ['".xlsx"', ".csv", ".parquet"]),
    "almost a suffix": ("t.parqet", "x", {}, ['did you mean ".parquet"']),
    "missing column": ("t.csv", "a,b\n1,2\n", {"view": {"a": "a", "b": "c"}}, ['"c"', 'view "b"', "a, b"]),
    "missing id": ("t.csv", "a,b\n1,2\n", {"view": AB, "id": "who"}, ['no column "who" for the id', "a, b"]),
    "missing group": ("t.csv", "a,b\n1,2\n", {"view": AB, "group": "w"}, ['no column "w" for the group']),
    "nothing matches": ("t.csv", "lab_x,b\n1,2\n", {"view": {"a": "lib_*", "b": "b"}}, ['"lib_*"', "lab_x"]),
    "overlap": ("t.csv", "a1,b1\n1,2\n", {"view": {"a": "a*", "b": "*"}}, ['"a1"', 'view "a"', 'view "b"']),
    "one view": ("t.csv", "a1,b1\n1,2\n", {"view": {"a": "*"}}, ["one view only", "a1, b1"]),
    "bad view name": ("t.csv", "a,b\n1,2\n", {"view": {"a b": "a", "b": "b"}}, ['view name "a b"']),
    "view of the id": ("t.csv", "a,b\n1,2\n", {"view": AB, "id": "a"}, ["a*"]),
    "duplicate columns": ("t.csv", "a,a,b\n1,2,3\n", {"view": AB}, ['column "a" appears 2 times']),
    "duplicate columns, arrow": ("t.arrow", duplicated, {"view": AB}, ['column "a" appears 2 times']),
    "text in numbers": ("t.csv", "a,b\n1,2\n3,x7\n", {"view": AB}, ["row 2", 'column "b"', '"x7"']),
    "text in numbers, late": ("t.csv", f"a,b\n{MANY}3,x7\n", {"view": AB}, ["row 201", 'column "b"', '"x7"']),
    "text among booleans": ("t.csv", "a,b\n" + "true,1\n" * 200 + "2,1\n", {"view": AB},
                           ['column "a"', '"2"', "true or false"]),
    "numbers as texts": ("t.parquet", parquet(a=["1", "2.5"], b=[1, 2]), {"view": AB},
                         ['column "a" of view "a" holds numbers as texts', "kind.a=categories"]),
    "text of numbers": ("t.csv", "a,b\n1,2\n", {"view": AB, "kind": {"a": "text"}},
                        ['column "a" holds int64, not texts']),
    "numbers of text": ("t.parquet", parquet(a=["x"], b=[1]), {"view": AB, "kind": {"a": "numbers"}},
                        ['kind.a=numbers: column "a" holds string, not numbers']),
    "text and numbers": ("t.csv", "a1,a2,b\nx,2,1\ny,3,1\n", {"view": AB},
                         ['view "a" mixes texts ("a1") and numbers ("a2")', "kind.a=categories"]),
    "categories of lists": ("t.parquet", parquet(a=[[1]], b=[1]), {"view": AB, "kind": {"a": "categories"}},
                            ['column "a"', "no categories"]),
    "events of two lists": ("t.parquet", parquet(a1=[["x"]], a2=[[1]], b=[1]), {"view": AB},
                            ['mixes the list column "a1"', "view.a=VALUES,TIMES,TYPES"]),
    "events of texts": ("t.parquet", parquet(a1=["x"], a2=["y"], b=[1]), {"view": AB, "kind": {"a": "events"}},
                        ["three list columns in the order VALUES,TIMES,TYPES", "a1 (string)"]),
    "events of unequal length": ("t.parquet", events([[1.0], [1.0, 2.0]], [[1.0], [1.0]]), EVENTS,
                                 ["row 2", '"v" has 2 events, "t" 1']),
    "events without a time": ("t.parquet", events([[1.0], [1.0]], [[1.0], [None]]), EVENTS,
                              ["row 2", 'column "t"', "without a time"]),
    "infinite event": ("t.parquet", events([[1.0], [float("inf")]], [[1.0], [2.0]]), EVENTS,
                       ["row 2", 'column "v"', "infinite"]),
    "two columns of pictures": ("t.parquet", parquet(a1=[b"x"], a2=[b"y"], b=[1]),
                                {"view": AB, "kind": {"a": "pictures"}}, ['"a1" and "a2"', "one column"]),
    "pictures of numbers": ("t.csv", "a,b\n1,2\n", {"view": AB, "kind": {"a": "pictures"}},
                            ["neither paths of pictures"]),
    "no pictures there": ("t.csv", "a,b\n" + "".join(f"p{i}.png,{i}\n" for i in range(8)), {"view": AB},
                          ['column "a": 8 of 8 pictures do not open: p0.png (row 1: no such file), p1.png (row 2',
                           "p4.png (row 5: no such file) and 3 more; mend them, or leave their cells empty"]),
    "dates": ("t.csv", "a,b\n2020-01-01,2\n", {"view": AB}, ['column "a"', "dates", "days since"]),
    "timestamps": ("t.parquet", parquet(a=pa.array([1], pa.timestamp("us")), b=[1]), {"view": AB}, ['"a"', "dates"]),
    "no picture": ("t.parquet", parquet(a=[b"PNG"], b=[1]), {"view": AB},
                   ["1 of 1 pictures do not open", "not a picture"]),
    "nested": ("t.parquet", parquet(a=[[[[1]]]], b=[1]), {"view": AB}, ['column "a"', "no kind of view takes"]),
    "four axes": ("t.npz", npz(a=np.ones((4, 2, 2, 2)), b=ONES), {"view": AB}, ['column "a"', "no kind of view takes"]),
    "infinity": ("t.csv", "a,b\n1,2\n1,-inf\n", {"view": AB}, ["row 2", 'column "b"', "-inf"]),
    "infinity in a vector": ("t.parquet", parquet(a=[[1.0, 2], [3, float("inf")]], b=[1, 2]), {"view": AB},
                             ["row 2", 'column "a"', "inf"]),
    "too large": ("t.csv", "a,b\n1,2e39\n", {"view": AB}, ["row 1", 'column "b"', "2e+39", "too large"]),
    "all missing": ("t.csv", "a,b\n,\nNaN,\n", {"view": AB}, ["every value of every view is missing"]),
    "vector lengths": ("t.parquet", parquet(a=[[1, 2], None, [3]], b=[1, 2, 3]), {"view": AB},
                       ["row 3", 'column "a"', "1 numbers", "2"]),
    "empty vectors": ("t.parquet", parquet(a=pa.array([[]], pa.list_(pa.int8())), b=[1]), {"view": AB},
                      ["row 1", "0 numbers"]),
    "two lists in a view": ("t.parquet", parquet(a1=[[1]], a2=[[1]], b=[1]), {"view": AB},
                            ['view "a"', '"a1"', "its own"]),
    "id without value": ("t.csv", "a,b,who\n1,2,x\n1,2,\n", {"view": AB, "id": "who"},
                         ["row 2", '"who"', "id is missing"]),
    "id of lists": ("t.parquet", parquet(a=[1], b=[1], who=[[1]]), {"view": AB, "id": "who"},
                    ['"who"', "cannot be the id"]),
    "unknown kind": ("t.csv", "a,b\n1,2\n", {"view": AB, "kind": {"a": "vectr"}}, ["kind.a", 'did you mean "vector"']),
    "kind of no view": ("t.csv", "a,b\n1,2\n", {"view": AB, "kind": {"c": "vector"}}, ["kind.c", '"c"', "a, b"]),
    "no proposal": ("t.csv", "a,b\n1,2\n", {}, ["two views", "view.a=", "a, b"]),
    "ragged csv": ("t.csv", "a,b\n1,2\n3\n", {"view": AB}, ["CSV", "Expected 2 columns, got 1"]),
    "latin-1": ("t.csv", "a,b,c\n1,2,é\n".encode("latin-1"), {"view": AB}, ["UTF-8"]),
    "latin-1 header": ("t.csv", "a,b,é\n1,2,3\n".encode("latin-1"), {"view": AB}, ["UTF-8"]),
    "latin-1, late": ("t.csv", b"a,b,c\n" + b"1,2,x\n" * 200 + b"1,2,\xe9\n", {"view": AB}, ["UTF8"]),
    "utf-16": ("t.csv", "a,b\n1,2\n".encode("utf-16"), {"view": AB}, ["UTF-16", "save it as UTF-8"]),
    "cut parquet": ("t.parquet", cut(GOOD, lambda b: b[:-9]), {"view": AB}, ["t.parquet", "damaged"]),
    "spoilt parquet": ("t.parquet", cut(GOOD, lambda b: b[:4] + b"\xff" * 90 + b[94:]), {"view": AB}, ["damaged"]),
    "csv named parquet": ("t.parquet", "a,b\n1,2\n", {"view": AB}, ["cannot be read as Parquet"]),
    "csv named arrow": ("t.arrow", "a,b\n1,2\n", {"view": AB}, ["cannot be read as Arrow"]),
    "cut npz": ("t.npz", cut(npz(a=ONES, b=ONES), lambda b: b[:-40]), {"view": AB}, ["t.npz", "whole npz"]),
    "spoilt npz": ("t.npz", cut(npz(a=ONES, b=ONES), lambda b: b[:180] + b"\1" * 9 + b[189:]), {"view": AB},
                   ["damaged"]),
    "npy named npz": ("t.npz", b"\x93NUMPY" + bytes(200), {"view": AB}, ["whole npz"]),
    "objects": ("t.npz", npz(a=np.array([1, None]), b=ONES), {"view": AB}, ['array "a"', "objects"]),
    "complex": ("t.npz", npz(a=ONES * 1j, b=ONES), {"view": AB}, ['array "a"', "complex128"]),
    "npz lengths": ("t.npz", npz(a=ONES, b=ONES[:3]), {"view": AB}, ['"a" has 4 rows', '"b" has 3']),
    "npz without columns": ("t.npz", npz(a=ONES[:, :0], b=ONES), {"view": AB}, ['array "a" has no columns']),
    "npz of scalars": ("t.npz", npz(a=1, b=2), {"view": AB}, ["no rows"]),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_one_line_names_what_is_wrong(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "CSV_BLOCK", 300)
    file, content, options, expected = CASES[name]
    path = tmp_path / file
    if callable(content):
        content(path)
    else:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(UserError) as error:
        read(path, **options)
    message = str(error.value)
    assert "\n" not in message
    assert all(part in message for part in expected), message


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.csv: no such file"):
        read(tmp_path / "none.csv")
    with pytest.raises(UserError, match="is a folder, and none that datasets saved"):
        read(tmp_path)


def test_more_than_memory_is_refused_before_anything_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,b\n" + "1,2\n" * 100)
    monkeypatch.setattr("counterpoint.multimodal.kinds.numbers.free_memory", lambda device: 300)
    with pytest.raises(UserError, match=r"a view of 1 columns and 100 rows needs .* GiB of memory are free"):
        read(path, view=AB)


def test_a_file_that_shrinks_while_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    parquet(a=[1.0, 2.0], b=[3.0, 4.0])(path)
    source = replace(sources.open_source(path), rows=3)
    with pytest.raises(UserError, match="has 2 rows, not 3"):
        list(source.batches(["a"], []))


# --- anything at all

finite = st.floats(-1e6, 1e6, width=32)
cells: dict[str, st.SearchStrategy[Any]] = {
    "float": st.one_of(st.none(), st.floats(), finite),
    "number": st.one_of(st.none(), finite),
    "int": st.one_of(st.none(), st.integers(-(2**62), 2**62)),
    "bool": st.one_of(st.none(), st.booleans()),
    "text": st.one_of(st.none(), st.text(max_size=3), st.sampled_from(["1", "2.5", "inf", "nan", "x", "007"])),
    "vector": st.one_of(st.none(), st.lists(finite, min_size=2, max_size=2)),
    "ragged": st.one_of(st.none(), st.lists(st.one_of(st.none(), finite), max_size=3)),
    "nothing": st.none(),
    "date": st.dates(),
    "words": st.lists(st.text(max_size=2), max_size=2),
    "bytes": st.binary(max_size=2),
}
types = {
    "float": pa.float64(), "number": pa.float32(), "int": pa.int64(), "bool": pa.bool_(), "text": pa.string(),
    "vector": pa.list_(pa.float32(), 2), "ragged": pa.list_(pa.float64()), "nothing": pa.null(), "date": pa.date32(),
    "words": pa.list_(pa.string()), "bytes": pa.binary(),
}  # fmt: skip
names = st.sampled_from(["a_1", "a_2", "a_3", "b_1", "b_2", "c", "id", "x,y", "", "é 1", "[a]", "b.1"])
patterns = st.sampled_from(["a_*", "b_*", "*", "a_1", "a_1,b_*", "c", "", "z*", "[a]", "b.1", "x?y", "a_3, c", "id"])


@st.composite
def tables(draw: st.DrawFn) -> pa.Table:
    rows = draw(st.integers(0, 5))
    columns = {}
    for name in draw(st.lists(names, max_size=7, unique=True)):
        kind = draw(st.sampled_from([*cells, "number", "number", "number", "vector"]))
        columns[name] = pa.array([draw(cells[kind]) for _ in range(rows)], types[kind])
    return pa.table(columns)


def as_bytes(table: pa.Table, suffix: str) -> bytes:
    file = io.BytesIO()
    if suffix == ".parquet":
        pa.parquet.write_table(table, file)
    elif suffix == ".feather":
        pa.feather.write_feather(table, file)
    elif suffix == ".npz":
        np.savez(file, **{name: np.array(table.column(name).to_pylist()) for name in table.column_names})
    else:
        flat = [f.name for f in table.schema if not (pa.types.is_nested(f.type) or pa.types.is_binary(f.type))]
        pa.csv.write_csv(table.select(flat), file)
    return file.getvalue()


options = st.fixed_dictionaries(
    {},
    optional={
        "view": st.dictionaries(st.sampled_from(["a", "b", "c", "x y"]), patterns, max_size=3),
        "id": names,
        "group": names,
        "kind": st.dictionaries(st.sampled_from("abc"), st.sampled_from([*get_args(Kind), "z"]), max_size=1),
    },
)


def outcome(content: bytes, suffix: str, chosen: dict[str, Any]) -> Table | None:
    """The table, or None after a one-line `UserError`; anything else is raised."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"t{suffix}"
        path.write_bytes(content)
        try:
            return read(path, **chosen)
        except UserError as error:
            message = str(error)
        assert "\n" not in message
        return None


@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(table=tables(), suffix=st.sampled_from([".parquet", ".feather", ".csv"]), chosen=options)
def test_random_tables_give_a_table_or_one_line(table: pa.Table, suffix: str, chosen: dict[str, Any]) -> None:
    read_back = outcome(as_bytes(table, suffix), suffix, chosen)
    if read_back is None:
        return
    assert len(read_back) == table.num_rows
    assert len(read_back.views) >= 2
    assert not any(np.isinf(view.values).any() for view in read_back.views.values())
    read_back.fingerprint(), read_back.schema(), read_back.warnings()


@settings(max_examples=150)
@given(data=st.data(), suffix=st.sampled_from([".parquet", ".feather", ".csv", ".npz", ".arrow", ".tsv"]))
def test_random_bytes_give_one_line(data: st.DataObject, suffix: str) -> None:
    outcome(data.draw(st.binary(max_size=200)), suffix, {"view": AB})


@settings(max_examples=150)
@given(at=st.floats(0, 1), byte=st.integers(0, 255), suffix=st.sampled_from([".parquet", ".feather", ".npz"]))
def test_one_wrong_byte_gives_a_table_or_one_line(at: float, byte: int, suffix: str) -> None:
    content = bytearray(as_bytes(pa.table({"a": [1.0, 2.0], "b": [3.0, 4.0], "s": ["x", "y"]}), suffix))
    content[min(int(at * len(content)), len(content) - 1)] = byte
    outcome(bytes(content), suffix, {"view": AB})
