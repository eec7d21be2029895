"""Baselines of topics: what each must find on documents whose topics are plain, and the protocol's measures."""

from typing import Any

import numpy as np
import pytest
from sklearn import metrics

from counterpoint.errors import UserError
from counterpoint.text.topics.baselines import LDA, NMF, SEEDED, Clusters, GuidedLDA, class_tfidf
from counterpoint.text.topics.corpus import Corpus
from counterpoint.text.topics.judge import Agreement, label_columns, separation, topic_quality
from counterpoint.text.topics.vae import NeuralTopics
from counterpoint.training import Trainer

KINDS = {
    "sea": "waves harbour sailor anchor tides beach",
    "food": "bread butter cheese soup kitchen dinner",
    "night": "moon stars darkness owl sleep dreams",
}


def plain(rows: int = 90, seed: int = 0) -> Corpus:
    """Documents of one kind each."""
    random = np.random.default_rng(seed)
    kinds = [list(KINDS)[row % 3] for row in range(rows)]
    texts: list[str | None] = [" ".join(random.choice(KINDS[kind].split(), 8)) for kind in kinds]
    return Corpus.about("what is eaten for dinner?", texts, {"kind": kinds})


MODELS: dict[str, tuple[type, dict[str, Any]]] = {
    "lda": (LDA, {}),
    "nmf": (NMF, {}),
    "guided": (GuidedLDA, {"words": 1, "threshold": -1.0}),
    "bertopic": (Clusters, {}),
    "phrases": (Clusters, {"of": "goal", "words": 1, "threshold": -1.0}),
    "prodlda": (NeuralTopics, {"epochs": 30, "batch_size": 30, "dropout": 0.0, "optim": {"lr": 0.02}}),
    "etm": (
        NeuralTopics,
        {"epochs": 30, "batch_size": 30, "decoder": "embedded", "dropout": 0.0, "optim": {"lr": 0.02}},
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_plain_topics_are_found(name: str) -> None:
    made, options = MODELS[name]
    data = plain()
    model = made(topics=3, **options).fit(data, None, Trainer(progress=False))
    found = topic_quality(model, plain(60, 1)).summary()
    assert found["purity_kind"] > 0.6
    assert np.allclose(model.shares(data).sum(1), 1, atol=1e-4)
    assert np.allclose(model.word_shares().sum(1), 1, atol=1e-4)
    assert [len(words) for words in model.top_words(4)] == [4, 4, 4]


def test_the_seed_decides_and_too_many_topics_are_refused() -> None:
    data = plain(30)
    one, again = (LDA(topics=3).fit(data, None, Trainer(seed=1)).weights for _ in range(2))
    assert np.array_equal(one, again)
    with pytest.raises(UserError, match="topics=99: memory has only 30 documents"):
        LDA(topics=99).fit(data)
    with pytest.raises(UserError, match="speak to the goal in"):
        Clusters("goal", topics=20, threshold=2.0).fit(data)


def test_seeds_of_guided_lda_are_words_of_the_goal() -> None:
    """An LDA's counts are its prior and the documents' words; the seeds come on top, each once."""
    data = plain(90)
    seeded, plainly = GuidedLDA(topics=2, words=1, threshold=0.3), LDA(topics=2)
    extra = seeded.fit(data).weights.sum() - plainly.fit(data).weights.sum()
    clusters, said = seeded.goal_clusters(data)
    pairs = {(label, word) for label, row in zip(clusters.labels_, said, strict=True) for word in row.nonzero()[-1]}
    words = {seeded.vocabulary[word] for _, word in pairs}
    assert extra == pytest.approx(SEEDED * len(pairs))
    assert words & set(KINDS["food"].split())
    assert words < set(seeded.vocabulary)


def test_class_tfidf_is_bertopics_formula() -> None:
    counts = np.array([[4.0, 1.0, 0.0], [0.0, 1.0, 2.0]])
    expected = np.zeros((2, 3))
    for k in range(2):
        for word in range(3):
            expected[k, word] = counts[k, word] / counts[k].sum() * np.log(1 + (8 / 2) / counts[:, word].sum())
    np.testing.assert_allclose(class_tfidf(counts), expected)


def test_agreement_is_scikit_learns() -> None:
    random = np.random.default_rng(0)
    columns = {"topic": random.integers(0, 4, 80), "label": random.integers(-1, 3, 80)}
    known = columns["label"] >= 0
    labels, topics = columns["label"][known], columns["topic"][known]
    assert Agreement("nmi", "label")(columns) == pytest.approx(metrics.normalized_mutual_info_score(labels, topics))
    assert Agreement("ari", "label")(columns) == pytest.approx(metrics.adjusted_rand_score(labels, topics))
    purity = metrics.cluster.contingency_matrix(topics, labels).max(1).sum() / len(labels)
    assert Agreement("purity", "label")(columns) == pytest.approx(purity)
    assert np.isnan(Agreement("nmi", "label")({"topic": topics[:2], "label": np.array([-1, -1])}))


def test_separation_is_the_area_under_the_curve() -> None:
    random = np.random.default_rng(0)
    scores, relevant = random.integers(0, 5, 50).astype(float), random.random(50) < 0.4
    assert separation(scores, relevant) == pytest.approx(metrics.roc_auc_score(relevant, scores))
    assert separation(scores, np.zeros(50, dtype=bool)) == 0.5


def test_columns_of_too_many_values_or_one_are_no_labels() -> None:
    columns = {"a": ["x", None, "y"] * 20, "b": list(range(60)), "c": ["x"] * 60}
    found = label_columns(Corpus.about("", ["text"] * 60, columns))
    assert found.keys() == {"a"}
    assert found["a"][:3].tolist() == [0, -1, 1]


def test_a_model_of_the_goals_words_is_better_aligned_than_one_of_others() -> None:
    class Fixed:
        """Two topics of given words; documents go by which words they have."""

        def __init__(self, *kinds: str) -> None:
            self.vocabulary = [word for kind in KINDS.values() for word in kind.split()]
            self.kinds = [KINDS[kind].split() for kind in kinds]

        def top_words(self, number: int = 10) -> list[list[str]]:
            return [words[:number] for words in self.kinds]

        def word_shares(self) -> Any:
            return np.array([[1.0 if word in words else 0.0 for word in self.vocabulary] for words in self.kinds])

        def shares(self, data: Corpus) -> Any:
            import torch

            rows = [
                [1e-9 + sum(word in words for word in text.split()) for words in self.kinds]
                for text in data.text.values
            ]
            return torch.tensor(rows)

    data = plain(60)
    food, other = (topic_quality(Fixed(*kinds), data).summary() for kinds in (("food", "sea"), ("night", "sea")))
    assert food["goal_cosine"] > other["goal_cosine"]
    assert food["goal_alignment"] > other["goal_alignment"]
    assert food["unique"] == 1.0
