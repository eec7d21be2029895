"""Retrieval measures: those of sentence-transformers without ties, the mean over all orders with them."""

import warnings
from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from counterpoint.errors import UserError
from counterpoint.text import judge
from counterpoint.text.contrast import Contrast
from counterpoint.text.judge import collected, retrieval, retrieval_columns
from counterpoint.text.pairs import Pairs
from counterpoint.training import Trainer
from text.tiny import pairs, tiny


def test_the_measures_are_those_of_sentence_transformers() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        evaluation = pytest.importorskip("sentence_transformers.evaluation")
        peer = pytest.importorskip("sentence_transformers")
        theirs = peer.SentenceTransformer(tiny(0, "mean"), device="cpu")
    data = pairs(60, 0)
    method = Contrast(base=tiny(0, "mean"), epochs=0, batch_size=8).fit(data, trainer=Trainer(progress=False))
    queries, documents, relevant, _ = collected(data)
    evaluator = evaluation.InformationRetrievalEvaluator(
        {str(i): text for i, text in enumerate(queries)},
        {str(i): text for i, text in enumerate(documents)},
        {str(i): set(map(str, found)) for i, found in enumerate(relevant)},
        precision_recall_at_k=[10, 100],
        show_progress_bar=False,
        write_csv=False,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = evaluator(theirs)
    found = retrieval(method, data).summary()
    assert found["ndcg10"] == pytest.approx(expected["cosine_ndcg@10"], abs=1e-6)
    assert found["mrr10"] == pytest.approx(expected["cosine_mrr@10"], abs=1e-6)
    assert found["recall10"] == pytest.approx(expected["cosine_recall@10"], abs=1e-6)
    assert found["recall100"] == pytest.approx(expected["cosine_recall@100"], abs=1e-6)
    assert 0 < found["ndcg10"] < 1


def ordered(relevant: list[bool], k: int, deep: int) -> list[float]:
    """nDCG, reciprocal rank and recalls of one order of documents."""
    total = sum(relevant)
    gain = sum(1 / np.log2(place + 2) for place, good in enumerate(relevant[:k]) if good)
    best = sum(1 / np.log2(place + 2) for place in range(min(total, k)))
    first = next((1 / (place + 1) for place, good in enumerate(relevant[:k]) if good), 0.0)
    return [gain / best, first, sum(relevant[:k]) / total, sum(relevant[:deep]) / total]


@given(
    st.lists(st.tuples(st.integers(0, 2), st.booleans()), min_size=1, max_size=6).filter(
        lambda rows: any(good for _, good in rows)
    )
)
def test_ties_count_by_the_mean_over_all_orders(rows: list[tuple[int, bool]]) -> None:
    orders = [
        order for order in permutations(rows) if [s for s, _ in order] == sorted((s for s, _ in rows), reverse=True)
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(judge, "K", 3)
        patch.setattr(judge, "DEEP", 5)
        expected = np.mean([ordered([good for _, good in order], 3, 5) for order in orders], axis=0)
        scores = np.array([score for score, _ in rows], dtype=np.float32)
        relevant = np.flatnonzero([good for _, good in rows])
        found = judge._measures(scores, relevant)
    np.testing.assert_allclose(list(found.values()), expected, rtol=1e-9)


def test_equal_scores_earn_chance() -> None:
    columns = retrieval_columns(torch.ones(1, 2), torch.ones(40, 2), [np.array([0, 39])])
    assert columns["recall10"][0] == pytest.approx(10 / 40)


def test_scores_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="NaN"):
        retrieval_columns(torch.full((1, 2), torch.nan), torch.ones(3, 2), [np.array([0])])


def test_equal_texts_are_one_query_and_one_document() -> None:
    data = Pairs.of({"q": ["a", "a", "b", None], "d": ["x", "y", "x", "z"]}, pool=["x", "other"])
    queries, documents, relevant, first = collected(data)
    assert (queries, documents, first) == (["a", "b"], ["x", "y", "z", "other"], [0, 2])
    assert [found.tolist() for found in relevant] == [[0, 1], [0]]


def test_what_cannot_be_judged_is_said() -> None:
    with pytest.raises(UserError, match="no row has both a q and a d"):
        collected(Pairs.of({"q": ["a", None], "d": [None, "x"]}))
    with pytest.raises(UserError, match="one of documents"):
        collected(Pairs.of({"q": ["a"], "negative": ["x"]}))
