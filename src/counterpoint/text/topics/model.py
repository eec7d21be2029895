"""GCTM-OT: topics that answer a goal, by optimal transport and by contrast with what documents say to the goal."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Float32, Int
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import normalize

from counterpoint.errors import UserError, need
from counterpoint.objectives import Embeddings, Ids, Relation, dense_nce, gather, mean_over_ranks, sum_over_ranks
from counterpoint.objectives.transport import sinkhorn_cost
from counterpoint.text.topics.corpus import Corpus
from counterpoint.text.topics.goals import Finder, check_goal
from counterpoint.text.topics.judge import topic_quality
from counterpoint.text.topics.network import Shares
from counterpoint.text.topics.vectors import base_facts, check_base, counter, cut_share, vectors_of
from counterpoint.text.topics.views import Views, documents, phrases_of, views
from counterpoint.training import Batch, Clock, Method, Optim, Phase, SGDConfig
from counterpoint.training.clock import seed_of
from counterpoint.training.samplers import in_order, shuffled

ROWS = 4096
"""Documents that pass the network together when it is asked."""
MARGIN = 0.3
"""Cosine up to which topics do not repel."""
SHARPNESS = 0.1
"""What cosines of topics and words are divided by in a topic's distribution of words."""


class GCTMOT(Method):
    """Topics are points among the words; documents are moved to them, and to what they say to the goal, by transport.

    A document's shares of topics are transported to the words of its phrases for the goal, and contrasted with the
    shares of those phrases, the similarity of two shares being minus what it costs to transport one to the other. Terms
    whose weight is 0 are left out; with `side=text` there is no goal, and transport alone is NSTM (arXiv 2008.13537).

    Reconstruction from the abstract of arXiv 2604.12663, whose equations are not known to us: those of
    docs/methods/gctm-ot.md are ours.

    >>> corpus = Corpus.about("which animal?", ["the dog barks", "a cat purrs", "the dog and the cat"] * 4)
    >>> model = GCTMOT(topics=2, epochs=1, least=1, words=1).fit(corpus)
    >>> model.shares(corpus).shape, len(model.top_words(3))
    (torch.Size([12, 2]), 2)
    """

    class Config(SGDConfig):
        """Options; the defaults are ours, after NSTM's where it has the same part."""

        optim: Optim = Optim(lr=2e-3, weight_decay=0.0)
        epochs: int = Field(50, ge=1, description="passes over the documents")
        batch_size: int = Field(128, ge=2, description="documents per step; each is contrasted with all of its batch")

        topics: int = Field(20, ge=2, description="how many topics there are")
        base: str = Field("static", description="of words and documents: static, minilm, e5, a folder or a hub id")
        vocabulary: int = Field(2000, ge=2, description="commonest words that are counted")
        least: int = Field(2, ge=1, description="documents that a word stands in before it counts")
        stop_words: Literal["english", "none"] = Field("english", description="words that are not counted")
        hidden: int = Field(200, ge=1, description="units of the encoder's hidden layer")
        dropout: float = Field(0.25, ge=0, lt=1, description="of the hidden layer in training")
        start: Literal["clusters", "words"] = Field(
            "clusters", description="topics begin as k-means of the phrases' vectors, or at random words"
        )
        side: Literal["goal", "text"] = Field(
            "goal", description="what documents are transported to and contrasted with: their phrases, or themselves"
        )
        most: int = Field(3, ge=1, description="of phrases found here: most of a document")
        words: int = Field(2, ge=1, le=4, description="of phrases found here: most words of one")
        threshold: float = Field(1.0, description="of phrases found here: standard deviations above the usual cosine")
        cue: float = Field(0.05, ge=0, description="of phrases found here: added after a word that introduces answers")
        epsilon: float = Field(0.05, gt=0, description="weight of the entropy in the transport")
        iterations: int = Field(30, ge=1, description="of Sinkhorn, for every transport")
        reconstruction: float = Field(0.07, ge=0, description="weight of the reconstruction of a document's words")
        transport: float = Field(1.0, ge=0, description="weight of the transport to the words of the goal side")
        off_goal: float = Field(0.2, ge=0, description="weight of the transport of a document off the goal to its text")
        contrast: float = Field(0.5, ge=0, description="weight of the contrast with the shares of the goal side")
        similarity: Literal["transport", "cosine"] = Field("transport", description="of two shares, in the contrast")
        negatives: Literal["weighted", "plain"] = Field(
            "weighted", description="a negative weighs by 1 - cosine of what both say to the goal, or 1"
        )
        temperature: float = Field(0.2, gt=0, description="of the contrast")
        diversity: float = Field(0.1, ge=0, description="weight of the repulsion of topics nearer than a cosine of 0.3")

    Data = Corpus
    judge = staticmethod(topic_quality)
    options: Config
    vocabulary: list[str]
    found: tuple[Float32[np.ndarray, "v d"], Float32[np.ndarray, " d"]] | None = None
    """The vectors of the words and of the goal that `measure` made, until `build` takes them."""

    rho: Tensor
    aim: Tensor

    # The network ---------------------------------------------------------------------------------------------------

    def measure(self, data: Corpus) -> dict[str, Any]:
        """The encoder's facts, the vocabulary's size, the goal, how many documents speak to it, and what was cut.

        Raises `UserError` without a goal, for more topics than documents, and when no document speaks to the goal.
        """
        options, texts = self.options, data.text.values[data.present].tolist()
        if options.side == "goal":
            check_goal(data)
        if options.topics > len(texts):
            raise UserError(f"topics={options.topics}: {data.source} has only {len(texts)} documents with a text")
        found = counter(options.vocabulary, options.least, options.stop_words, texts)
        self.vocabulary = found.get_feature_names_out().tolist()
        self.found = (vectors_of(self.vocabulary, options.base), vectors_of([data.goal], options.base)[0])
        spoken = int(self._views(data).spoken.sum())
        if not spoken:
            raise UserError(
                f'{data.source}: no document says anything near the goal "{data.goal}"; say it in the documents\' own '
                "words, lower threshold, or let a language model look (counterpoint topics --model)"
            )
        return {
            "base": base_facts(options.base),
            "words": len(self.vocabulary),
            "goal": data.goal,
            "documents": len(texts),
            "spoken": spoken,
            "cut": round(cut_share(texts, options.base), 4),
        }

    def remarks(self, data: Corpus) -> Sequence[str]:
        """How many documents are off the goal, as they are seen here."""
        if self.options.side == "text" or not data.goal or data.candidates is not None:
            return ()
        rows = phrases_of(data, self.options.base, self.finder)
        off = sum(not row for row, there in zip(rows, data.present, strict=True) if there)
        return [
            f'{off} of {int(data.present.sum())} documents say nothing near the goal "{data.goal}"; they count '
            f"{self.options.off_goal:g} in the transport and are not contrasted"
        ]

    def build(self, facts: dict[str, Any]) -> None:
        """Encoder and topics, and the frozen vectors of words and goal, which come with the weights of a run."""
        options, width = self.options, facts["base"]["width"]
        found, self.found = self.found, None
        self.register_buffer("rho", torch.zeros(facts["words"], width))
        self.register_buffer("aim", torch.zeros(width))
        if found is not None:
            self.rho.copy_(torch.from_numpy(found[0]))
            self.aim.copy_(torch.from_numpy(found[1]))
        with self.seeded("shares"):
            self.encoder = Shares(facts["words"], width, options.hidden, options.topics, options.dropout)
        with self.seeded("topics"):
            self.points = nn.Parameter(normalize(torch.randn(options.topics, width), dim=1))

    def tables(self) -> dict[str, list[dict[str, Any]]]:
        """The vocabulary."""
        return {"vocabulary": [{"word": word} for word in self.vocabulary]}

    def load_tables(self, tables: dict[str, list[dict[str, Any]]]) -> None:
        """Take the vocabulary back; raises `UserError` when it is missing."""
        if not tables.get("vocabulary"):
            raise UserError("tables/vocabulary.jsonl of the run is missing or empty; restore it, or fit again")
        self.vocabulary = [row["word"] for row in tables["vocabulary"]]

    @property
    def finder(self) -> Finder:
        """How phrases for the goal are found where none came with the documents."""
        options = self.options
        return Finder(options.most, options.words, options.threshold, options.cue)

    def _views(self, data: Corpus) -> Views:
        finder = self.finder if self.options.side == "goal" else None
        return views(data, self.vocabulary, self.options.base, finder)

    # Learning ------------------------------------------------------------------------------------------------------

    def phases(self, data: Corpus) -> Sequence[Phase]:
        """Where topics begin, then the steps; both over the documents that have a text."""
        rows = torch.from_numpy(np.flatnonzero(data.present))
        size = min(self.options.batch_size, max(2, len(rows)))
        return [
            self.phase("start", data, visit=self._start, plan=lambda g: [rows]),
            self.phase("fit", data, plan=lambda g: [rows[part] for part in shuffled(len(rows), size, g)]),
        ]

    def batch(self, data: Corpus, rows: Int[Tensor, " n"], generator: torch.Generator) -> Batch:
        """Words and vectors of both sides, as they are."""
        seen, index = self._views(data), rows.numpy()
        made = {
            "words": seen.text.dense(index),
            "vectors": seen.text.vectors[index],
            "goal_words": seen.goal.dense(index),
            "goal_vectors": seen.goal.vectors[index],
        }
        views = {name: torch.from_numpy(values) for name, values in made.items()}
        return Batch(Ids(row=rows, positive=rows), {**views, "spoken": torch.from_numpy(seen.spoken[index])})

    def _start(self, batch: Batch, clock: Clock) -> None:
        """k-means of what speaks to the goal, or words at random."""
        seed, count = seed_of(clock.seed, "start") % 2**32, self.options.topics
        spoken = gather(batch.views["goal_vectors"][batch.views["spoken"]])
        if self.options.start == "words" or len(spoken.unique(dim=0)) < count:
            order = np.random.Generator(np.random.PCG64(seed)).permutation(len(self.rho))
            places = torch.from_numpy(np.resize(order, count))
            found = self.rho[places]
        else:
            kmeans = need("sklearn.cluster", "eval").KMeans(count, n_init=1, random_state=seed)
            found = torch.from_numpy(kmeans.fit(spoken.double().cpu().numpy()).cluster_centers_)
        self.points.copy_(normalize(found.to(self.points), dim=1))

    def losses(self, batch: Batch, clock: Clock) -> dict[str, Float[Tensor, ""]]:
        """The four terms of the method's page, but those whose weight is 0."""
        options, seen = self.options, batch.views
        shares = self.encoder(seen["words"], seen["vectors"]).exp()
        points = self._points()
        near = points @ self.rho.T
        self.note(spoken=float(seen["spoken"].float().mean()))
        terms = {}
        if options.reconstruction:
            told = (seen["words"] * (shares @ near).log_softmax(1)).sum(1)
            terms["reconstruction"] = -options.reconstruction * mean_over_ranks(told)
        if options.transport:
            terms["transport"] = options.transport * self._transport(shares, 1 - near, seen)
        if options.contrast and bool(sum_over_ranks(seen["spoken"].sum())):
            terms["contrast"] = options.contrast * self._contrast(shares, points, batch)
        if options.diversity:
            above = (points @ points.T - MARGIN).relu().triu(1)
            terms["diversity"] = options.diversity * above.sum() / (options.topics * (options.topics - 1) / 2)
        return terms

    def _transport(
        self, shares: Float[Tensor, "n k"], cost: Float[Tensor, "k v"], seen: dict[str, Tensor]
    ) -> Float[Tensor, ""]:
        """From each document's topics to the words of its phrases; where it has none, fainter, to its own words."""
        answers = seen["spoken"] & (seen["goal_words"].sum(1) > 0)
        wanted = torch.where(answers[:, None], seen["goal_words"], seen["words"])
        total = wanted.sum(1, keepdim=True)
        weight = torch.where(answers, 1.0, self.options.off_goal) * (total[:, 0] > 0)
        wanted = torch.where(total > 0, wanted / total.clamp(min=1e-12), 1 / wanted.shape[1])
        used = (wanted > 0).any(0)
        return mean_over_ranks(weight.to(shares) * self._costs(cost[:, used], shares, wanted[:, used]))

    def _contrast(self, shares: Float[Tensor, "n k"], points: Float[Tensor, "k d"], batch: Batch) -> Float[Tensor, ""]:
        """Each document that speaks to the goal finds the shares of its own phrases among those of all ranks."""
        seen, spoken = batch.views, batch.views["spoken"]
        other = self.encoder(seen["goal_words"][spoken], seen["goal_vectors"][spoken], track=False).exp()
        ids, said = batch.ids[spoken], seen["goal_vectors"][spoken]
        keys = Embeddings(torch.cat([other, said], dim=1), ids).gathered()
        theirs, there = keys.vectors.split([other.shape[1], said.shape[1]], dim=1)
        relation = Relation(ids, keys.ids)
        if self.options.similarity == "cosine":
            scores = normalize(shares[spoken], dim=1) @ normalize(theirs, dim=1).T
        else:
            scores = -self._costs(1 - points @ points.T, shares[spoken][:, None], theirs[None])
        scores = scores / self.options.temperature
        if self.options.negatives == "weighted":
            itself, _ = relation.tile(slice(None), slice(None))
            weight = 1 - (said @ there.T).clamp(min=0, max=1)
            scores = scores + weight.masked_fill(itself, 1).log()
        return dense_nce(scores, relation).mean()

    def _costs(self, cost: Tensor, one: Tensor, other: Tensor) -> Tensor:
        return sinkhorn_cost(cost, one, other, epsilon=self.options.epsilon, iterations=self.options.iterations)

    # What it is for ------------------------------------------------------------------------------------------------

    def _points(self) -> Float[Tensor, "k d"]:
        return normalize(self.points, dim=1)

    def word_shares(self) -> Float[Tensor, "k v"]:
        """Each topic's distribution over the words of the vocabulary."""
        return (self.topic_vectors() @ self.rho.T / SHARPNESS).softmax(1)

    def top_words(self, number: int = 10) -> list[list[str]]:
        """Each topic's likeliest words, the likeliest first."""
        best = self.word_shares().topk(min(number, len(self.vocabulary)), dim=1).indices.tolist()
        return [[self.vocabulary[word] for word in row] for row in best]

    def topic_vectors(self) -> Float[Tensor, "k d"]:
        """The topics as unit vectors among the words'."""
        self.require_fitted()
        return self._points().detach()

    def relevance(self) -> Float[Tensor, " k"]:
        """The cosine of each topic with the goal."""
        return self.topic_vectors() @ self.aim

    @torch.no_grad()
    def shares(self, data: Corpus) -> Float[Tensor, "n k"]:
        """Each document's shares of the topics, from its text alone; they say nothing of a document without one.

        Raises `UserError` when the encoder is no longer the one of the fit.
        """
        self.require_fitted()
        check_base(self.facts["base"])
        side = documents(data, self.vocabulary, self.options.base)
        parts = []
        for rows in in_order(len(data), ROWS):
            given = (torch.from_numpy(part) for part in (side.dense(rows.numpy()), side.vectors[rows.numpy()]))
            parts.append(self.encoder(*(part.to(self.rho) for part in given)).exp())
        return torch.cat(parts) if parts else self.rho.new_zeros(0, self.options.topics)

    def embed(self, data: Corpus) -> Float[Tensor, "n k"]:
        """The shares divided by their length, so that cosines compare them; zero for a document without a text."""
        return normalize(self.shares(data), dim=1) * torch.from_numpy(data.present)[:, None]
