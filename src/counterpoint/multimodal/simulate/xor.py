"""Tables with a known answer: what a method should find in them is stated with each."""

from typing import Literal

import numpy as np
from jaxtyping import Float, Float32

from counterpoint.errors import UserError
from counterpoint.multimodal.corrupt import noise as gaussian_noise
from counterpoint.multimodal.corrupt import swap
from counterpoint.multimodal.simulate.information import interaction_information, mutual_information, total_correlation
from counterpoint.multimodal.table import Table

Bits = Float32[np.ndarray, "n d"]


def xnor(
    n: int = 100_000,
    p: float = 1.0,
    corruption: Literal["swap_signal", "gaussian"] = "swap_signal",
    mode: Literal["u_v_uv", "xnor_only"] = "u_v_uv",
    seed: int = 0,
    *,
    bits: int = 16,
    dim: int = 128,
    signal: float = 1.0,
    noise: float = 3.0,
    flip: float = 0.0,
) -> Table:
    """Synthetic-XNOR: view A is the elementwise product of the signs hidden in views B and C.

    With random signs U and V of `bits` each, the first coordinates of A, B, C are `signal` times
    [U, V, U*V], [U, 1, U], [1, V, V] (mode "u_v_uv") or [U*V], [U], [V] ("xnor_only"); all others are Gaussian
    of standard deviation `noise`. Each bit of U in B and of V in C is flipped with probability `flip`. A row is
    hit with probability `p`, in B or C, never in both: "swap_signal" takes the signal coordinates of another row
    by one permutation of all rows, "gaussian" replaces the whole vector by noise. Column "corrupt" says
    "none", "B" or "C". Draw once, then split.

    Known answer: on rows that are not hit (and with `flip` 0), A = B * C / `signal` in the signal block, exactly;
    in "xnor_only" any two views are independent, in "u_v_uv" every pair shares bits. On a row hit in B only C
    tells the truth about A, and the reverse. Source: released code of arXiv 2604.05834, re-derived.

    >>> table = xnor(100, p=0.0)
    >>> a, b, c = (view.values[:, :48] for view in table.views.values())
    >>> bool((a == b * c).all())
    True
    """
    blocks = 3 if mode == "u_v_uv" else 1
    if not 0 < blocks * bits <= dim:
        raise UserError(f"{blocks * bits} signal coordinates do not fit into dim={dim}")
    rng = _generator(seed)
    u, v = _signs(rng, n, bits), _signs(rng, n, bits)
    ub, vc = _flipped(u, flip, rng), _flipped(v, flip, rng)
    one = np.ones_like(u)
    signals = {
        "u_v_uv": {"A": [u, v, u * v], "B": [ub, one, ub], "C": [one, vc, vc]},
        "xnor_only": {"A": [u * v], "B": [ub], "C": [vc]},
    }
    views = {}
    for name, parts in signals[mode].items():
        views[name] = noise * rng.standard_normal((n, dim), dtype=np.float32)
        views[name][:, : blocks * bits] = signal * np.concatenate(parts, axis=1)
    table = Table.of(views, source=f"simulate.xnor(n={n}, p={p}, {corruption}, {mode}, seed={seed})")
    if corruption == "swap_signal":
        return swap(table, ("B", "C"), p, rng, among="all", columns=slice(0, blocks * bits))[0]
    return gaussian_noise(table, ("B", "C"), p, rng, scale=noise)[0]


def xor_sweep(n: int, p_hat: float, dim: int = 1, seed: int = 0) -> Table:
    """Views a, b, c of `dim` random bits, where c = a XOR b in a share `p_hat` of rows and c = a in the others.

    The choice is drawn once per row and kept as column "xor". The task is to find b from a and c among all
    2**dim candidates.
    Known answer: `xor_information`; at `p_hat` 1 every two views are independent, so pairwise contrasts are at
    chance while the three together determine b; at `p_hat` 0, b is independent of (a, c).
    Source: Symile, arXiv 2411.01053, section 5.1.

    >>> table = xor_sweep(50, p_hat=1.0, dim=3)
    >>> a, b, c = (view.values for view in table.views.values())
    >>> bool((c == abs(a - b)).all())
    True
    """
    rng = _generator(seed)
    a, b = _bits(rng, n, dim), _bits(rng, n, dim)
    xor = rng.random(n) < p_hat
    c = np.where(xor[:, None], np.abs(a - b), a)
    return Table.of(
        {"a": a, "b": b, "c": c},
        {"xor": xor},
        f"simulate.xor_sweep(n={n}, p_hat={p_hat}, dim={dim}, seed={seed})",
    )


def xor_joint(p_hat: float, dim: int = 1) -> Float[np.ndarray, "k k k"]:
    """The joint probabilities of the values of a, b and c of `xor_sweep`, a value being `dim` bits read as a number.

    `dim` is from 1 to 8: the table has 8**dim entries; else raises `UserError`.

    >>> xor_joint(1.0).sum(axis=0)
    array([[0.25, 0.25],
           [0.25, 0.25]])
    """
    if not 1 <= dim <= 8:
        raise UserError(f"the joint table has 8**dim entries; dim must be from 1 to 8, not {dim}")
    size = 2**dim
    a, b = np.meshgrid(np.arange(size), np.arange(size), indexing="ij")
    joint = np.zeros((size, size, size))
    joint[a, b, a ^ b] += p_hat / size**2
    joint[a, b, a] += (1 - p_hat) / size**2
    return joint


def xor_information(p_hat: float, dim: int = 1) -> dict[str, float]:
    """Exact information (bits) between the views of `xor_sweep`, by enumeration of all 8**dim outcomes.

    Keys: "a;b", "a;c", "b;c", "a;b|c", "c;b|a", "total" (the total correlation of the three) and "interaction"
    (what only the three show together). `dim` is from 1 to 8, else raises `UserError`.
    Source: arXiv 2411.01053, section 5.1.

    >>> information = xor_information(1.0)
    >>> {name: round(bits, 6) + 0.0 for name, bits in information.items() if name in ("a;c", "a;b|c", "total")}
    {'a;c': 0.0, 'a;b|c': 1.0, 'total': 1.0}
    """
    joint = xor_joint(p_hat, dim)
    return {
        "a;b": mutual_information(joint, [0], [1]),
        "a;c": mutual_information(joint, [0], [2]),
        "b;c": mutual_information(joint, [1], [2]),
        "a;b|c": mutual_information(joint, [0], [1], given=[2]),
        "c;b|a": mutual_information(joint, [2], [1], given=[0]),
        "total": total_correlation(joint),
        "interaction": interaction_information(joint),
    }


def xor8(n: int, seed: int = 0) -> Table:
    """Eight views of one bit: a..g are random, h is the XOR of the seven.

    Known answer: any seven views are independent of each other and determine the eighth.
    Source: released code of Symile, arXiv 2411.01053.

    >>> table = xor8(20)
    >>> sum(view.values for view in table.views.values())[:, 0] % 2 == 0
    array([ True,  True,  True,  True,  True,  True,  True,  True,  True,
            True,  True,  True,  True,  True,  True,  True,  True,  True,
            True,  True])
    """
    bits = _bits(_generator(seed), n, 7)
    views = {name: bits[:, [i]] for i, name in enumerate("abcdefg")}
    views["h"] = bits.sum(1, keepdims=True) % 2
    return Table.of(views, source=f"simulate.xor8(n={n}, seed={seed})")


def xor_missing(n: int, seed: int = 0, missing: float = 0.2) -> Table:
    """Views a, b and c = a XOR b of one bit, each value missing with probability `missing` (0 for a test set).

    The released code writes a missing bit as 0.5 and appends a missingness indicator to the encoder's input.
    Here it is NaN in a view of kind "numbers": the tabular encoder puts the training mean, which is 0.5 up to
    sampling, in its place and appends the same indicator.
    Known answer: c is determined where a and b are both present, and at chance where one of them is missing.
    Source: released code of Symile, arXiv 2411.01053.

    >>> table = xor_missing(1000)
    >>> 0.15 < table.views["a"].missing < 0.25
    True
    """
    rng = _generator(seed)
    a, b = _bits(rng, n, 1), _bits(rng, n, 1)
    views = {"a": a, "b": b, "c": np.abs(a - b)}
    for values in views.values():
        values[rng.random(n) < missing] = np.nan
    return Table.of(views, source=f"simulate.xor_missing(n={n}, missing={missing}, seed={seed})", kind="numbers")


def _generator(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed))


def _bits(rng: np.random.Generator, n: int, dim: int) -> Bits:
    return rng.integers(2, size=(n, dim)).astype(np.float32)


def _signs(rng: np.random.Generator, n: int, dim: int) -> Bits:
    return 2 * _bits(rng, n, dim) - 1


def _flipped(signs: Bits, probability: float, rng: np.random.Generator) -> Bits:
    return np.where(rng.random(signs.shape) < probability, -signs, signs)
