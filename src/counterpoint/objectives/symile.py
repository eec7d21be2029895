"""Symile: what any number of views say together, scored by the sum of their product (arXiv 2411.01053).

Each view is the anchor once, the loss is the mean over anchors. With two views all schemes of negatives are
CLIP's.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import product as choices
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from counterpoint.objectives.engine import against, log_mass
from counterpoint.objectives.infonce import info_nce
from counterpoint.objectives.ranks import world
from counterpoint.objectives.relation import Embeddings, Queries, RowLoss, as_embeddings
from counterpoint.objectives.streamed import blocks, log_sum, masses

Negatives = Literal["n", "n_squared", "pair"]
SLAB = 2048
"""Combinations of all views but the last that are scored at a time under `n_squared`."""


def multilinear(*vectors: Float[Tensor, "*#batch d"]) -> Float[Tensor, "*batch"]:
    """The multilinear inner product: the sum over d of the product; other dimensions broadcast.

    >>> multilinear(torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0]), torch.tensor([1.0, -1.0]))
    tensor(-5.)
    """
    return _product(vectors).sum(-1)


def symile(
    views: Sequence[Queries],
    *,
    scale: float | Float[Tensor, ""],
    negatives: Negatives,
    generator: torch.Generator | None = None,
    anchors: Sequence[int] | None = None,
) -> RowLoss:
    """The Symile loss of two or more views of the same n rows.

    `scale` multiplies the multilinear inner product. `negatives` of an anchor's row: `n`, the other views
    shuffled against each other, a permutation of the whole batch each, with the true combination in its own
    place; `n_squared`, every combination of the others, N^(views - 1), in slabs, with memory O(N^2 + N d);
    `pair`, the other views kept together, the candidates being the rows of the anchor view. Ids are read by
    `pair` alone. The `generator` of `n` must draw the same numbers on every rank. `anchors` are the positions
    of the views that serve as anchor, all by default; a task with one target view has one.

    Raises ValueError for fewer than two views, views of different rows, an anchor that is no view, or `n`
    without a generator.
    Source: arXiv 2411.01053, section 3 (`n`, `n_squared` from its code); `pair`: the code of Gated Symile.

    >>> views = [torch.nn.functional.normalize(torch.rand(8, 16)) for _ in range(3)]
    >>> symile(views, scale=16.0, negatives="n_squared").value.shape
    torch.Size([8])
    """
    rows = _same_rows(views)
    chosen = range(len(rows)) if anchors is None else sorted(set(anchors))
    if not chosen or not set(chosen) <= set(range(len(rows))):
        raise ValueError(f"anchors are positions among {len(rows)} views, not {anchors}")
    if negatives == "pair" or len(rows) == 2:
        losses = [_pair(rows, target, scale) for target in chosen]
    elif negatives == "n":
        if generator is None:
            raise ValueError('negatives="n" needs a generator that is shared by all ranks')
        losses = _shuffled(rows, chosen, scale, generator)
    else:
        losses = _combined(rows, chosen, scale)
    value = torch.stack([loss.value for loss in losses]).mean(0)
    return RowLoss(value, torch.stack([loss.valid for loss in losses]).all(0))


def _pair(views: list[Embeddings], target: int, scale: float | Tensor) -> RowLoss:
    """The query is what the other views say together, the candidates are the target view."""
    together = _product([view.vectors for i, view in enumerate(views) if i != target])
    queries = Embeddings(together * scale, views[target].ids, views[target].everywhere)
    return info_nce(queries, views[target], temperature=1.0)


def _shuffled(
    views: list[Embeddings],
    anchors: Sequence[int],
    scale: float | Tensor,
    generator: torch.Generator,
) -> list[RowLoss]:
    """Column j of an anchor's logits holds row j of the shuffled others, its own the true combination."""
    here = [replace(as_embeddings(view.vectors), everywhere=view.everywhere) for view in views]
    batch = [view.gathered() for view in here]
    true = multilinear(*(view.vectors for view in views)) * scale
    losses = []
    for anchor in anchors:
        others = [view.vectors for i, view in enumerate(batch) if i != anchor]
        shuffled = [vectors[_permutation(vectors, generator)] for vectors in others]
        columns = replace(batch[anchor], vectors=_product(shuffled) * scale)
        mass = log_mass(here[anchor], columns, temperature=1.0, itself="excluded")
        losses.append(against(true, true, mass, valid=mass != -torch.inf))
    return losses


def _combined(views: list[Embeddings], anchors: Sequence[int], scale: float | Tensor) -> list[RowLoss]:
    """The denominator of a row runs over every combination of the other views, the true one among them."""
    vectors = [view.vectors for view in views]
    true = multilinear(*vectors) * scale
    batch = [view.gathered().vectors for view in views]
    if world() == 1 and len(anchors) == len(views):
        found = _masses_of_all(vectors, scale)
    else:  # one anchor, or an anchor's rows here and the others everywhere: nothing is shared between anchors
        turns = ([*batch[:anchor], *batch[anchor + 1 :], vectors[anchor]] for anchor in anchors)
        found = [_masses_of_all(turn, scale)[-1] for turn in turns]
    opposed = torch.full_like(true, len(batch[0]) > 1, dtype=torch.bool)
    return [against(true, mass, valid=opposed) for mass in found]


def _masses_of_all(vectors: list[Tensor], scale: float | Tensor) -> list[Tensor]:
    """For each row of each view the log-mass of all combinations of the other views, from a single pass."""
    *firsts, last = vectors[0] * scale, *vectors[1:]
    side = max(1, int(SLAB ** (1 / len(firsts))))
    cuts = [blocks(len(view), side) for view in firsts]
    parts: dict[tuple[int, int], list[Tensor]] = {}
    for picked in choices(*(range(len(cut)) for cut in cuts)):
        chosen = [view[cut[k]] for view, cut, k in zip(firsts, cuts, picked, strict=True)]
        found = _Slab.apply(last, *chosen)  # type: ignore[no-untyped-call]
        for view, (place, mass) in enumerate(zip((*picked, 0), found, strict=True)):
            parts.setdefault((view, place), []).append(mass)
    return [
        torch.cat([log_sum(torch.stack(parts[view, place]), 0) for place in range(len(cut))])
        for view, cut in enumerate([*cuts, [slice(None)]])
    ]


class _Slab(torch.autograd.Function):
    """The masses of a slab; only its inputs are kept, the slab is made again in the backward pass."""

    @staticmethod
    def forward(ctx: Any, *vectors: Tensor) -> tuple[Tensor, ...]:
        ctx.save_for_backward(*vectors)
        return tuple(_slab(*vectors))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        with torch.enable_grad():
            vectors = [vector.detach().requires_grad_() for vector in ctx.saved_tensors]
            return torch.autograd.grad(_slab(*vectors), vectors, gradients)


def _slab(last: Tensor, *blocks_of_firsts: Tensor) -> list[Tensor]:
    """The masses of the rows of some blocks and of the last view, over the combinations within the slab."""
    count = len(blocks_of_firsts)
    grid = [
        block.view(*(len(block) if axis == own else 1 for axis in range(count)), -1)
        for own, block in enumerate(blocks_of_firsts)
    ]
    together = _product(grid)
    found = masses(together.flatten(0, -2), last, both=True)
    of_combinations, of_last = found.split([len(found) - len(last), len(last)])
    table = of_combinations.view(together.shape[:-1])
    others = [tuple(axis for axis in range(count) if axis != own) for own in range(count)]
    return [*(log_sum(table, axes) for axes in others), of_last]


def _same_rows(views: Sequence[Queries]) -> list[Embeddings]:
    """The views as Embeddings in at least fp32, checked to describe the same rows."""
    rows = [as_embeddings(view) for view in views]
    if len(rows) < 2:
        raise ValueError(f"symile compares two views or more, not {len(rows)}")
    if any(not torch.equal(view.ids.row, rows[0].ids.row) for view in rows):
        raise ValueError("symile needs the same rows in every view; select the rows that have all of them")
    kind = torch.promote_types(rows[0].vectors.dtype, torch.float32)
    return [replace(view, vectors=view.vectors.to(kind)) for view in rows]


def _product(vectors: Sequence[Tensor]) -> Tensor:
    result = vectors[0]
    for vector in vectors[1:]:
        result = result * vector
    return result


def _permutation(vectors: Tensor, generator: torch.Generator) -> Tensor:
    order = torch.randperm(len(vectors), generator=generator, device=generator.device)
    return order.to(vectors.device)
