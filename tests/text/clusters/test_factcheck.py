"""The claim's data: real claims and debates, what is trained on apart from what is judged."""

import os

import numpy as np
import pytest

from counterpoint.errors import UserError
from counterpoint.text.clusters import factcheck
from counterpoint.text.clusters.claim2vec import parted
from counterpoint.text.clusters.claim2vec_claims import CLAIM2VEC
from counterpoint.text.clusters.factcheck import claims, claims_quick, shuffled_clusters, translated_only
from counterpoint.text.clusters.statements import Statements, shared_texts
from counterpoint.training import rng

here = pytest.mark.skipif("COUNTERPOINT_DATA" not in os.environ, reason="COUNTERPOINT_DATA names no data")


@here
def test_no_text_and_no_cluster_is_trained_on_and_judged() -> None:
    train, watched, test = claims(0)
    assert not shared_texts(train, test)
    assert not shared_texts(train, watched)
    assert not shared_texts(watched, test)
    parts = {name: train.rows(rows) for name, rows in parted(train, 0.5).items()}
    assert not shared_texts(parts["train"], parts["development"])
    assert 0.1 < len(parts["development"]) / len(train) < 0.3
    assert train.fingerprint() == claims(0)[0].fingerprint() != claims(1)[0].fingerprint()


@here
def test_clusters_mix_languages_and_some_texts_are_alone() -> None:
    said = Statements.of(claims(0)[2])
    home, unseen = (said.rows(said.collections == name) for name in ("held-out", "unseen"))
    assert set(home.languages) == {"en", "ar"}
    assert len(set(unseen.languages)) == 12
    assert unseen.mixed.all()
    assert home.mixed.any()
    assert ((home.sizes > 1) & ~home.mixed).any()
    assert (home.sizes == 1).any()
    assert int(said.sizes.max()) <= 12


@here
def test_the_placebo_has_the_same_texts_in_clusters_of_the_same_sizes() -> None:
    train = claims_quick(0)[0]
    placebo = shuffled_clusters(train, rng(0))
    kept = train.columns["development"] == 1
    assert sorted(placebo.views["claim"].values) == sorted(train.views["claim"].values)
    assert (placebo.views["claim"].values[kept] == train.views["claim"].values[kept]).all()
    assert np.array_equal(np.bincount(placebo.clusters), np.bincount(train.clusters))
    was = dict(zip(train.views["claim"].values, train.clusters, strict=True))
    pairs = list(zip(*(placebo.views[name].values[~kept] for name in ("claim", "other")), strict=True))
    assert np.mean([was[a] == was[b] for a, b in pairs if b is not None]) < 0.2


@here
def test_translated_pairs_are_of_several_languages() -> None:
    train = claims_quick(0)[0]
    only = translated_only(train, rng(0))
    learned = Statements.of(only.rows(only.columns["development"] == 0))
    assert learned.mixed.all()
    assert (only.columns["development"] == 1).sum() == (train.columns["development"] == 1).sum()


def test_the_quick_form_asks_for_arms_that_it_has() -> None:
    quick = CLAIM2VEC.at(quick=True)
    assert {name for one in quick.predictions for name in one.arms} <= {arm.name for arm in quick.arms}


def test_absent_data_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COUNTERPOINT_DATA", "nowhere")
    for cached in (factcheck._debates, factcheck._snopes, factcheck._paragraphs):
        cached.cache_clear()
    with pytest.raises(UserError, match="set COUNTERPOINT_DATA"):
        claims(0)
