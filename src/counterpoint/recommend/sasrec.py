"""SASRec: a causal Transformer reads a history and says which item comes next."""

from typing import Any

from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from counterpoint.errors import UserError
from counterpoint.objectives import softmax_over
from counterpoint.recommend.encoders import CausalTransformer, at_the_end, small_normal
from counterpoint.recommend.histories import Histories
from counterpoint.recommend.recommender import SequenceConfig, SequenceRecommender
from counterpoint.training import Batch, Clock, Method


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

    options: Config

    def build(self, facts: dict[str, Any]) -> None:
        """Vectors of items, one of them for padding, and the Transformer."""
        options = self.options
        if options.dim % options.heads:
            raise UserError(f"dim={options.dim} is not divisible by heads={options.heads}")
        self._build_items(facts)
        with self.seeded("table"):
            self.table = nn.Embedding(facts["items"] + 1, options.dim)
            small_normal(self.table)
        with self.seeded("encoder"):
            self.encoder = CausalTransformer(
                options.dim, options.max_length, options.layers, options.heads, options.dropout
            )
            small_normal(self.encoder)

    def losses(self, batch: Batch, clock: Clock) -> dict[str, Float[Tensor, ""]]:
        """Cross-entropy over all items, at every event or at the last one of each row."""
        items, _, there = batch.views["history"].padded(len(self.items))
        states = self.encoder(self.table(items))
        queries = states[there] if self.options.positions == "all" else at_the_end(states, there)
        loss = softmax_over(queries, self.item_vectors(), batch.views["targets"], temperature=self.options.temperature)
        return {"next": loss.mean()}

    def item_vectors(self) -> Float[Tensor, "v d"]:
        """A vector per item, without the one for padding."""
        return self.table.weight[:-1]

    def vectors(self, histories: Histories) -> Float[Tensor, "n d"]:
        """The state after the last event of each history."""
        items, _, there = histories.latest(self.options.max_length).padded(len(self.items))
        return at_the_end(self.encoder(self.table(items)), there)
