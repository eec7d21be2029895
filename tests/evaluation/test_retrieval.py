"""Ranks with ties, and the metrics against torchmetrics and brute force."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from counterpoint.evaluation import Ranks, ranks, ranks_in_chunks, retrieval_columns, retrieval_metrics


def scored(seed: int, n: int, m: int, levels: int | None) -> tuple[torch.Tensor, torch.Tensor]:
    """Random scores (few levels make ties) and targets."""
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(n, m, generator=generator)
    if levels is not None:
        scores = (scores * levels).round()
    return scores, torch.randint(m, (n,), generator=generator)


@given(st.integers(0, 1000), st.integers(1, 12), st.integers(1, 20), st.integers(1, 12))
def test_metrics_agree_with_torchmetrics_without_ties(seed: int, n: int, m: int, k: int) -> None:
    retrieval = pytest.importorskip("torchmetrics.functional.retrieval")
    scores, target = scored(seed, n, m, levels=None)
    scores = scores.double().exp()  # torchmetrics takes a relevant candidate with a score below 0 for irrelevant
    relevant = torch.nn.functional.one_hot(target, m).bool()
    pairs = list(zip(scores, relevant, strict=True))
    hit = np.mean([float(retrieval.retrieval_hit_rate(s, r, top_k=min(k, m))) for s, r in pairs])
    mrr = np.mean([float(retrieval.retrieval_reciprocal_rank(s, r)) for s, r in pairs])
    found = retrieval_metrics(ranks(scores, target), k=(k,))
    assert found[f"top{k}"] == pytest.approx(hit, abs=1e-6)
    assert found["mrr"] == pytest.approx(mrr, abs=1e-6)


@given(st.integers(0, 1000), st.integers(1, 6), st.integers(1, 3))
def test_ties_are_the_mean_over_all_ways_to_break_them(seed: int, m: int, levels: int) -> None:
    """Brute force: order equal scores in every possible way and average."""
    scores, target = scored(seed, 1, m, levels)
    true = int(target)
    places = []
    for order in itertools.permutations(range(m)):
        if all(scores[0, a] >= scores[0, b] for a, b in itertools.pairwise(order)):
            places.append(order.index(true) + 1)
    found = ranks(scores, target)
    assert float(found.mean()) == pytest.approx(np.mean(places))
    assert float(found.reciprocal()) == pytest.approx(np.mean([1 / place for place in places]))
    for k in (1, 2, 5):
        assert float(found.hits(k)) == pytest.approx(np.mean([place <= k for place in places]))


def test_a_constant_score_earns_chance() -> None:
    found = retrieval_metrics(ranks(torch.zeros(7, 20), torch.arange(7)))
    harmonic = sum(1 / place for place in range(1, 21)) / 20
    assert found == pytest.approx({"top1": 0.05, "top5": 0.25, "top10": 0.5, "mrr": harmonic, "median_rank": 10.5})


@given(st.integers(0, 1000), st.integers(1, 30), st.integers(1, 40))
def test_chunks_change_nothing(seed: int, n: int, chunk: int) -> None:
    scores, target = scored(seed, n, 9, levels=2)
    whole = ranks(scores, target)
    parts = ranks_in_chunks(lambda rows: scores[rows], target, chunk=chunk)
    assert torch.equal(whole.best, parts.best)
    assert torch.equal(whole.ties, parts.ties)


def test_chunks_never_ask_for_more_rows() -> None:
    asked = []

    def score(rows: torch.Tensor) -> torch.Tensor:
        asked.append(len(rows))
        return torch.eye(10)[rows]

    ranks_in_chunks(score, torch.arange(10), chunk=4)
    assert asked == [4, 4, 2]


def test_columns_have_one_value_per_query() -> None:
    found = Ranks(torch.tensor([1, 3]), torch.tensor([1, 2]))
    columns = retrieval_columns(found, k=(1, 3))
    assert {name: values.tolist() for name, values in columns.items()} == {
        "top1": [1.0, 0.0],
        "top3": [1.0, 0.5],
        "mrr": [1.0, pytest.approx((1 / 3 + 1 / 4) / 2)],
        "rank": [1.0, 3.5],
    }
    assert math.isclose(retrieval_metrics(found)["median_rank"], 2.25)


def test_a_score_that_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="NaN"):
        ranks(torch.tensor([[math.nan, 0.0]]), torch.tensor([0]))


def test_missing_candidates_at_minus_infinity_come_last() -> None:
    found = ranks(torch.tensor([[0.0, -math.inf, -math.inf]]), torch.tensor([0]))
    assert found.mean().tolist() == [1.0]


def test_no_queries_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one query"):
        retrieval_metrics(Ranks(torch.zeros(0, dtype=torch.long), torch.zeros(0, dtype=torch.long)))
