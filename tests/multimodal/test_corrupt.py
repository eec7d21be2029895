"""Corruptions hit what they say, record it, and change nothing else."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from counterpoint.errors import UserError
from counterpoint.multimodal.corrupt import hide, noise, swap
from counterpoint.multimodal.table import Table


def example(rows: int = 400) -> Table:
    return Table.of({name: np.arange(rows * 3).reshape(rows, 3) + 0.5 for name in "abc"}, {"y": np.arange(rows)})


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@given(rows=st.integers(1, 60), share=st.floats(0, 1), seed=st.integers(0, 9))
def test_swap_is_a_derangement_of_the_rows_hit(rows: int, share: float, seed: int) -> None:
    table = example(rows)
    wrong, masks = swap(table, ["a", "b"], share, rng(seed))
    assert not (masks["a"] & masks["b"]).any()
    assert np.array_equal(wrong.views["c"].values, table.views["c"].values)
    for name, mask in masks.items():
        before, after = table.views[name].values, wrong.views[name].values
        assert np.array_equal((before != after).all(1), mask)
        assert np.array_equal((before != after).any(1), mask)
        assert sorted(before[mask].tolist()) == sorted(after[mask].tolist())
        assert np.array_equal(wrong.columns["corrupt"] == name, mask)


def test_swap_among_all_takes_rows_of_one_permutation_of_the_table() -> None:
    table = example()
    wrong, masks = swap(table, ["a", "b"], 0.5, rng(), among="all")
    donors = (wrong.views["a"].values[:, 0] // 3).astype(int)
    assert len(set(donors[masks["a"]].tolist())) == masks["a"].sum()
    assert not masks["a"][donors[masks["a"]]].all()
    everything, masks = swap(table, "a", 1.0, rng(), among="all")
    assert sorted(everything.views["a"].values.tolist()) == table.views["a"].values.tolist()


def test_swap_of_some_numbers_leaves_the_others() -> None:
    table = example()
    wrong, _ = swap(table, "a", 1.0, rng(), columns=slice(0, 1))
    changed = wrong.views["a"].values != table.views["a"].values
    assert changed.all(0).tolist() == [True, False, False]
    assert changed.any(0).tolist() == [True, False, False]


@pytest.mark.parametrize("corruption", [swap, hide, noise])
def test_share_choice_of_view_and_seed(corruption: type[swap]) -> None:
    table = example(4000)
    wrong, masks = corruption(table, ["a", "b", "c"], 0.6, rng(1))
    assert abs(sum(mask.mean() for mask in masks.values()) - 0.6) < 0.04
    assert all(abs(mask.mean() - 0.2) < 0.03 for mask in masks.values())
    assert set(wrong.columns["corrupt"]) == {"none", "a", "b", "c"}
    again, _ = corruption(table, ["a", "b", "c"], 0.6, rng(1))
    other, _ = corruption(table, ["a", "b", "c"], 0.6, rng(2))
    assert again.fingerprint() == wrong.fingerprint() != other.fingerprint()
    assert table.fingerprint() == example(4000).fingerprint()
    assert "corrupt" not in table.columns


def test_hide_makes_the_view_absent() -> None:
    hidden, masks = hide(example(), "b", 0.3, rng())
    assert np.array_equal(hidden.views["b"].present, ~masks["b"])


def test_noise_is_gaussian_and_uninformative() -> None:
    values = rng().normal(5, 2, size=(20_000, 2))
    values[::7, 0] = np.nan
    table = Table.of({"a": values, "b": np.where(np.arange(2) > 0, np.nan, values)})
    same, _ = noise(table, "a", 1.0, rng(1))
    np.testing.assert_allclose(same.views["a"].values.mean(0), 5, atol=0.1)
    np.testing.assert_allclose(same.views["a"].values.std(0), 2, atol=0.1)
    assert abs(np.corrcoef(same.views["a"].values[:, 1], values[:, 1])[0, 1]) < 0.03
    scaled, _ = noise(table, "a", 1.0, rng(1), scale=3.0)
    np.testing.assert_allclose(scaled.views["a"].values.mean(0), 0, atol=0.1)
    np.testing.assert_allclose(scaled.views["a"].values.std(0), 3, atol=0.1)
    assert np.isfinite(noise(table, "b", 1.0, rng())[0].views["b"].values).all()


def test_a_second_corruption_keeps_the_record_of_the_first() -> None:
    first, hidden = hide(example(), "a", 0.5, rng(0))
    second, swapped = swap(first, "b", 0.5, rng(1))
    assert np.array_equal(second.columns["corrupt"] == "b", swapped["b"])
    assert np.array_equal(second.columns["corrupt"] == "a", hidden["a"] & ~swapped["b"])


def test_torch_generators_seed_the_draw() -> None:
    tables = [swap(example(), "a", 0.5, torch.Generator().manual_seed(seed))[0] for seed in (0, 0, 1)]
    assert tables[0].fingerprint() == tables[1].fingerprint() != tables[2].fingerprint()


@pytest.mark.parametrize(
    ("views", "share", "message"),
    [("A", 0.5, 'no view "A" to corrupt'), ("a", 1.5, "from 0 to 1, not 1.5"), ("a", -0.1, "from 0 to 1")],
)
def test_bad_requests(views: str, share: float, message: str) -> None:
    with pytest.raises(UserError, match=message):
        swap(example(), views, share, rng())
