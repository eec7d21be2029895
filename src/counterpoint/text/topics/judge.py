"""The wing's protocol of topics: do they hang together, differ, answer the goal, and follow known labels?

What is judged has `shares(corpus)`, `top_words(number)`, `word_shares()` and `vocabulary`; all are judged with the same
static word vectors, whatever they were fitted with.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from counterpoint.errors import UserError
from counterpoint.evaluation.outcome import Columns, Mean, Outcome
from counterpoint.text.topics.coherence import coherence, unique_words
from counterpoint.text.topics.corpus import Corpus
from counterpoint.text.topics.vectors import TOKEN, vectors_of

JUDGE = "static"
"""The base of the vectors that alignment is measured with."""
TOP = 10
"""Words of a topic that are judged."""
LABELS = 30
"""Most different values of a column that is taken for labels."""
WORD = re.compile(TOKEN)


@dataclass(frozen=True)
class Agreement:
    """How well documents' topics agree with a column of labels (whole numbers, below 0 where there is none).

    >>> columns = {"topic": np.array([0, 0, 1, 1]), "label": np.array([5, 5, 7, -1])}
    >>> Agreement("nmi", "label")(columns), Agreement("purity", "label")(columns)
    (1.0, 1.0)
    """

    measure: Literal["nmi", "ari", "purity"]
    column: str

    def __call__(self, columns: Columns) -> float:
        labels, topics = columns[self.column], columns["topic"]
        known = labels >= 0
        if not known.any():
            return float("nan")
        table = _table(topics[known], labels[known])
        return {"nmi": _nmi, "ari": _ari, "purity": _purity}[self.measure](table)


def topic_quality(method: Any, corpus: Corpus) -> Outcome:
    """One row per document with a text; what is of topics, not of documents, is the same in every row.

    `npmi`, `c_v`, `c_p` and `unique` are of the topics' ten top words, in these documents. `goal_auc` is the mean over
    topics of how well their shares tell documents near the goal from the others (nearer than the median, by cosine of
    frozen vectors), `goal_cosine` the mean cosine of topics (the weighted mean of their top words' vectors) with the
    goal less that of all documents together, `goal_alignment` their sum. `nmi_X`, `ari_X` and `purity_X` compare
    the documents' largest topics with each column X of labels. Raises `UserError` when no document has a text.
    """
    corpus = corpus.rows(corpus.present)
    if not len(corpus):
        raise UserError(f"{corpus.source}: no document has a text, so topics cannot be judged")
    shares = np.asarray(method.shares(corpus).cpu().numpy(), dtype=np.float64)
    of_topics = {name: float(np.mean(values)) for name, values in judged(method, corpus, shares).items()}
    columns: dict[str, Any] = {name: np.full(len(corpus), value) for name, value in of_topics.items()}
    measures: dict[str, Any] = {name: Mean(name) for name in of_topics}
    columns["topic"] = shares.argmax(1)
    for name, values in label_columns(corpus).items():
        columns[name] = values
        measures |= {f"{kind}_{name}": Agreement(kind, name) for kind in ("nmi", "ari", "purity")}
    return Outcome(np.asarray([str(key) for key in corpus.ids]), columns, measures)


def judged(method: Any, corpus: Corpus, shares: Float[np.ndarray, "n k"]) -> dict[str, list[float]]:
    """The measures of single topics, a number each; `unique` is of all together."""
    topics = method.top_words(TOP)
    words = [WORD.findall((text or "").lower()) for text in corpus.text.values]
    found = {**coherence(topics, words), "unique": [unique_words(topics)]}
    return found | (goal_alignment(method, corpus, shares) if corpus.goal else {})


def goal_alignment(method: Any, corpus: Corpus, shares: Float[np.ndarray, "n k"]) -> dict[str, list[float]]:
    """`goal_auc`, `goal_cosine` and `goal_alignment` of each topic; no language model has a say in it."""
    goal = vectors_of([corpus.goal], JUDGE)[0]
    documents = vectors_of([text or "" for text in corpus.text.values], JUDGE)
    near = documents @ goal
    relevant = near > np.median(near)
    auc = [separation(shares[:, k], relevant) for k in range(shares.shape[1])]
    usual = float(_unit(documents.mean(0)) @ goal)
    cosine = [float(vector @ goal) - usual for vector in topic_vectors(method)]
    return {
        "goal_auc": auc,
        "goal_cosine": cosine,
        "goal_alignment": [one + other for one, other in zip(auc, cosine, strict=True)],
    }


def topic_vectors(method: Any) -> Float[np.ndarray, "k d"]:
    """A unit vector per topic: its top words' static vectors, weighted as the topic weighs them."""
    weights, place = np.asarray(method.word_shares()), {word: i for i, word in enumerate(method.vocabulary)}
    topics = method.top_words(TOP)
    vectors = iter(vectors_of([word for words in topics for word in words], JUDGE))
    rows = []
    for k, words in enumerate(topics):
        rows.append(_unit(sum(weights[k, place[word]] * next(vectors) for word in words)))
    return np.stack(rows)


def separation(scores: Float[np.ndarray, " n"], relevant: Bool[np.ndarray, " n"]) -> float:
    """The chance that a relevant row scores above another one, ties half (area under the ROC curve); 0.5 without both.

    >>> separation(np.array([0.1, 0.9, 0.5]), np.array([False, True, True]))
    1.0
    """
    positive = int(relevant.sum())
    negative = len(relevant) - positive
    if not positive or not negative:
        return 0.5
    _, number, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[number]
    return float((ranks[relevant].sum() - positive * (positive + 1) / 2) / (positive * negative))


def label_columns(corpus: Corpus) -> dict[str, Int[np.ndarray, " n"]]:
    """Columns that hold labels, as numbers; -1 where a row has none."""
    found = {}
    for name in corpus.columns:
        labels: Sequence[str | None] = corpus.labels(name)
        known = sorted({label for label in labels if label is not None})
        if 1 < len(known) <= LABELS:
            place = {label: number for number, label in enumerate(known)}
            found[name] = np.array([-1 if label is None else place[label] for label in labels])
    return found


def _unit(vector: Float[np.ndarray, " d"]) -> Float[np.ndarray, " d"]:
    return vector / max(float(np.linalg.norm(vector)), 1e-12)


def _table(topics: Shaped[np.ndarray, " n"], labels: Shaped[np.ndarray, " n"]) -> Float[np.ndarray, "k c"]:
    """How many rows each pair of topic and label has."""
    width = int(labels.max()) + 1
    cells = np.bincount(topics.astype(np.int64) * width + labels, minlength=(int(topics.max()) + 1) * width)
    table = cells.reshape(-1, width).astype(np.float64)
    return table[table.any(1)][:, table.any(0)]


def _nmi(table: Float[np.ndarray, "k c"]) -> float:
    share = table / table.sum()
    rows, columns = share.sum(1), share.sum(0)
    both = share[share > 0]
    mutual = float((both * np.log(both / np.outer(rows, columns)[share > 0])).sum())
    entropies = -float((rows * np.log(rows)).sum()), -float((columns * np.log(columns)).sum())
    return 1.0 if max(entropies) == 0 else max(mutual, 0.0) / (sum(entropies) / 2)


def _ari(table: Float[np.ndarray, "k c"]) -> float:
    def pairs(counts: Float[np.ndarray, "..."]) -> float:
        return float((counts * (counts - 1) / 2).sum())

    total, rows, columns = pairs(table.sum()[None]), pairs(table.sum(1)), pairs(table.sum(0))
    expected = rows * columns / max(total, 1.0)
    most = (rows + columns) / 2
    return 1.0 if most == expected else (pairs(table) - expected) / (most - expected)


def _purity(table: Float[np.ndarray, "k c"]) -> float:
    return float(table.max(1).sum() / table.sum())
