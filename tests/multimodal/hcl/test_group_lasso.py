"""The group lasso against its optimality conditions and a slow oracle; its folds; what it says of labels."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from counterpoint.errors import UserError
from counterpoint.multimodal.hcl.group_lasso import GroupLasso, LassoConfig, group_lasso, label_facts, targets_of
from counterpoint.multimodal.table import Table

GROUPS = [slice(0, 2), slice(2, 3), slice(3, 6)]


def problem(seed: int, targets: int = 1) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(30, 6)) @ rng.normal(size=(6, 6))
    y = x[:, :2] @ rng.normal(size=(2, targets)) + rng.normal(size=(30, targets))
    return x.T @ x / 30, x.T @ y / 30


def weights() -> np.ndarray:
    sizes = np.array([2, 1, 3])
    return np.sqrt(sizes / sizes.mean())


@given(st.integers(0, 50), st.floats(0.001, 3.0), st.integers(1, 3))
def test_optimality_conditions(seed: int, penalty: float, targets: int) -> None:
    """A group that is left has gradient -penalty * direction, one that is dropped a gradient no longer than that."""
    h, g = problem(seed, targets)
    b = group_lasso(h, g, GROUPS, penalty)
    gradient = h @ b - g
    for s, weight in zip(GROUPS, weights(), strict=True):
        length = np.linalg.norm(b[s])
        if length > 0:
            np.testing.assert_allclose(gradient[s], -penalty * weight * b[s] / length, atol=1e-6 * np.abs(g).max())
        else:
            assert np.linalg.norm(gradient[s]) <= penalty * weight * (1 + 1e-9)


def test_a_slow_oracle_finds_nothing_better() -> None:
    optimize = pytest.importorskip("scipy.optimize")
    h, g = problem(3)

    def value(b: np.ndarray) -> float:
        lengths = [np.linalg.norm(b[s]) for s in GROUPS]
        return float(0.5 * b @ h @ b - g[:, 0] @ b + 0.3 * weights() @ lengths)

    found = group_lasso(h, g, GROUPS, 0.3)[:, 0]
    for start in np.random.default_rng(0).normal(size=(5, 6)):
        assert value(found) <= optimize.minimize(value, start, method="Powell").fun + 1e-8


def test_without_penalty_it_is_least_squares_and_with_enough_nothing() -> None:
    h, g = problem(1)
    np.testing.assert_allclose(group_lasso(h, g, GROUPS, 0.0), np.linalg.solve(h, g), rtol=1e-4, atol=1e-4)
    assert not group_lasso(h, g, GROUPS, 100.0).any()


def filled(x: np.ndarray, y: np.ndarray, folds: int = 3) -> GroupLasso:
    lasso = GroupLasso(folds, GROUPS, {"classes": []})
    for part in np.array_split(np.arange(len(x)), 4):  # in several batches
        fold = torch.from_numpy(part % folds)
        lasso.sums.add(torch.from_numpy(x[part]), torch.from_numpy(y[part]), fold)
    return lasso


def test_the_penalty_is_that_of_honest_folds() -> None:
    """Against a plain loop that fits each fold on the other rows alone, means included."""
    rng = np.random.default_rng(5)
    x = rng.normal(size=(60, 6)) + 1.0
    y = x[:, :2] @ [[1.0], [-1.0]] + 2.0 + rng.normal(size=(60, 1))
    penalties = (1e-4, 1e-2, 0.1, 0.5)
    lasso = filled(x, y)
    chosen = lasso.solve(penalties)
    errors = {}
    for share in penalties:
        errors[share] = 0.0
        for held in range(3):
            rest = np.arange(60) % 3 != held
            mean_x, mean_y = x[rest].mean(axis=0), y[rest].mean(axis=0)
            a, b = x[rest] - mean_x, y[rest] - mean_y
            h, g = a.T @ a / len(a), a.T @ b / len(a)
            most = max(np.linalg.norm(g[s]) / w for s, w in zip(GROUPS, weights(), strict=True))
            found = group_lasso(h, g, GROUPS, share * most)
            errors[share] += float(np.square(y[~rest] - mean_y - (x[~rest] - mean_x) @ found).sum())
    assert chosen == min(errors, key=lambda share: errors[share])
    estimate = x @ lasso.coefficients.double().numpy() + lasso.intercept.double().numpy()
    assert np.square(y - estimate).mean() < 1.3


def test_noise_that_is_taken_off_no_longer_shrinks_coefficients() -> None:
    rng = np.random.default_rng(0)
    z = rng.normal(size=(20_000, 6))
    y = z @ np.array([1.0, -1.0, 0.5, 0.0, 0.0, 0.0])[:, None]
    seen = z + 0.7 * rng.normal(size=z.shape)
    plain, corrected = filled(seen, y), filled(seen, y)
    plain.solve((1e-6,))
    corrected.solve((1e-6,), 0.49 * np.identity(6))
    assert float(plain.coefficients[0]) == pytest.approx(1 / 1.49, abs=0.03)
    assert float(corrected.coefficients[0]) == pytest.approx(1.0, abs=0.03)


def test_labels_are_classes_or_numbers() -> None:
    views = {"a": [[0.0]] * 8}
    table = Table.of(views, {"kind": ["x", "y"] * 4, "flag": [0.0, 1.0, np.nan, 1.0] * 2, "score": [0.5, 1.5] * 4})
    options = [LassoConfig(label=name) for name in ("kind", "flag", "score")]
    kind, flag, score = (label_facts(table, one) for one in options)
    assert kind["classes"] == ["x", "y"]
    assert flag["classes"] == [0, 1]
    assert score == {"label": "score", "classes": [], "offset": 1.0, "unit": 0.5}
    rows = torch.arange(4)
    assert targets_of(table, kind, rows).tolist() == [[1.0, 0.0], [0.0, 1.0]] * 2
    assert targets_of(table, flag, rows).isnan()[:, 0].tolist() == [False, False, True, False]
    assert targets_of(table, score, rows)[:, 0].tolist() == [-1.0, 1.0, -1.0, 1.0]
    assert label_facts(table, LassoConfig()) == {}


def test_what_a_label_cannot_be_is_said_in_one_line() -> None:
    table = Table.of({"a": [[0.0]] * 8}, {"y": [1.5, *[np.nan] * 7], "one": ["x"] * 8})
    with pytest.raises(UserError, match='column "y" has 1 labels; 3 folds need at least 6'):
        label_facts(table, LassoConfig(label="y"))
    with pytest.raises(UserError, match='no column "yy" with labels; did you mean "y"'):
        label_facts(table, LassoConfig(label="yy"))
    with pytest.raises(UserError, match='column "one" holds 1 different values'):
        label_facts(table, LassoConfig(label="one"))


def test_probabilities_are_cut_estimates() -> None:
    lasso = GroupLasso(3, GROUPS, {"classes": ["x", "y"]})
    lasso.intercept.copy_(torch.tensor([1.2, -0.2]))
    facts = {"classes": ["x", "y"]}
    said = lasso.said(torch.zeros(2, 6), torch.tensor([True, False]), facts)
    assert list(said.labels) == ["x", None]
    assert said.probabilities is not None
    assert float(said.probabilities[0].sum()) == pytest.approx(1)
    assert bool(said.probabilities[1].isnan().all())
