"""The simulator has the structure, the noise and the best prediction that it states."""

import numpy as np
import pytest

from counterpoint.errors import UserError
from counterpoint.multimodal.simulate.hcl import MadeTable, Truth, block_errors, factors_of, hcl


def truth(table: MadeTable) -> Truth:
    assert table.truth is not None
    return table.truth


def values(table: MadeTable) -> np.ndarray:
    return np.concatenate([view.values for view in table.views.values()], axis=1).astype(np.float64)


@pytest.mark.parametrize("widths", [(6, 7), (6, 7, 8), (9, 9, 9, 9)])
def test_loadings_have_zero_blocks_and_bounded_singular_values(widths: tuple[int, ...]) -> None:
    made = truth(hcl(5, widths, rank=2))
    structures = made.layout.structures
    assert len(structures) == 2 ** len(widths) - 1
    for k, members in enumerate(structures.members):
        for name, rows in made.layout.rows.items():
            singular = np.linalg.svd(made.loadings[rows, structures.columns[k]], compute_uv=False)
            if name in members:
                assert ((singular >= 0.5) & (singular <= 1.5)).all()
            else:
                assert not singular.any()


def test_rows_have_the_covariance_of_the_model() -> None:
    table = hcl(60_000, (5, 5, 5), rank=1, noise=0.3)
    w = truth(table).loadings
    wanted = w @ w.T + 0.3 * np.identity(15)
    assert np.abs(np.cov(values(table).T) - wanted).max() < 0.05
    z = factors_of(table)
    assert np.abs(np.cov(z.T) - np.identity(7)).max() < 0.03
    left = values(table) - z @ w.T
    assert abs(left.var() - 0.3) < 0.01


def test_nothing_predicts_y_better_than_best() -> None:
    table = hcl(40_000, (5, 5), rank=1, noise=0.5, spread=0.2)
    x, y, best = values(table), table.columns["y"], table.columns["best"]
    mean = np.linalg.lstsq(x, y, rcond=None)[0]
    assert np.mean((y - best) ** 2) < np.mean((y - x @ mean) ** 2) * 1.001
    assert abs(np.mean((y - best) * best)) < 0.01  # what is left has nothing to do with it
    assert np.abs(x @ mean - best).max() < 0.1


def test_only_active_structures_matter() -> None:
    made = truth(hcl(5, (4, 4, 4), rank=1, active=[("B", "A"), ("C",)]))
    assert np.flatnonzero(made.weights).tolist() == [1, 6]
    assert np.linalg.norm(made.weights) == pytest.approx(1)
    with pytest.raises(UserError, match="no structure is active; name some of A \\+ B"):
        hcl(5, (4, 4), rank=1, active=[("A", "C")])


def test_the_same_seed_is_the_same_world_and_another_draw_other_rows() -> None:
    one, again, other, elsewhere = hcl(20, seed=1), hcl(20, seed=1), hcl(20, seed=1, draw=1), hcl(20, seed=2)
    assert one.fingerprint() == again.fingerprint() != other.fingerprint()
    assert np.array_equal(truth(one).loadings, truth(other).loadings)
    assert not np.array_equal(truth(one).loadings, truth(elsewhere).loadings)
    assert truth(one.split({"train": 0.5, "test": 0.5})["test"]) is truth(one)  # type: ignore[arg-type]


def test_the_non_linear_mixture_bends() -> None:
    straight, bent = hcl(4000, (20, 20), rank=1, noise=0.0), hcl(4000, (20, 20), rank=1, noise=0.0, mixture="nonlinear")
    assert np.linalg.matrix_rank(values(straight)[:, :20], tol=1e-3) == 2
    assert np.linalg.matrix_rank(values(bent)[:, :20], tol=1e-3) > 4


def test_block_errors_do_not_see_rotations_within_a_structure() -> None:
    made = truth(hcl(5, (6, 6), rank=2))
    turn = np.array([[0.6, -0.8], [0.8, 0.6]])
    structures = made.layout.structures
    blocks = {
        (name, structures.name(k)): made.loadings[made.layout.rows[name], structures.columns[k]] @ turn
        for k, members in enumerate(structures.members)
        for name in members
    }
    errors = block_errors(blocks, made)
    assert len(errors) == 4
    assert max(errors.values()) < 1e-12
    assert block_errors({}, made) == dict.fromkeys(errors, 1.0)
    doubled = {key: 2**0.5 * block for key, block in blocks.items()}
    assert list(block_errors(doubled, made).values()) == pytest.approx([1.0] * 4)


def test_widths_that_cannot_hold_the_factors_are_refused() -> None:
    with pytest.raises(UserError, match="widths of at least rank=3"):
        hcl(5, (2, 6))
