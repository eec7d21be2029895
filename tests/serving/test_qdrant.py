"""The index on Qdrant, in the client's own process, finds and changes what the index in a folder does."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from counterpoint.errors import UserError
from counterpoint.serving.index import Index
from serving.test_index import WHERES, fields, points, table

pytest.importorskip("qdrant_client")
from counterpoint.serving.qdrant import QdrantIndex

NAMES = [f"r{n}" for n in range(50)]


@pytest.fixture
def index(tmp_path: Path) -> Iterator[QdrantIndex]:
    made = QdrantIndex.build(f"{tmp_path}/q/rows", NAMES, points(50), table(fields(50)), about={"view": "joint"})
    yield made
    made.close()


@pytest.fixture
def local(tmp_path: Path) -> Index:
    return Index.build(tmp_path / "i", NAMES, points(50), table(fields(50)))


@pytest.mark.parametrize("name", ["all", *WHERES])
def test_it_finds_what_the_folder_finds(index: QdrantIndex, local: Index, name: str) -> None:
    where = WHERES[name][0] if name in WHERES else None
    ours, theirs = (one.search(points(3, seed=3), 7, where) for one in (local, index))
    assert ours.ids.tolist() == theirs.ids.tolist()
    assert np.allclose(ours.scores, theirs.scores, atol=1e-5)
    for mine, its in zip(ours.rows, theirs.rows, strict=True):
        assert local.metadata(mine) == index.metadata(its)


def test_rows_come_and_go(index: QdrantIndex, local: Index) -> None:
    one: Any
    for one in (index, local):
        one.add(["new"], points(1, seed=9), table(fields(1)))
        one.delete(["r3", "r4"])
        assert len(one) == one.about["rows"] == 49
        assert one.search(points(1, seed=9), 1, {"id": "new"}).ids.tolist() == [["new"]]
        with pytest.raises(UserError, match="id r5 is in the index already"):
            one.add(["r5"], points(1))
        with pytest.raises(UserError, match="id r3 is not in the index; nothing was deleted"):
            one.delete(["r1", "r3"])
        with pytest.raises(UserError, match='no id "r3" in this index'):
            one.vector("r3")
    assert np.allclose(index.vector("new"), local.vector("new"), atol=1e-6)
    assert index.search(points(4), 50).ids.tolist() == local.search(points(4), 50).ids.tolist()


def test_it_is_found_again(index: QdrantIndex, tmp_path: Path) -> None:
    address = f"{tmp_path}/q/rows"
    index.close()
    again = QdrantIndex.open(address)
    assert again.about == {"view": "joint", "kind": "qdrant", "dim": 6, "rows": 50, "recall": None}
    again.close()
    with pytest.raises(UserError, match="the Qdrant collection rows exists already; add --replace"):
        QdrantIndex.build(address, NAMES, points(50))
    replaced = QdrantIndex.build(address, [1, 2], points(2), replace=True)
    assert replaced.search(points(2), 1).ids.tolist() == [[1], [2]]
    replaced.close()


def test_what_can_be_wrong(index: QdrantIndex, tmp_path: Path) -> None:
    for where, line in (
        ({"agee": 3}, 'did you mean "age"'),
        ({"age": "old"}, "no value of a column of int64"),
        ({"site": {">": "a"}}, "Qdrant compares numbers only"),
    ):
        with pytest.raises(UserError, match=line):
            index.search(points(1), 1, where)
    with pytest.raises(UserError, match="vectors of 5 numbers, where the index holds 6"):
        index.search(points(1, 5))
    with pytest.raises(UserError, match="write qdrant:http"):
        QdrantIndex.open("rows")
    with pytest.raises(UserError, match="the Qdrant collection absent cannot be used"):
        QdrantIndex.open(f"{tmp_path}/other/absent")
    with pytest.raises(UserError, match="cannot be used"):
        QdrantIndex.open("http://127.0.0.1:9/rows")
