"""Exact information against definitions, identities and scikit-learn."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import entropy as scipy_entropy
from sklearn.metrics import mutual_info_score

from counterpoint.multimodal.simulate import xor8, xor_joint
from counterpoint.multimodal.simulate.information import (
    best_accuracy,
    entropy,
    interaction_information,
    mutual_information,
    total_correlation,
)

counts = arrays(np.int64, (2, 3, 2), elements=st.integers(0, 50)).filter(lambda table: table.sum() > 0)


def normalised(table: np.ndarray) -> np.ndarray:
    return table / table.sum()


@given(counts)
def test_information_is_that_of_scipy_and_scikit_learn(table: np.ndarray) -> None:
    joint = normalised(table)
    assert entropy(joint) == pytest.approx(float(scipy_entropy(joint.ravel(), base=2)), abs=1e-9)
    found = mutual_info_score(None, None, contingency=table.sum(2)) / np.log(2)
    assert mutual_information(joint, [0], [1]) == pytest.approx(found, abs=1e-9)
    assert mutual_information(joint, [1], [0]) == pytest.approx(found, abs=1e-9)


@given(counts)
def test_identities(table: np.ndarray) -> None:
    joint = normalised(table)
    chain = mutual_information(joint, [0], [2]) + mutual_information(joint, [0], [1], given=[2])
    assert mutual_information(joint, [0], [1, 2]) == pytest.approx(chain, abs=1e-9)
    assert chain >= -1e-9
    rest = mutual_information(joint, [0], [1]) + mutual_information(joint, [2], [0, 1])
    assert total_correlation(joint) == pytest.approx(rest, abs=1e-9)
    for order in itertools.permutations(range(3)):
        turned = joint.transpose(order)
        assert interaction_information(turned) == pytest.approx(interaction_information(joint), abs=1e-9)


@given(counts)
def test_the_best_rule_is_the_best_of_all_rules(table: np.ndarray) -> None:
    joint = normalised(table)
    rules = itertools.product(range(3), repeat=4)  # a value of the second variable for each of the others
    best = max(
        sum(joint[a, rule[2 * a + c], c] for a in range(2) for c in range(2)) for rule in rules
    )  # fmt: skip
    assert best_accuracy(joint, 1, [0, 2]) == pytest.approx(best, abs=1e-12)
    assert best_accuracy(joint, 1, []) == pytest.approx(joint.sum((0, 2)).max())


@pytest.mark.parametrize("p_hat", [0.0, 0.3, 1.0])
def test_of_the_sweep_the_rule_is_a_xor_c(p_hat: float) -> None:
    """Its accuracy: p_hat, and chance in the other rows."""
    assert best_accuracy(xor_joint(p_hat, 3), 1, [0, 2]) == pytest.approx(p_hat + (1 - p_hat) / 8)
    assert best_accuracy(xor_joint(p_hat, 3), 0, [1, 2]) == pytest.approx(
        max(p_hat, 1 - p_hat) + min(p_hat, 1 - p_hat) / 8
    )


def test_eight_bits_share_one() -> None:
    joint = np.zeros((2,) * 8)
    for bits in np.ndindex(*(2,) * 7):
        joint[*bits, sum(bits) % 2] = 2.0**-7
    assert total_correlation(joint) == pytest.approx(1)
    assert mutual_information(joint, [0], [1, 2, 3, 4, 5, 6]) == pytest.approx(0, abs=1e-12)
    assert best_accuracy(joint, 1, [0, 2, 3, 4, 5, 6, 7]) == pytest.approx(1)
    drawn = np.concatenate([view.values for view in xor8(500).views.values()], axis=1).astype(int)
    assert all(joint[tuple(row)] > 0 for row in drawn)


def test_what_cannot_be_asked_is_refused() -> None:
    joint = np.full((2, 2), 0.25)
    with pytest.raises(ValueError, match="share a variable"):
        mutual_information(joint, [0], [0])
    with pytest.raises(ValueError, match="of three variables, not 2"):
        interaction_information(joint)
