"""BDPL: what somebody likes in the long and in the short run, read apart from auxiliary and from target behaviour."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import normalize

from counterpoint.objectives import Embeddings, Ids, info_nce
from counterpoint.recommend.encoders import at_the_end, small_normal
from counterpoint.recommend.histories import Histories, histories
from counterpoint.recommend.interactions import Interactions
from counterpoint.recommend.recommender import PrefixConfig, SequenceRecommender
from counterpoint.recommend.transition_graphs import (
    Cascade,
    Direction,
    StoredGraph,
    TypedGraph,
    nodes_of,
    sizes_of,
    typed_graph,
)
from counterpoint.training import Batch, Clock, Method
from counterpoint.training.optim import Optim


@dataclass(frozen=True)
class Preferences:
    """What is read of n histories: (auxiliary, target) views of both channels, who has both views, gate and sum."""

    long: tuple[Float[Tensor, "n d"], Float[Tensor, "n d"]]
    short: tuple[Float[Tensor, "n d"], Float[Tensor, "n d"]]
    both_long: Bool[Tensor, " n"]
    both_short: Bool[Tensor, " n"]
    gate: Float[Tensor, "n d"]

    @property
    def vector(self) -> Float[Tensor, "n d"]:
        """g * p_long + (1 - g) * p_short."""
        found: Tensor = self.gate * sum(self.long) + (1 - self.gate) * sum(self.short)
        return found


class Channel(nn.Module):
    """Attention pooling: weights softmax_t(q . tanh(W1 h_t + W2 b_t + W3 pos_t)), with a learned or a given q."""

    def __init__(self, dim: int, learned: bool) -> None:
        super().__init__()
        self.state, self.kind, self.place = (nn.Linear(dim, dim, bias=False) for _ in range(3))
        self.query = nn.Parameter(torch.randn(dim) / dim**0.5) if learned else None

    def forward(
        self,
        states: Float[Tensor, "n l d"],
        kinds: Float[Tensor, "n l d"],
        places: Float[Tensor, "#n l d"],
        chosen: Bool[Tensor, "n l"],
        last: Float[Tensor, "n d"],
    ) -> Float[Tensor, "n d"]:
        """The mean of the chosen states by attention; `last` asks where no query was learned."""
        keys = torch.tanh(self.state(states) + self.kind(kinds) + self.place(places))
        query = last[:, None] if self.query is None else self.query
        weight = (keys * query).sum(-1).masked_fill(~chosen, -torch.inf).softmax(1)
        return (weight[..., None] * states).sum(1)


class BDPL(SequenceRecommender, Method):
    """The next item of the target behaviour, from graphs of typed transitions and two contrasted, gated channels.

    A reconstruction from the published abstract: equations and defaults are ours (docs/methods/bdpl.md).
    Source: arXiv 2604.14581.

    >>> from counterpoint.recommend.simulate_behaviours import simulated
    >>> data, truth = simulated(users=40, events=20, seed=0)
    >>> model = BDPL(dim=8, epochs=1, batch_size=16).fit(data)
    >>> len(model.recommend([[{"item": "i3", "behaviour": "click"}]], k=5)[0])
    5
    """

    class Config(PrefixConfig):
        """Options of BDPL; those of the losses are the card's, none are known of the paper."""

        optim: Optim = Optim(weight_decay=0.0)
        graph: Literal["user", "global", "none"] = Field(
            "user", description="typed transitions of each history, of all training data pooled, or no graph"
        )
        window: int = Field(1, ge=1, description="events apart up to which one leads to the other, by 1 / distance")
        direction: Direction = Field("aux_to_target", description="order of the types of transition in the cascade")
        recent: int = Field(10, ge=1, description="last events that the short-term channel reads")
        auxiliary: bool = Field(True, description="events of other behaviours than the target are read")
        fusion: Literal["gate", "mean"] = Field("gate", description="a gate of both channels, or their mean")
        long_weight: float = Field(0.1, ge=0, description="weight of the long-term contrast (lambda 1)")
        short_weight: float = Field(0.1, ge=0, description="weight of the short-term contrast (lambda 2)")
        temperature: float = Field(0.2, gt=0, description="temperature of both contrasts (tau)")
        l2: float = Field(1e-6, ge=0, description="weight of the sum of squares of all parameters (mu)")
        dropout: float = Field(0.2, ge=0, lt=1, description="share of numbers of items that are zeroed in training")

    options: Config
    pooled: TypedGraph | None = None
    """What `measure` made, until `build` takes it."""
    long: Channel
    short: Channel

    def measure(self, data: Interactions) -> dict[str, Any]:
        """Items and behaviours; nodes and edges of the pooled graph, where there is one."""
        facts = super().measure(data)
        if self.options.graph == "global":
            whole = histories(data, data.starts[:-1].astype(np.int64), data.starts[1:].astype(np.int64))
            self.pooled = typed_graph(whole, whole.items, len(data.labels), self.options.window)
            facts["graph"] = sizes_of(self.pooled)
        return facts

    def build(self, facts: dict[str, Any]) -> None:
        """Vectors of items, behaviours and places (about as long as what a stage adds), cascade, channels and gate."""
        options = self.options
        self._build_items(facts)
        labels = facts["behaviours"]
        with self.seeded("table"):
            self.table = nn.Embedding(facts["items"], options.dim)
            small_normal(self.table, options.dim**-0.5)
        with self.seeded("behaviours"):
            self.behaviours = nn.Embedding(len(labels), options.dim)
            small_normal(self.behaviours, options.dim**-0.5)
        with self.seeded("positions"):
            self.positions = nn.Embedding(options.max_length, options.dim)
            small_normal(self.positions, options.dim**-0.5)
        for name in ("long", "short"):
            with self.seeded(name):
                setattr(self, name, Channel(options.dim, learned=name == "long"))
        self.dropout = nn.Dropout(options.dropout)
        if options.graph != "none":
            with self.seeded("cascade"):
                self.cascade = Cascade(options.dim, len(labels), self.items.target, options.direction)
        if options.graph == "global":
            self.stored = StoredGraph(facts.get("graph", ()))
            pooled, self.pooled = self.pooled, None
            if pooled is not None:
                self.stored.fill(pooled)
        if options.fusion == "gate":
            with self.seeded("gate"):
                self.gate = nn.Linear(2 * options.dim, options.dim)

    def batch(self, data: Interactions, rows: Int[Tensor, " n"], generator: torch.Generator) -> Batch:
        """Prefixes and the item after each; prefixes of one user are not each other's negatives."""
        found = super().batch(data, rows, generator)
        users = torch.from_numpy(data.users[self._instances(data).last[rows.numpy()]].astype(np.int64))
        found.ids = Ids(row=rows, positive=rows, exclude=users[:, None])
        return found

    def losses(self, batch: Batch, clock: Clock) -> dict[str, Float[Tensor, ""]]:
        """Cross-entropy over items, the contrast of the views of either channel, and the squares."""
        options, told = self.options, self.preferences(batch.views["history"])
        terms = {"next": self._next(told.vector, batch.views["targets"], clock).mean()}
        channels = (
            ("long", options.long_weight, told.long, told.both_long),
            ("short", options.short_weight, told.short, told.both_short),
        )
        for name, weight, views, both in channels:
            self.note(**{f"{name} pairs": both.float().mean()})
            if weight:
                sides = [Embeddings(normalize(view, dim=1), batch.ids)[both] for view in views]
                terms[name] = weight * info_nce(*sides, temperature=options.temperature, symmetric=True).mean()
        self.note(gate=told.gate.mean())
        if options.l2:
            terms["l2"] = options.l2 * torch.stack([part.square().sum() for part in self.parameters()]).sum()
        return terms

    def item_vectors(self) -> Float[Tensor, "v d"]:
        """A vector per item."""
        return self.table.weight

    def _vectors_of(self, items: Int[Tensor, " n"]) -> Float[Tensor, "n d"]:
        found: Tensor = self.table(items)
        return found

    def vectors(self, histories: Histories) -> Float[Tensor, "n d"]:
        """Both channels through the gate."""
        return self.preferences(histories).vector

    def gates(self, histories: Histories) -> Float[Tensor, " n"]:
        """How much of each history's vector is long-term preference: the mean of its gate, from 0 to 1."""
        return self.preferences(histories).gate.mean(1)

    def preferences(self, histories: Histories) -> Preferences:
        """All that is read of some histories, none of which is empty."""
        given = histories.latest(self.options.max_length)
        given = given if self.options.auxiliary else given.of_behaviour(self.items.target)
        stages, kinds, there = self._states_of(given)
        marks = self.behaviours(kinds)
        auxiliary, target = (states + marks for states in stages)
        back = (there.sum(1, keepdim=True) - 1 - torch.arange(there.shape[1], device=there.device)).clamp(min=0)
        wanted = kinds == self.items.target
        views = []
        for channel, window in ((self.long, there), (self.short, there & (back < self.options.recent))):
            for states, chosen in ((auxiliary, window & ~wanted), (target, window & wanted)):
                has = chosen.any(1)
                read = torch.where(has[:, None], chosen, window)
                views.append((channel(states, marks, self.positions(back), read, at_the_end(states, there)), has))
        (long_a, has_a), (long_t, has_t), (short_a, had_a), (short_t, had_t) = views
        gate = self._gate(long_a + long_t, short_a + short_t)
        return Preferences((long_a, long_t), (short_a, short_t), has_a & has_t, had_a & had_t, gate)

    def _states_of(
        self, given: Histories
    ) -> tuple[tuple[Float[Tensor, "n l d"], Float[Tensor, "n l d"]], Int[Tensor, "n l"], Bool[Tensor, "n l"]]:
        """Auxiliary-stage and target-stage states of the items of each event, behaviours, and where an event is."""
        pooled = self.options.graph == "global"
        items, node = (None, given.items) if pooled else nodes_of(given)
        x = self.dropout(self.table.weight if items is None else self.table(items))
        auxiliary, target = x, x
        if self.options.graph != "none":
            kinds = len(self.items.labels)
            graph = self.stored.graph() if pooled else typed_graph(given, node, kinds, self.options.window)
            auxiliary, target = self.cascade(x, graph)
        place, behaviours, there = Histories(given.starts, node, given.behaviours).padded(0)
        return (auxiliary[place], target[place]), behaviours, there

    def _gate(self, long: Float[Tensor, "n d"], short: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        if self.options.fusion == "mean":
            return torch.full_like(long, 0.5)
        found: Tensor = torch.sigmoid(self.gate(torch.cat([long, short], dim=1)))
        return found
