"""The linear model of HCL: a loading matrix whose zero blocks say which views share which factors.

`x = W z + e`, z of independent unit factors, e of variance `noise` in every column; W is zero where a view takes no
part in a structure. All is computed in float64 from the d x d covariance. Source: arXiv 2604.05462, released code
re-derived; what is ours is said at its place.
"""

from dataclasses import dataclass
from itertools import accumulate
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from counterpoint.multimodal.hcl.structures import Layout

Start = Literal["peeling", "released", "random"]
Refine = Literal["converged", "released", "none"]
Matrix = Float[Tensor, "d d"]
Loading = Float[Tensor, "d q"]

STEPS = 2000
"""Iterations of L-BFGS at most; tens to a few hundreds are the rule."""
GRADIENT = 1e-8
"""A fit has converged when no entry of the gradient is larger, the covariance scaled to largest eigenvalue 1."""


@dataclass(frozen=True)
class Fitted:
    """A loading matrix, the noise variance, how many steps it took and the largest entry of the last gradient."""

    loadings: Loading
    noise: float
    steps: int
    gradient: float


def noise_variance(covariance: Matrix, factors: int) -> float:
    """The mean of the d - q smallest eigenvalues of a covariance of q factors, of one where there are too few columns.

    Never less than a millionth of the mean variance.

    >>> noise_variance(torch.diag(torch.tensor([5.0, 3.0, 1.0, 1.0])), factors=2)
    1.0
    """
    values = torch.linalg.eigvalsh(covariance.double())
    floor = 1e-6 * float(values.clamp(min=0).mean())
    return max(float(values[: max(1, len(values) - factors)].mean()), floor, 1e-30)


def solve(
    covariance: Matrix,
    layout: Layout,
    start: Start = "peeling",
    refine: Refine = "converged",
    generator: torch.Generator | None = None,
) -> Fitted:
    """The masked loadings of a covariance: `min_W 1/2 |W W^T - S|_F^2`, S the covariance less its noise.

    `start`: `peeling` finds the blocks of one structure after the other, all its views at once (ours); `released` does
    so view by view, which leaves the views of a structure in different rotations; `random` needs a generator.
    `refine`: `converged` (L-BFGS, ours), `released` (the code's gradient steps, which freeze early), `none`.
    """
    covariance = covariance.double()
    noise = noise_variance(covariance, layout.structures.width)
    signal = covariance.clone()
    signal.diagonal().sub_(noise)
    scale = float(torch.linalg.eigvalsh(signal)[-1].clamp(min=1e-30))
    signal = signal / scale
    if start == "random":
        loadings = torch.randn(layout.mask.shape, generator=generator, dtype=torch.float64) * layout.mask
        loadings = 0.1 * loadings / torch.linalg.matrix_norm(loadings, 2)
    else:
        loadings = peel(signal, layout, apart=start == "released")
    if refine == "converged":
        loadings, steps = descend(signal, layout, loadings)
    elif refine == "released":
        loadings, steps = descend_as_released(scale * signal, layout, scale**0.5 * loadings)
        loadings = loadings / scale**0.5
    else:
        steps = 0
    return Fitted(scale**0.5 * loadings, noise, steps, float(gradient(signal, layout, loadings).abs().max()))


def leading(covariance: Matrix, factors: int) -> Fitted:
    """The naive solution without a mask: leading eigenvectors times the roots of eigenvalues less the noise.

    Columns come in the order of the eigenvalues and are given to the structures in theirs, as the released code's
    baseline does; it does not subtract the noise.
    """
    values, vectors = torch.linalg.eigh(covariance.double())
    noise = noise_variance(covariance, factors)
    values, vectors = values.flip(0)[:factors], vectors.flip(1)[:, :factors]
    loadings = vectors.new_zeros(len(covariance), factors)
    loadings[:, : vectors.shape[1]] = vectors * (values - noise).clamp(min=0).sqrt()
    return Fitted(loadings, noise, 0, 0.0)


def peel(signal: Matrix, layout: Layout, apart: bool = False) -> Loading:
    """Blocks of one structure after the other, the smallest first, each taken off before the next.

    Once all smaller structures are taken off, what the views of a structure have beyond the views outside of it is its
    part: a Schur complement, whose leading eigenvectors are the block. With `apart` each view's rows are found by
    themselves and only they are taken off.
    """
    structures = layout.structures
    left, loadings = signal.clone(), signal.new_zeros(layout.mask.shape)
    sizes = sorted({len(members) for members in structures.members})
    for size in sizes:
        chosen = [k for k, members in enumerate(structures.members) if len(members) == size]
        for k in chosen:
            inside = structures.members[k]
            outside = [name for name in structures.views if name not in inside]
            reach = sum(
                structures.ranks[j]
                for j, members in enumerate(structures.members)
                if len(members) >= size and set(members) & set(outside)
            )
            own = _beyond(left, layout, inside, outside, reach)
            loadings[layout.place(inside), structures.columns[k]] = _block(
                own, layout, inside, structures.ranks[k], apart
            )
        for k in chosen:
            part = loadings[:, structures.columns[k]]
            for a in layout.rows.values():
                for b in layout.rows.values():
                    if a == b or not apart:
                        left[a, b] -= part[a] @ part[b].T
    return loadings


def _beyond(left: Matrix, layout: Layout, inside: tuple[str, ...], outside: list[str], reach: int) -> Tensor:
    """The covariance of some views that no factor of the views outside explains."""
    rows = layout.place(inside)
    own = left[rows][:, rows]
    if not outside or not reach:
        return own
    others = layout.place(outside)
    values, vectors = torch.linalg.eigh(left[others][:, others])
    values, vectors = values.flip(0)[:reach], vectors.flip(1)[:, :reach]
    kept = values > 1e-10 * values.abs().max().clamp(min=1e-300)
    between = left[rows][:, others] @ vectors[:, kept]
    rest: Tensor = own - between / values[kept] @ between.T
    return rest


def _block(own: Tensor, layout: Layout, inside: tuple[str, ...], rank: int, apart: bool) -> Tensor:
    """Leading eigenvectors times the roots of their eigenvalues, of all rows together or of each view's alone."""
    if not apart:
        return _roots(own, rank)
    sizes = [layout.rows[name].stop - layout.rows[name].start for name in inside]
    places = [slice(end - size, end) for end, size in zip(accumulate(sizes), sizes, strict=True)]
    return torch.cat([_roots(own[place, place], rank) for place in places])


def _roots(matrix: Tensor, rank: int) -> Tensor:
    values, vectors = torch.linalg.eigh((matrix + matrix.T) / 2)
    roots = vectors.flip(1)[:, :rank] * values.flip(0)[:rank].clamp(min=0).sqrt()
    return torch.nn.functional.pad(roots, (0, rank - roots.shape[1]))


def gradient(signal: Matrix, layout: Layout, loadings: Loading) -> Loading:
    """2 (W W^T W - S W), zero outside of the mask."""
    return 2 * (loadings @ (loadings.T @ loadings) - signal @ loadings) * layout.mask


def descend(signal: Matrix, layout: Layout, loadings: Loading) -> tuple[Loading, int]:
    """Minimise until the gradient vanishes, by L-BFGS; the zero blocks stay zero because their gradient is."""
    w = (loadings + 1e-6 * _nudge(layout, loadings)).requires_grad_()
    optimizer = torch.optim.LBFGS(
        [w], max_iter=STEPS, max_eval=2 * STEPS, tolerance_grad=GRADIENT, tolerance_change=1e-15, history_size=20,
        line_search_fn="strong_wolfe",
    )  # fmt: skip

    @torch.no_grad()
    def value() -> Tensor:
        products, gram = signal @ w, w.T @ w
        w.grad = 2 * (w @ gram - products) * layout.mask
        return 0.5 * gram.square().sum() - (w * products).sum()

    optimizer.step(value)
    return w.detach(), int(optimizer.state[w]["n_iter"])


def _nudge(layout: Layout, loadings: Loading) -> Loading:
    """A fixed pattern that moves a column off exact zero, where the gradient vanishes without being a minimum."""
    rows, columns = (torch.arange(size, dtype=torch.float64) for size in loadings.shape)
    pattern: Loading = torch.sin(1 + rows[:, None] * (columns[None] + 1)) * layout.mask
    return pattern


def descend_as_released(signal: Matrix, layout: Layout, loadings: Loading) -> tuple[Loading, int]:
    """Gradient steps of 1e-4, a tenth of that after every ten: after some tens of steps nothing moves any more."""
    steps = 100
    for step in range(steps):
        loadings = loadings - 1e-4 * 0.1 ** (step // 10) * gradient(signal, layout, loadings)
    return loadings, steps
