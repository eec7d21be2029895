"""Symile: what any number of views say together, scored by the sum of their product (arXiv 2411.01053).

Each view is the anchor once, the loss is the mean over anchors. With two views all schemes of negatives are
CLIP's.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from counterpoint.objectives.combinations import masses_of_all
from counterpoint.objectives.engine import against, log_mass
from counterpoint.objectives.infonce import info_nce
from counterpoint.objectives.ranks import world
from counterpoint.objectives.relation import Embeddings, Queries, RowLoss, as_embeddings

Negatives = Literal["n", "n_squared", "pair"]


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
    place; `n_squared`, every combination of the others, N^(views - 1), in slabs, with memory O(N d + slab);
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
        found = masses_of_all([vectors[0] * scale, *vectors[1:]])
    else:  # one anchor, or an anchor's rows here and the others everywhere: nothing is shared between anchors
        turns = ([*batch[:anchor], *batch[anchor + 1 :], vectors[anchor]] for anchor in anchors)
        found = [masses_of_all([turn[0] * scale, *turn[1:]])[-1] for turn in turns]
    opposed = torch.full_like(true, len(batch[0]) > 1, dtype=torch.bool)
    return [against(true, mass, valid=opposed) for mass in found]


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
