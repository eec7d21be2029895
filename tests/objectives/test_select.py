"""The lists of pairs say the same as comparing every pair."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from counterpoint.objectives import Embeddings, Ids, Relation, info_nce
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


@given(st.sets(st.integers(0, 9)), st.sets(st.integers(0, 9)), st.permutations(range(10)))
def test_views_that_lack_rows_match_as_any_ids_do(first: set[int], second: set[int], order: list[int]) -> None:
    """The short way for ids that are each their own positive says what the general one says, gradients included."""
    rows = [torch.tensor([row for row in order if row in kept], dtype=torch.int64) for kept in (first, second)]
    plain = [Ids(row=row, positive=row) for row in rows]
    general = [Ids(row=row, positive=row.clone()) for row in rows]
    vectors = [
        torch.randn(len(row), 4, dtype=torch.float64, generator=torch.Generator().manual_seed(9)) for row in rows
    ]
    for forth in (True, False):
        short, long = (Relation(ids[1 - forth], ids[forth]) for ids in (plain, general))
        assert set(zip(*(side.tolist() for side in positive_pairs(short) or ()), strict=True)) == set(
            zip(*(side.tolist() for side in positive_pairs(long) or ()), strict=True)
        )
        assert torch.equal(short.has_negative(), long.has_negative())
    found = []
    for ids in (plain, general):
        leaves = [vector.clone().requires_grad_() for vector in vectors]
        loss = info_nce(*map(Embeddings, leaves, ids), temperature=0.5, symmetric=True)
        loss.mean().backward()
        found.append([loss.value, loss.valid, *(leaf.grad for leaf in leaves)])
    for short_one, long_one in zip(*found, strict=True):
        torch.testing.assert_close(short_one, long_one)
