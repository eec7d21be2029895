"""Filling in a view: values against a loop, every kind, what is left alone, and the command as a user gives it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from counterpoint import load
from counterpoint.cli import main
from counterpoint.errors import UserError
from counterpoint.multimodal.cca.gcca import GCCA
from counterpoint.multimodal.cca.mcca import MCCA
from counterpoint.multimodal.clip import CLIP
from counterpoint.multimodal.reading.readers import read
from counterpoint.multimodal.symile import Symile
from counterpoint.multimodal.table import Table
from counterpoint.training import Run, Trainer
from small import VIEWS, write_rows

TINY = {"dim": 4, "hidden": 8, "epochs": 1, "batch_size": 16}


def table(rows: int = 60, seed: int = 0) -> Table:
    random = np.random.default_rng(seed)
    hidden = random.normal(size=(rows, 3))
    mixing = np.random.default_rng(9)
    return Table.of(
        {n: hidden @ mixing.normal(size=(3, w)) + 0.1 * random.normal(size=(rows, w)) for n, w in (("a", 4), ("b", 3))}
        | {"c": hidden[:, :2]},
        source="rows",
    )


def without(made: Table, view: str, rows: Any) -> Table:
    made.views[view].values[rows] = np.nan
    return made


@pytest.mark.parametrize("method", [CLIP, Symile, GCCA])
def test_values_are_the_weighted_means_of_a_loop(method: Any) -> None:
    known, rows = table(), without(table(20, seed=1), "b", slice(0, 12))
    known.views["b"].values[5, 1] = np.nan
    model = method(**(TINY if method is not GCCA else {"dims": (2,)})).fit(known, trainer=Trainer(progress=False))
    filled = model.impute(rows, "b", known, k=4)
    assert filled.columns["imputed"].tolist() == [True] * 12 + [False] * 8
    assert np.array_equal(filled.views["b"].values[12:], rows.views["b"].values[12:])
    found = model.retrieve(rows, "b", ["a", "c"], known, k=5)
    for row in range(12):
        weights = (found.scores[row, :4] - found.scores[row, 4]).double().numpy()
        values = known.views["b"].values[found.index[row, :4].numpy()].astype(float)
        there = ~np.isnan(values)
        wanted = (np.nan_to_num(values) * weights[:, None]).sum(0) / (there * weights[:, None]).sum(0)
        np.testing.assert_allclose(filled.views["b"].values[row], wanted, rtol=1e-5)


def test_neighbours_know_more_than_the_mean() -> None:
    known, rows = table(400), table(50, seed=1)
    truth = rows.views["b"].values.copy()
    model = GCCA(dims=(2, 3)).fit(known)
    filled = model.impute(without(rows, "b", slice(None)), "b", known, k=10).views["b"].values
    assert ((filled - truth) ** 2).mean() < 0.7 * ((known.views["b"].values.mean(0) - truth) ** 2).mean()


def test_rows_without_any_other_view_stay_and_a_view_may_be_absent_altogether() -> None:
    known = table()
    model = GCCA(dims=(2,)).fit(known)
    rows = table(10, seed=1)
    for name in "abc":
        rows.views[name].values[3] = np.nan
    filled = model.impute(rows, "b", known, k=3)
    assert filled.columns["imputed"].sum() == 0
    assert not filled.views["b"].present[3]
    whole = model.impute(known, "b", known)
    assert np.array_equal(whole.views["b"].values, known.views["b"].values)
    given = Table({"a": rows.views["a"]}, {}, rows.ids, "given")
    filled = model.impute(given, "b", known, k=3)
    assert filled.columns["imputed"].tolist() == [row != 3 for row in range(10)]
    assert model.impute(given, "b", known.rows(slice(0, 1)), k=10).views["b"].values[0] == pytest.approx(
        known.views["b"].values[0]
    )


def test_what_cannot_be_filled_in_is_refused_in_one_line() -> None:
    known = table()
    model = GCCA(dims=(2,)).fit(known)
    only_b = Table({"b": known.views["b"]}, {}, known.ids, "known")
    with pytest.raises(UserError, match='unknown view "d"'):
        model.impute(known, "d", known)
    with pytest.raises(UserError, match='known has no view "a"'):
        model.impute(known, "a", only_b)
    with pytest.raises(UserError, match="at least one view other than the target"):
        model.impute(only_b, "b", known)
    with pytest.raises(UserError, match="not fitted"):
        GCCA().impute(known, "a", known)
    wide = Table.of({"a": known.views["a"].values, "b": np.zeros((60, 7))}, source="wide")
    with pytest.raises(UserError, match='view "b" is vector, 7 wide, in wide, but vector, 3 wide, in rows'):
        model.impute(wide, "b", known)


# --- kinds


def kinds(rows: int, seed: int) -> Table:
    random = np.random.default_rng(seed)
    group = random.integers(3, size=rows)
    levels = [[("red", "green", "blue")[g], None if g == 2 else f"size {g}"] for g in group]
    notes = [f"word{g} word{g}" for g in group]
    numbers = np.eye(3)[group] + 0.05 * random.normal(size=(rows, 3))
    made = Table.of(
        {"x": numbers, "levels": levels, "note": notes},
        {"group": group},
        kind={"levels": "categories", "note": "text"},
    )
    return made


def test_categories_vote_and_texts_are_the_nearest_ones() -> None:
    known, rows = kinds(90, 0), kinds(12, 1)
    model = MCCA(dims=(4,)).fit(Table({n: known.views[n] for n in ("x", "levels")}, {}, known.ids, "known"))
    rows.views["levels"].values[:8] = -1
    filled = model.impute(rows, "levels", known, k=5)
    for row in range(12):
        group = int(rows.columns["group"][row])
        levels = [None if entry is None else entry[1] for entry in filled.views["levels"].entries(row)]
        assert levels == [("red", "green", "blue")[group], None if group == 2 else f"size {group}"]


def test_a_vote_is_a_loop() -> None:
    from counterpoint.multimodal.impute import _votes

    random = np.random.default_rng(0)
    levels, weights = random.integers(-1, 3, size=(50, 6, 2)), random.random((50, 6))
    found = _votes(levels, weights)
    for row in range(50):
        for column in range(2):
            total: dict[int, float] = {}
            for level, weight in zip(levels[row, :, column], weights[row], strict=True):
                if level >= 0:
                    total[level] = total.get(level, 0) + weight
            assert found[row, column] == (max(total, key=lambda level: total[level]) if total else -1)


# --- the command


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fitted run beside its data."""
    home = tmp_path_factory.mktemp("impute")
    rows = write_rows(home / "rows.csv")
    names = {"labs": ("lab", 4), "vitals": ("vit", 3), "ecg": ("ecg", 2)}
    view = {name: [f"{prefix}_{i}" for i in range(width)] for name, (prefix, width) in names.items()}
    fitted = Run(home / "run", data={"source": str(rows), "reader": {"id": "who", "view": view}})
    CLIP(**TINY).fit(read(rows, view=view, id="who"), trainer=Trainer(run=fitted, progress=False))
    return home / "run"


def test_the_command_writes_what_the_method_says(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows, out = write_rows(tmp_path / "new.csv", rows=30, seed=5), tmp_path / "filled.parquet"
    assert main(["impute", str(run), str(rows), "--target", "vitals", "-k", "3", "-o", str(out), "--json"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out) == {"file": str(out), "rows": 30, "imputed": 4, "missing": 0}
    assert "view vitals of 4 of 30 rows filled in from" in printed.err
    views = {name.partition("=")[0][5:]: name.partition("=")[2] for name in VIEWS}
    again = read(out, view=views, id="who")
    assert again.columns["imputed"].sum() == 4
    method: Any = load(run)
    known = read(run.parent / "rows.csv", view=views, id="who")
    wanted = method.impute(read(rows, view=views, id="who"), "vitals", known, 3)
    np.testing.assert_allclose(again.views["vitals"].values, wanted.views["vitals"].values, rtol=1e-6)
    assert set(pq.read_schema(out).names) >= {"id", "who", "sick", "lab_0", "vit_0", "ecg_0", "imputed"}


def test_a_file_without_the_view_and_rows_to_take_it_from(run: Path, tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "new.csv", rows=12, seed=5, without=("vit_", "ecg_"))
    known, out = write_rows(tmp_path / "known.csv", rows=20, seed=6, without=("lab_",)), tmp_path / "filled.parquet"
    command = ["impute", str(run), str(rows), "--target", "vitals", "-o", str(out), "--quiet"]
    assert main([*command, "--known", str(known)]) == 0
    filled = pq.read_table(out)
    assert filled["imputed"].to_pylist() == [True] * 12
    assert {"vit_0", "vit_1", "vit_2", "lab_0"} <= set(filled.column_names)
    assert "ecg_0" not in filled.column_names


def test_mistakes_are_one_line_and_write_nothing(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows, out = write_rows(tmp_path / "new.csv", rows=12), tmp_path / "filled.parquet"

    def said(*words: str) -> str:
        assert main(["impute", str(run), str(rows), "-o", str(out), *words]) == 2
        return capsys.readouterr().err

    assert 'unknown view "vital"; did you mean "vitals"' in said("--target", "vital")
    assert "no such file" in said("--target", "vitals", "--known", str(tmp_path / "none.csv"))
    assert main(["impute", str(run), str(rows), "--target", "vitals", "-o", str(tmp_path)]) == 2
    assert "is a folder; name a file to write" in capsys.readouterr().err
    lone = write_rows(tmp_path / "lone.csv", rows=12, without=("lab_", "ecg_"))
    assert main(["impute", str(run), str(lone), "--target", "vitals", "-o", str(out)]) == 2
    assert "give at least one view other than the target" in capsys.readouterr().err
    assert not out.exists()
