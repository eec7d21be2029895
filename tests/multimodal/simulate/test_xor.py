"""The simulators have the answers they claim."""

import itertools
from collections.abc import Callable
from math import log2

import numpy as np
import pytest

from counterpoint.errors import UserError
from counterpoint.multimodal.simulate import xnor, xor8, xor_information, xor_missing, xor_sweep
from counterpoint.multimodal.table import Table


def values(table: Table) -> list[np.ndarray]:
    return [view.values for view in table.views.values()]


def test_xnor_has_the_layout_of_the_card() -> None:
    table = xnor(500, p=0.0, seed=1)
    a, b, c = values(table)
    u, v, uv = a[:, :16], a[:, 16:32], a[:, 32:48]
    assert set(np.unique(a[:, :48])) == {-1.0, 1.0}
    assert np.array_equal(uv, u * v)
    assert np.array_equal(b[:, :48], np.concatenate([u, np.ones_like(u), u], axis=1))
    assert np.array_equal(c[:, :48], np.concatenate([np.ones_like(v), v, v], axis=1))
    assert a.shape == b.shape == c.shape == (500, 128)
    assert abs(np.concatenate([a, b, c])[:, 48:].std() - 3) < 0.03
    assert set(table.columns["corrupt"]) == {"none"}


@pytest.mark.parametrize("p", [0.0, 0.25, 1.0])
@pytest.mark.parametrize("mode", ["u_v_uv", "xnor_only"])
def test_swapped_signal_is_true_but_of_another_row(p: float, mode: str) -> None:
    n, width = 4000, 48 if mode == "u_v_uv" else 16
    table, clean = xnor(n, p, mode=mode, seed=3), xnor(n, 0.0, mode=mode, seed=3)
    a, b, c = values(table)
    hit = table.columns["corrupt"]
    assert abs((hit != "none").mean() - p) < 0.03
    assert abs((hit == "B").mean() - p / 2) < 0.03
    holds = (a == b * c)[:, :width].all(1)
    assert holds[hit == "none"].all()
    assert holds[hit != "none"].sum() < 0.01 * n
    for name, view, before in zip("ABC", values(table), values(clean), strict=True):
        changed = (view != before).any(1)
        assert not changed[hit != name].any()
        assert np.array_equal(view[:, width:], before[:, width:])
        if name != "A":
            known = set(map(bytes, before[:, :width].copy()))
            assert all(bytes(row) in known for row in view[hit == name, :width].copy())


def test_gaussian_corruption_replaces_the_whole_vector() -> None:
    table, clean = xnor(4000, 1.0, "gaussian", seed=2), xnor(4000, 0.0, "gaussian", seed=2)
    for name in "BC":
        hit = table.columns["corrupt"] == name
        view, before = table.views[name].values, clean.views[name].values
        assert (view[hit] != before[hit]).all()
        assert np.array_equal(view[~hit], before[~hit])
        assert abs(view[hit].std() - 3) < 0.03
        assert abs(np.corrcoef(view[hit, 60], before[hit, 60])[0, 1]) < 0.1
    assert (table.columns["corrupt"] != "none").all()


def test_xnor_flips_signal_and_noise_options() -> None:
    a, b, c = values(xnor(4000, 0.0, mode="xnor_only", flip=0.1, bits=8, dim=8, signal=2.0))
    assert a.shape[1] == 8
    assert set(np.unique(a)) == {-2.0, 2.0}
    assert abs((a * 2 != b * c).mean() - 0.18) < 0.02
    assert abs(values(xnor(4000, 0.0, noise=0.5))[0][:, 48:].std() - 0.5) < 0.01


def test_in_xnor_only_every_two_views_are_independent() -> None:
    for one, other in itertools.combinations(values(xnor(20_000, 0.0, mode="xnor_only")), 2):
        correlation = one[:, :16].T @ other[:, :16] / 20_000
        assert abs(correlation).max() < 0.035


def test_xnor_needs_room_for_the_signal() -> None:
    with pytest.raises(UserError, match="48 signal coordinates do not fit into dim=40"):
        xnor(10, dim=40)


def test_generators_are_functions_of_their_seed() -> None:
    for make in (lambda s: xnor(50, seed=s), lambda s: xor_sweep(50, 0.5, 3, s), lambda s: xor8(50, s),
                 lambda s: xor_missing(50, s)):  # fmt: skip
        assert make(0).fingerprint() == make(0).fingerprint() != make(1).fingerprint()


def test_sweep_follows_its_switch() -> None:
    table = xor_sweep(4000, 0.3, dim=5)
    a, b, c = values(table)
    xor = table.columns["xor"]
    assert abs(xor.mean() - 0.3) < 0.03
    assert np.array_equal(c[xor], (a != b)[xor])
    assert np.array_equal(c[~xor], a[~xor])


def brute_force(p_hat: float) -> dict[str, float]:
    """The quantities for one bit, from their definitions as expected log ratios."""
    joint: dict[tuple[int, ...], float] = {}
    for a, b, i in itertools.product((0, 1), repeat=3):
        outcome = (a, b, a ^ b if i else a)
        joint[outcome] = joint.get(outcome, 0) + 0.25 * (p_hat if i else 1 - p_hat)

    def p(**fixed: int) -> float:
        return sum(q for outcome, q in joint.items() if all(outcome["abc".index(k)] == v for k, v in fixed.items()))

    def mean(ratio: Callable[..., float]) -> float:
        return sum(q * log2(ratio(*outcome)) for outcome, q in joint.items() if q > 0)

    pair = mean(lambda a, b, c: p(a=a, b=b) / (p(a=a) * p(b=b)))
    conditional = mean(lambda a, b, c: p(a=a, b=b, c=c) * p(c=c) / (p(a=a, c=c) * p(b=b, c=c)))
    return {
        "a;b": pair,
        "interaction": conditional - pair,
        "a;c": mean(lambda a, b, c: p(a=a, c=c) / (p(a=a) * p(c=c))),
        "b;c": mean(lambda a, b, c: p(b=b, c=c) / (p(b=b) * p(c=c))),
        "a;b|c": conditional,
        "c;b|a": mean(lambda a, b, c: p(a=a, b=b, c=c) * p(a=a) / (p(a=a, c=c) * p(a=a, b=b))),
        "total": mean(lambda a, b, c: p(a=a, b=b, c=c) / (p(a=a) * p(b=b) * p(c=c))),
    }


@pytest.mark.parametrize("p_hat", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_information_equals_brute_force(p_hat: float) -> None:
    assert xor_information(p_hat) == pytest.approx(brute_force(p_hat), abs=1e-12)


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_information_at_the_ends(dim: int) -> None:
    at_one = {"a;b": 0, "a;c": 0, "b;c": 0, "a;b|c": dim, "c;b|a": dim, "total": dim, "interaction": dim}
    at_zero = {"a;b": 0, "a;c": dim, "b;c": 0, "a;b|c": 0, "c;b|a": 0, "total": dim, "interaction": 0}
    assert xor_information(1.0, dim) == pytest.approx(at_one, abs=1e-9)
    assert xor_information(0.0, dim) == pytest.approx(at_zero, abs=1e-9)


def test_information_of_the_samples_agrees() -> None:
    a, b, c = (view[:, 0].astype(int) for view in values(xor_sweep(200_000, 0.7)))
    joint = np.bincount(4 * a + 2 * b + c, minlength=8).reshape(2, 2, 2) / 200_000
    pairs = joint.sum(1)
    estimate = (pairs * np.log2(pairs / np.outer(pairs.sum(1), pairs.sum(0)))).sum()
    assert estimate == pytest.approx(xor_information(0.7)["a;c"], abs=0.005)


def test_information_is_refused_when_it_cannot_be_enumerated() -> None:
    with pytest.raises(UserError, match="from 1 to 8, not 9"):
        xor_information(0.5, 9)


def test_eight_way_xor() -> None:
    bits = np.concatenate(values(xor8(20_000)), axis=1)
    assert (bits.sum(1) % 2 == 0).all()
    assert abs(bits.mean(0) - 0.5).max() < 0.02
    assert abs(np.corrcoef(bits.T) - np.eye(8)).max() < 0.03


def test_xor_missing() -> None:
    table = xor_missing(20_000, missing=0.2)
    a, b, c = (view[:, 0] for view in values(table))
    known = ~np.isnan(a + b + c)
    assert np.array_equal(c[known], abs(a - b)[known])
    assert abs(known.mean() - 0.8**3) < 0.02
    assert all(abs(view.missing - 0.2) < 0.01 and view.kind == "numbers" for view in table.views.values())
    assert abs(np.nanmean(a) - 0.5) < 0.02
    assert xor_missing(100, missing=0.0).views["a"].present.all()
