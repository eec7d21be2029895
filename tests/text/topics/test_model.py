"""GCTM-OT's terms against float64 loops over the page's equations, its switches, and what a goal does to topics."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from counterpoint.errors import UserError
from counterpoint.objectives.transport import sinkhorn
from counterpoint.text.topics.corpus import Corpus
from counterpoint.text.topics.judge import topic_quality
from counterpoint.text.topics.model import GCTMOT
from counterpoint.text.topics.network import Spread
from counterpoint.text.topics.simulate import goal_corpus
from counterpoint.training import Clock, Trainer, rng
from text.tiny import tiny
from text.tiny_corpus import corpus

SMALL = {"base": tiny(), "topics": 3, "hidden": 6, "dropout": 0.0, "threshold": 2.5, "iterations": 400}


def prepared(data: Corpus, **options: Any) -> tuple[GCTMOT, dict[str, Tensor], Any]:
    """A method in float64 with a batch of all documents that have a text, and its losses."""
    method = GCTMOT(**{**SMALL, **options})
    method.prepare(method.measure(data))
    with torch.no_grad():
        method.points.add_(0.3)  # near enough to each other to repel
    rows = torch.from_numpy(np.flatnonzero(data.present))
    batch = method.double().batch(data, rows, rng(0))
    batch.views = {k: v.double() if v.is_floating_point() else v for k, v in batch.views.items()}
    return method, method.losses(batch, Clock(0, "fit", 0, 0, 1)), batch


def entropic(cost: Tensor, one: Tensor, other: Tensor) -> Tensor:
    """The value of a plan with its entropy, from the plan itself."""
    plan = sinkhorn(cost, epsilon=0.05, weight0=one, weight1=other, tolerance=1e-12, iterations=5000).plan
    return (plan * cost).sum() + 0.05 * torch.special.xlogy(plan, plan).sum()


def test_the_terms_are_the_equations_of_the_page() -> None:
    data = corpus(14, 0)
    method, losses, batch = prepared(data)
    seen, points = batch.views, normalize(method.points, dim=1)
    shares = method.encoder(seen["words"], seen["vectors"]).exp()
    spoken = seen["spoken"]
    assert 1 < int(spoken.sum()) < len(spoken)
    near = points @ method.rho.T
    told = (seen["words"] * (shares @ near).log_softmax(1)).sum(1)
    torch.testing.assert_close(losses["reconstruction"], -0.07 * told.mean())
    moved = []
    for row in range(len(spoken)):
        words = seen["goal_words"][row] if spoken[row] and seen["goal_words"][row].any() else seen["words"][row]
        weight = 1.0 if words is not seen["words"][row] and spoken[row] and seen["goal_words"][row].any() else 0.2
        used = words > 0
        moved.append(weight * entropic(1 - near[:, used], shares[row], (words / words.sum())[used]))
    torch.testing.assert_close(losses["transport"], torch.stack(moved).mean(), rtol=1e-6, atol=1e-9)
    here = shares[spoken]
    other = method.encoder(seen["goal_words"][spoken], seen["goal_vectors"][spoken], track=False).exp()
    said, apart = seen["goal_vectors"][spoken], 1 - points @ points.T
    each = []
    for d in range(len(here)):
        score = torch.stack([-entropic(apart, here[d], theirs) / 0.2 for theirs in other])
        weight = 1 - (said @ said[d]).clamp(0, 1)
        weight[d] = 1
        each.append(-(score[d] - (weight * score.exp()).sum().log()))
    torch.testing.assert_close(losses["contrast"], 0.5 * torch.stack(each).mean(), rtol=1e-6, atol=1e-9)
    close = [(points[k] @ points[j] - 0.3).relu() for k in range(3) for j in range(k)]
    torch.testing.assert_close(losses["diversity"], 0.1 * torch.stack(close).mean())


def test_terms_of_no_weight_are_left_out_and_all_have_gradients() -> None:
    _, losses, _ = prepared(corpus(14, 0), transport=0.0, contrast=0.0)
    assert set(losses) == {"reconstruction", "diversity"}
    method, losses, _ = prepared(corpus(14, 0))
    for name, value in losses.items():
        gradient = torch.autograd.grad(value, method.points, retain_graph=True)[0]
        assert gradient.isfinite().all(), name
        assert gradient.any(), name


def test_phrases_without_a_known_word_send_a_document_to_its_own_text() -> None:
    data = replace(corpus(14, 0, complete=True), held={})
    assert data.candidates is not None
    data.candidates[0] = ("unheard",)
    _, known, _ = prepared(data, off_goal=0.2)
    _, silent, _ = prepared(replace(data, held={}), off_goal=0.0)
    assert known["transport"] != silent["transport"]


def test_a_goal_decides_which_labels_topics_follow() -> None:
    """The known answer of the simulation, with phrases as a faultless language model would give them."""
    found = {}
    for goal in ("a", "b"):
        data = goal_corpus(200, 0, goal, known=True)  # type: ignore[arg-type]
        model = GCTMOT(topics=5, epochs=8, batch_size=32, iterations=10, hidden=50)
        found[goal] = topic_quality(model.fit(data, trainer=Trainer(progress=False)), data).summary()
    assert found["a"]["nmi_a"] > found["a"]["nmi_b"] + 0.3
    assert found["b"]["nmi_b"] > found["b"]["nmi_a"] + 0.3


def test_refusals() -> None:
    data = corpus(14, 0)
    with pytest.raises(UserError, match="say what the topics shall answer"):
        GCTMOT(**SMALL).measure(data.towards(""))
    with pytest.raises(UserError, match="topics=20: memory has only 13 documents with a text"):
        GCTMOT(**{**SMALL, "topics": 20}).measure(data)
    with pytest.raises(UserError, match="no document says anything near the goal"):
        GCTMOT(**SMALL).measure(data.towards("word1", [()] * len(data)))
    with pytest.raises(UserError, match="topics=2: memory has only 1 documents"):
        GCTMOT(**{**SMALL, "topics": 2}).measure(Corpus.about("word1", ["word1 word2"]))
    with pytest.raises(UserError, match="no word stands in 2 of the 3 documents"):
        GCTMOT(**SMALL).measure(Corpus.about("word1", ["word1", "word2", "word3"]))


def test_a_goal_is_not_needed_without_its_side() -> None:
    data = corpus(14, 0).towards("")
    model = GCTMOT(**{**SMALL, "side": "text", "epochs": 1, "batch_size": 8}).fit(data, trainer=Trainer(progress=False))
    assert "goal_auc" not in topic_quality(model, data).summary()
    assert not model.embed(data)[~torch.from_numpy(data.present)].any()


def test_spread_is_batch_normalisation_and_keeps_moments_of_the_tracked() -> None:
    ours, theirs = Spread(3), torch.nn.BatchNorm1d(3, momentum=0.1)
    rows = torch.randn(16, 3, generator=rng(0))
    torch.testing.assert_close(ours(rows), theirs(rows))
    torch.testing.assert_close(ours.mean, theirs.running_mean)
    kept = ours.mean.clone()
    ours(rows + 1, track=False)
    assert torch.equal(ours.mean, kept)
    ours.eval()
    torch.testing.assert_close(ours(rows), (rows - ours.mean) / (ours.variance + 1e-5).sqrt())
