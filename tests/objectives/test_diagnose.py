"""The share of false negatives, counted by hand and planted."""

from importlib import import_module

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from counterpoint.objectives import Embeddings, Ids
from counterpoint.objectives.diagnose import Estimate, false_negatives
from objectives import oracle

N, M, D = 10, 8, 5


def setting(name: str) -> tuple[Embeddings, Embeddings, str]:
    generator = torch.Generator().manual_seed(1)
    of_queries, of_keys, itself = oracle.RELATIONS[name](N, M)
    a, b = (F.normalize(torch.randn(n, D, generator=generator, dtype=torch.float64)) for n in (N, M))
    queries = Embeddings(a, of_queries)
    return queries, queries if of_keys is of_queries else Embeddings(b, of_keys), itself


def negatives(queries: Embeddings, keys: Embeddings, itself: str) -> list[list[int]]:
    table = oracle.kinds(queries.ids, keys.ids, itself)
    weight = keys.ids.log_weight
    out = set() if weight is None else {j for j, w in enumerate(weight.tolist()) if w == -torch.inf}
    return [[j for j, this in enumerate(row) if this == "negative" and j not in out] for row in table]


@pytest.mark.parametrize("block", [2**20, 17], ids=["one block", "blocks"])
@pytest.mark.parametrize("name", oracle.RELATIONS)
def test_labels_are_counted_exactly(name: str, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_module("counterpoint.objectives.rowwise"), "BLOCK", block)
    queries, keys, itself = setting(name)
    labels, key_labels = torch.arange(N) % 4 - 1, torch.arange(len(keys)) % 3 - 1
    pairs = [(i, j) for i, row in enumerate(negatives(queries, keys, itself)) for j in row]
    row, key_row = queries.ids.row.tolist(), keys.ids.row.tolist()
    false = sum(oracle.same(int(labels[i]), int(key_labels[j])) and row[i] != key_row[j] for i, j in pairs)
    found = false_negatives(queries, keys, labels=labels, key_labels=key_labels, itself=itself)
    assert found == Estimate(false / max(len(pairs), 1), len(pairs), exact=True)
    assert found.at_most == found.share


@pytest.mark.parametrize("block", [2**20, 17], ids=["one block", "blocks"])
@pytest.mark.parametrize("name", oracle.RELATIONS)
def test_near_negatives_are_counted(name: str, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_module("counterpoint.objectives.rowwise"), "BLOCK", block)
    queries, keys, itself = setting(name)
    similarity = queries.vectors @ keys.vectors.T
    kinds = oracle.kinds(queries.ids, keys.ids, itself)
    near = total = 0
    for i, row in enumerate(negatives(queries, keys, itself)):
        positive = [float(similarity[i, j]) for j, this in enumerate(kinds[i]) if this == "positive"]
        if positive:
            near += sum(float(similarity[i, j]) >= max(positive) for j in row)
            total += len(row)
    assert false_negatives(queries, keys, itself=itself) == Estimate(near / max(total, 1), total, exact=False)


def planted(classes: int, rows: int = 300, noise: float = 0.1) -> tuple[Tensor, Tensor, Tensor]:
    """Two views of rows of some classes, both scattered around the centre of the class and nothing else."""
    generator = torch.Generator().manual_seed(classes)
    labels = torch.randint(classes, (rows,), generator=generator)
    centres = F.normalize(torch.randn(classes, 64, generator=generator))
    view0, view1 = (F.normalize(centres[labels] + noise * torch.randn(rows, 64, generator=generator)) for _ in "01")
    return view0, view1, labels


@pytest.mark.parametrize("classes", [3, 10, 30])
def test_a_planted_share_is_found(classes: int) -> None:
    """A false negative is as near as a positive here, so half of them are nearer: the condition of the bound."""
    view0, view1, labels = planted(classes)
    truth = false_negatives(view0, view1, labels=labels)
    estimate = false_negatives(view0, view1)
    assert truth.share == pytest.approx(1 / classes, rel=0.2)
    assert estimate.at_most == pytest.approx(truth.share, rel=0.15)


def test_duplicates_are_found_and_clean_rows_are_not() -> None:
    view = F.normalize(torch.randn(64, 16, generator=torch.Generator().manual_seed(0)))
    assert false_negatives(view, view).share == 0
    twice = view.repeat(2, 1)
    assert false_negatives(twice, twice).share == pytest.approx(1 / 127)


def test_an_untrained_encoder_tells_nothing() -> None:
    generator = torch.Generator().manual_seed(0)
    view0, view1 = (F.normalize(torch.randn(300, 16, generator=generator)) for _ in "01")
    assert false_negatives(view0, view1).share == pytest.approx(0.5, abs=0.05)
    assert false_negatives(view0, view1).at_most > 0.9


def test_no_negatives_are_a_share_of_zero() -> None:
    alone = Embeddings(torch.eye(3), Ids(torch.arange(3), torch.zeros(3, dtype=torch.int64)))
    assert false_negatives(alone, alone) == Estimate(0.0, 0, exact=False)


def test_it_takes_no_part_in_training() -> None:
    view = torch.eye(3, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(lambda _: pytest.fail("kept for backward"), lambda x: x):
        false_negatives(view, view)
        false_negatives(view, view, labels=torch.zeros(3, dtype=torch.int64))


def test_errors() -> None:
    with pytest.raises(ValueError, match="labels of the queries"):
        false_negatives(torch.eye(3), torch.eye(3), key_labels=torch.zeros(3, dtype=torch.int64))
    rows = Embeddings(torch.eye(3), Ids(torch.arange(3), torch.arange(3)))
    with pytest.raises((ValueError, TypeError), match=r"labels for|labels"):
        false_negatives(rows, rows[:2], labels=torch.zeros(3, dtype=torch.int64))
