"""SASRec for catalogues with new items: an item that nobody took yet is known by its attributes."""

from typing import Any

import pyarrow as pa
import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import embedding, normalize, pad

from counterpoint.errors import UserError
from counterpoint.objectives import Embeddings, Ids, RowLoss, info_nce, softmax_over
from counterpoint.recommend.attributes import Described, alike, said_of, shares
from counterpoint.recommend.encoders import at_the_end, small_normal
from counterpoint.recommend.histories import Histories
from counterpoint.recommend.recommender import table_bytes
from counterpoint.recommend.sampled import drawn_items, log_chances, sampled_softmax
from counterpoint.recommend.sasrec import SASRec
from counterpoint.training import Batch, Clock

CONTRASTED = 1024
"""Items whose two views are contrasted in a step."""


class AttributedSASRec(Described, SASRec):
    """SASRec in which an item has a second view, the sum of its attributes' vectors; new items have that view alone.

    In every step the attributes stand in for some items' own vectors, in histories and as targets, so that both views
    are read alike; and the two views of an item find each other among those of other items. Items without training
    events take no part in the softmax of training: that nobody took them says nothing of them. Source: ours (no paper);
    hidden ids are the input dropout of DropoutNet (NeurIPS 2017), the contrast is InfoNCE.

    >>> from counterpoint.recommend.simulate import departments
    >>> data = departments(users=64, items=12, kinds=3, new=3, seed=0)
    >>> parts = data.divide("leave-one-out")
    >>> model = AttributedSASRec(dim=16, epochs=2, batch_size=16).fit(parts["train"])
    >>> model.embed(model.embedded()["items"]).shape
    torch.Size([12, 16])
    """

    class Config(SASRec.Config):
        """Options of SASRec with attributes."""

        hide: float = Field(0.3, ge=0, le=1, description="share of the items known by their attributes alone in a step")
        contrast: float = Field(0.1, ge=0, description="weight of the contrast of an item's two views")
        contrast_temperature: float = Field(0.1, gt=0, description="what cosines are divided by in the contrast")
        rare: int = Field(0, ge=0, description="training events up to which an item is known by its attributes alone")

    options: Config
    kinds: Tensor
    """Equal numbers for items of equal attributes, -1 for those without."""

    def build(self, facts: dict[str, Any]) -> None:
        """SASRec's network, the attributes of items and a vector for each attribute."""
        super().build(facts)
        kinds = torch.full((facts["items"],), -1) if self.said is None else alike(self.said)
        self.register_buffer("kinds", kinds)
        self._build_attributes(facts)
        with self.seeded("attributes"):
            self.attributes = nn.Embedding(facts["attributes"], self.options.dim)
            small_normal(self.attributes)

    def losses(self, batch: Batch, clock: Clock) -> dict[str, Float[Tensor, ""]]:
        """Cross-entropy over the items with events, some of them hidden, and the contrast of both views."""
        draw, known = clock.shared_rng("hidden"), self.items.counts > 0
        hidden = (torch.rand(len(known), generator=draw) < self.options.hide).to(known.device)
        views = self.table.weight[:-1], self.by_attributes()
        table = self._chosen(*views, hidden)
        items, kinds, there = batch.views["history"].padded(len(self.items))
        states = self.encoder(self._marked(self._looked_up(table, items), kinds))
        queries = states[there] if self.options.positions == "all" else at_the_end(states, there)
        number = known.cumsum(0) - 1
        targets = torch.where(batch.views["targets"] < 0, -1, number[batch.views["targets"]])
        loss = self._among_known(queries, targets, table[known], self.items.counts[known], clock)
        return {"next": loss.mean()} | self._both_views(*views, draw)

    def _among_known(
        self,
        queries: Float[Tensor, "n d"],
        targets: Int[Tensor, " n"],
        table: Float[Tensor, "k d"],
        counts: Int[Tensor, " k"],
        clock: Clock,
    ) -> RowLoss:
        """Cross-entropy over the items with events, or estimated from `negatives` of them."""
        if not self.options.negatives:
            return softmax_over(queries, table, targets, temperature=self.options.temperature)
        chances = log_chances(counts)
        items = drawn_items(chances.exp().cumsum(0), self.options.negatives, clock.shared_rng("negatives"))
        own, drawn = table[targets.clamp(min=0)], table[items]
        return sampled_softmax(queries, targets, own, items, drawn, chances[items], self.options.temperature)

    def by_attributes(self) -> Float[Tensor, "v d"]:
        """Every item's vector by its attributes: the sum of theirs over the square root of how many."""
        found: Tensor = self.shares(self.attributes.weight)
        return found

    def item_vectors(self) -> Float[Tensor, "v d"]:
        """A vector per item: its own, or that of its attributes where it has at most `rare` training events."""
        views = self.table.weight[:-1], self.by_attributes()
        return self._chosen(*views, torch.zeros_like(self.items.counts, dtype=torch.bool))

    def with_items(self, table: pa.Table) -> "AttributedSASRec":
        """A copy that also lists further items, with the columns of the catalogue, without training.

        Raises `UserError` for an id that is known already, or a column that the catalogue lacks.
        """
        self.require_fitted()
        known = self.items.table
        for name in table.column_names:
            if name not in known.column_names:
                raise UserError(f'items have no column "{name}"; they have {", ".join(known.column_names)}')
        numbers = self.items.numbers(table["id"].to_pylist())
        if (numbers >= 0).any():
            raise UserError(f'item "{self.items.ids[int(numbers.max())]}" is known already')
        both = pa.concat_tables([known, table.select(table.column_names)], promote_options="permissive")
        taken = table_bytes(both), pad(self.items.counts, (0, len(table))).cpu().numpy()
        grown = type(self)(**self.given)
        grown.words, grown.said, grown.taken = self.words, shares(said_of(both), self.words), taken
        size = {"items": len(both), "catalogue_bytes": len(taken[0]), "described": len(grown.said.col)}
        grown.prepare(self.facts | size, self.seed)
        own, theirs = grown.state_dict(), self.state_dict()
        same = {name: value for name, value in theirs.items() if own[name].shape == value.shape}
        grown.load_state_dict(own | {name: value for name, value in same.items() if not name.startswith("shares.")})
        with torch.no_grad():
            grown.table.weight[: len(known)] = self.table.weight[:-1]
        grown.folder = self.folder
        return grown.eval()

    def _both_views(
        self, own: Float[Tensor, "v d"], other: Float[Tensor, "v d"], draw: torch.Generator
    ) -> dict[str, Tensor]:
        """InfoNCE between both views of items that have both; items of equal attributes are no negatives."""
        if not self.options.contrast:
            return {}
        both = ((self.items.counts > self.options.rare) & (self.kinds >= 0)).nonzero()[:, 0]
        rows = both[torch.randperm(len(both), generator=draw)[:CONTRASTED].to(both.device)]
        ids = Ids(rows, rows, exclude=self.kinds[rows][:, None])
        sides = (Embeddings(normalize(view[rows], dim=1), ids, everywhere=True) for view in (own, other))
        loss = info_nce(*sides, temperature=self.options.contrast_temperature, symmetric=True)
        return {"contrast": self.options.contrast * loss.mean()}

    def _chosen(
        self, own: Float[Tensor, "v d"], other: Float[Tensor, "v d"], hidden: Bool[Tensor, " v"]
    ) -> Float[Tensor, "v d"]:
        """Items' own vectors, for hidden, rare and new ones their attributes'; without attributes always their own."""
        by_attributes = (hidden | (self.items.counts <= self.options.rare)) & (self.kinds >= 0)
        return torch.where(by_attributes[:, None], other, own)

    def _read(self, histories: Histories) -> tuple[Float[Tensor, "n l d"], Bool[Tensor, "n l"]]:
        items, kinds, there = histories.padded(len(self.items))
        return self._marked(self._looked_up(self.item_vectors(), items), kinds), there

    def _looked_up(self, table: Float[Tensor, "v d"], items: Int[Tensor, "n l"]) -> Float[Tensor, "n l d"]:
        """Vectors of items; padding is 0."""
        return embedding(items, pad(table, (0, 0, 0, 1)))
