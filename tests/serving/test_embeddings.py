"""The embeddings object over a method of tables; that of texts is tested with their export."""

import numpy as np
import pytest

import counterpoint as cp
from counterpoint.errors import UserError
from counterpoint.multimodal.table import Table

TABLE = Table.of({"labs": np.random.default_rng(0).normal(size=(32, 3)), "ecg": np.eye(32, 2)})


def test_records_give_the_vectors_of_their_rows() -> None:
    method = cp.CLIP(dim=4, hidden=4, epochs=1, batch_size=16).fit(TABLE, trainer=cp.Trainer(progress=False))
    store = cp.as_embeddings(method)
    records = [{name: view.values[row].tolist() for name, view in TABLE.views.items()} for row in range(5)]
    expected = method.embed(TABLE.rows(slice(0, 5))).numpy()
    assert np.allclose(store.embed_documents(records), expected, atol=1e-6)
    assert np.allclose(store.embed_query(records[2]), expected[2], atol=1e-6)
    assert store.embed_documents([]) == []
    with pytest.raises(UserError, match="bloods"):
        store.embed_query({"bloods": [1.0]})


def test_a_method_that_is_not_fitted_is_refused() -> None:
    with pytest.raises(UserError, match="not fitted"):
        cp.as_embeddings(cp.CLIP())
