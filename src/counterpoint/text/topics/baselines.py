"""Topic models to be compared with: counts factored (LDA, NMF), seeded by the goal, and clusters of vectors."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from counterpoint.errors import UserError, need
from counterpoint.text.topics.corpus import Corpus
from counterpoint.text.topics.goals import Finder
from counterpoint.text.topics.vectors import counter, counter_of
from counterpoint.text.topics.views import views

SEEDED = 5.0
"""What a seed word's prior count is in its topic, beside that of all words."""


class Counted:
    """What all have in common: a vocabulary as gctm-ot has it, shares of topics, topics' words."""

    def __init__(self, topics: int = 20, vocabulary: int = 2000, least: int = 2, stop_words: str = "english") -> None:
        self.topics, self.most, self.least, self.stop_words = topics, vocabulary, least, stop_words
        self.seed = 0
        self.weights: Float[np.ndarray, "k v"]

    def fit(self, data: Corpus, validation: Any = None, trainer: Any = None) -> "Counted":
        """Learn from the documents that have a text; the trainer gives the seed."""
        self.seed = 0 if trainer is None else trainer.seed
        data = data.rows(data.present)
        if self.topics > len(data):
            raise UserError(f"topics={self.topics}: {data.source} has only {len(data)} documents with a text")
        texts = data.text.values.tolist()
        self.vocabulary = counter(self.most, self.least, self.stop_words, texts).get_feature_names_out().tolist()
        self._fit(data, self.counts(data))
        return self

    def counts(self, data: Corpus) -> Any:
        """Words of the vocabulary, counted."""
        return counter_of(self.vocabulary).transform([text or "" for text in data.text.values])

    def shares(self, data: Corpus) -> Float[Tensor, "n k"]:
        """Each document's shares of the topics."""
        found = np.asarray(self._shares(data), dtype=np.float64) + 1e-12
        return torch.from_numpy(found / found.sum(1, keepdims=True)).float()

    def word_shares(self) -> Float[Tensor, "k v"]:
        """Each topic's distribution over the words."""
        weights = self.weights + 1e-12
        return torch.from_numpy(weights / weights.sum(1, keepdims=True)).float()

    def top_words(self, number: int = 10) -> list[list[str]]:
        """Each topic's likeliest words."""
        best = np.argsort(-self.weights, axis=1, kind="stable")[:, :number]
        return [[self.vocabulary[word] for word in row] for row in best]

    def _fit(self, data: Corpus, counts: Any) -> None:
        raise NotImplementedError

    def _shares(self, data: Corpus) -> Any:
        raise NotImplementedError


class LDA(Counted):
    """scikit-learn's latent Dirichlet allocation by variational Bayes, its own priors 1/K; 20 passes."""

    def _fit(self, data: Corpus, counts: Any) -> None:
        self.model = self._made(data).fit(counts)
        self.weights = self.model.components_

    def _made(self, data: Corpus) -> Any:
        parts: Any = need("sklearn.decomposition", "eval")
        return parts.LatentDirichletAllocation(self.topics, max_iter=20, random_state=self.seed)

    def _shares(self, data: Corpus) -> Any:
        return self.model.transform(self.counts(data))


class NMF(Counted):
    """scikit-learn's non-negative matrix factorisation of TF-IDF."""

    def _fit(self, data: Corpus, counts: Any) -> None:
        parts, text = need("sklearn.decomposition", "eval"), need("sklearn.feature_extraction.text", "eval")
        self.tfidf = text.TfidfTransformer().fit(counts)
        self.model = parts.NMF(self.topics, init="nndsvda", max_iter=400, tol=1e-3, random_state=self.seed)
        self.model.fit(self.tfidf.transform(counts))
        self.weights = self.model.components_

    def _shares(self, data: Corpus) -> Any:
        return self.model.transform(self.tfidf.transform(self.counts(data)))


class Goaled(Counted):
    """Baselines that see what documents say to the goal, found or given exactly as gctm-ot has it."""

    def __init__(
        self,
        topics: int = 20,
        vocabulary: int = 2000,
        least: int = 2,
        stop_words: str = "english",
        base: str = "static",
        most: int = 3,
        words: int = 2,
        threshold: float = 1.0,
        cue: float = 0.05,
    ) -> None:
        super().__init__(topics, vocabulary, least, stop_words)
        self.base, self.finder = base, Finder(most, words, threshold, cue)

    def goal_clusters(self, data: Corpus) -> tuple[Any, Any]:
        """k-means of the vectors of what documents say to the goal, and their words to the goal."""
        seen = views(data, self.vocabulary, self.base, self.finder)
        spoken = seen.goal.vectors[seen.spoken]
        different = len(np.unique(spoken, axis=0))
        if different < self.topics:
            raise UserError(
                f"topics={self.topics}: documents of {data.source} speak to the goal in {different} ways only"
            )
        cluster: Any = need("sklearn.cluster", "eval")
        return cluster.KMeans(self.topics, n_init=5, random_state=self.seed).fit(spoken), seen.goal.counts[seen.spoken]


class GuidedLDA(LDA, Goaled):
    """LDA whose topics have a higher prior for the words of one cluster of the goal's phrases each (seeded LDA)."""

    def _made(self, data: Corpus) -> Any:
        clusters, said = self.goal_clusters(data)
        seeds = _of_clusters(clusters.labels_, said, self.topics) > 0
        parts: Any = need("sklearn.decomposition", "eval")

        class Seeded(parts.LatentDirichletAllocation):  # type: ignore[misc]
            """Its prior is the usual one and the seeds, which each pass over the documents begins with anew."""

            def _init_latent_vars(self, *given: Any, **named: Any) -> None:
                super()._init_latent_vars(*given, **named)
                _add(self, SEEDED * seeds)

            def _em_step(self, *given: Any, **named: Any) -> None:
                super()._em_step(*given, **named)
                _add(self, SEEDED * seeds)

        return Seeded(self.topics, max_iter=20, random_state=self.seed)


class Clusters(Goaled):
    """k-means of vectors, words by class TF-IDF: of documents (BERTopic with k-means), or of the goal's phrases alone.

    With `of=goal` a document goes by what it says to the goal, one that says nothing by its own vector.
    """

    def __init__(self, of: Literal["documents", "goal"] = "documents", **options: Any) -> None:
        super().__init__(**options)
        self.of = of

    def _fit(self, data: Corpus, counts: Any) -> None:
        if self.of == "goal":
            self.clusters, counts = self.goal_clusters(data)
        else:
            seen = views(data, self.vocabulary, self.base, None)
            cluster: Any = need("sklearn.cluster", "eval")
            self.clusters = cluster.KMeans(self.topics, n_init=5, random_state=self.seed).fit(seen.text.vectors)
        self.weights = class_tfidf(_of_clusters(self.clusters.labels_, counts, self.topics))

    def _shares(self, data: Corpus) -> Any:
        seen = views(data, self.vocabulary, self.base, self.finder if self.of == "goal" else None)
        vectors = np.where(seen.spoken[:, None], seen.goal.vectors, seen.text.vectors)
        return np.equal.outer(self.clusters.predict(vectors), np.arange(self.topics))


def class_tfidf(counts: Float[np.ndarray, "k v"]) -> Float[np.ndarray, "k v"]:
    """BERTopic's weights: a word's share of a cluster times log(1 + mean words of a cluster / its count overall).

    Source: arXiv 2203.05794, equation 2.
    """
    share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    return np.asarray(share * np.log(1 + counts.sum() / len(counts) / np.maximum(counts.sum(0), 1)))


def _of_clusters(assigned: Sequence[int] | Any, counts: Any, topics: int) -> Float[np.ndarray, "k v"]:
    """The words of all members of each cluster."""
    return np.stack([np.asarray(counts[assigned == k].sum(0), dtype=np.float64).ravel() for k in range(topics)])


def _add(model: Any, counts: Float[np.ndarray, "k v"]) -> None:
    """Further counts to an LDA's topics."""
    model.components_ = model.components_ + counts
    model.exp_dirichlet_component_ = np.exp(_expected_log(model.components_))


def _expected_log(counts: Float[np.ndarray, "k v"]) -> Float[np.ndarray, "k v"]:
    """The mean logarithm of a probability under a Dirichlet distribution with these counts."""
    digamma = need("scipy.special", "eval").digamma
    return np.asarray(digamma(counts) - digamma(counts.sum(1, keepdims=True)))
