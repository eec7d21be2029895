"""Two altered copies of each history: a stretch of it, some items hidden, or a stretch in another order."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import torch
from jaxtyping import Int
from torch import Tensor

from counterpoint.recommend.histories import Histories

Operator = Literal["crop", "mask", "reorder"]
OPERATORS: tuple[Operator, ...] = ("crop", "mask", "reorder")


def augmented(
    histories: Histories,
    generator: torch.Generator,
    *,
    blank: int,
    crop: float = 0.8,
    mask: float = 0.5,
    reorder: float = 0.8,
    operators: Sequence[Operator] = OPERATORS,
) -> tuple[Histories, Histories]:
    """Two copies of each history, altered by two different operators drawn for it; the histories stay as they are.

    Of n events, `crop` keeps floor(crop n) side by side, at least one; `mask` shows floor(mask n) of them, drawn at
    random, as the item `blank`; `reorder` puts floor(reorder n) side by side into random order. Behaviours go with
    their events. A history of one event is copied; a single operator makes both copies. Source: arXiv 2010.14395,
    section 3.2; the shares are those of the released code of arXiv 2604.14114.

    >>> one, other = augmented(Histories.of([[1, 2, 3, 4, 5], [6]]), torch.Generator().manual_seed(0), blank=9)
    >>> one.rows(torch.tensor([1])).items.tolist(), other.rows(torch.tensor([1])).items.tolist()
    ([6], [6])
    """
    if not operators:
        raise ValueError("no operators to draw from")
    order = torch.rand(len(histories), len(operators), generator=generator).argsort(dim=1)
    shares = {"crop": crop, "mask": mask, "reorder": reorder}
    drawn = [order[:, 0], order[:, min(1, len(operators) - 1)]]
    first, second = (_altered(histories, column, operators, shares, blank, generator) for column in drawn)
    return first, second


def _altered(
    histories: Histories,
    drawn: Int[Tensor, " n"],
    operators: Sequence[Operator],
    shares: dict[str, float],
    blank: int,
    generator: torch.Generator,
) -> Histories:
    """One copy: `drawn` is the place in `operators` of each history's operator."""
    lengths, owners = histories.lengths, histories.owners
    share = torch.tensor([shares[name] for name in operators], dtype=torch.float64)[drawn]
    many = lengths > 1
    crops, masks, moves = ((many & _is(name, operators)[drawn]) for name in OPERATORS)
    size = (share * lengths).floor().long().clamp(min=torch.where(crops, 1, 0))
    begin = (torch.rand(len(lengths), generator=generator, dtype=torch.float64) * (lengths - size + 1)).long()
    # Events whose key is their own number stay where they are; those of a block get keys at random within it.
    event = torch.arange(len(histories.items))
    place = event - histories.starts[:-1][owners]
    inside = (place >= begin[owners]) & (place < (begin + size)[owners])
    chance = torch.rand(len(event), generator=generator, dtype=torch.float64)
    key = event.double()
    key = torch.where(
        moves[owners] & inside, histories.starts[:-1][owners] + begin[owners] + chance * size[owners], key
    )
    key = torch.where(masks[owners], histories.starts[:-1][owners] + chance * lengths[owners], key)
    shuffle = key.argsort(stable=True)
    hidden = shuffle[masks[owners] & (place < size[owners])]
    order = torch.where(moves[owners], shuffle, event)
    items = histories.items[order]
    items[hidden] = blank
    copy = replace(histories, items=items, behaviours=histories.behaviours[order])
    return copy.where(~crops[owners] | inside)


def _is(name: Operator, operators: Sequence[Operator]) -> Tensor:
    return torch.tensor([name == one for one in operators])
