"""DAMPER: its loss by brute force, prototypes, thresholds and overlaps, what it measures, and what it refuses."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch

from counterpoint.errors import UserError
from counterpoint.objectives import Embeddings, Ids
from counterpoint.text.private.damper import Damper, private_contrast
from counterpoint.text.private.locating import Found, Prototypes, joined, locate
from counterpoint.text.private.rows import parted, rows_of
from counterpoint.text.private.span_judge import best_threshold, located, matched, survives, sweep
from counterpoint.text.private.spans import Span, SpannedTexts
from counterpoint.training import Trainer, rng
from text import tiny
from text.tiny_spans import spanned

SMALL: dict[str, Any] = {"base": tiny.tiny(), "epochs": 2, "batch_size": 16, "lora": 2, "dropout": 0.0}


def fitted(data: SpannedTexts, validation: SpannedTexts | None = None, **options: Any) -> Damper:
    given = {**SMALL, "optim": {"lr": 0.01}, **options}
    return Damper(**given).fit(data, validation, trainer=Trainer(progress=False))


@pytest.fixture(scope="module")
def method() -> Damper:
    return fitted(spanned(60, 0), epochs=6)


def test_the_loss_and_its_gradient_are_the_cards() -> None:
    """Anchors are private spans; the denominator runs over every span of the batch, the anchor included."""
    n, t = 12, 0.1
    free = torch.randn(n, 5, dtype=torch.float64, generator=rng(0)).requires_grad_()
    z = torch.nn.functional.normalize(free, dim=1)
    domain, private = torch.arange(n) % 2, torch.arange(n) % 3 != 0
    ids = Ids(row=torch.arange(n) + 40, positive=torch.where(private, domain, -1))
    ours = private_contrast(Embeddings(z, ids), t).mean()
    terms = []
    for i in range(n):
        positives = [j for j in range(n) if j != i and private[j] and domain[j] == domain[i]]
        if not private[i] or not positives:
            continue
        below = sum((z[i] @ z[a] / t).exp() for a in range(n))
        terms.append(-sum(((z[i] @ z[p] / t).exp() / below).log() for p in positives) / len(positives))
    card = torch.stack(terms).mean()
    assert ours.item() == pytest.approx(card.item(), rel=1e-12)
    (mine,) = torch.autograd.grad(ours, free, retain_graph=True)
    (theirs,) = torch.autograd.grad(card, free)
    assert torch.allclose(mine, theirs, atol=1e-12)


def test_a_batch_has_as_many_spans_of_every_kind() -> None:
    data = spanned(48, 0)
    method = Damper(**SMALL)
    method.prepare(method.measure(data))
    rows = rows_of(parted(data, 0.15)[0])
    plan = method.phases(data)[0].plan(rng(0))
    for some in plan:
        assert rows.kind[some].bincount(minlength=4).tolist() == [4, 4, 4, 4]
    assert set(torch.cat(list(plan)).tolist()) == set(range(len(rows)))


def test_rows_to_learn_from_are_gold_spans_and_chunks_beside_them() -> None:
    rows = rows_of(SpannedTexts.of(["see Ann Lee at the old mill"], [[(4, 11, "NAME")]], ["notes"]))
    told = dict(zip(rows.words, rows.private.tolist(), strict=True))
    assert told["Ann Lee"] == 1
    assert told["old mill"] == 0
    assert "Lee" not in told  # a part of a name is neither


def test_thresholding_first_finds_the_same() -> None:
    """A span's level is the gamma up to which it is found, whatever was cut off before it."""
    texts = ["Ann Lee Smith 42 of Rome, near Bank of England", "Bob 17, walking home to Anna Maria Rossi"]

    def score(some: list[str] | Any) -> torch.Tensor:
        return torch.tensor([[(sum(map(ord, text)) * 37 % 101) / 101] for text in some]).reshape(-1, 1)

    def first(some: list[str] | Any, gamma: float) -> torch.Tensor:
        values = score(some)
        return torch.where(values >= gamma, values, -1.0)

    whole = locate(texts, score, score, ["a"])
    for gamma in (0.2, 0.4, 0.6, 0.8):
        cut = locate(texts, lambda some, gamma=gamma: first(some, gamma), score, ["a"])  # type: ignore[misc]
        for one, other in zip(whole, cut, strict=True):
            kept = [(found.start, found.end) for found in one if found.level >= gamma]
            assert kept == [(found.start, found.end) for found in other if found.level >= gamma]


def test_found_spans_do_not_overlap_and_the_higher_score_wins(method: Damper) -> None:
    for text, some in zip(texts := spanned(20, 5, complete=True).texts.tolist(), method.scored(texts), strict=True):
        for one, after in pairwise(some):
            assert one.end <= after.start
        assert all(text[one.start : one.end].strip() == text[one.start : one.end] for one in some)


def test_prototypes_are_averaged_or_the_nearest_counts() -> None:
    vectors = torch.tensor([[[1.0, 0.0], [0.0, 1.0]], [[0.6, 0.8], [9.0, 9.0]]])
    known = Prototypes(vectors, torch.tensor([2, 1]))
    asked = torch.tensor([[1.0, 0.0]])
    assert known.likeness(asked, "mean")[0].tolist() == pytest.approx([0.5, 0.6])
    assert known.likeness(asked, "max")[0].tolist() == pytest.approx([1.0, 0.6])


@pytest.mark.parametrize(
    ("options", "number"), [({"prototypes": "mean"}, 1), ({"prototypes": "kmeans", "clusters": 3}, 3)]
)
def test_other_prototypes(options: dict[str, Any], number: int) -> None:
    found = fitted(spanned(40, 0), epochs=1, **options)
    assert found.counts.tolist() == [number, number]
    assert torch.allclose(found.vectors[0, 0].norm(), torch.tensor(1.0))


def test_it_learns_what_is_private(method: Damper) -> None:
    test = spanned(40, 7, complete=True)
    before = located(fitted(spanned(60, 0), epochs=0), test).summary()
    after = located(method, test).summary()
    assert after["f1"] > before["f1"] + 0.1
    assert after["f1@70"] > before["f1@70"] + 0.03
    assert after["ceiling"] > 0.9
    assert all(0 < value <= 1 for value in method.recall_told().values() if value is not None)


def test_a_gamma_that_is_given_stands() -> None:
    found = fitted(spanned(40, 0), epochs=1, gamma=0.9)
    assert list(found.gammas().values()) == pytest.approx([0.9, 0.9])


def test_the_best_epoch_can_be_kept_since_prototypes_follow_every_epoch() -> None:
    found = fitted(spanned(40, 0), spanned(30, 3), epochs=2, keep={"metric": "f1", "patience": 0})
    assert found.counts.min() >= 1


class _Said:
    """A detector that says what it is told."""

    def __init__(self, found: list[list[Found]]) -> None:
        self.found = found

    def gammas(self) -> dict[str, float]:
        return {"d": 0.5}

    def scored(self, texts: Any) -> list[list[Found]]:
        return self.found


def test_the_measures_by_hand() -> None:
    data = SpannedTexts.of(
        ["Ann Lee met Bob in Rome", "call 555"], [[(0, 7, "N"), (12, 15, "N")], [(5, 8, "P")]], ["d", "d"],
        {"seen": [1, 0]},
    )  # fmt: skip
    found = [
        [Found(0, 3, 0.9, 0.9, "d"), Found(12, 15, 0.7, 0.7, "d"), Found(19, 23, 0.6, 0.6, "d")],
        [Found(5, 8, 0.4, 0.4, "d")],
    ]
    told = located(_Said(found), data).summary()
    assert told["f1"] == pytest.approx(2 / (2 + 2 + 2))  # Bob; Ann and Rome are wrong; Ann Lee and 555 are missed
    assert told["leak"] == pytest.approx(2 / 3)
    assert told["contained"] == pytest.approx(1 / 3)
    assert told["over_prediction"] == pytest.approx(1 / 3)
    assert told["f1_unseen"] == 0
    assert told["recall@50"] == pytest.approx(2 / 3)
    assert told["ceiling"] == 1
    swept = sweep(list(data.texts), found, data.spans, join=False)
    assert swept.levels.tolist() == pytest.approx([0.9, 0.7, 0.6, 0.4], abs=0.002)
    assert best_threshold(swept) == (pytest.approx(0.4, abs=0.002), pytest.approx(2 / 3))
    assert swept.at_recall(0.3)["fp"].tolist() == [1, 0]
    assert matched([(0, 7), (0, 6)], [Span(0, 7)]) == 1
    assert survives("Ann Lee", Span(0, 7), [(0, 3)])
    assert not survives("Ann Lee", Span(0, 7), [(0, 3), (4, 7)])


def test_replacements_stand_in_place() -> None:
    spans = [Found(0, 3, 1.0, 1.0, "d"), Found(7, 10, 1.0, 1.0, "d")]
    assert joined("Ann is ill", spans, ["x", "y"]) == "x is y"


@pytest.mark.parametrize(
    ("data", "options", "said"),
    [
        (SpannedTexts.of(["nothing here"], [[]], ["d"]), {}, "no text has a private span"),
        (SpannedTexts.of(["Ann Lee"], [[(0, 7, "N")]], ["d"]), {}, "no chunks that are not private"),
        (spanned(20, 0), {"batch_size": 4, "epochs": 1, "lora": 0}, "option lora"),
    ],
)
def test_what_it_cannot_learn_from_is_said(data: SpannedTexts, options: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        fitted(data, **options)


def test_texts_without_spans_cannot_be_judged(method: Damper) -> None:
    with pytest.raises(UserError, match="nothing can be judged"):
        located(method, SpannedTexts.of(["a b"], [[]], ["notes"]))


def test_an_empty_text_and_a_very_long_one(method: Damper) -> None:
    assert method.locate(["", "the of and"]) == [[], []]
    found = method.locate(["the word1 of the word45. " * 400])[0]
    assert found
    assert np.all(np.diff([one.start for one in found]) > 0)


def test_without_a_fit_nothing_is_passed_on() -> None:
    with pytest.raises(UserError, match="is not fitted"):
        Damper(**SMALL).rewrite(["Ann"], 1.0)
