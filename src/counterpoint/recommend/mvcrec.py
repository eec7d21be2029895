"""MVCrec: a history read as a sequence of ids and through the item graph, the two contrasted and fused."""

from typing import Any, Literal

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import embedding, normalize

from counterpoint.errors import UserError
from counterpoint.objectives import Embeddings, Ids, false_negatives, nt_xent
from counterpoint.recommend.augment import augmented
from counterpoint.recommend.histories import Histories
from counterpoint.recommend.interactions import Interactions
from counterpoint.recommend.item_graph import Propagation, item_graph, relabelled
from counterpoint.recommend.postnorm import PostNormTransformer
from counterpoint.recommend.recommender import SequenceConfig, SequenceRecommender
from counterpoint.recommend.view_fusion import Fusion, fusion
from counterpoint.training import Batch, Clock, Method, rng
from counterpoint.training.optim import Optim
from counterpoint.training.sparse import Sparse

View = Literal["graph", "id"]
Term = Literal["id", "graph", "cross"]
INIT = 0.01
"""Deviation of every weight and bias of linear maps and tables at the start, as in the release."""


class MVCrec(SequenceRecommender, Method):
    """Two views of one history, the ids in their order and their neighbours in the item graph, contrasted and fused.

    Source: arXiv 2604.14114; equations from the released code, its defects mended (docs/methods/mvcrec.md).

    >>> from counterpoint.recommend.simulate import cycles
    >>> model = MVCrec(dim=16, epochs=6, batch_size=32, dropout=0.0, optim={"lr": 0.01})
    >>> model.fit(cycles(users=40, items=8, seed=0)).recommend([["i2", "i3"]], k=1)[0][0]["id"]
    'i4'
    """

    class Config(SequenceConfig):
        """Options of MVCrec; those of the release where nothing else is said."""

        optim: Optim = Optim(weight_decay=0.0)
        batch_size: int = Field(256, ge=2, description="prefixes, or histories with `positions=all`, per step")
        positions: Literal["all", "last"] = Field(
            "last",
            description="what is learned from: each event from its own prefix, or all of a history, read causally",
        )
        layers: int = Field(2, ge=1, description="blocks of attention of each view")
        heads: int = Field(2, ge=1, description="heads of attention; divides dim")
        dropout: float = Field(0.2, ge=0, lt=1, description="share of numbers that are zeroed in training; release: 0")
        views: Literal["both", "id", "graph"] = Field("both", description="the views that are there")
        distance: int = Field(3, ge=1, description="events apart up to which items are joined in the graph")
        graph_layers: int = Field(2, ge=0, description="steps along the graph; 0 leaves a second table of items")
        shuffled_graph: bool = Field(False, description="a placebo: the graph's items are exchanged at random")
        fusion: Fusion = Field("aff", description="how a view's vector takes in the other's")
        contrast_weight: float = Field(0.01, ge=0, description="weight of all contrastive terms")
        terms: tuple[Term, ...] = Field(
            ("id", "graph", "cross"), description="contrastive terms: within the id view, the graph view, across"
        )
        symmetric_cross: bool = Field(False, description="the term across is the mean of both ways round")
        similarity: Literal["dot", "cosine"] = Field("dot", description="of vectors in the contrastive terms")
        temperature: float = Field(1.0, gt=0, description="what those similarities are divided by")
        same_user: Literal["excluded", "negative"] = Field(
            "excluded", description="other prefixes of a user among the negatives; release: negative"
        )
        same_item: Literal["positive", "excluded", "negative"] = Field(
            "positive", description="other rows that want the same next item; release: negative"
        )
        crop: float = Field(0.8, gt=0, le=1, description="share of a history that is kept where it is cropped")
        mask: float = Field(0.5, ge=0, le=1, description="share that is hidden where it is masked")
        reorder: float = Field(0.8, ge=0, le=1, description="share that is reordered")
        padding_in_softmax: bool = Field(False, description="the vector for padding is among the items; release: true")

    options: Config
    held: Sparse | None = None
    """The graph that `measure` made, until `build` takes it."""

    @property
    def views(self) -> tuple[View, ...]:
        """The views that are there."""
        return ("graph", "id") if self.options.views == "both" else (self.options.views,)

    def measure(self, data: Interactions) -> dict[str, Any]:
        """Items, and how many entries the graph has."""
        facts = super().measure(data)
        if "graph" not in self.views:
            return facts
        self.held = item_graph(data, self.options.distance)
        return facts | {"edges": len(self.held.value)}

    def build(self, facts: dict[str, Any]) -> None:
        """For each view a table of items, one of them for padding, and a Transformer; the graph and the fusion."""
        options = self.options
        if options.dim % options.heads:
            raise UserError(f"dim={options.dim} is not divisible by heads={options.heads}")
        self._build_items(facts)
        self.embeddings, self.readers, self.fusions = nn.ModuleDict(), nn.ModuleDict(), nn.ModuleDict()
        shape = (options.dim, options.max_length, options.layers, options.heads, options.dropout)
        for view in self.views:
            with self.seeded(f"{view} table"):
                self.embeddings[view] = nn.Embedding(facts["items"] + 1, options.dim)
                _init(self.embeddings[view])
            with self.seeded(f"{view} reader"):
                self.readers[view] = PostNormTransformer(*shape, causal=options.positions == "all")
                _init(self.readers[view])
            if options.views == "both":
                with self.seeded(f"{view} fusion"):
                    self.fusions[view] = fusion(options.fusion, options.dim)
                    _init(self.fusions[view])
        if "graph" in self.views:
            self.propagation = Propagation(facts["items"] + 1, facts["edges"], options.graph_layers)
            self._fill_graph(facts["items"])

    def _fill_graph(self, items: int) -> None:
        graph, self.held = self.held, None
        if graph is None:
            return
        if self.options.shuffled_graph:
            order = torch.randperm(items, generator=rng(self.seed, "build", "shuffled graph"))
            graph = relabelled(graph, torch.cat([order, order.new_tensor([items])]))
        self.propagation.graph.fill(graph)

    # Learning -------------------------------------------------------------------------------------------------

    def batch(self, data: Interactions, rows: Int[Tensor, " n"], generator: torch.Generator) -> Batch:
        """Inputs and targets as they are; beside them, where there is a contrast, two altered copies of the inputs."""
        batch = super().batch(data, rows, generator)
        if not self.contrasts:
            return batch
        options, chosen = self.options, self._instances(data).rows(rows)
        item = torch.from_numpy(data.items[chosen.last].astype("int64"))
        user = torch.from_numpy(data.users[chosen.last].astype("int64"))
        apart = [user] if options.same_user == "excluded" else []
        apart += [item] if options.same_item == "excluded" else []
        alike = item if options.same_item == "positive" else rows
        ids = Ids(rows, alike, exclude=torch.stack(apart, dim=1) if apart else None)
        shares = {name: getattr(options, name) for name in ("crop", "mask", "reorder")}
        a, b = augmented(batch.views["history"], generator, blank=len(self.items), **shares)
        return Batch(ids, batch.views | {"a": a, "b": b, "item": item, "user": user})

    @property
    def contrasts(self) -> tuple[Term, ...]:
        """The contrastive terms that count."""
        options = self.options
        there = {"cross", *self.views} if options.views == "both" else set(self.views)
        return tuple(term for term in options.terms if options.contrast_weight and term in there)

    def losses(self, batch: Batch, clock: Clock) -> dict[str, Float[Tensor, ""]]:
        """Cross-entropy over all items, and what pulls the altered copies of a history together."""
        tables = self._tables()
        vectors = self._vectors(batch.views["history"], tables, every=self.options.positions == "all")
        table = self._joined(tables)
        table = table if self.options.padding_in_softmax else table[:-1]
        terms = {"next": self._next(self._fused(vectors), batch.views["targets"], clock, table=table).mean()}
        if self.contrasts:
            terms |= self._contrast(batch, tables)
        return terms

    def _contrast(self, batch: Batch, tables: dict[View, Tensor]) -> dict[str, Tensor]:
        """NT-Xent between the copies a and b, within and across the views."""
        n, options = len(batch.ids), self.options
        copies = self._vectors(Histories.cat([batch.views["a"], batch.views["b"]]), tables)
        self._watch(batch, copies)
        if options.similarity == "cosine":
            copies = {view: normalize(vectors, dim=1) for view, vectors in copies.items()}
        a, b = ({view: Embeddings(v[at], batch.ids) for view, v in copies.items()} for at in (slice(n), slice(n, None)))
        pairs: dict[str, list[tuple[Embeddings, Embeddings]]] = {view: [(a[view], b[view])] for view in self.views}
        if options.views == "both":
            pairs["cross"] = [(a["graph"], b["id"]), (b["graph"], a["id"])][: 1 + options.symmetric_cross]
        found: dict[str, Tensor] = {}
        for term in self.contrasts:
            values = [nt_xent(*pair, temperature=options.temperature).mean() for pair in pairs[term]]
            found[term] = options.contrast_weight * torch.stack(values).mean()
        return found

    @torch.no_grad()
    def _watch(self, batch: Batch, copies: dict[View, Tensor]) -> None:
        """What the release would count as negatives and is none, and lengths, which plain dot products let grow."""
        alone = Embeddings(next(iter(copies.values()))[: len(batch.ids)], Ids(batch.ids.row, batch.ids.row))
        for name in ("user", "item"):
            share = false_negatives(alone, alone, labels=batch.views[name]).share
            self.note(**{f"same_{name}": share})
        self.note(**{f"length_{view}": vectors.norm(dim=1).mean() for view, vectors in copies.items()})

    # Reading --------------------------------------------------------------------------------------------------

    def _tables(self) -> dict[View, Tensor]:
        """A vector per item and one for padding, of each view; the graph is gone along once."""
        tables: dict[View, Tensor] = {view: self.embeddings[view].weight for view in self.views}  # type: ignore[misc]
        if "graph" in tables:
            tables["graph"] = self.propagation(tables["graph"])
        return tables

    def _vectors(self, histories: Histories, tables: dict[View, Tensor], every: bool = False) -> dict[View, Tensor]:
        """Each view's state after the last event of each history, or after every event."""
        items, _, there = histories.padded(len(self.items))
        return {view: self._read(view, embedding(items, table), there, every) for view, table in tables.items()}

    def _read(self, view: View, x: Float[Tensor, "n l d"], there: Bool[Tensor, "n l"], every: bool) -> Tensor:
        reader: Any = self.readers[view]
        found: Tensor = reader(x, there)[there] if every else reader.last(x, there)
        return found

    def _fused(self, vectors: dict[View, Float[Tensor, "n d"]]) -> Float[Tensor, "n e"]:
        """[o, o']: each view's vector with what it takes of the other's."""
        if len(vectors) == 1:
            return next(iter(vectors.values()))
        graph, ids = vectors["graph"], vectors["id"]
        return torch.cat([self.fusions["graph"](graph, ids), self.fusions["id"](ids, graph)], dim=1)

    def _joined(self, tables: dict[View, Float[Tensor, "v d"]]) -> Float[Tensor, "v e"]:
        """[G, E], so that o . G + o' . E is one product."""
        return torch.cat(list(tables.values()), dim=1)

    def item_vectors(self) -> Float[Tensor, "v e"]:
        """A vector per item, both views side by side, without the one for padding."""
        return self._joined(self._tables())[:-1]

    def vectors(self, histories: Histories) -> Float[Tensor, "n e"]:
        """The fused vector of each history."""
        return self._fused(self._vectors(histories.latest(self.options.max_length), self._tables()))


def _init(module: nn.Module) -> None:
    for part in module.modules():
        if isinstance(part, nn.Linear | nn.Embedding):
            for parameter in part.parameters():
                nn.init.normal_(parameter, std=INIT)
