"""Structures are the subsets of the views, and a layout puts them in their places."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from counterpoint.errors import UserError
from counterpoint.multimodal.hcl.structures import Layout, Structures

VIEWS = ["a", "b", "c", "d", "e"]


def test_three_views_have_the_seven_structures_of_the_code_in_its_order() -> None:
    found = Structures.of(VIEWS[:3], rank=2)
    assert ["".join(members) for members in found.members] == ["abc", "ab", "ac", "bc", "a", "b", "c"]
    assert found.width == 14
    assert found.columns[2] == slice(4, 6)
    assert found.having("b") == [0, 1, 3, 5]
    assert found.words() == "7 structures of 3 views (2^3 - 1)"


@given(st.integers(2, 5), st.integers(1, 4))
def test_both_kinds_have_equally_many_factors_and_each_view_its_own(count: int, rank: int) -> None:
    views = VIEWS[:count]
    subsets, shared = (Structures.of(views, rank, kind) for kind in ("subsets", "shared-private"))
    assert len(subsets) == 2**count - 1
    assert len(shared) == count + 1
    assert subsets.width == shared.width == rank * (2**count - 1)
    assert all(len(subsets.having(name)) == 2 ** (count - 1) for name in views)
    assert all(int(subsets.columns_of(name).sum()) == rank * 2 ** (count - 1) for name in views)
    assert len(set(subsets.members)) == len(subsets)


def test_the_mask_is_zero_where_a_view_has_no_part() -> None:
    layout = Layout.of({"a": 2, "b": 3, "c": 1}, Structures.of(VIEWS[:3], rank=1))
    assert layout.height == 6
    assert layout.rows == {"a": slice(0, 2), "b": slice(2, 5), "c": slice(5, 6)}
    assert layout.mask[:2].any(dim=0).tolist() == [True, True, True, False, True, False, False]
    assert layout.place(["c", "a"]).tolist() == [5, 0, 1]
    assert torch.equal(layout.mask.sum(dim=1), torch.full((6,), 4))


@pytest.mark.parametrize(
    ("count", "said"), [(11, r"11 views have 2047 structures \(2\^11 - 1\)"), (1, "takes 2 to 10 views")]
)
def test_too_many_views_are_refused_with_their_number(count: int, said: str) -> None:
    with pytest.raises(UserError, match=said):
        Structures.of([f"v{i}" for i in range(count)], rank=1)
