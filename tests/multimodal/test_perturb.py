"""Views made worse by degrees: how much, where, and what is refused."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterpoint.errors import UserError
from counterpoint.multimodal.perturb import perturb
from counterpoint.multimodal.table import Table

RNG = np.random.default_rng


def mixed(rows: int = 400) -> Table:
    rng = RNG(0)
    return Table.of(
        {
            "labs": rng.normal(3.0, 2.0, size=(rows, 3)),
            "note": [" ".join(f"w{rng.integers(50)}" for _ in range(8)) for _ in range(rows)],
            "sex": [["f" if rng.random() < 0.5 else "m"] for _ in range(rows)],
            "image": [rng.normal(size=(4, 5)) for _ in range(rows)],
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
    made = perturb(table, view, 0.3, RNG(1), "drop")
    assert abs(sum(map(len, parts(made, view))) / before - 0.7) < 0.07
    assert made.views[view].columns == table.views[view].columns
    assert all(np.array_equal(made.views[o].values, table.views[o].values) for o in table.views if o != view)
    assert not perturb(table, view, 1.0, RNG(1), "drop").views[view].present.any()


@pytest.mark.parametrize("view", ["labs", "note", "image"])
def test_a_share_of_the_parts_is_exchanged(view: str) -> None:
    table = mixed()
    made = perturb(table, view, 0.4, RNG(1), "exchange")
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
    made = perturb(table, view, 0.5, RNG(1), "noise")
    old, new = (np.concatenate([np.ravel(row) for row in parts(t, view)]) for t in (table, made))
    assert abs(np.std(new - old) / np.std(old) - 0.5) < 0.05


def test_each_row_has_its_own_strength() -> None:
    table = mixed()
    strength = np.where(np.arange(len(table)) < 100, 2.0, 0.0)
    made = perturb(table, "labs", strength, RNG(1))
    same = (made.views["labs"].values == table.views["labs"].values).all(axis=1)
    assert same.tolist() == (strength == 0).tolist()
    assert made.columns["strength"].tolist() == strength.tolist()


@given(st.sampled_from(["labs", "note", "sex", "image"]), st.sampled_from(["drop", "exchange"]))
def test_no_strength_changes_nothing(view: str, how: Any) -> None:
    table = mixed(20)
    made = perturb(table, view, 0.0, RNG(1), how)
    assert [list(map(str, row)) for row in parts(made, view)] == [list(map(str, row)) for row in parts(table, view)]


@pytest.mark.parametrize(
    ("view", "strength", "how", "words"),
    [
        ("lab", 0.1, "drop", 'no view "lab" to perturb; did you mean "labs"'),
        ("note", 0.1, "noise", "noise is not for a view of text"),
        ("labs", 1.1, "drop", "from 0 to 1"),
        ("labs", -1.0, "noise", "at least 0"),
    ],
)
def test_mistakes_are_named(view: str, strength: float, how: Any, words: str) -> None:
    with pytest.raises(UserError, match=words):
        perturb(mixed(20), view, strength, RNG(0), how)
