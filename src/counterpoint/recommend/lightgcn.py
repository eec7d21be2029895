"""LightGCN: vectors of users and items, averaged along the graph of who took what."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor, nn

from counterpoint.objectives import Ids, RowLoss, against, mean_over_ranks, softmax_over
from counterpoint.recommend.encoders import small_normal
from counterpoint.recommend.histories import Histories
from counterpoint.recommend.interactions import Interactions
from counterpoint.recommend.kept import Kept
from counterpoint.recommend.recommender import VectorRecommender
from counterpoint.training import Batch, Clock, Method, Phase, SGDConfig, rng
from counterpoint.training.samplers import shuffled
from counterpoint.training.sparse import SparseBuffer, adjacency, summed_steps

START = 0.1
"""Deviation of the vectors at the start, as in the released code."""
RIDGE = 1e-3
"""Share of their mean square that is added to what a history's items say, where a user's own vector is estimated."""
ROUNDS = 64
"""Times an item is drawn anew for a user who took it; after that the user has taken nearly all, and is left out."""


class LightGCN(VectorRecommender, Method):
    """The mean of a user's or item's vectors after 0 to `layers` steps along the graph of users and items.

    A score is the dot product of a history's vector with an item's. A history is a user who joins the graph as it was
    in training: the mean over its steps is what its items say, weighted as the graph weighs them, and its own vector is
    estimated from that, by the linear map that fits the users of training best. So a known user and a new one with the
    same items get the same lists. Source: arXiv 2002.02126, equations 3 to 8 and 11 (BPR: 15); the estimate is ours.

    >>> data = Interactions.of([1, 1, 1, 2, 2, 3, 3, 4, 4, 4], list("abcabdedef"))
    >>> LightGCN(dim=8, layers=2, epochs=80, batch_size=4, optim={"lr": 0.05}).fit(data).recommend([["a"]])[0][0]["id"]
    'b'
    """

    class Config(SGDConfig):
        """Options of LightGCN; the paper's where nothing else is said."""

        batch_size: int = Field(1024, ge=2, description="users with an item that they took, per step")
        dim: int = Field(64, ge=2, description="numbers in a vector")
        layers: int = Field(3, ge=1, description="steps along the graph")
        loss: Literal["bpr", "softmax"] = Field(
            "bpr", description="against one drawn item that the user did not take, or against all items"
        )
        temperature: float = Field(1.0, gt=0, description="what scores are divided by in the loss")
        regularisation: float = Field(1e-4, ge=0, description="weight of the squared vectors of what is in a batch")
        users: Literal["learned", "items"] = Field(
            "learned", description="whether users have vectors of their own in training, or only what their items say"
        )

    options: Config
    taken_pairs: "Pairs | None" = None
    """What `measure` read, until `build` takes it."""
    drawn: tuple[Interactions, Int[Tensor, " p"]] | None = None
    """For each pair an item that its user did not take, in this epoch, and of which data."""

    def measure(self, data: Interactions) -> dict[str, Any]:
        """How many items, users, and pairs of them there are."""
        self.taken_pairs = pairs_of(data)
        return super().measure(data) | {"pairs": len(self.taken_pairs.keys)}

    def build(self, facts: dict[str, Any]) -> None:
        """Vectors of users and items, and the graph."""
        users, items = facts["users"], facts["items"]
        self._build_items(facts)
        with self.seeded("nodes"):
            self.nodes = nn.Embedding(items + (users if self.options.users == "learned" else 0), self.options.dim)
            small_normal(self.nodes, START)
        self.graph = SparseBuffer(users + items, 2 * facts["pairs"])
        self.kept = Kept()
        taken, self.taken_pairs = self.taken_pairs, None
        if taken is not None:
            edges = torch.stack([taken.keys // items, users + taken.keys % items])
            self.graph.fill(adjacency(edges, users + items, loops=False))

    # Learning -------------------------------------------------------------------------------------------------

    def phases(self, data: Interactions) -> Sequence[Phase]:
        """One phase over pairs of a user and an item."""
        return [self.phase("fit pairs", data)]

    def plan(self, data: Interactions, generator: torch.Generator) -> Sequence[Int[Tensor, " _"]]:
        """Pairs at random; each gets its item to compare with for the epoch."""
        pairs = pairs_of(data)
        plan = shuffled(len(pairs), self.options.batch_size, generator)
        self.drawn = data, pairs.not_taken(generator)
        return plan

    def batch(self, data: Interactions, rows: Int[Tensor, " n"], generator: torch.Generator) -> Batch:
        """A user, an item that the user took and one that the user did not, of each row."""
        pairs = pairs_of(data)
        if self.drawn is None or self.drawn[0] is not data:
            self.plan(data, rng(self.seed, "not taken"))
        assert self.drawn is not None
        chosen = {"user": pairs.wanted[rows] // pairs.items, "item": pairs.wanted[rows] % pairs.items}
        return Batch(Ids(row=rows, positive=rows), chosen | {"other": self.drawn[1][rows]})

    def losses(self, batch: Batch, clock: Clock) -> dict[str, Float[Tensor, ""]]:
        """BPR or cross-entropy over all items, and the squared vectors of what is in the batch."""
        start, options, matrix = self._start(), self.options, self.graph.matrix()
        first = len(start) - len(self.items)
        sides = [batch.views["user"], *(first + batch.views[side].clamp(min=0) for side in self._sides)]
        nodes, place = torch.unique(torch.stack(sides), return_inverse=True)
        own, before = start.index_select(0, nodes), summed_steps(matrix, start, options.layers - 1)
        if options.loss == "bpr":
            total = (own + matrix.at(nodes) @ before) / (options.layers + 1)
            users, taken, others = (total.index_select(0, side) for side in place)
            loss = bpr(users, taken, others, batch.views["other"] >= 0, options.temperature)
        else:
            total = (start + matrix @ before) / (options.layers + 1)
            loss = softmax_over(total[sides[0]], total[first:], batch.views["item"], temperature=options.temperature)
        terms = {"next": loss.mean()}
        if options.regularisation:
            squares = own.square().sum(1).index_select(0, place.flatten()).view(place.shape).sum(0)
            terms["l2"] = options.regularisation / 2 * mean_over_ranks(squares)
        return terms

    @property
    def _sides(self) -> tuple[str, ...]:
        """What a user is compared with in a row."""
        return ("item", "other") if self.options.loss == "bpr" else ("item",)

    def _start(self) -> Float[Tensor, "n d"]:
        """The vectors before the first step, users first."""
        known: Tensor = self.nodes.weight
        others = len(self.graph.crow) - 1 - len(known)
        return torch.cat([known.new_zeros(others, known.shape[1]), known]) if others else known

    # Use ------------------------------------------------------------------------------------------------------

    def item_vectors(self) -> Float[Tensor, "v d"]:
        """A vector per item."""
        return self._rested()[0]

    def vectors(self, histories: Histories) -> Float[Tensor, "n d"]:
        """What the items of each history say of it, each counted once."""
        given = histories.distinct()[0]
        said = self._rested()[1][given.items]
        total = said.new_zeros(len(given), said.shape[1]).index_add(0, given.owners, said)
        return total / given.lengths[:, None].clamp(min=1).sqrt()

    def _rested(self) -> tuple[Float[Tensor, "v d"], Float[Tensor, "v d"]]:
        """A vector per item, and what each says of a user who takes it."""
        found: tuple[Tensor, Tensor] = self.kept(self._carried, self.nodes.weight, self.graph.value)
        return found

    def _carried(self) -> tuple[Float[Tensor, "v d"], Float[Tensor, "v d"]]:
        start, parts = self._start(), self.options.layers + 1
        first = len(start) - len(self.items)
        before = summed_steps(self.graph.matrix(), start, self.options.layers - 1)
        reached = self.graph(before) / parts
        said = before[first:] / self.graph.crow.diff()[first:, None].clamp(min=1).sqrt() / parts
        if self.options.users == "learned":
            said = said + said @ ridge(reached[:first], start[:first] / parts)
        return start[first:] / parts + reached[first:], said


def ridge(given: Float[Tensor, "n d"], wanted: Float[Tensor, "n e"]) -> Float[Tensor, "d e"]:
    """The linear map that leads from rows to wanted ones with the least squares, `RIDGE` of the rows' own added.

    >>> ridge(torch.ones(3, 1), 2 * torch.ones(3, 1)).round(decimals=2)
    tensor([[2.]])
    """
    rows = given.double()
    squares = rows.T @ rows
    squares.diagonal().add_(RIDGE * squares.diagonal().mean().clamp(min=1e-12))
    found: Tensor = torch.linalg.solve(squares, rows.T @ wanted.double()).to(given.dtype)
    return found


@dataclass(frozen=True, eq=False)
class Pairs:
    """Who took what: user * `items` + item of each pair once, in rising order; `wanted` are those learned from."""

    keys: Int[Tensor, " p"]
    wanted: Int[Tensor, " q"]
    items: int

    def __len__(self) -> int:
        return len(self.wanted)

    def not_taken(self, generator: torch.Generator) -> Int[Tensor, " q"]:
        """For each wanted pair an item at random that its user did not take; -1 where none was found."""
        user = self.wanted // self.items
        drawn = torch.randint(self.items, (len(user),), generator=generator)
        left = torch.arange(len(user))
        for _ in range(ROUNDS):
            left = left[self._taken(user[left] * self.items + drawn[left])]
            if not len(left):
                return drawn
            drawn[left] = torch.randint(self.items, (len(left),), generator=generator)
        drawn[left[self._taken(user[left] * self.items + drawn[left])]] = -1
        return drawn

    def _taken(self, keys: Int[Tensor, " n"]) -> Tensor:
        place = torch.searchsorted(self.keys, keys).clamp(max=len(self.keys) - 1)
        return self.keys[place] == keys


@lru_cache(maxsize=4)
def pairs_of(data: Interactions) -> Pairs:
    """The pairs of training data.

    >>> pairs_of(Interactions.of([1, 1, 1, 2], ["a", "b", "a", "b"])).keys
    tensor([0, 1, 3])
    """
    items = data.catalogue.num_rows
    keys = data.users.astype(np.int64) * items + data.items
    kept, wanted = (torch.from_numpy(np.unique(some)) for some in (keys, keys[data.wanted]))
    return Pairs(kept, wanted, items)


def bpr(
    users: Float[Tensor, "n d"],
    items: Float[Tensor, "n d"],
    others: Float[Tensor, "n d"],
    valid: Any,
    temperature: float = 1.0,
) -> RowLoss:
    """Bayesian personalised ranking: -log sigmoid of how much the item's score is above the other's.

    Which is a softmax over two. Source: arXiv 1205.2618, section 4.

    >>> bpr(torch.ones(1, 1), torch.ones(1, 1), torch.ones(1, 1), torch.tensor([True])).value
    tensor([0.6931])
    """
    own, theirs = ((users * one).sum(1) / temperature for one in (items, others))
    return against(own, own, theirs, valid=valid)
