"""The judge of labels against scikit-learn and torchmetrics; label columns of every kind."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss, f1_score, log_loss
from torchmetrics.classification import MulticlassCalibrationError

from counterpoint.errors import UserError
from counterpoint.multimodal.labels import MacroF1, classes_of, codes, labelled
from counterpoint.multimodal.table import Table
from counterpoint.training import Predictions


def judged(probabilities: np.ndarray, truth: np.ndarray, classes: list[Any]) -> Any:
    method = SimpleNamespace(
        facts={"label": "label", "classes": classes},
        predict=lambda table: Predictions.of_classes(classes, torch.from_numpy(probabilities)),
    )
    return labelled(method, Table.of({"a": np.ones((len(truth), 1))}, {"label": truth}))


@given(st.integers(0, 100), st.integers(2, 4))
def test_measures_are_those_of_other_libraries(seed: int, classes: int) -> None:
    rng = np.random.default_rng(seed)
    chances = rng.dirichlet(np.ones(classes), size=60)
    truth = rng.integers(classes, size=60)
    found = judged(chances, truth, list(range(classes))).summary()
    said = chances.argmax(axis=1)
    assert found["accuracy"] == pytest.approx((said == truth).mean())
    assert found["macro_f1"] == pytest.approx(f1_score(truth, said, average="macro"))
    assert found["nll"] == pytest.approx(log_loss(truth, chances, labels=range(classes)), rel=1e-6)
    error = MulticlassCalibrationError(classes, n_bins=15, norm="l1")(
        torch.from_numpy(chances), torch.from_numpy(truth)
    )
    assert found["ece"] == pytest.approx(float(error), abs=1e-6)
    if classes == 2:
        assert found["brier"] == pytest.approx(2 * brier_score_loss(truth, chances[:, 1]))


def test_rows_that_cannot_be_judged_are_left_out_and_unknown_classes_are_wrong() -> None:
    chances = np.array([[0.9, 0.1], [0.9, 0.1], [np.nan, np.nan], [0.2, 0.8]])
    outcome = judged(chances, np.array(["a", None, "a", "c"], dtype=object), ["a", "b"])
    assert outcome.ids.tolist() == [0, 3]
    assert outcome.columns["correct"].tolist() == [1.0, 0.0]
    with pytest.raises(UserError, match="no row has both a view and a value"):
        judged(chances, np.array([None] * 4, dtype=object), ["a", "b"])


def test_f1_of_some_rows() -> None:
    columns = {"truth": np.array([0, 1, 1]), "said": np.array([0, 1, 0]), "level": np.array(["x", "x", "y"])}
    assert MacroF1(where=("level", "x"))(columns) == 1.0
    assert MacroF1(where=("level", "z"))(columns) != MacroF1(where=("level", "z"))(columns)


@pytest.mark.parametrize(
    ("values", "classes"),
    [
        (np.array([1.0, np.nan, 0.0]), [0, 1]),
        (np.array([True, False, True]), [False, True]),
        (np.array(["b", None, "a"], dtype=object), ["a", "b"]),
        (np.array([0.5, 1.0, 1.0]), [0.5, 1]),
    ],
)
def test_classes_are_what_json_can_keep(values: np.ndarray, classes: list[Any]) -> None:
    table = Table.of({"a": np.ones((3, 1))}, {"label": values})
    assert classes_of(table, "label") == classes
    found = codes(values, classes)
    assert [None if code < 0 else classes[code] for code in found.tolist()] == [
        None if value is None or value != value else value for value in values.tolist()
    ]


def test_no_classes_are_refused() -> None:
    table = Table.of({"a": np.ones((1500, 1))}, {"one": np.ones(1500), "many": np.arange(1500)})
    with pytest.raises(UserError, match='column "one" holds 1 different values'):
        classes_of(table, "one")
    with pytest.raises(UserError, match='column "many" holds 1500 different values'):
        classes_of(table, "many")
    with pytest.raises(UserError, match='no column "ons" with labels; did you mean "one"'):
        classes_of(table, "ons")
