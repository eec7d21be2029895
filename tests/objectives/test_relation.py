"""Ids, Embeddings and Relation: what they say and what they refuse."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from counterpoint.objectives import Embeddings, Ids, Relation, RowLoss, info_nce, stacked
from counterpoint.objectives.relation import as_embeddings, paired
from objectives import oracle


def column(n: int, least: int = -1) -> st.SearchStrategy[torch.Tensor]:
    return st.lists(st.integers(least, 3), min_size=n, max_size=n).map(lambda ids: torch.tensor(ids, dtype=torch.int64))


@st.composite
def relations(draw: st.DrawFn) -> tuple[Ids, Ids, str]:
    """Any two sides, of few ids, so that every fact meets every other."""
    excluded, within = draw(st.integers(0, 2)), draw(st.booleans())

    def side() -> Ids:
        n = draw(st.integers(0, 9))
        exclude = torch.stack([draw(column(n)) for _ in range(excluded)], 1) if excluded else None
        return Ids(draw(column(n)), draw(column(n)), exclude, draw(column(n)) if within else None)

    return side(), side(), draw(st.sampled_from(["positive", "negative", "excluded"]))


@given(relations())
def test_tile_is_the_definition(case: tuple[Ids, Ids, str]) -> None:
    queries, keys, itself = case
    relation = Relation(queries, keys, itself)
    table = oracle.kinds(queries, keys, itself)
    positive, negative = relation.tile(slice(0, len(queries)), slice(0, len(keys)))
    assert positive.tolist() == [[this == "positive" for this in row] for row in table]
    assert negative.tolist() == [[this == "negative" for this in row] for row in table]
    assert relation.has_negative().tolist() == ["negative" in row for row in table]
    part = relation.tile(slice(1, 3), slice(0, 2))[0]
    assert part.tolist() == positive[1:3, 0:2].tolist()


def test_a_negative_is_found_behind_the_first_keys() -> None:
    classes = torch.zeros(200, dtype=torch.int64)
    classes[-1] = 1
    ids = Ids(torch.arange(200), classes)
    assert Relation(ids, ids).has_negative().all()
    assert Relation(ids[:199], ids[:199]).has_negative().sum() == 0


@pytest.mark.parametrize("itself", ["positive", "negative", "excluded"])
def test_itself_is_what_is_said_whatever_the_columns_say(itself: str) -> None:
    one = torch.zeros(1, dtype=torch.int64)
    ids = Ids(one, one - 1, exclude=one[:, None])
    positive, negative = Relation(ids, ids, itself).tile(slice(0, 1), slice(0, 1))
    assert (bool(positive), bool(negative)) == (itself == "positive", itself == "negative")


ROW = torch.tensor([7, 2, 5])
PLAIN = Ids(ROW, ROW)
DIAGONAL = {
    "the same ids": (PLAIN, PLAIN),
    "equal ids": (PLAIN, Ids(ROW.clone(), ROW.clone())),
    "a positive of their own": (Ids(ROW, ROW + 1), Ids(ROW, ROW + 1)),
}
NOT_DIAGONAL = {
    "another order": (PLAIN, Ids(ROW.flip(0), ROW.flip(0))),
    "a subset": (PLAIN, PLAIN[:2]),
    "other rows": (PLAIN, Ids(ROW + 1, ROW + 1)),
    "other positives": (PLAIN, Ids(ROW, ROW + 9)),
    "a duplicated row": (Ids(ROW // 5, ROW),) * 2,
    "a shared positive": (Ids(ROW, ROW // 5),) * 2,
    "a negative row": (Ids(ROW - 3, ROW),) * 2,
    "a negative positive": (Ids(ROW, ROW - 3),) * 2,
    "exclude": (Ids(ROW, ROW, exclude=ROW[:, None]),) * 2,
    "within": (Ids(ROW, ROW, within=ROW * 0),) * 2,
    "log weight": (Ids(ROW, ROW, log_weight=torch.zeros(3)),) * 2,
    "log weight of the keys": (PLAIN, Ids(ROW, ROW, log_weight=torch.zeros(3))),
}


@pytest.mark.parametrize("name", DIAGONAL)
def test_a_diagonal_relation_is_recognised(name: str) -> None:
    relation = Relation(*DIAGONAL[name])
    positive, negative = relation.tile(slice(0, 3), slice(0, 3))
    assert relation.diagonal
    assert torch.equal(positive, torch.eye(3, dtype=torch.bool))
    assert torch.equal(negative, ~positive)
    assert not Relation(*DIAGONAL[name], itself="excluded").diagonal
    assert not Relation(*DIAGONAL[name], itself="negative").diagonal


@pytest.mark.parametrize("name", NOT_DIAGONAL)
def test_any_other_relation_is_not_taken_for_diagonal(name: str) -> None:
    assert not Relation(*NOT_DIAGONAL[name]).diagonal


@given(relations())
def test_what_is_taken_for_diagonal_is(case: tuple[Ids, Ids, str]) -> None:
    queries, keys, itself = case
    for right in (queries, keys):
        relation = Relation(queries, right, itself)
        if relation.diagonal:
            n = len(queries)
            positive, negative = relation.tile(slice(0, n), slice(0, n))
            assert torch.equal(positive, torch.eye(n, dtype=torch.bool))
            assert torch.equal(negative, ~positive)


def test_a_duplicated_row_is_not_its_own_negative() -> None:
    ids = Ids(torch.tensor([4, 4, 5]), torch.tensor([4, 4, 5]))
    assert Relation(ids, ids).tile(slice(0, 1), slice(0, 3))[1].tolist() == [[False, False, True]]


def test_subsets_carry_everything() -> None:
    row = torch.arange(4)
    rows = Embeddings(torch.rand(4, 2), Ids(row, row, row[:, None], row, row.double()), everywhere=True)
    for subset in (rows[row > 1], rows[torch.tensor([2, 3])], rows[2:]):
        assert torch.equal(subset.vectors, rows.vectors[2:])
        assert all(len(part) == 2 for part in vars(subset.ids).values())
        assert subset.everywhere


def test_stacked_views_are_things_of_their_own() -> None:
    row = torch.tensor([7, -1])
    both = stacked(*[Embeddings(torch.rand(2, 3), Ids(row, row, within=row))] * 2)
    assert both.ids.row.tolist() == [14, -2, 15, -1]
    assert both.ids.positive.tolist() == both.ids.within.tolist() == [7, -1, 7, -1]


def plain(n: int, d: int = 2, **facts: torch.Tensor) -> Embeddings:
    return Embeddings(torch.rand(n, d), Ids(torch.arange(n), torch.arange(n), **facts))


ids = torch.arange(3)
REFUSED = {
    "differ in length": lambda: Ids(ids, ids[:2]),
    "gets no gradient": lambda: Ids(ids, ids, log_weight=torch.rand(3, requires_grad=True)),
    "5 vectors": lambda: Embeddings(torch.rand(5, 2), Ids(ids, ids)),
    "both be plain": lambda: paired(torch.rand(3, 2), plain(3)),
    "3 queries and 4 keys": lambda: paired(torch.rand(3, 2), torch.rand(4, 2)),
    "2-dimensional and keys 3": lambda: paired(plain(3), plain(3, 3)),
    "columns of `exclude`": lambda: info_nce(plain(3), plain(3, exclude=ids[:, None]), temperature=1.0),
    "`within`": lambda: info_nce(plain(3), plain(3, within=ids), temperature=1.0),
    "state `within`": lambda: stacked(plain(3), plain(3, within=ids)),
    "`everywhere`": lambda: stacked(plain(3), Embeddings(torch.rand(3, 2), Ids(ids, ids), everywhere=True)),
}


@pytest.mark.parametrize("message", REFUSED)
def test_refused(message: str) -> None:
    # the shape check of the test run may be the first to refuse; its error is a TypeError
    with pytest.raises((ValueError, TypeError)) as refusal:
        REFUSED[message]()
    assert message in str(refusal.value) or isinstance(refusal.value, TypeError)


def test_a_plain_tensor_pairs_by_position() -> None:
    rows = as_embeddings(torch.rand(3, 2))
    assert rows.ids.row.tolist() == rows.ids.positive.tolist() == [0, 1, 2]
    left, right = paired(rows.vectors, rows.vectors)
    assert left is right


def test_mean_leaves_out_what_is_not_valid() -> None:
    loss = RowLoss(torch.tensor([1.0, torch.nan, 4.0], requires_grad=True), torch.tensor([True, False, True]))
    assert loss.mean() == 2.5
    assert loss.mean(torch.tensor([3.0, 5.0, 1.0])) == 1.75
    loss.mean().backward()
    assert loss.value.grad.tolist() == [0.5, 0.0, 0.5]
    nothing = RowLoss(torch.ones(2, requires_grad=True), torch.zeros(2, dtype=torch.bool)).mean()
    nothing.backward()
    assert nothing == 0
