"""The claims on real tables: damage that is drawn once and recorded, and a judge with a known answer."""

from typing import Any

import numpy as np
import pytest
import torch

from counterpoint.errors import UserError
from counterpoint.multimodal import table_claims as claims
from counterpoint.multimodal import tables
from counterpoint.multimodal.cca.gcca import GCCA
from counterpoint.multimodal.table import Table
from counterpoint.training import Encoded

CLASSES = 4


def made(rows: int = 200) -> Table:
    random = np.random.default_rng(0)
    hidden = random.normal(size=(rows, 3))
    views = {name: hidden @ random.normal(size=(3, 4)) for name in "abc"}
    return Table.of(views, {"what": np.digitize(hidden[:, 0], [-1, 0, 1]), "who": np.arange(rows) // 2}, "made")


@pytest.fixture(autouse=True)
def recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    """A table of ours in the place of a real one."""
    monkeypatch.setitem(
        tables.RECIPES, "made", tables.Recipe(lambda path: None, {n: n for n in "abc"}, "what", rows=160)
    )
    monkeypatch.setattr(tables, "real_table", lambda name: made())


def test_each_part_is_damaged_within_itself_and_the_damage_is_recorded() -> None:
    clean = tables.damaged("made", 3, "clean")
    assert [len(part) for part in clean] == [96, 32, 128]
    assert all((part.columns["corrupt"] == "none").all() for part in clean)
    for damage in ("missing", "swapped"):
        parts = tables.damaged("made", 3, damage)  # type: ignore[arg-type]
        for before, after in zip(clean, parts, strict=True):
            assert np.array_equal(before.ids, after.ids)
            hit = after.columns["corrupt"]
            assert 0.15 < (hit != "none").mean() < 0.45
            for name, view in after.views.items():
                changed = ~(view.values == before.views[name].values).all(axis=1)
                assert np.array_equal(changed, hit == name)
                assert view.present[hit == name].all() == (damage == "swapped")
        train, _, test = parts
        known = test.columns["probed"] == "train"
        for name in "abc":
            assert np.array_equal(test.views[name].values[known], train.views[name].values, equal_nan=True)
            if damage == "swapped":  # what is there came from the same part
                pool = set(map(bytes, clean[2].views[name].values[~known].copy()))
                assert all(bytes(row) in pool for row in test.views[name].values[~known].copy())
        again = tables.damaged("made", 3, damage)  # type: ignore[arg-type]
        assert [part.fingerprint() for part in again] == [part.fingerprint() for part in parts]


class Perfect:
    """Finds every row by its number, which it reads off the clean table."""

    def __init__(self, table: Table) -> None:
        self.facts = {"views": {name: {} for name in table.views}}
        self.fronts: Any = {}

    def require_fitted(self) -> None:
        pass

    def scores(self, given: Encoded, target: str, candidates: torch.Tensor) -> torch.Tensor:
        query = torch.stack([v * given.present[n][:, None] for n, v in given.vectors.items()]).amax(dim=0)
        return -(query - candidates.T).abs()


def test_finding_is_judged_where_there_is_something_to_find(monkeypatch: pytest.MonkeyPatch) -> None:
    """A method that knows every row by its number finds all it is asked for, missing and swapped views left aside."""

    def numbered(method: Any, table: Table) -> Encoded:
        number = torch.arange(1.0, len(table) + 1)[:, None]
        present = {name: torch.from_numpy(view.present) for name, view in table.views.items()}
        return Encoded(dict.fromkeys(table.views, number), present)

    monkeypatch.setattr(claims, "embed_views", numbered)
    for damage in ("clean", "missing", "swapped"):
        _, validation, _ = tables.damaged("made", 0, damage)  # type: ignore[arg-type]
        outcome = claims.find_and_probe(Perfect(validation), validation)
        assert outcome.summary() == {"top1": 1.0, "mrr": 1.0, "score": 1.0}
        assert outcome.columns["asked"].all()


def test_spaces_raw_features_and_predictions_are_judged_alike() -> None:
    train, _, test = tables.damaged("made", 0, "missing")
    space = claims.find_and_probe(GCCA(dims=(3,)).fit(train), test)
    raw = claims.find_and_probe(claims.RawFeatures().fit(train), test)
    assert set(space.summary()) == {"top1", "mrr", "probe", "score"}
    assert set(raw.summary()) == {"probe", "score"}
    assert np.array_equal(space.ids, raw.ids)
    assert len(space.ids) == 32
    assert raw.summary()["probe"] > 1.5 / CLASSES
    assert space.summary()["mrr"] > 0.5


def test_the_probe_counts_classes_alike() -> None:
    class Says:
        def __init__(self) -> None:
            self.facts = {"label": "label"}

        def predict(self, table: Table) -> Any:
            return type("Said", (), {"labels": ["1"] * len(table)})

    _, _, test = tables.damaged("made", 0, "clean")
    found = claims.find_and_probe(Says(), test).summary()
    assert found["probe"] == pytest.approx(1 / CLASSES)
    assert found["score"] == found["probe"]


def test_the_claims_are_stated_alike_for_every_table() -> None:
    found = [value for value in vars(claims).values() if isinstance(value, claims.Claim)]
    assert {claim.name for claim in found} == {f"table-{name}" for name in tables.RECIPES if name != "made"}
    for claim in found:
        assert {arm.name for arm in claim.arms} >= {"clip", "symile", "gated-symile", "hcl", "kcca", "raw", "placebo"}
        assert claim.at(quick=True).seeds == (0,)


def test_the_demos_folder_is_named_when_it_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COUNTERPOINT_DATA", raising=False)
    with pytest.raises(UserError, match="mimic3demo is not here; set COUNTERPOINT_DATA"):
        tables._below(tables.RECIPES["mimic"].folder)  # type: ignore[arg-type]
