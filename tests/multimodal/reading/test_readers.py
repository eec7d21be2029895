"""Every format gives the same table, missing stays missing, and reading large files is bounded in memory."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.feather
import pyarrow.parquet
import pytest

import counterpoint.multimodal.reading.sources as sources
from counterpoint.multimodal.reading.readers import propose_views, read
from counterpoint.multimodal.table import Table, read_table

VIEWS = {"labs": "lab_*", "vitals": "vit_*"}


def numbers(rows: int = 300) -> pa.Table:
    rng = np.random.default_rng(0)
    labs = {f"lab_{name}": rng.normal(size=rows) for name in "abc"}
    vitals = {"vit_a": rng.integers(0, 200, rows), "vit_b": rng.random(rows) < 0.5}
    columns = {name: pa.array(values) for name, values in (labs | vitals).items()}
    columns["lab_b"] = pa.array(labs["lab_b"], mask=rng.random(rows) < 0.3)
    columns["person"] = pa.array([f"p{i % 50:03}" for i in range(rows)])
    columns["score"] = pa.array(rng.normal(size=rows), mask=rng.random(rows) < 0.1)
    columns["age"] = pa.array(rng.integers(20, 80, rows))
    return pa.table(columns)


def write(table: pa.Table, path: Path) -> Path:
    """Write in the format of the suffix."""
    if path.suffix == ".csv":
        pa.csv.write_csv(table, path)
    elif path.suffix == ".tsv":
        pa.csv.write_csv(table, path, pa.csv.WriteOptions(delimiter="\t"))
    elif path.suffix == ".parquet":
        pa.parquet.write_table(table, path, row_group_size=77)
    elif path.suffix == ".feather":
        pa.feather.write_feather(table, path, chunksize=64)
    elif path.suffix == ".arrow":
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, table.schema) as stream:
            stream.write_table(table, max_chunksize=100)
    else:
        arrays = {name: table.column(name).to_numpy() for name in table.column_names}
        np.savez(path, **{name: np.array(a, dtype=str) if a.dtype == object else a for name, a in arrays.items()})
    return path


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".feather", ".arrow", ".npz"])
@pytest.mark.parametrize("small_pieces", [False, True])
def test_every_format_reads_as_parquet_does(
    suffix: str, small_pieces: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = numbers()
    if suffix == ".npz":
        original = original.set_column(4, "vit_b", original.column("vit_b").cast(pa.int64()))
    if small_pieces:
        monkeypatch.setattr(sources, "BATCH_ROWS", 7)
        monkeypatch.setattr(sources, "CSV_BLOCK", 400)
        monkeypatch.setattr(sources, "COLUMNS_AT_ONCE", 2)
    parquet = read(write(original, tmp_path / "t.parquet"), view=VIEWS, id="person")
    other = read(write(original, tmp_path / f"t{suffix}"), view=VIEWS, id="person")
    assert other.fingerprint() == parquet.fingerprint()
    assert list(other.columns) == ["person", "score", "age"]
    for name, column in parquet.columns.items():
        assert other.columns[name].dtype == column.dtype
        np.testing.assert_array_equal(other.columns[name], column)


def test_values_are_those_of_the_file(tmp_path: Path) -> None:
    original = numbers()
    table = read(write(original, tmp_path / "t.parquet"), view={"labs": "lab_c,lab_*", "vitals": "vit_b"})
    assert table.views["labs"].columns == ("lab_c", "lab_a", "lab_b")
    for j, name in enumerate(table.views["labs"].columns):
        expected = original.column(name).to_numpy().astype(np.float32)
        np.testing.assert_array_equal(table.views["labs"].values[:, j], expected)
    assert set(np.unique(table.views["vitals"].values)) == {0.0, 1.0}
    assert table.views["labs"].kind == "numbers"
    assert table.ids.tolist() == list(range(300))


def test_null_and_nan_are_missing_never_zero(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a1,a2,b\n,1,2\nNaN,2,NA\n,,null\n")
    table = read(path, view={"a": "a*", "b": "b"})
    np.testing.assert_array_equal(table.views["a"].values, np.float32([[np.nan, 1], [np.nan, 2], [np.nan] * 2]))
    assert table.views["a"].present.tolist() == [True, True, False]
    assert table.views["b"].present.tolist() == [True, False, False]


@pytest.mark.parametrize("kind", [pa.list_(pa.float64()), pa.large_list(pa.int32()), pa.list_(pa.float32(), 2)])
@pytest.mark.parametrize("suffix", [".parquet", ".feather", ".arrow"])
def test_lists_are_vectors_and_null_lists_absent(kind: pa.DataType, suffix: str, tmp_path: Path) -> None:
    rows = [None, [1, 2], [3, None], None, [5, 6]]
    original = pa.table({"ecg": pa.array(rows, kind), "x": [1.0, 2, 3, 4, 6]})
    table = read(write(original, tmp_path / f"t{suffix}"), view={"ecg": "ecg", "x": "x"})
    nan = np.nan
    expected = np.float32([[nan, nan], [1, 2], [3, nan], [nan, nan], [5, 6]])
    np.testing.assert_array_equal(table.views["ecg"].values, expected)
    assert table.views["ecg"].kind == "vector"
    assert table.views["ecg"].present.tolist() == [False, True, True, False, True]
    assert table.views["ecg"].label(1) == "ecg[1]"


def test_vectors_whose_first_batches_are_all_null(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "BATCH_ROWS", 3)
    original = pa.table({"v": pa.array([None] * 7 + [[1, 2]], pa.list_(pa.int8())), "x": range(8)})
    table = read(write(original, tmp_path / "t.parquet"), view={"v": "v", "x": "x"})
    assert table.views["v"].values.shape == (8, 2)
    assert table.views["v"].present.tolist() == [False] * 7 + [True]


def test_npz_arrays_of_two_axes_are_vectors(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    big_endian, half = rng.normal(size=(9, 3)).astype(">f4"), rng.normal(size=(9, 2)).astype(np.float16)
    path = tmp_path / "t.npz"
    np.savez_compressed(
        path, a=big_endian, b=half, name=np.array(list("abcdefghi")), picture=np.ones((9, 2, 2)), version=3
    )
    table = read(path)
    np.testing.assert_array_equal(table.views["a"].values, big_endian)
    np.testing.assert_array_equal(table.views["b"].values, half)
    assert table.columns["name"].tolist() == list("abcdefghi")
    assert any("left out: picture" in note for note in table.notes)


def test_kind_can_be_overridden(tmp_path: Path) -> None:
    path = tmp_path / "t.npz"
    np.savez(path, a=np.ones((3, 2)), b=np.arange(3.0))
    table = read(path, view={"a": "a", "b": "b"}, kind={"a": "numbers", "b": "vector"})
    assert [view.kind for view in table.views.values()] == ["numbers", "vector"]


def test_other_columns_are_kept_with_their_types(tmp_path: Path) -> None:
    original = pa.table({
        "a": [1.0, 2.0], "b": [3.0, 4.0],
        "flag": [True, False], "flag_or_not": [True, None], "count": [2**60, 1], "maybe": [1, None],
        "text": ["x", None], "city": pa.array(["Rome", "Bonn"]).dictionary_encode(),
        "day": pa.array([0, 1], pa.date32()), "price": pa.array([1, 2]).cast(pa.decimal128(20, 1)),
        "nothing": pa.nulls(2), "lists": [[1], [2]],
    })  # fmt: skip
    table = read(write(original, tmp_path / "t.parquet"), view={"a": "a", "b": "b"})
    kept = {name: (column.dtype.kind, column.tolist()) for name, column in table.columns.items()}
    nan = kept["nothing"][1][0]
    assert np.isnan(nan)
    assert kept["flag"] == ("b", [True, False])
    assert kept["flag_or_not"][0] == kept["maybe"][0] == "f"
    assert kept["count"] == ("i", [2**60, 1])
    assert kept["text"] == ("O", ["x", None])
    assert kept["city"] == ("O", ["Rome", "Bonn"])
    assert kept["day"] == ("O", ["1970-01-01", "1970-01-02"])
    assert kept["price"] == ("f", [1.0, 2.0])
    assert "lists" not in kept
    assert any("left out: lists" in note for note in table.notes)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["007", "12"], ["007", "12"]),
        (["12345678901234567890", "1"], ["12345678901234567890", "1"]),
        (["7", "12"], [7, 12]),
        (["1.5", "2"], [1.5, 2.0]),
        (["true", "false"], [True, False]),
        (['"x\ny"', "é"], ["x\ny", "é"]),
    ],
)
def test_csv_columns_become_what_they_spell(values: list[str], expected: list[object], tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,b,k\n" + "".join(f"1,2,{value}\n" for value in values), encoding="utf-8")
    table = read(path, view={"a": "a", "b": "b"}, id="k")
    assert table.columns["k"].tolist() == expected
    assert table.ids.tolist() == expected


def test_without_views_the_proposal_is_used_and_noted(tmp_path: Path) -> None:
    path = write(numbers(), tmp_path / "t.parquet")
    proposed = propose_views(path, id="person")
    assert proposed == {"lab": "lab_*", "vit": "vit_*", "rest": "score,age"}
    table, given = read(path, id="person"), read(path, view=proposed, id="person")
    assert table.fingerprint() == given.fingerprint()
    assert table.notes == ("no views were named; proposed: view.lab='lab_*' view.vit='vit_*' view.rest=score,age",)


def test_wildcards_pass_over_id_and_group(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("x_id,x_group,x_a,y_a\n1,1,.5,1\n2,1,.1,2\n")
    table = read(path, view={"x": "x_*", "y": "y_*"}, id="x_id", group="x_group")
    assert table.views["x"].columns == ("x_a",)
    assert table.group == "x_group"
    assert list(table.columns) == ["x_id", "x_group"]


def test_rows_to_be_used_may_have_one_view(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,b\n1,2\n")
    assert list(Table.read(path, view={"a": "a"}, least_views=1).views) == ["a"]


def test_read_table_names_views_in_the_plural(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,b\n1,2\n")
    assert (
        read_table(path, views={"a": "a", "b": "b"}).fingerprint()
        == read(path, view={"a": "a", "b": "b"}).fingerprint()
    )


def test_a_text_file_with_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b"\xef\xbb\xbfa,b\r\n1,2\r\n3,4\r\n")
    assert read(path, view={"a": "a", "b": "b"}).views["a"].values.tolist() == [[1.0], [3.0]]


def test_a_large_file_never_has_more_than_a_piece_in_memory(tmp_path: Path) -> None:
    """Arrow's own pool stays far below the file's size, whatever the size of its row groups."""
    rng = np.random.default_rng(0)
    rows, width = 80_000, 64
    columns = {f"{'ab'[j % 2]}_{j}": rng.standard_normal(rows) for j in range(width)}
    pa.parquet.write_table(pa.table(columns), tmp_path / "t.parquet")
    del columns
    pool = pa.proxy_memory_pool(pa.default_memory_pool())
    before = pa.default_memory_pool()
    pa.set_memory_pool(pool)
    try:
        table = read(tmp_path / "t.parquet", view={"a": "a_*", "b": "b_*"})
    finally:
        pa.set_memory_pool(before)
    assert len(table) == rows
    assert pool.max_memory() < 0.5 * rows * width * 8
