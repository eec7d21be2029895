"""GRU4Rec: a recurrent network reads a history and says which item comes next."""

from typing import Any

from jaxtyping import Bool, Float, Int
from pydantic import Field
from torch import Tensor, nn

from counterpoint.recommend.encoders import at_the_end, small_normal
from counterpoint.recommend.histories import Histories
from counterpoint.recommend.recommender import SequenceConfig, SequenceRecommender
from counterpoint.training import Batch, Clock, Method


class GRU4Rec(SequenceRecommender, Method):
    """Gated recurrent units over a history; the next item is the one whose vector fits the state after the last event.

    Source: arXiv 1511.06939, section 3.1; the loss is the cross-entropy over all items in place of the paper's ranking
    losses over a batch's items, and items are read by the vectors by which they are scored.

    >>> from counterpoint.recommend.simulate import cycles
    >>> model = GRU4Rec(dim=16, epochs=10, batch_size=16, optim={"lr": 0.01}).fit(cycles(users=64, items=8, seed=0))
    >>> model.recommend([["i2", "i3"]], k=1)[0][0]["id"]
    'i4'
    """

    class Config(SequenceConfig):
        """Options of GRU4Rec; the paper has one layer of 100 or 1,000 units."""

        hidden: int = Field(100, ge=1, description="numbers in the state of a layer")
        layers: int = Field(1, ge=1, description="layers of recurrent units")
        dropout: float = Field(0.2, ge=0, lt=1, description="share of numbers that are zeroed in training")
        temperature: float = Field(1.0, gt=0, description="what scores are divided by in the loss")

    options: Config

    def build(self, facts: dict[str, Any]) -> None:
        """Vectors of items, one of them for padding, the recurrent layers and a map from states to vectors."""
        options = self.options
        self._build_items(facts)
        with self.seeded("table"):
            self.table = nn.Embedding(facts["items"] + 1, options.dim)
            small_normal(self.table)
        with self.seeded("recurrent"):
            between = options.dropout if options.layers > 1 else 0.0
            self.recurrent = nn.GRU(options.dim, options.hidden, options.layers, batch_first=True, dropout=between)
        with self.seeded("out"):
            self.out = nn.Linear(options.hidden, options.dim)
        self.dropout = nn.Dropout(options.dropout)

    def losses(self, batch: Batch, clock: Clock) -> dict[str, Float[Tensor, ""]]:
        """Cross-entropy over items, at every event or at the last one of each row."""
        states, there = self._states(batch.views["history"])
        last = self.options.positions == "last"
        queries = self.out(at_the_end(states, there) if last else states[there])
        return {"next": self._next(queries, batch.views["targets"], clock, self.options.temperature).mean()}

    def item_vectors(self) -> Float[Tensor, "v d"]:
        """A vector per item, without the one for padding."""
        return self.table.weight[:-1]

    def vectors(self, histories: Histories) -> Float[Tensor, "n d"]:
        """What the state after the last event of each history asks for."""
        found: Tensor = self.out(at_the_end(*self._states(histories.latest(self.options.max_length))))
        return found

    def _states(self, histories: Histories) -> tuple[Float[Tensor, "n l h"], Bool[Tensor, "n l"]]:
        """A state after each event, and where an event is; what is padded behind the end changes nothing before it."""
        items, _, there = histories.padded(len(self.items))
        return self.recurrent(self.dropout(self.table(items)))[0], there

    def _vectors_of(self, items: Int[Tensor, " n"]) -> Float[Tensor, "n d"]:
        found: Tensor = self.table(items)
        return found
