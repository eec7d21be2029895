"""Corruptions hit what they say, as much as they say, record it, and change nothing else."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from counterpoint.errors import UserError
from counterpoint.multimodal.corrupt import degrade, hide, noise, perturb, swap
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


# --- by degrees


def mixed(rows: int = 400) -> Table:
    random = rng(0)
    return Table.of(
        {
            "labs": random.normal(3.0, 2.0, size=(rows, 3)),
            "note": [" ".join(f"w{random.integers(50)}" for _ in range(8)) for _ in range(rows)],
            "sex": [["f" if random.random() < 0.5 else "m"] for _ in range(rows)],
            "image": [random.normal(size=(4, 5)) for _ in range(rows)],
        },
        kind={"labs": "numbers", "note": "text", "sex": "categories", "image": "tokens"},
    )


def parts(table: Table, view: str) -> list[Any]:
    """The parts of each row: numbers, levels, words or tokens."""
    found = table.views[view]
    if found.kind in ("numbers", "categories"):
        return [row[~np.isnan(row)] if row.dtype.kind == "f" else row[row >= 0] for row in found.values]
    split = {"text": lambda entry: entry.split(), "tokens": list}[found.kind]
    return [[] if (entry := found.entries(row)[0]) is None else split(entry) for row in range(len(table))]


@pytest.mark.parametrize("view", ["labs", "note", "sex", "image"])
def test_a_share_of_the_parts_is_left_out(view: str) -> None:
    table = mixed()
    before = sum(map(len, parts(table, view)))
    made = perturb(table, view, 0.3, rng(1), "drop")
    assert abs(sum(map(len, parts(made, view))) / before - 0.7) < 0.07
    assert made.views[view].columns == table.views[view].columns
    assert all(np.array_equal(made.views[o].values, table.views[o].values) for o in table.views if o != view)
    assert not perturb(table, view, 1.0, rng(1), "drop").views[view].present.any()


@pytest.mark.parametrize("view", ["labs", "note", "image"])
def test_a_share_of_the_parts_is_exchanged(view: str) -> None:
    table = mixed()
    made = perturb(table, view, 0.4, rng(1), "exchange")
    old, new = parts(table, view), parts(made, view)
    assert [len(row) for row in old] == [len(row) for row in new]
    changed = np.mean(
        [not np.array_equal(a, b) for x, y in zip(old, new, strict=True) for a, b in zip(x, y, strict=True)]
    )
    assert 0.3 < changed < 0.45
    known = {str(one) for row in old for one in row}
    assert {str(one) for row in new for one in row} <= known


@pytest.mark.parametrize("view", ["labs", "image"])
def test_noise_is_in_units_of_the_standard_deviation(view: str) -> None:
    table = mixed()
    made = perturb(table, view, 0.5, rng(1), "noise")
    old, new = (np.concatenate([np.ravel(row) for row in parts(t, view)]) for t in (table, made))
    assert abs(np.std(new - old) / np.std(old) - 0.5) < 0.05


def test_each_row_has_its_own_strength() -> None:
    table = mixed()
    strength = np.where(np.arange(len(table)) < 100, 2.0, 0.0)
    made = perturb(table, "labs", strength, rng(1))
    same = (made.views["labs"].values == table.views["labs"].values).all(axis=1)
    assert same.tolist() == (strength == 0).tolist()
    assert made.columns["strength"].tolist() == strength.tolist()


@given(st.sampled_from(["labs", "note", "sex", "image"]), st.sampled_from(["drop", "exchange"]))
def test_no_strength_changes_nothing(view: str, how: Any) -> None:
    table = mixed(20)
    made = perturb(table, view, 0.0, rng(1), how)
    assert [list(map(str, row)) for row in parts(made, view)] == [list(map(str, row)) for row in parts(table, view)]


@pytest.mark.parametrize(
    ("view", "strength", "how", "words"),
    [
        ("lab", 0.1, "drop", 'no view "lab" to corrupt; did you mean "labs"'),
        ("note", 0.1, "noise", "noise is not for a view of text"),
        ("labs", 1.1, "drop", "from 0 to 1"),
        ("labs", -1.0, "noise", "at least 0"),
    ],
)
def test_mistakes_of_degree_are_named(view: str, strength: float, how: Any, words: str) -> None:
    with pytest.raises(UserError, match=words):
        perturb(mixed(20), view, strength, rng(0), how)


@pytest.mark.parametrize(
    ("view", "how"), [("labs", "noise"), ("note", "drop"), ("sex", "exchange"), ("image", "noise")]
)
def test_degrade_makes_one_view_of_some_rows_worse(view: str, how: Any) -> None:
    table = mixed()
    other = "image" if view == "labs" else "labs"
    made, masks = degrade(table, [view, other], 0.5, rng(1), how, 0.5)
    assert not (masks[view] & masks[other]).any()
    assert made.columns["corrupt"].tolist() == np.select([masks[view], masks[other]], [view, other], "none").tolist()
    assert made.columns["strength"].tolist() == (0.5 * (masks[view] | masks[other])).tolist()
    for name, mask in masks.items():
        same = [np.array_equal(a, b) for a, b in zip(parts(made, name), parts(table, name), strict=True)]
        assert np.array(same)[~mask].all()
        assert np.array(same)[mask].mean() < 0.8
