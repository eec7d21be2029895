"""Exact information between a few discrete variables, from the table of their joint probabilities.

A table has one axis per variable and sums to 1; variables are named by their axes. All values are in bits.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

Joint = Float[np.ndarray, "..."]
Axes = Sequence[int]


def entropy(joint: Joint, axes: Axes | None = None) -> float:
    """The entropy of some variables together (default: all).

    >>> entropy(np.full((2, 2), 0.25)), entropy(np.full((2, 2), 0.25), [0])
    (2.0, 1.0)
    """
    p = _marginal(joint, range(joint.ndim) if axes is None else axes)
    p = p[p > 0]
    return float(-(p * np.log2(p)).sum())


def mutual_information(joint: Joint, one: Axes, other: Axes, given: Axes = ()) -> float:
    """I(one; other | given), each a group of variables; raises ValueError when the groups share one.

    >>> xor = np.zeros((2, 2, 2))
    >>> for a, b in np.ndindex(2, 2):
    ...     xor[a, b, a ^ b] = 0.25
    >>> mutual_information(xor, [0], [1]), mutual_information(xor, [0], [1], given=[2])
    (0.0, 1.0)
    """
    groups = [*one, *other, *given]
    if len(set(groups)) != len(groups):
        raise ValueError(f"the groups {list(one)}, {list(other)} and {list(given)} share a variable")
    parts = [entropy(joint, [*group, *given]) for group in (one, other, [*one, *other])]
    return parts[0] + parts[1] - parts[2] - entropy(joint, given)


def total_correlation(joint: Joint) -> float:
    """The sum of the variables' entropies minus that of all together: whatever they share, in pairs or not.

    Source: Watanabe 1960; Symile's loss bounds it from below (arXiv 2411.01053).

    >>> total_correlation(np.diag([0.5, 0.5]))
    1.0
    """
    return sum(entropy(joint, [axis]) for axis in range(joint.ndim)) - entropy(joint)


def interaction_information(joint: Joint) -> float:
    """I(a; b | c) - I(a; b) of three variables: above 0 what only three show together, below 0 what pairs repeat.

    Raises ValueError unless there are three axes. Source: McGill 1954, with the sign by which XOR has +1 bit.

    >>> interaction_information(np.full((2, 2, 2), 0.125))
    0.0
    """
    if joint.ndim != 3:
        raise ValueError(f"interaction information is of three variables, not {joint.ndim}")
    return mutual_information(joint, [0], [1], given=[2]) - mutual_information(joint, [0], [1])


def best_accuracy(joint: Joint, target: int, given: Axes) -> float:
    """How often the best rule names one variable's value from some others: no method can be right more often.

    >>> best_accuracy(np.full((2, 2), 0.25), 1, [0])
    0.5
    """
    together = _marginal(joint, [*given, target])
    return float(together.max(axis=-1).sum())


def _marginal(joint: Joint, axes: Axes) -> Joint:
    """The probabilities of some variables, their axes in the order given."""
    kept = list(axes)
    summed = joint.sum(axis=tuple(axis for axis in range(joint.ndim) if axis not in kept))
    order = np.argsort(np.argsort(kept))
    marginal: Joint = np.transpose(np.asarray(summed), order)
    return marginal
