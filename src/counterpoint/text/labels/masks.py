"""Which tokens a classifier leans on, copies of texts without one of them, and how much it changes its mind."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import one_hot

from counterpoint.pretrained.classifiers import Saliency, SequenceClassifier
from counterpoint.pretrained.tokens import Tokens
from counterpoint.training import rng

MaskBy = Literal["position", "type"]
TEXTS = 64
"""Texts whose saliency, or whose masked copies, are made at a time."""


def maskable(tokens: Tokens, never: Collection[int]) -> Bool[Tensor, "n l"]:
    """Which tokens may be masked: none of the filling, none of those that are never masked.

    >>> tokens = Tokens(torch.tensor([[1, 7, 2, 0]]), torch.tensor([3]), torch.tensor([False]))
    >>> maskable(tokens, {1, 2}).tolist()
    [[False, True, False, False]]
    """
    ids = tokens.ids
    inside = torch.arange(ids.shape[1], device=ids.device) < tokens.lengths[:, None]
    return inside & ~torch.isin(ids, torch.tensor(sorted(never), dtype=ids.dtype, device=ids.device))


def top_tokens(
    saliency: Float[Tensor, "n l"], tokens: Tokens, k: int, never: Collection[int], by: MaskBy = "position"
) -> Int[Tensor, "n k"]:
    """The positions of the k most salient tokens of each text, the strongest first; -1 where there are no more.

    Of equals the first one in the text comes first. With `by="type"` a token that occurs again counts once.
    """
    allowed = maskable(tokens, never)
    order = saliency.masked_fill(~allowed, -torch.inf).argsort(dim=1, descending=True, stable=True)
    kept = allowed.gather(1, order)
    if by == "type":
        ids = tokens.ids.gather(1, order)
        earlier = (ids[:, :, None] == ids[:, None, :]) & kept[:, None, :]
        kept = kept & ~earlier.tril(-1).any(dim=2)
    order = order.masked_fill(~kept, -1)
    first = (~kept).to(torch.int64).argsort(dim=1, stable=True)
    found = order.gather(1, first)[:, :k]
    return torch.nn.functional.pad(found, (0, max(0, k - found.shape[1])), value=-1)


def random_saliency(tokens: Tokens, rows: Int[Tensor, " n"], seed: int) -> Float[Tensor, "n l"]:
    """Numbers at random in the place of a saliency; a row's are the same wherever it stands."""
    drawn = [torch.rand(tokens.ids.shape[1], generator=rng(seed, "masks", int(row))) for row in rows]
    return torch.stack(drawn) if drawn else torch.zeros(tokens.ids.shape)


@dataclass(frozen=True)
class Masked:
    """Masked copies of texts: their tokens, which text each is a copy of, and which of its masks it has."""

    tokens: Tokens
    row: Int[Tensor, " m"]
    column: Int[Tensor, " m"]


def masked(tokens: Tokens, positions: Int[Tensor, "n k"], mask: int, by: MaskBy = "position") -> Masked:
    """A copy of each text for each of its positions that is inside it (-1 is not), with that token masked.

    With `by="type"` all places of the same token are masked in the copy.

    >>> tokens = Tokens(torch.tensor([[7, 8, 7]]), torch.tensor([3]), torch.tensor([False]))
    >>> masked(tokens, torch.tensor([[2, -1]]), mask=4, by="type").tokens.ids.tolist()
    [[4, 8, 4]]
    """
    row, column = ((positions >= 0) & (positions < tokens.lengths[:, None])).nonzero(as_tuple=True)
    copies = tokens.rows(row)
    place = positions[row, column]
    if by == "type":
        hidden = copies.ids == copies.ids.gather(1, place[:, None])
    else:
        hidden = one_hot(place, copies.ids.shape[1]).bool()
    return Masked(Tokens(copies.ids.masked_fill(hidden, mask), copies.lengths, copies.truncated), row, column)


@dataclass(frozen=True)
class Leaning:
    """What a classifier leans on: per text its class, and the k tokens with the probability that masking each costs.

    `drop` is P(class | text) - P(class | text without the token), NaN where there is no token.
    """

    said: Int[Tensor, " n"]
    positions: Int[Tensor, "n k"]
    drop: Float[Tensor, "n k"]

    @property
    def most(self) -> Float[Tensor, " n"]:
        """The largest change of each text, either way: 0 where nothing can be masked."""
        return self.drop.abs().nan_to_num(0.0).amax(dim=1)


@torch.no_grad()
def leaning(
    classifier: SequenceClassifier,
    tokens: Tokens,
    k: int,
    never: Collection[int],
    how: Saliency = "gradient-input",
    by: MaskBy = "position",
    positions: Int[Tensor, "n k"] | None = None,
) -> Leaning:
    """What a classifier leans on in texts, by its own saliency and its own classes, or in `positions` that are given.

    The mean of `most` over texts is the maximum single-token prediction shift (arXiv 2604.12277, its metric MSTPS).
    """
    mask = classifier.mask
    parts = []
    for some in torch.arange(len(tokens), device=tokens.ids.device).split(TEXTS):
        part = tokens.rows(some)
        if positions is None:
            chosen = top_tokens(classifier.saliency(part, how), part, k, never, by)
        else:
            chosen = positions[some, :]
        chances = classifier.logits(part).softmax(dim=1)
        said = chances.argmax(dim=1)
        copies = masked(part, chosen, mask, by)
        there = classifier.logits(copies.tokens).softmax(dim=1)
        drop = chances.new_full(chosen.shape, torch.nan)
        before, after = chances[copies.row, said[copies.row]], there.gather(1, said[copies.row][:, None])[:, 0]
        drop[copies.row, copies.column] = before - after
        parts.append(Leaning(said, chosen, drop))
    if not parts:
        empty = tokens.lengths.new_zeros(0, k)
        return Leaning(tokens.lengths, empty, empty.float())
    return Leaning(*(torch.cat([getattr(part, name) for part in parts]) for name in ("said", "positions", "drop")))
