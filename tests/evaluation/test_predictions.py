"""What each prediction computes, on outcomes with known means."""

from collections.abc import Callable

import numpy as np
import pytest

from counterpoint.evaluation import (
    Above,
    Better,
    Draw,
    Equivalent,
    Falls,
    GapGrows,
    Key,
    Mean,
    Outcome,
    Outcomes,
    Prediction,
)

WHOLE = Draw({0: 0.5, 1: 0.5})


def made(value: Callable[[str, int, float], float], ps: tuple[float, ...] = (0.0, 0.5, 1.0)) -> Outcomes:
    """Outcomes of arms a and b whose top1 is value(arm, seed, p)."""
    return {
        Key(arm, seed, (("p", p),)): Outcome(
            np.arange(2), {"hit": np.full(2, value(arm, seed, p))}, {"top1": Mean("hit")}
        )
        for arm in "ab"
        for seed in (0, 1)
        for p in ps
    }


SLOPED = made(lambda arm, seed, p: 1.0 - p if arm == "a" else 1.0 - 2 * p)
ALL = [
    (Above("top1", "a", 0.2), 0.3),
    (Above("top1", "a", 0.2, where={"p": 1.0}), -0.2),
    (Better("top1", "a", "b"), 0.5),
    (Better("top1", "a", "b", margin=0.6), -0.1),
    (Better("top1", "a", "b", where={"p": 1.0}), 1.0),
    (Equivalent("top1", "a", "b", within=0.1), -0.4),
    (Equivalent("top1", "a", "b", within=0.1, where={"p": 0.0}), 0.1),
    (Falls("top1", "a", along="p"), 1.0),
    (Falls("top1", "b", along="p"), 2.0),
    (GapGrows("top1", "a", "b", along="p"), 1.0),
    (GapGrows("top1", "b", "a", along="p"), -1.0),
]


@pytest.mark.parametrize(("prediction", "value"), ALL, ids=[prediction.name for prediction, _ in ALL])
def test_values(prediction: Prediction, value: float) -> None:
    assert isinstance(prediction, Prediction)
    assert prediction(SLOPED, WHOLE) == pytest.approx(value)


def test_seeds_are_weighted_by_the_draw() -> None:
    outcomes = made(lambda arm, seed, p: float(seed))
    assert Above("top1", "a", 0.0)(outcomes, Draw({0: 0.25, 1: 0.75})) == pytest.approx(0.75)


def test_slopes_agree_with_numpy() -> None:
    ps = (0.0, 0.1, 0.4, 1.0)
    curve = dict(zip(ps, (0.9, 0.95, 0.3, 0.2), strict=True))
    outcomes = made(lambda arm, seed, p: curve[p], ps)
    slope = np.polyfit(ps, list(curve.values()), 1)[0]
    assert Falls("top1", "a", along="p")(outcomes, WHOLE) == pytest.approx(-slope)


def test_only_settings_that_all_arms_ran_in_count() -> None:
    outcomes = {key: value for key, value in SLOPED.items() if key.arm == "a" or key.setting != (("p", 0.0),)}
    assert Better("top1", "a", "b")(outcomes, WHOLE) == pytest.approx(0.75)


def test_a_setting_nobody_ran_in_is_named() -> None:
    with pytest.raises(ValueError, match="top1 of a is above that of b at p = 7"):
        Better("top1", "a", "b", where={"p": 7})(SLOPED, WHOLE)


def test_one_setting_has_no_trend() -> None:
    with pytest.raises(ValueError, match="at least two different settings"):
        Falls("top1", "a", along="p", where={"p": 1.0})(SLOPED, WHOLE)


def test_an_unknown_measure_is_named_with_the_nearest() -> None:
    with pytest.raises(ValueError, match='did you mean "top1"'):
        Above("top", "a", 0.0)(SLOPED, WHOLE)


def test_a_name_can_be_given() -> None:
    assert Above("top1", "a", 0.0, name="a works").name == "a works"
