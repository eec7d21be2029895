"""The bootstrap: coverage on simulated data, pairing, clusters, and the table of verdicts."""

from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterpoint.evaluation import (
    Above,
    Draw,
    Key,
    Mean,
    Outcome,
    Outcomes,
    bootstrap,
    compare,
    decide,
    interval,
    summary_with_intervals,
)
from counterpoint.evaluation.outcome import Draws, Median
from counterpoint.evaluation.significance import _conjunction, resample, table


def outcome(values: np.ndarray, ids: np.ndarray | None = None, unit: np.ndarray | None = None) -> Outcome:
    return Outcome(np.arange(len(values)) if ids is None else ids, {"y": values}, {"y": Mean("y")}, unit)


def simulated(generator: np.random.Generator, seeds: int, between_seeds: float, between_rows: float) -> Outcomes:
    """Arm d, whose mean over all seeds and rows is 0."""
    rows = between_rows * generator.normal(size=40)
    return {Key("d", seed): outcome(rows + between_seeds * generator.normal()) for seed in range(seeds)}


@pytest.mark.parametrize(("between_seeds", "between_rows"), [(1.0, 0.0), (0.0, 1.0)], ids=["seeds", "rows"])
def test_intervals_cover_the_truth(between_seeds: float, between_rows: float) -> None:
    """95 % within what 80 simulations of 3 seeds can tell; without the spread for few seeds the first covers 3/4."""
    generator = np.random.default_rng(1)
    covered = 0
    for repeat in range(80):
        outcomes = simulated(generator, 3, between_seeds, between_rows)
        value = bootstrap([partial(Above("y", "d", 0.0), outcomes)], outcomes, draws=80, seed=repeat)[0]
        covered += value.low <= 0 <= value.high
    assert covered >= 0.88 * 80


def test_intervals_are_not_needlessly_wide() -> None:
    """Where only rows differ, the width is that of the normal interval."""
    outcomes = simulated(np.random.default_rng(0), 5, 0.0, 1.0)
    value = bootstrap([partial(Above("y", "d", 0.0), outcomes)], outcomes)[0]
    spread = outcomes[Key("d", 0)].columns["y"].std()
    assert value.high - value.low == pytest.approx(2 * 1.96 * spread / 40**0.5, rel=0.1)


def test_pairing_sees_what_unpaired_intervals_cannot() -> None:
    generator = np.random.default_rng(0)
    common = generator.normal(size=200)
    a, b = outcome(common + 0.05 + 0.05 * generator.normal(size=200)), outcome(common)
    paired = compare(a, b, "y")
    alone = summary_with_intervals(a)["y"], summary_with_intervals(b)["y"]
    assert paired.low > 0
    assert alone[0].low < alone[1].high
    assert paired.estimate == pytest.approx(a.value("y") - b.value("y"))


def test_comparing_with_oneself_is_exactly_nothing() -> None:
    a = outcome(np.random.default_rng(0).normal(size=30))
    value = compare(a, a, "y")
    assert (value.low, value.estimate, value.high) == (0, 0, 0)


def test_rows_of_a_unit_are_drawn_together() -> None:
    """Ten copies of each row carry no more than one: the interval is that of the rows themselves."""
    values = np.random.default_rng(0).normal(size=50)
    copies, units = np.tile(values, 10), np.tile(np.arange(50), 10)
    single = summary_with_intervals(outcome(values))["y"]
    clustered = summary_with_intervals(outcome(copies, unit=units))["y"]
    naive = summary_with_intervals(outcome(copies))["y"]
    assert clustered.high - clustered.low == pytest.approx(single.high - single.low, rel=0.15)
    assert naive.high - naive.low < 0.5 * (single.high - single.low)


@given(st.lists(st.sampled_from("pqrs"), min_size=1, max_size=15))
def test_drawn_units_are_whole(names: list[str]) -> None:
    one = outcome(np.zeros(len(names)), unit=np.array(names))
    for draw in resample({Key("a", 0): one}, draws=5):
        rows = draw.rows[0, ()]
        times = np.bincount(rows, minlength=len(names))
        assert all(len({int(times[i]) for i, name in enumerate(names) if name == unit}) == 1 for unit in names)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("pqr")), min_size=1, max_size=15), st.booleans())
def test_every_stratum_keeps_its_units(rows: list[tuple[str, str]], units: bool) -> None:
    """A draw has as many rows of each stratum as there are, or as many units of it, and never mixes them up."""
    kind, unit = np.array([a for a, _ in rows]), np.array([a + b for a, b in rows])
    columns = {"y": np.zeros(len(rows)), "kind": kind}
    one = Outcome(np.arange(len(rows)), columns, {"y": Mean("y")}, unit if units else None, strata="kind")
    sizes = {name: int((unit == name).sum()) for name in unit.tolist()}
    for draw in resample({Key("a", 0): one}, draws=5):
        drawn = draw.rows[0, ()]
        for value in np.unique(kind):
            here = drawn[kind[drawn] == value]
            if units:
                times = sum(1 / sizes[name] for name in unit[here].tolist())
                assert times == pytest.approx(len(np.unique(unit[kind == value])))
            else:
                assert len(here) == (kind == value).sum()


def test_a_stratum_of_one_row_is_in_every_draw() -> None:
    columns = {"y": np.arange(5.0), "kind": np.array(["a", "a", "a", "a", "b"])}
    measures = {"y": Mean("y", ("kind", "a")), "y@b": Mean("y", ("kind", "b"))}
    found = summary_with_intervals(Outcome(np.arange(5), columns, measures, strata="kind"))
    assert (found["y@b"].low, found["y@b"].high) == (4.0, 4.0)
    assert 0 <= found["y"].low < found["y"].high <= 3
    with pytest.raises(ValueError, match='strata "kinds" are not a column; did you mean "kind"'):
        Outcome(np.arange(5), columns, measures, strata="kinds")


def test_same_rows_share_a_draw_and_other_rows_do_not() -> None:
    same, other = np.arange(20), np.arange(20) + 100
    outcomes = {
        Key("a", 0): outcome(np.zeros(20), same),
        Key("b", 0): outcome(np.zeros(20), same),
        Key("a", 1): outcome(np.zeros(20), same),
        Key("b", 1): outcome(np.zeros(20), same),
        Key("a", 2): outcome(np.zeros(20), other),
        Key("b", 2): outcome(np.zeros(20), other),
    }
    for draw in resample(outcomes, draws=3):
        assert np.array_equal(draw.rows[0, ()], draw.rows[1, ()])
        assert not np.array_equal(draw.rows[0, ()], draw.rows[2, ()])


@given(st.integers(1, 20))
def test_seed_weights_sum_to_one_and_average_to_equal(seeds: int) -> None:
    outcomes = {Key("a", seed): outcome(np.zeros(3)) for seed in range(seeds)}
    weights = np.array([list(draw.weights.values()) for draw in resample(outcomes, draws=400)])
    assert weights.sum(1) == pytest.approx(1.0)
    assert weights.mean(0) == pytest.approx(1 / seeds, abs=0.6 / seeds**0.5)


def test_draws_are_a_function_of_the_seed() -> None:
    a, b = (outcome(np.random.default_rng(i).normal(size=30)) for i in (0, 1))
    assert compare(a, b, "y", seed=3) == compare(a, b, "y", seed=3)
    assert compare(a, b, "y", seed=3) != compare(a, b, "y", seed=4)


def test_measures_need_not_be_means() -> None:
    """The spread of a column, resampled as a whole."""
    values = np.random.default_rng(0).normal(size=400)
    one = Outcome(np.arange(400), {"y": values}, {"spread": lambda columns: float(columns["y"].std())})
    value = summary_with_intervals(one)["spread"]
    assert value.low < 1.0 < value.high
    assert value.high - value.low == pytest.approx(2 * 1.96 / (2 * 400) ** 0.5, rel=0.2)


@pytest.mark.parametrize(
    ("gap", "verdict"), [(0.5, "holds"), (-0.5, "fails"), (0.0, "inconclusive"), (float("nan"), "inconclusive")]
)
def test_a_prediction_is_judged_by_its_whole_interval(gap: float, verdict: str) -> None:
    noise = np.random.default_rng(0).normal(size=100)
    outcomes = {Key("a", 0): outcome(noise - noise.mean() + gap)}
    assert decide([Above("y", "a", 0.0)], outcomes).word == verdict


@pytest.mark.parametrize(
    ("words", "together"),
    [
        (["holds", "holds"], "holds"),
        (["holds", "inconclusive"], "inconclusive"),
        (["holds", "fails"], "fails"),
        (["inconclusive", "fails"], "fails"),
        (["inconclusive"], "inconclusive"),
        ([], "inconclusive"),
    ],
)
def test_a_claim_is_a_conjunction(words: list[str], together: str) -> None:
    assert _conjunction(words) == together


def test_what_is_not_required_does_not_count() -> None:
    outcomes = {Key("a", 0): outcome(np.full(10, 1.0))}
    verdict = decide([Above("y", "a", 0.5), Above("y", "a", 2.0, required=False)], outcomes)
    assert verdict.word == "holds"
    assert [finding.verdict for finding in verdict.findings] == ["holds", "fails"]


def test_the_table_has_every_arm_and_setting() -> None:
    outcomes = {
        Key(arm, seed, (("p", p),)): outcome(np.full(5, p + seed)) for arm in "ab" for seed in (0, 1) for p in (0, 1)
    }
    found = table(outcomes, draws=50)
    assert {place: values["y"].estimate for place, values in found.items()} == {
        (arm, (("p", p),)): p + 0.5 for arm in "ab" for p in (0, 1)
    }


def test_different_rows_cannot_be_paired() -> None:
    with pytest.raises(ValueError, match="different rows"):
        compare(outcome(np.zeros(3)), outcome(np.zeros(3), ids=np.array([0, 2, 1])), "y")


def test_a_missing_seed_is_named() -> None:
    outcomes = {Key("a", 0): outcome(np.zeros(3)), Key("a", 1): outcome(np.zeros(3)), Key("b", 0): outcome(np.zeros(3))}
    with pytest.raises(ValueError, match=r"b has no outcome for seeds \[1\]"):
        bootstrap([partial(Above("y", "a", 0.0), outcomes)], outcomes)


def test_the_interval_is_the_percentile_one() -> None:
    assert interval(np.arange(1001.0)) == pytest.approx((25.0, 975.0))


def test_a_draw_does_not_take_one_outcome_for_another() -> None:
    draw = Draw({0: 1.0})
    for mean in (1.0, 2.0):
        assert draw.mean({Key("a", 0): outcome(np.full(3, mean))}, "a", (), "y") == mean


def test_a_draw_remembers_its_values() -> None:
    asked = []
    one = Outcome(np.arange(3), {"y": np.ones(3)}, {"y": lambda columns: asked.append(1) or 1.0})
    draw = Draw({0: 1.0})
    for _ in range(3):
        draw.mean({Key("a", 0): one}, "a", (), "y")
    assert len(asked) == 1


@given(st.integers(1, 30), st.booleans(), st.integers(0, 99))
def test_draws_together_say_what_each_says_alone(n: int, units: bool, seed: int) -> None:
    """Means, means of some rows (of none: not a number), and measures that are no means, with units and without."""
    generator = np.random.default_rng(seed)
    columns = {"y": generator.normal(size=n), "kind": generator.integers(3, size=n)}
    measures = {"y": Mean("y"), "some": Mean("y", ("kind", 1)), "middle": Median("y"), "few": Median("y", ("kind", 2))}
    unit = generator.integers(4, size=n) if units else None
    outcomes = {Key("a", place): Outcome(np.arange(n) + place, columns, measures, unit) for place in range(2)}
    singles = list(resample(outcomes, draws=7))
    for measure in measures:
        together = Draws(singles).mean(outcomes, "a", (), measure)
        alone = [draw.mean(outcomes, "a", (), measure) for draw in singles]
        np.testing.assert_allclose(together, alone, rtol=1e-12, atol=1e-12)
