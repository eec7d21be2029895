"""Lists and measures against a full sort, RecBole's own cases and its own classes, torchmetrics and NumPy."""

import importlib
import importlib.util
import sys
import types
from collections.abc import Iterator
from enum import Enum
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchmetrics.functional.retrieval import (
    retrieval_average_precision,
    retrieval_hit_rate,
    retrieval_normalized_dcg,
    retrieval_precision,
    retrieval_recall,
    retrieval_reciprocal_rank,
)

from counterpoint.evaluation import gini, ranking_columns, top_k

LOG3 = 1 / np.log2(3)
HITS = np.array([[0, 0, 0], [1, 1, 1], [1, 0, 1], [0, 0, 1]], dtype=bool)
RELEVANT = np.array([1, 3, 4, 2])
RECBOLE = {
    # measure: its value at cut-offs 1, 2 and 3, as in RecBole's tests/metrics/test_topk_metrics.py
    "hr": [[0, 0, 0], [1, 1, 1], [1, 1, 1], [0, 0, 1]],
    "ndcg": [
        [0, 0, 0],
        [1, 1, 1],
        [1, 1 / (1 + LOG3), 1.5 / (1.5 + LOG3)],
        [0, 0, 0.5 / (1 + LOG3)],
    ],
    "mrr": [[0, 0, 0], [1, 1, 1], [1, 1, 1], [0, 0, 1 / 3]],
    "map": [[0, 0, 0], [1, 1, 1], [1, 1 / 2, (1 + 2 / 3) / 3], [0, 0, (1 / 3) / 2]],
    "recall": [[0, 0, 0], [1 / 3, 2 / 3, 1], [1 / 4, 1 / 4, 2 / 4], [0, 0, 1 / 2]],
    "precision": [[0, 0, 0], [1, 1, 1], [1, 1 / 2, 2 / 3], [0, 0, 1 / 3]],
}
CLASSES = {"hr": "Hit", "ndcg": "NDCG", "mrr": "MRR", "map": "MAP", "recall": "Recall", "precision": "Precision"}


@pytest.mark.parametrize("measure", RECBOLE)
def test_the_numbers_of_recboles_own_tests(measure: str) -> None:
    found = ranking_columns(HITS, RELEVANT, [1, 2, 3], [measure])
    np.testing.assert_allclose(np.stack(list(found.values()), axis=1), RECBOLE[measure], rtol=0, atol=1e-9)


@pytest.fixture
def recbole(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """RecBole's metrics alone: its packages are made empty, since importing them patches NumPy and fails on NumPy 2."""
    spec = importlib.util.find_spec("recbole")
    if spec is None or spec.submodule_search_locations is None:
        pytest.skip("recbole is not installed; pip install --no-deps recbole==1.2.1")
    place = spec.submodule_search_locations[0]
    for name, folder in (("recbole", place), ("recbole.evaluator", f"{place}/evaluator")):
        package = types.ModuleType(name)
        package.__path__ = [folder]
        monkeypatch.setitem(sys.modules, name, package)
    utils: Any = types.ModuleType("recbole.utils")
    utils.EvaluatorType = Enum("EvaluatorType", ["RANKING", "VALUE"])
    monkeypatch.setitem(sys.modules, "recbole.utils", utils)
    monkeypatch.setattr(np, "float", float, raising=False)
    for name in ("utils", "base_metric", "metrics"):
        monkeypatch.delitem(sys.modules, f"recbole.evaluator.{name}", raising=False)
    yield importlib.import_module("recbole.evaluator.metrics")
    for name in ("utils", "base_metric", "metrics"):
        sys.modules.pop(f"recbole.evaluator.{name}", None)


def test_equal_to_recboles_classes(recbole: Any) -> None:
    random = np.random.default_rng(0)
    relevant = random.integers(1, 30, size=200)
    hits = random.random((200, 20)) < 0.2
    hits &= hits.cumsum(axis=1) <= relevant[:, None]
    ours = ranking_columns(hits, relevant, range(1, 21))
    for measure, name in CLASSES.items():
        theirs = getattr(recbole, name)({"topk": [20], "metric_decimal_place": 9})
        needs = (hits,) if measure in ("hr", "mrr") else (hits, relevant)
        if measure == "precision":
            needs = (hits,)
        table = np.stack([ours[f"{measure}{k}"] for k in range(1, 21)], axis=1)
        np.testing.assert_allclose(table, theirs.metric_info(*needs), rtol=0, atol=1e-9, err_msg=measure)
    lists = random.integers(0, 50, size=(30, 10))
    unequal = recbole.GiniIndex({"topk": [10], "metric_decimal_place": 9}).get_gini(lists, 50)
    assert gini(np.bincount(lists.ravel(), minlength=50)) == pytest.approx(unequal, abs=1e-9)


def test_equal_to_torchmetrics() -> None:
    random = np.random.default_rng(1)
    scores, k = torch.from_numpy(random.permutation(40 * 30).reshape(40, 30) / 1200), 7
    truth = torch.from_numpy(random.random((40, 30)) < 0.15)
    truth[:, 0] = True
    lists, _ = top_k(scores, k, torch.arange(30))
    ours = ranking_columns(truth.gather(1, lists).numpy(), truth.sum(1).numpy(), [k])
    theirs = {
        "hr": retrieval_hit_rate,
        "recall": retrieval_recall,
        "ndcg": retrieval_normalized_dcg,
        "mrr": retrieval_reciprocal_rank,
        "precision": retrieval_precision,
    }
    for measure, function in theirs.items():
        expected = [float(function(s, t, top_k=k)) for s, t in zip(scores.double(), truth, strict=True)]
        np.testing.assert_allclose(ours[f"{measure}{k}"], expected, atol=1e-6, err_msg=measure)
    everything, _ = top_k(scores, 30, torch.arange(30))
    whole = ranking_columns(truth.gather(1, everything).numpy(), truth.sum(1).numpy(), [30])["map30"]
    expected = [float(retrieval_average_precision(s, t)) for s, t in zip(scores.double(), truth, strict=True)]
    np.testing.assert_allclose(whole, expected, atol=1e-6)


@pytest.mark.parametrize("m", [12, 32 * 4 * 15 + 7])
@given(st.integers(0, 10_000), st.integers(1, 14), st.sampled_from([1, 2, 4, 1000]))
def test_the_first_k_of_a_full_sort(m: int, seed: int, k: int, levels: int) -> None:
    """Few different scores, so that ties are everywhere; some candidates are out of the question."""
    random = np.random.default_rng(seed)
    scores = random.integers(0, levels, size=(6, m)).astype(np.float32)
    scores[random.random((6, m)) < 0.3] = -np.inf
    scores[0, k // 2 :] = -np.inf
    order = random.permutation(m)
    found, values = top_k(torch.from_numpy(scores), k, torch.from_numpy(order))
    for row in range(6):
        best = np.lexsort((order, -scores[row]))[: min(k, m)]
        expected = np.where(np.isinf(scores[row][best]), -1, best)
        assert found[row].tolist() == expected.tolist()
        assert values[row].tolist() == scores[row][best].tolist()


def test_what_cannot_be_ranked_is_refused() -> None:
    scores = torch.zeros(2, 5)
    scores[1, 3] = torch.nan
    with pytest.raises(ValueError, match="NaN"):
        top_k(scores, 2, torch.arange(5))
    with pytest.raises(ValueError, match="lists of 3"):
        ranking_columns(HITS, RELEVANT, [4])
    with pytest.raises(ValueError, match="without anything relevant"):
        ranking_columns(HITS, RELEVANT * 0, [1])
    assert np.isnan(gini(np.zeros(3, dtype=int)))
