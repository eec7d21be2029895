"""InfoNCE and its presets; the conventions they share are those of `counterpoint.objectives.engine`."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from counterpoint.objectives import streamed
from counterpoint.objectives.engine import Comparison, Temperature, against, log_mass
from counterpoint.objectives.ranks import world
from counterpoint.objectives.relation import (
    Embeddings,
    Ids,
    Itself,
    Keys,
    Queries,
    Relation,
    RowLoss,
    paired,
    stacked,
)
from counterpoint.objectives.streamed import masses_over_own, own_share, twin_share


def info_nce(
    queries: Queries,
    keys: Keys,
    *,
    temperature: Temperature,
    itself: Itself = "positive",
    also: Sequence[Float[Tensor, " rows"]] = (),
    over: Literal["all", "negatives"] = "all",
    symmetric: bool = False,
) -> RowLoss:
    """InfoNCE: each query finds its positives among the keys, the mean over its positives.

    `also` holds further log-masses for the denominator (queue, mined, noise), a number per row of the loss.
    `over="negatives"` keeps the positives out of the denominator (decoupled, arXiv 2110.06848). With
    `symmetric` the loss has the rows of both directions, queries first, then keys. Source: arXiv
    1807.03748, equation 4.

    >>> info_nce(torch.eye(4), torch.eye(4), temperature=0.1).mean()
    tensor(0.0001)
    """
    left, right = paired(queries, keys)
    if not symmetric and over == "all" and not also and _few(left, right, temperature, itself):
        value = own_share(left.vectors, right.vectors, 1 / float(temperature))
        return RowLoss(value, torch.ones_like(value, dtype=torch.bool), skips=False)
    forth = Comparison.of(left, right, temperature, itself)
    if over == "all" and not also and forth.paired_off:
        value, finite = masses_over_own(forth.rows, forth.columns, both=symmetric)
        if finite:
            return RowLoss(value, torch.ones_like(value, dtype=torch.bool), skips=False)
    if symmetric and world() > 1:
        directions = forth.terms(over), Comparison.of(right, left, temperature, itself).terms(over)
        mass, positive, opposed = (torch.cat(parts) for parts in zip(*directions, strict=True))
    else:
        mass, positive, opposed = forth.terms(over, both=symmetric)
    for further in also:
        opposed = opposed | (further != -torch.inf)
    return against(positive, mass, *also, valid=opposed)


def clip(view0: Queries, view1: Keys, temperature: Temperature) -> RowLoss:
    """Symmetric InfoNCE between two views, each the query once (CLIP, arXiv 2103.00020, figure 3).

    >>> clip(torch.eye(4), torch.eye(4), temperature=0.1).value.shape
    torch.Size([8])
    """
    return info_nce(view0, view1, temperature=temperature, symmetric=True)


def nt_xent(view0: Queries, view1: Keys, *, temperature: Temperature) -> RowLoss:
    """NT-Xent: both views in one set; the partner is positive, the own row is not compared.

    The loss has the rows of view 0, then those of view 1. Source: SimCLR, arXiv 2002.05709, equation 1.

    >>> nt_xent(torch.eye(4), torch.eye(4), temperature=0.1).mean()
    tensor(0.0003)
    """
    left, right = paired(view0, view1)
    if _few(left, right, temperature, "positive", sides=2):
        value = twin_share(torch.cat([left.vectors, right.vectors]), 1 / float(temperature))
        return RowLoss(value, torch.ones_like(value, dtype=torch.bool), skips=False)
    both = stacked(left, right)
    return info_nce(both, both, temperature=temperature, itself="excluded")


def sup_con(
    vectors: Queries,
    labels: Int[Tensor, " n"] | None = None,
    *,
    temperature: Temperature,
    positives: Literal["outside", "inside"] = "outside",
) -> RowLoss:
    """SupCon: rows of one class are each other's positives, the mean over them taken outside the log or inside.

    The classes are `labels`, or else the `positive` ids of the Embeddings; a negative class is nobody's
    positive. Several views of a row are rows of their own: see `stacked`. Raises ValueError for a plain
    tensor without labels. Source: arXiv 2004.11362, equations 2 (L_out) and 3 (L_in).

    >>> sup_con(torch.eye(4), torch.tensor([0, 0, 1, 1]), temperature=1.0).value
    tensor([1.0986, 1.0986, 1.0986, 1.0986])
    """
    if labels is None and not isinstance(vectors, Embeddings):
        raise ValueError("sup_con of a plain tensor needs labels")
    rows = paired(vectors, vectors)[0]
    if labels is not None:
        rows = replace(rows, ids=replace(rows.ids, positive=labels))
    if positives == "outside":
        return info_nce(rows, rows, temperature=temperature, itself="excluded")
    sides = Comparison.of(rows, rows, temperature, "excluded")
    relation = replace(sides.relation, keys=replace(sides.relation.keys, log_weight=None))
    count = sides.attraction()[1].clamp(min=1).to(sides.rows)
    inside = replace(sides, relation=relation).positive_masses() - count.log()
    return against(inside, sides.masses("all"), valid=sides.relation.has_negative())


def multiple_negatives(
    queries: Queries,
    keys: Keys,
    *hard: Embeddings | Float[Tensor, "_ d"],
    temperature: Temperature,
    symmetric: bool = False,
) -> RowLoss:
    """Multiple negatives ranking: InfoNCE with any number of hard negatives beside the other queries' keys.

    Every row of `hard` is a negative of every query, on any rank. Where a hard set states `within` and the
    queries do not, a row of it meets only the query whose `row` that is: so queries may have hard negatives
    of their own, as many as they like. A row of `hard` that is a query's positive by its ids is left out.
    With `symmetric` the keys find their queries too, without hard negatives. Raises ValueError for hard
    Embeddings beside plain queries. Source: arXiv 1705.00652, section 4.4.

    >>> view, hard = torch.eye(4)[:2], torch.eye(4)[2:]
    >>> multiple_negatives(view, view, hard, temperature=1.0).value
    tensor([0.7437, 0.7437])
    """
    left, right = paired(queries, keys)
    if left is not queries and any(isinstance(more, Embeddings) for more in hard):
        raise ValueError("hard negatives with ids need queries and keys with ids")
    masses = [_hard_mass(left, more, temperature) for more in hard]
    if symmetric:
        masses = [torch.cat([mass, mass.new_full((len(right),), -torch.inf)]) for mass in masses]
    return info_nce(left, right, temperature=temperature, also=masses, symmetric=symmetric)


def moco(queries: Embeddings, keys: Embeddings, queue: Embeddings, *, temperature: Temperature) -> RowLoss:
    """MoCo: the query's own key against a queue of earlier keys.

    The other keys of the batch are not compared, and neither keys nor queue get a gradient. A row of the
    queue that is the query itself, or its positive, is left out. While the queue is empty, all rows are
    skipped. Source: arXiv 1911.05722, equation 1 and algorithm 1.

    >>> rows, view = torch.arange(2), torch.eye(4)
    >>> now, queue = (Embeddings(part, Ids(i, i)) for part, i in [(view[:2], rows), (view[2:], rows + 2)])
    >>> moco(now, now, queue, temperature=1.0).value
    tensor([0.5514, 0.5514])
    """
    keys, queue = (replace(side, vectors=side.vectors.detach()) for side in (keys, queue))
    own = Comparison.of(*paired(queries, keys), temperature, "positive")
    earlier = log_mass(queries, queue, temperature=temperature, over="negatives")
    return against(own.attraction()[0], own.positive_masses(), earlier, valid=earlier != -torch.inf)


def _hard_mass(
    queries: Embeddings, hard: Embeddings | Float[Tensor, "_ d"], temperature: Temperature
) -> Float[Tensor, " n"]:
    """The log-mass of hard negatives; plain ones are nobody's positive and compared with every query."""
    ids = queries.ids
    if not isinstance(hard, Embeddings):
        ids, nobody = Ids(ids.row, ids.positive), ids.row.new_full((len(hard),), -1)
        hard = Embeddings(hard, Ids(nobody, nobody))
    elif hard.ids.within is not None and ids.within is None:
        ids = replace(ids, within=ids.row)
    return log_mass(replace(queries, ids=ids), hard, temperature=temperature, over="negatives")


def _few(left: Embeddings, right: Embeddings, temperature: Temperature, itself: Itself, sides: int = 1) -> bool:
    """Whether the pairs are few, plain and of one precision, so that a dense softmax is the quickest.

    With `sides=2` those of both sides as one set.
    """
    a, b = left.vectors, right.vectors
    return (
        world() == 1
        and 1 < a.shape[0] == b.shape[0]
        and (sides * a.shape[0]) ** 2 <= streamed.SMALL
        and not isinstance(temperature, Tensor)
        and temperature > 0
        and a.dtype == b.dtype
        and a.dtype in (torch.float32, torch.float64)
        and a is not b
        and not torch.is_autocast_enabled(a.device.type)
        and Relation(left.ids, right.ids, itself).diagonal
    )
