"""The lists of pairs say the same as comparing every pair."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from counterpoint.objectives import Ids, Relation
from counterpoint.objectives import select as selecting
from counterpoint.objectives.relation import join
from counterpoint.objectives.select import positive_pairs, select
from objectives.test_relation import relations

id_lists = st.lists(st.integers(-2, 4), max_size=12).map(lambda ids: torch.tensor(ids, dtype=torch.int64))


@given(id_lists, id_lists)
def test_join_finds_every_equal_pair(left: torch.Tensor, right: torch.Tensor) -> None:
    pairs = join(left, right, most=1000)
    expected = {(i, j) for i, a in enumerate(left) for j, b in enumerate(right) if a == b and a >= 0}
    assert len(pairs[0]) == len(expected)
    assert set(zip(*(side.tolist() for side in pairs), strict=True)) == expected
    assert expected == set() or join(left, right, most=len(expected) - 1) is None


@given(relations(), st.sampled_from(["all", "negatives", "positives"]), st.integers(1, 4))
def test_dropped_pairs_are_those_that_do_not_count(case: tuple, over: str, side: int) -> None:
    relation = Relation(*case)
    n, m = relation.shape
    positive, negative = relation.tile(slice(0, n), slice(0, m))
    counted = {"all": positive | negative, "negatives": negative, "positives": positive}[over]
    selection = select(relation, over)
    for i in range(0, n, side):
        for j in range(0, m, side):
            rows, columns = slice(i, min(i + side, n)), slice(j, min(j + side, m))
            tile = torch.zeros(rows.stop - i, columns.stop - j)
            selection.drop_(tile, rows, columns)
            assert torch.equal(tile == 0, counted[rows, columns])


@given(relations())
def test_positive_pairs_are_the_positives(case: tuple) -> None:
    relation = Relation(*case)
    n, m = relation.shape
    pairs = positive_pairs(relation)
    if pairs is not None:
        table = torch.zeros(n, m, dtype=torch.int64).index_put_(pairs, torch.tensor(1), accumulate=True)
        assert torch.equal(table, relation.tile(slice(0, n), slice(0, m))[0].long())


def test_the_ids_choose_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    row = torch.arange(50)
    unique, classes = Ids(row, row), Ids(row, row % 2)
    assert len(select(Relation(unique, unique)).left_out[0]) == 0, "CLIP: no work on any tile"
    assert len(select(Relation(unique, unique, "excluded")).left_out[0]) == 50, "NT-Xent: the diagonal"
    assert len(select(Relation(classes, classes, "excluded")).left_out[0]) == 50, "SupCon: the diagonal"
    monkeypatch.setattr(selecting, "FEW", 1)
    assert select(Relation(classes, classes), "negatives").left_out is None, "many: compared tile by tile"
