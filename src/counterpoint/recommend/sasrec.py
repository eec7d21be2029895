"""SASRec: a causal Transformer reads a history and says which item comes next."""

from collections.abc import Sequence
from typing import Any, Literal

from jaxtyping import Bool, Float, Int
from pydantic import Field
from torch import Tensor, nn

from counterpoint.errors import UserError
from counterpoint.recommend.encoders import CausalTransformer, at_the_end, small_normal
from counterpoint.recommend.histories import Histories
from counterpoint.recommend.interactions import Interactions
from counterpoint.recommend.recommender import SequenceConfig, SequenceRecommender
from counterpoint.training import Batch, Clock, Method, Phase


class SASRec(SequenceRecommender, Method):
    """Self-attention over a history; the next item is the one whose vector fits the state after the last event.

    Source: arXiv 1808.09781; the loss is the cross-entropy over all items in place of the paper's one sampled negative
    per position (the form in which it is compared today, arXiv 2309.07602).

    >>> from counterpoint.recommend.simulate import cycles
    >>> model = SASRec(dim=16, epochs=20, batch_size=16, dropout=0.0).fit(cycles(users=64, items=8, seed=0))
    >>> model.recommend([["i2", "i3"]], k=1)[0][0]["id"]
    'i4'
    """

    class Config(SequenceConfig):
        """Options of SASRec; sizes are the paper's."""

        layers: int = Field(2, ge=1, description="blocks of attention")
        heads: int = Field(2, ge=1, description="heads of attention; divides dim")
        dropout: float = Field(0.2, ge=0, lt=1, description="share of numbers that are zeroed in training")
        temperature: float = Field(1.0, gt=0, description="what scores are divided by in the loss")
        reads: Literal["items", "behaviours", "target"] = Field(
            "items", description="items of all events, what was done with them too, or events of the target alone"
        )

    options: Config

    def build(self, facts: dict[str, Any]) -> None:
        """Vectors of items, one of them for padding, and the Transformer."""
        options = self.options
        if options.dim % options.heads:
            raise UserError(f"dim={options.dim} is not divisible by heads={options.heads}")
        self._build_items(facts)
        with self.seeded("table"):
            self.table = nn.Embedding(facts["items"] + 1, options.dim, sparse=self._sparse)
            small_normal(self.table)
        with self.seeded("encoder"):
            self.encoder = CausalTransformer(
                options.dim, options.max_length, options.layers, options.heads, options.dropout
            )
            small_normal(self.encoder)
        if options.reads == "behaviours":
            with self.seeded("behaviours"):
                self.behaviours = nn.Embedding(len(facts["behaviours"]), options.dim)
                small_normal(self.behaviours)

    def phases(self, data: Interactions) -> Sequence[Phase]:
        """One phase over stretches of histories, or over prefixes; of target events where only those are read."""
        only = self.options.reads == "target"
        return super().phases(data.where(data.behaviours == self.items.target) if only else data)

    @property
    def _sparse(self) -> bool:
        """Whether a step looks up a few items and updates those alone (`counterpoint.training.lazy`)."""
        return self.options.negatives > 0 and self.options.optim.name == "adamw"

    def losses(self, batch: Batch, clock: Clock) -> dict[str, Float[Tensor, ""]]:
        """Cross-entropy over items, at every event or at the last one of each row, and what else is contrasted."""
        if self.options.positions == "all":
            states, there = self._states(batch.views["history"])
            queries, ends = states[there], at_the_end(states, there)
        else:
            queries = ends = self._ends(batch.views["history"])
        loss = self._next(queries, batch.views["targets"], clock, self.options.temperature)
        return {"next": loss.mean()} | self._contrast(batch, ends)

    def _contrast(self, batch: Batch, states: Float[Tensor, "n d"]) -> dict[str, Float[Tensor, ""]]:
        """Further terms of a method that contrasts whole histories; `states` are those after their last events."""
        return {}

    def _states(self, histories: Histories) -> tuple[Float[Tensor, "n l d"], Bool[Tensor, "n l"]]:
        """A state after each event, and where an event is."""
        read, there = self._read(histories)
        return self.encoder(read), there

    def _ends(self, histories: Histories) -> Float[Tensor, "n d"]:
        """The state after the last event of each history."""
        found: Tensor = self.encoder.last(*self._read(histories))
        return found

    def _read(self, histories: Histories) -> tuple[Float[Tensor, "n l d"], Bool[Tensor, "n l"]]:
        """Vectors of items with what was done with them, and where an event is."""
        items, kinds, there = histories.padded(len(self.items))
        return self._marked(self.table(items), kinds), there

    def _marked(self, items: Float[Tensor, "n l d"], kinds: Int[Tensor, "n l"]) -> Float[Tensor, "n l d"]:
        """Vectors of items, and of what was done with them where that is read."""
        return items + self.behaviours(kinds) if self.options.reads == "behaviours" else items

    def item_vectors(self) -> Float[Tensor, "v d"]:
        """A vector per item, without the one for padding."""
        return self.table.weight[:-1]

    def vectors(self, histories: Histories) -> Float[Tensor, "n d"]:
        """The state after the last event of each history."""
        if self.options.reads == "target":
            histories = histories.of_behaviour(self.items.target)
        return self._ends(histories.latest(self.options.max_length))

    def _vectors_of(self, items: Int[Tensor, " n"]) -> Float[Tensor, "n d"]:
        found: Tensor = self.table(items)
        return found
