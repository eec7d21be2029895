"""A run on texts over HTTP: texts in, vectors and neighbours out, tokens counted."""

from collections.abc import Iterator

import numpy as np
import pytest
from starlette.testclient import TestClient

pytest.importorskip("transformers")

from counterpoint.serving.search import build
from counterpoint.serving.served import Served
from counterpoint.text.contrast import Contrast
from counterpoint.training import Run, Trainer
from counterpoint.vectors import write_vectors
from serving.served_run import client_of
from text import tiny


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Served:
    folder = tmp_path_factory.mktemp("text")
    pairs = tiny.pairs(24, seed=0, complete=True)
    run = Run(folder / "run")
    method = Contrast(base=tiny.tiny(0, "mean"), epochs=1, batch_size=8).fit(pairs, trainer=Trainer(run=run))
    write_vectors(run.folder / "embeddings.parquet", method, [("train", pairs)])
    build(run.folder / "embeddings.parquet", str(folder / "index"), view="document")
    return Served.open(run.folder, folder / "index")


@pytest.fixture(scope="module")
def client(served: Served) -> Iterator[TestClient]:
    with client_of(served) as opened:
        yield opened


def test_texts_become_vectors_and_tokens_are_counted(client: TestClient, served: Served) -> None:
    texts = ["word1 word2 word3", "word9"]
    answer = client.post("/v1/embeddings", json={"input": texts}).json()
    got = np.array([one["embedding"] for one in answer["data"]])
    np.testing.assert_allclose(got, served.method.embed_texts(texts).detach().numpy(), atol=1e-5)
    alone = [client.post("/v1/embeddings", json={"input": text}).json()["usage"]["total_tokens"] for text in texts]
    assert answer["usage"]["total_tokens"] == sum(alone) > 2


def test_a_text_finds_documents(client: TestClient, served: Served) -> None:
    answer = client.post("/search", json={"input": "word7 word30", "k": 3}).json()
    query = served.method.embed_texts(["word7 word30"]).detach().numpy()
    assert [hit["id"] for hit in answer["hits"]] == [hit[0] for hit in served.search(query, 3, {})[0]]
    why = client.post("/why", json={"input": "word7 word30", "hit": answer["hits"][0]["id"]}).json()
    assert {pair["query_view"] for pair in why["pairs"]} <= {"query", "document"}
    assert client.get("/about").json()["text"] is True


@pytest.mark.parametrize("body", [{"labs": [1.0]}, {"query": [1.0]}, {"query": 3}, [[1, 2]]])
def test_what_is_no_text_is_refused(client: TestClient, body: object) -> None:
    answer = client.post("/v1/embeddings", json={"input": body})
    assert 400 <= answer.status_code < 500
