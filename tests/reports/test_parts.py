"""Numbers, curves and columns against values worked out by hand or by a peer."""

import math

import numpy as np
import pyarrow as pa
import pytest

from counterpoint.reports import atlas, figures, words
from counterpoint.reports.made import patterns
from counterpoint.reports.parts import flat


def test_auc_agrees_with_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    draw = np.random.default_rng(0)
    clean, swapped = draw.integers(3, 9, 40) / 10, draw.integers(0, 7, 25) / 10
    truth = np.r_[np.ones(40), np.zeros(25)]
    expected = metrics.roc_auc_score(truth, np.r_[clean, swapped])
    assert words.auc(clean.tolist(), swapped.tolist()) == pytest.approx(expected, abs=1e-12)


def test_phases_follow_each_other_and_a_change_is_marked() -> None:
    events = [
        {"phase": phase, "step": step, "loss": 1.0, "terms": {"a": 0.5, "b": 0.5}}
        for phase, steps in (("warm", 3), ("train", 2))
        for step in range(steps)
    ]
    drawn = {figure["title"]: figure for figure in figures.loss_curves(events)}
    assert list(drawn) == ["Loss", "A", "B"]
    assert drawn["Loss"]["lines"][0]["x"] == [0, 1, 2, 3, 4]
    assert drawn["Loss"]["marks"] == [{"at": 3.0, "name": "train"}]


def test_what_was_measured_once_is_no_curve() -> None:
    events = [{"phase": "fit", "step": i, "loss": 1.0, "notes": {"watched": 0.5}} for i in range(3)]
    events.append({"phase": "look", "step": 0, "loss": 0.0, "terms": {}, "notes": {"energy": 0.25}})
    assert [figure["title"] for figure in figures.loss_curves(events)] == ["Loss", "Watched"]
    assert figures.measured_once(events) == {"energy": 0.25}
    assert [figure["title"] for figure in figures.loss_curves(events[:3])] == ["Loss", "Watched"]
    without = [event | {"terms": {}} for event in events[:3]]
    assert [figure["title"] for figure in figures.loss_curves(without)] == ["Watched"]


def test_long_curves_are_thinned_to_block_means_that_are_said() -> None:
    events = [{"phase": "train", "step": i, "loss": float(i)} for i in range(1000)]
    (figure,) = figures.loss_curves(events)
    assert figure["x"] == "step (each point the mean of 3)"
    assert figure["lines"][0]["y"][0] == 1.0
    assert len(figure["lines"][0]["y"]) <= figures.MOST_POINTS


def test_a_value_that_is_no_number_leaves_a_gap() -> None:
    events = [{"phase": "train", "step": i, "loss": loss} for i, loss in enumerate([1.0, math.nan, 2.0])]
    assert figures.loss_curves(events)[0]["lines"][0]["y"] == [1.0, None, 2.0]


def test_a_pass_without_terms_has_no_loss() -> None:
    events = [
        {"phase": "fit", "step": 1, "loss": 2.0, "terms": {"a": 2.0}},
        {"phase": "reference", "step": 1, "loss": 0, "terms": {}},
    ]
    assert figures.loss_curves(events)[0]["lines"][0]["y"] == [2.0, None]


def test_probe_labels_are_ordered_by_size_with_all_last() -> None:
    rows = [{"labels": labels} for labels in ("all", 100, 20, "5")]
    assert figures.probe_labels(rows) == ["5", "20", "100", "all"]


def test_many_groups_become_twelve_and_keep_their_texts() -> None:
    values = ["big"] * 5 + [f"w{i}" for i in range(30)] + [None]
    column = atlas.column(values)
    assert column is not None
    assert len(column["names"]) == atlas.FEW
    assert column["names"][-1] == "other"
    assert column["names"][column["values"][0]] == "big"
    assert column["values"][-1] == -1
    assert column["texts"] == values


def test_numbers_are_groups_when_few_and_whole_and_a_scale_otherwise() -> None:
    assert atlas.column([10, 2, 10]) == {"kind": "groups", "names": ["2", "10"], "values": [1, 0, 1]}
    many = atlas.column(list(range(13)))
    assert many is not None
    assert many["kind"] == "scale"
    assert atlas.column([True, False]) == {"kind": "groups", "names": ["False", "True"], "values": [1, 0]}
    assert atlas.column([None, None]) is None
    assert atlas.column([[1.0], [2.0]]) is None


@pytest.mark.parametrize("kind", [pa.list_(pa.float32(), 2), pa.list_(pa.float64())])
def test_vectors_are_read_from_lists_and_a_missing_one_is_not_a_number(kind: pa.DataType) -> None:
    lists = pa.chunked_array([pa.array([[1.0, 2.0], None], kind), pa.array([[3.0, 4.0]], kind)])
    assert np.array_equal(atlas.vectors(lists), [[1, 2], [np.nan, np.nan], [3, 4]], equal_nan=True)


def test_settings_are_written_as_the_command_line_takes_them() -> None:
    assert flat({"view": {"a": "a_*"}, "clip": None, "on": False}) == {"view.a": "a_*", "clip": None, "on": "false"}


def test_columns_become_a_pattern_only_when_it_is_theirs_alone() -> None:
    lab = [f"lab_{i}" for i in range(9)]
    assert patterns({"lab": lab, "ecg": ["ecg"]}) == {"lab": "lab_*", "ecg": ["ecg"]}
    assert patterns({"lab": lab, "other": ["lab_x"]})["lab"] == lab
    assert patterns({"lab": lab[:3]})["lab"] == lab[:3]
