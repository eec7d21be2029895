"""The table itself: hashing, splitting and what it says about suspicious views."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterpoint.errors import UserError
from counterpoint.multimodal.table import Table, View

NAN = float("nan")
THIRDS = {"train": 0.6, "validation": 0.2, "test": 0.2}


def example(rows: int = 30, **columns: object) -> Table:
    rng = np.random.default_rng(0)
    return Table.of({"a": rng.normal(size=(rows, 3)), "b": rng.normal(size=(rows, 2))}, columns)


def test_present_and_missing_follow_nan() -> None:
    view = Table.of({"a": [[1, NAN], [NAN, NAN], [2, 3]]}).views["a"]
    assert view.present.tolist() == [True, False, True]
    assert view.missing == 0.5


def test_rows_take_slices_masks_and_numbers() -> None:
    table = example(5, y=list("vwxyz"))
    mask = np.array([False, True, False, True, False])
    for index in (mask, np.array([1, 3]), slice(1, 4, 2)):
        part = table.rows(index)
        assert part.ids.tolist() == [1, 3]
        assert part.columns["y"].tolist() == ["w", "y"]
        assert np.array_equal(part.views["b"].values, table.views["b"].values[[1, 3]])


def test_fingerprint_sees_every_part_that_is_learned_from() -> None:
    table = example()
    b = table.views["b"]
    changes = {
        "value": Table({**table.views, "a": _nudged(table.views["a"])}, {}, table.ids, "x"),
        "view name": Table({"a": table.views["a"], "c": replace(b, name="c")}, {}, table.ids, "x"),
        "kind": Table({**table.views, "b": replace(b, kind="numbers")}, {}, table.ids, "x"),
        "columns": Table({**table.views, "b": replace(b, columns=("z",))}, {}, table.ids, "x"),
        "ids": Table(table.views, {}, table.ids + 1, "x"),
        "order": table.rows(np.arange(30)[::-1].copy()),
    }
    prints = {name: changed.fingerprint() for name, changed in changes.items()}
    assert table.fingerprint() not in prints.values()
    assert len(set(prints.values())) == len(prints)
    assert Table(table.views, {}, table.ids, "elsewhere").fingerprint() == table.fingerprint()


def _nudged(view: View) -> View:
    values = view.values.copy()
    values[17, 2] += 1
    return View(view.name, view.kind, view.columns, values)


def test_schema_says_what_was_recognised() -> None:
    table = Table.of({"a": [[1, NAN], [NAN, NAN]], "b": [[1], [2]]}, kind="numbers")
    assert table.schema()[0] == {
        "view": "a", "kind": "numbers", "columns": "a", "width": 2, "rows": 1, "missing": 0.75,
    }  # fmt: skip


def test_lengths_must_agree() -> None:
    with pytest.raises(UserError, match='column "y" has 2 rows, the ids 3'):
        Table.of({"a": [[1], [2], [3]]}, {"y": [1, 2]})


@given(rows=st.integers(3, 200), seed=st.integers(0, 5))
def test_split_is_a_partition_of_the_stated_sizes(rows: int, seed: int) -> None:
    parts = example(rows).split({"train": 0.5, "test": 0.5}, seed)
    assert sorted(np.concatenate([part.ids for part in parts.values()]).tolist()) == list(range(rows))
    assert abs(len(parts["train"]) - rows / 2) <= 1
    again = example(rows).split({"train": 0.5, "test": 0.5}, seed)
    assert all(np.array_equal(parts[name].ids, again[name].ids) for name in parts)
    assert all((np.diff(part.ids) > 0).all() for part in parts.values())


def test_split_changes_with_the_seed() -> None:
    first, second = (example(100).split(THIRDS, seed)["test"].ids.tolist() for seed in (0, 1))
    assert first != second


@given(groups=st.lists(st.one_of(st.none(), st.integers(0, 12)), min_size=5, max_size=120), seed=st.integers(0, 3))
def test_groups_never_cross(groups: list[int | None], seed: int) -> None:
    column = np.array(groups, dtype=object)
    distinct = len(set(groups) - {None}) + groups.count(None)
    table = example(len(groups), who=column)
    if distinct < 3:
        with pytest.raises(UserError, match='different values of "who"'):
            table.split(THIRDS, seed, "who")
        return
    parts = table.split(THIRDS, seed, "who")
    assert sorted(np.concatenate([part.ids for part in parts.values()]).tolist()) == list(range(len(groups)))
    held = [set(part.columns["who"].tolist()) - {None} for part in parts.values()]
    assert sum(len(values) for values in held) == len(set.union(*held))


@pytest.mark.parametrize("column", [np.repeat(np.arange(100), 10), np.repeat([f"p{i}" for i in range(100)], 10)])
def test_group_split_keeps_the_shares(column: np.ndarray) -> None:
    parts = example(1000, who=column).split(THIRDS, 3, "who")
    assert [len(part) for part in parts.values()] == [600, 200, 200]


def test_rows_without_a_group_are_not_one_group() -> None:
    table = example(100, who=np.full(100, np.nan))
    assert [len(part) for part in table.split(THIRDS, 0, "who").values()] == [60, 20, 20]


def test_the_tables_own_group_is_the_default() -> None:
    table = example(40, who=np.repeat(np.arange(8), 5))
    owned = Table(table.views, table.columns, table.ids, "x", group="who")
    parts = owned.split(THIRDS)
    assert all(len(part) % 5 == 0 for part in parts.values())


@pytest.mark.parametrize(
    ("shares", "group", "message"),
    [
        ({"train": 0.5, "test": 0.4}, None, "add up to 1"),
        ({"train": 1.2, "test": -0.2}, None, "above 0"),
        ({"train": 0.999, "test": 0.001}, None, '"test" would be empty'),
        ({"train": 0.5, "test": 0.5}, "sort", 'did you mean "sort_"'),
        ({"train": 0.5, "test": 0.5}, "sort_", 'too few rows with different values of "sort_"'),
    ],
)
def test_impossible_splits(shares: dict[str, float], group: str | None, message: str) -> None:
    with pytest.raises(UserError, match=message):
        example(30, sort_=np.ones(30)).split(shares, group=group)


def test_a_group_column_must_exist() -> None:
    with pytest.raises(UserError, match='no column "who" to group by'):
        Table({}, {}, np.arange(0), "x", group="who")


def test_warnings_in_plain_words() -> None:
    rng = np.random.default_rng(0)
    good = rng.normal(size=(20, 2))
    table = Table.of({
        "good": good,
        "copy": good,
        "flat": np.where(rng.random((20, 2)) < 0.5, 7, NAN),
        "gone": np.full((20, 2), NAN),
        "rownumber": np.arange(20)[:, None],
        "falling": np.stack([rng.normal(size=20), -np.arange(20.0) ** 2], axis=1),
    })  # fmt: skip
    found = table.warnings()
    assert len(found) == 5
    assert found[0].startswith('view "copy" is an exact copy of view "good"')
    assert found[1].startswith('view "flat" is the same in every row')
    assert found[2].startswith('view "gone" is missing in every row')
    assert found[3].startswith('view "rownumber": "rownumber" only rises or falls')
    assert found[4].startswith('view "falling": "falling[1]" only rises or falls')


def test_no_warning_about_ordinary_views() -> None:
    assert example().warnings() == []
    assert example(5).rows(slice(0, 3)).warnings() == []
