"""Views proposed from names, and patterns expanded to columns."""

import shlex

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterpoint.errors import UserError
from counterpoint.multimodal.reading.proposal import NAME, as_options, choose, propose


def head(*names: str, **given: object) -> pa.Table:
    rng = np.random.default_rng(0)
    return pa.table({name: rng.normal(size=200) for name in names} | given)


def proposed(table: pa.Table, *vectors: str, text: tuple[str, ...] = ()) -> dict[str, str]:
    return propose(table, vectors, [*table.column_names, *vectors, *text])


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["lab_a", "lab_b", "vit_a", "vit_b"], {"lab": "lab_*", "vit": "vit_*"}),
        (["x1", "x2", "y1", "y2"], {"x": "x*", "y": "y*"}),
        (["ecg.1", "ecg.2", "mri-1", "mri-2"], {"ecg": "ecg.*", "mri": "mri-*"}),
        (["feat_lab_1", "feat_lab_2", "feat_vit_1", "feat_vit_2"],
         {"feat_lab": "feat_lab_*", "feat_vit": "feat_vit_*"}),
        (["heart rate 1", "heart rate 2", "age", "bmi"], {"heart": "heart *", "rest": "age,bmi"}),
        (["a1", "a2", "age", "b1", "b2"], {"a": "a1,a2", "b": "b*"}),
        (["1", "2", "v_1", "v_2"], {"v": "v_*", "rest": "1,2"}),
        (["größe_1", "größe_2", "_a", "a_1"], {"gr_e": "größe_*", "rest": "_a,a_1"}),
        (["x,1", "x,2", "y_1", "y_2"], {"x": "x?1,x?2", "y": "y_*"}),
        (["x_1", "x_2", "x_id", "y_1", "y_2"], {"x": "x_1,x_2", "y": "y_*"}),
        (["a", "b"], {"rest": "a,b"}),
    ],
)  # fmt: skip
def test_common_beginnings(names: list[str], expected: dict[str, str]) -> None:
    assert proposed(head(*names)) == expected


def test_each_list_column_is_a_view() -> None:
    assert proposed(head("a", "b"), "ecg", "mri scan") == {"ecg": "ecg", "mri_scan": "mri scan", "rest": "a,b"}


def test_ids_constants_and_labels_are_left_out() -> None:
    rng = np.random.default_rng(1)
    table = head(
        "bmi", "height",
        patient_id=rng.normal(size=200), label=rng.normal(size=200), number=rng.permutation(200), count=range(200),
        sex=rng.integers(2, size=200), site=rng.integers(20, size=200), flat=np.ones(200), empty=np.full(200, np.nan),
        age=rng.integers(20, 90, size=200),
    )  # fmt: skip
    assert proposed(table, "v") == {"v": "v", "rest": "bmi,height,age"}


def test_a_pattern_never_catches_text() -> None:
    assert proposed(head("lab_a", "lab_b"), "v", text=("lab_note",)) == {"lab": "lab_a,lab_b", "v": "v"}


@given(st.lists(st.text("ab_1.-,*[]? é", max_size=6), unique=True, max_size=12))
def test_what_is_proposed_can_be_used(names: list[str]) -> None:
    views = proposed(head(*names), "v")
    chosen = choose(views, [*names, "v"], "t")
    assert all(NAME.fullmatch(name) for name in chosen)
    claimed = [column for columns in chosen.values() for column in columns]
    assert len(claimed) == len(set(claimed))
    words = dict(word.removeprefix("view.").split("=", 1) for word in shlex.split(as_options(views)))
    assert words == views


def test_patterns_keep_their_order_and_say_a_column_once() -> None:
    names = ["a1", "a2", "b", "x[0]", "x[1]"]
    assert choose({"v": "b, a*,a1"}, names, "t") == {"v": ("b", "a1", "a2")}
    assert choose({"v": "x[0]"}, names, "t") == {"v": ("x[0]",)}
    assert choose({"v": ["a?", "x[1]"]}, names, "t") == {"v": ("a1", "a2", "x[1]")}


@pytest.mark.parametrize(
    ("views", "message"),
    [
        ({"v": "glucos"}, 'file.csv: "glucos" of view "v" matches no column; nearest columns: glucose'),
        ({"v": "zz_*"}, '"zz_*" of view "v" matches no column'),
        ({"v": ""}, '"" of view "v" matches no column'),
        ({"v": "glucose", "w": "g*"}, 'column "glucose" is in view "v" and in view "w"'),
        ({"v": "who"}, '"who" of view "v" is the id or group column'),
        ({"a.b": "glucose"}, 'view name "a.b" is not allowed'),
        ({"1": "glucose"}, 'view name "1" is not allowed'),
        ({"": "glucose"}, 'view name "" is not allowed'),
    ],
)
def test_bad_patterns_are_named(views: dict[str, str], message: str) -> None:
    with pytest.raises(UserError) as error:
        choose(views, ["glucose", "sodium", "who"], "file.csv", aside=["who"])
    assert message in str(error.value)
