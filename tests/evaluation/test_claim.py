"""What a claim refuses, and that its hash is of all of it."""

import dataclasses
from functools import partial
from typing import Any

import numpy as np
import pytest

from counterpoint.evaluation import Above, Arm, Better, Claim, Mean, Outcome, Search
from counterpoint.evaluation.claim import digest, plain
from evaluation.fake_claims import CLAIM, SEARCHED, judge

ARMS = CLAIM.arms


def changed(**fields: Any) -> Claim:
    return dataclasses.replace(CLAIM, **fields)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"arms": ARMS[:1], "predictions": (Above("accuracy", "nearest", 0.5),)}, "a placebo or a baseline"),
        ({"arms": ARMS[1:]}, "needs a method"),
        ({"arms": (*ARMS, ARMS[0])}, "arms must be given, each once"),
        ({"arms": (Arm("nearest", "x", {"epochs": 9}), *ARMS[1:])}, "touch the budget"),
        ({"arms": (Arm("nearest", "x", only=({"p": 9},)), *ARMS[1:])}, "runs in none of the settings"),
        ({"predictions": (Better("accuracy", "nearst", "always"),)}, 'did you mean "nearest"'),
        ({"predictions": (Above("accuracy", "nearest", 0.5, required=False),)}, "nothing could fail"),
        ({"predictions": ()}, "predictions must be given"),
        ({"seeds": ()}, "seeds must be given"),
        ({"settings": ({"p": 0.5}, {"p": 0.5})}, "settings must be given, each once"),
        ({"quick": {"seed": 0}}, "quick replaces fields"),
        ({"quick": {"quick": {}}}, "quick replaces fields"),
        ({"judge": lambda method, test: judge(method, test)}, "no stable name"),
        ({"search": Search({"nearest": [{}, {}], "placebo": [{}]}, "accuracy")}, "same number of search trials"),
        ({"search": Search({"nearest": [{}]}, "accuracy")}, "placebo is trained but its knobs are not searched"),
        ({"search": Search({"nearst": [{}]}, "accuracy")}, 'did you mean "nearest"'),
    ],
)
def test_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        changed(**fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"sentence": "Other."},
        {"arms": (*ARMS[:2], dataclasses.replace(ARMS[2], data=None))},
        {"predictions": CLAIM.predictions[:2]},
        {"predictions": (Better("accuracy", "nearest", "always", margin=0.06), *CLAIM.predictions[1:])},
        {"seeds": (0, 1)},
        {"settings": ({"p": 0.5}, {"p": 2.5})},
        {"budget": {"epochs": 4}},
        {"measures": {}},
        {"version": 2},
        {"search": SEARCHED.search},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_every_field_is_in_the_hash(fields: dict[str, Any]) -> None:
    assert changed(**fields).hash != CLAIM.hash


def test_the_hash_is_known() -> None:
    """The same on every machine and in every process: it may only change with the text."""
    assert changed().hash == CLAIM.hash
    assert digest({"a": (1, 2.5), "b": partial(judge, test=None)}) == "c760affb49792e10"


def test_plain_names_what_it_can_and_refuses_the_rest() -> None:
    assert plain({"where": np.float64(0.5), "judge": judge}) == {"where": 0.5, "judge": "evaluation.fake_claims:judge"}
    with pytest.raises(ValueError, match="no stable name"):
        plain(object())


def test_quick_replaces_fields() -> None:
    quick = CLAIM.at(quick=True)
    assert (quick.seeds, quick.budget, quick.cut, quick.settings) == ((0,), {"epochs": 1}, "one seed", CLAIM.settings)
    assert CLAIM.at(quick=False) is CLAIM


def test_budgets() -> None:
    assert CLAIM.budget_of(ARMS[0]) == {"epochs": 3}
    assert CLAIM.budget_of(ARMS[1]) == {}


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"y": np.zeros(2)}, "there are 3 rows"),
        ({"y": np.zeros((3, 1))}, "there are 3 rows"),
        ({"y": np.array([None, 1, 2])}, "Python objects"),
    ],
)
def test_outcomes_check_their_columns(columns: dict[str, np.ndarray], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Outcome(np.arange(3), columns, {"y": Mean("y")})


def test_measures_choose_rows() -> None:
    columns = {"y": np.array([1.0, 2.0, 6.0]), "kind": np.array(["a", "a", "b"])}
    assert Mean("y", where=("kind", "a"))(columns) == 1.5
    assert np.isnan(Mean("y", where=("kind", "c"))(columns))
