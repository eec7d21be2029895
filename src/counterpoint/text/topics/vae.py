"""Neural topic models without a goal: ProdLDA, and ETM, whose topics are points among the words."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import normalize

from counterpoint.errors import UserError
from counterpoint.objectives import Ids, mean_over_ranks
from counterpoint.text.topics.corpus import Corpus
from counterpoint.text.topics.judge import topic_quality
from counterpoint.text.topics.network import Spread
from counterpoint.text.topics.vectors import counter, vectors_of
from counterpoint.text.topics.views import Side, documents
from counterpoint.training import Batch, Clock, Method, Optim, Phase, SGDConfig
from counterpoint.training.samplers import in_order, shuffled


class NeuralTopics(Method):
    """A variational autoencoder of word counts with a logistic-normal prior, the Laplace approximation of Dirichlet 1.

    `decoder=product` is ProdLDA: the logits of a document's words are its shares times the topics' (arXiv 1703.01488);
    `decoder=embedded` is ETM: a mixture of topics, each a softmax of a point's products with frozen word vectors (arXiv
    1907.04907).

    >>> corpus = Corpus.about("", ["the dog barks", "a cat purrs", "the dog and the cat"] * 4)
    >>> NeuralTopics(topics=2, epochs=1, least=1).fit(corpus).shares(corpus).shape
    torch.Size([12, 2])
    """

    class Config(SGDConfig):
        """Options; sizes, rate and dropout are those of gctm-ot."""

        optim: Optim = Optim(lr=2e-3, weight_decay=0.0)
        epochs: int = Field(50, ge=1, description="passes over the documents")
        batch_size: int = Field(128, ge=2, description="documents per step")
        topics: int = Field(20, ge=2, description="how many topics there are")
        decoder: Literal["product", "embedded"] = Field("product", description="ProdLDA's or ETM's")
        base: str = Field("static", description="of ETM's word vectors: static, minilm, e5, a folder or a hub id")
        vocabulary: int = Field(2000, ge=2, description="commonest words that are counted")
        least: int = Field(2, ge=1, description="documents that a word stands in before it counts")
        stop_words: Literal["english", "none"] = Field("english", description="words that are not counted")
        hidden: int = Field(200, ge=1, description="units of the encoder's hidden layer")
        dropout: float = Field(0.25, ge=0, lt=1, description="of the hidden layer in training")

    Data = Corpus
    judge = staticmethod(topic_quality)
    options: Config
    vocabulary: list[str]
    rho: Tensor

    def measure(self, data: Corpus) -> dict[str, Any]:
        """The vocabulary's size and the width of its vectors; raises `UserError` for more topics than documents."""
        options, texts = self.options, data.text.values[data.present].tolist()
        if options.topics > len(texts):
            raise UserError(f"topics={options.topics}: {data.source} has only {len(texts)} documents with a text")
        found = counter(options.vocabulary, options.least, options.stop_words, texts)
        self.vocabulary = found.get_feature_names_out().tolist()
        self.found = torch.from_numpy(vectors_of(self.vocabulary, options.base))
        return {"words": len(self.vocabulary), "width": self.found.shape[1]}

    def build(self, facts: dict[str, Any]) -> None:
        """Encoder to mean and log-variance, and the topics."""
        options, words = self.options, facts["words"]
        with self.seeded("shares"):
            self.inner, self.dropout = nn.Linear(words, options.hidden), nn.Dropout(options.dropout)
            self.mean, self.spread_mean = nn.Linear(options.hidden, options.topics), Spread(options.topics)
            self.width, self.spread_width = nn.Linear(options.hidden, options.topics), Spread(options.topics)
        with self.seeded("topics"):
            size = words if options.decoder == "product" else facts["width"]
            self.points = nn.Parameter(torch.randn(options.topics, size) / size**0.5)
        self.register_buffer("rho", self.found)
        self.spread_words = Spread(words)

    def phases(self, data: Corpus) -> Sequence[Phase]:
        """The steps, over the documents that have a text."""
        rows = torch.from_numpy(np.flatnonzero(data.present))
        size = min(self.options.batch_size, max(2, len(rows)))
        return [self.phase("fit", data, plan=lambda g: [rows[part] for part in shuffled(len(rows), size, g)])]

    def batch(self, data: Corpus, rows: Int[Tensor, " n"], generator: torch.Generator) -> Batch:
        """Word counts."""
        return Batch(Ids(row=rows, positive=rows), {"words": torch.from_numpy(self._side(data).dense(rows.numpy()))})

    def _side(self, data: Corpus) -> Side:
        return documents(data, self.vocabulary, self.options.base)

    def losses(self, batch: Batch, clock: Clock) -> dict[str, Float[Tensor, ""]]:
        """Reconstruction and the divergence from the prior (mean 0, variance 1 - 1/K), as in the papers."""
        words, count = batch.views["words"], self.options.topics
        mean, log_width = self._encoded(words)
        noise = torch.randn(mean.shape, generator=clock.rng("noise"), dtype=mean.dtype).to(mean.device)
        shares = (mean + noise * (log_width / 2).exp()).softmax(1)
        told = -(words * self._words(shares)).sum(1)
        prior = 1 - 1 / count
        divergence = ((log_width.exp() + mean**2) / prior - 1 + np.log(prior) - log_width).sum(1) / 2
        return {"reconstruction": mean_over_ranks(told), "divergence": mean_over_ranks(divergence)}

    def _encoded(self, words: Float[Tensor, "n v"]) -> tuple[Float[Tensor, "n k"], Float[Tensor, "n k"]]:
        hidden = self.dropout(nn.functional.softplus(self.inner(normalize(words, dim=1))))
        return self.spread_mean(self.mean(hidden)), self.spread_width(self.width(hidden))

    def _words(self, shares: Float[Tensor, "n k"]) -> Float[Tensor, "n v"]:
        """The log-probability of each word."""
        if self.options.decoder == "product":
            logits: Tensor = self.spread_words(shares @ self.points)
            return logits.log_softmax(1)
        return (shares @ (self.points @ self.rho.T).softmax(1)).clamp(min=1e-12).log()

    def word_shares(self) -> Float[Tensor, "k v"]:
        """Each topic's distribution over the words."""
        logits = self.points if self.options.decoder == "product" else self.points @ self.rho.T
        return logits.softmax(1).detach()

    def top_words(self, number: int = 10) -> list[list[str]]:
        """Each topic's likeliest words."""
        best = self.word_shares().topk(min(number, len(self.vocabulary)), dim=1).indices.tolist()
        return [[self.vocabulary[word] for word in row] for row in best]

    @torch.no_grad()
    def shares(self, data: Corpus) -> Float[Tensor, "n k"]:
        """Each document's shares of the topics, at the mean."""
        side = self._side(data)
        parts = [torch.from_numpy(side.dense(rows.numpy())).to(self.rho) for rows in in_order(len(data), 4096)]
        return torch.cat([self._encoded(part)[0].softmax(1) for part in parts])
