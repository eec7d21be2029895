"""The HTTP interface, in process: what it answers, and what it answers to requests that are wrong."""

import base64
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file, save_file
from starlette.testclient import TestClient

import counterpoint as cp
from counterpoint.errors import UserError
from counterpoint.serving.index import Index
from counterpoint.serving.search import build
from counterpoint.serving.served import Served
from serving.served_run import HOME, RECORD, client_of


@pytest.fixture(scope="module")
def served(run: Path, index: Path) -> Served:
    return Served.open(run, index)


@pytest.fixture(scope="module")
def client(served: Served) -> Iterator[TestClient]:
    with client_of(served) as opened:
        yield opened


def oracle(run: Path, *records: dict[str, Any]) -> np.ndarray:
    """The vectors of records from the loaded run, without the server."""
    method = cp.load(run)
    vectors: np.ndarray = method.embed(cp.Table.of_records(records, method.facts)).numpy()
    return vectors


def test_vectors_are_those_of_the_run(client: TestClient, run: Path) -> None:
    other = {"vitals": [1.0, 2.0, 3.0], "labs": [0.0, None, 1.0, None]}
    answer = client.post("/v1/embeddings", json={"input": [RECORD, other], "model": "run"}).json()
    assert [one["index"] for one in answer["data"]] == [0, 1]
    assert answer["model"] == "run"
    got = np.array([one["embedding"] for one in answer["data"]])
    np.testing.assert_allclose(got, oracle(run, RECORD, other), atol=1e-6)
    coded = client.post("/v1/embeddings", json={"input": RECORD, "encoding_format": "base64"}).json()
    decoded = np.frombuffer(base64.b64decode(coded["data"][0]["embedding"]), "<f4")
    np.testing.assert_allclose(decoded, got[0], atol=1e-6)


def test_a_row_finds_its_neighbours_and_not_itself(client: TestClient, index: Path) -> None:
    answer = client.post("/search", json={"id": "p0_3", "k": 5}).json()
    opened = Index.open(index)
    own = opened.row("p0_3")
    scores = opened.vectors(range(60)) @ opened.vector("p0_3")
    scores[own] = -2
    order = np.argsort(-scores, kind="stable")[:5]
    assert [hit["id"] for hit in answer["hits"]] == opened.ids[order].tolist()
    np.testing.assert_allclose([hit["score"] for hit in answer["hits"]], scores[order], atol=1e-6)
    assert [hit["metadata"] for hit in answer["hits"]] == opened.metadata(order.tolist())
    assert answer["query"]["id"] == "p0_3"
    assert answer["query"]["metadata"] == opened.metadata([own])[0]


def test_a_record_and_its_vector_find_the_same_rows(client: TestClient, run: Path) -> None:
    by_record = client.post("/search", json={"input": RECORD, "k": 7, "where": {"sick": 1}}).json()
    vector = oracle(run, RECORD)[0].tolist()
    by_vector = client.post("/search", json={"vector": vector, "k": 7, "where": {"sick": 1}}).json()
    assert [hit["id"] for hit in by_record["hits"]] == [hit["id"] for hit in by_vector["hits"]]
    assert {hit["metadata"]["sick"] for hit in by_record["hits"]} == {1}
    assert by_record["query"]["id"] is None


def test_conditions_are_those_of_the_index(client: TestClient) -> None:
    def visits(where: dict[str, Any]) -> set[int]:
        hits = client.post("/search", json={"id": "p0_3", "k": 60, "where": where}).json()["hits"]
        return {hit["metadata"]["visit"] for hit in hits}

    assert visits({"visit": [4, 9]}) == {4, 9}
    assert visits({"visit": {">=": 4, "<": 6}}) == {4, 5}


def test_the_reason_is_the_nearest_training_pair(client: TestClient, run: Path, served: Served) -> None:
    answer = client.post("/why", json={"id": "p0_3", "hit": "p0_7", "k": 2}).json()
    training = served.training
    assert training is not None
    query, hit = (served.vectors([served.row(key)])[0].astype(np.float64) for key in ("p0_3", "p0_7"))
    best = []
    for row, key in enumerate(training.ids):
        sums = {}
        for a, left in training.views.items():
            for b, right in training.views.items():
                if a != b and not np.isnan(left[row]).any() and not np.isnan(right[row]).any():
                    sums[a, b] = float(left[row] @ query + right[row] @ hit)
        (a, b), most = max(sums.items(), key=lambda item: item[1])
        best.append((most, key, a, b))
    wanted = sorted(best, reverse=True)[:2]
    got = [(pair["id"], pair["query_view"], pair["hit_view"]) for pair in answer["pairs"]]
    assert got == [(key, a, b) for _, key, a, b in wanted]
    found = [pair["query_similarity"] + pair["hit_similarity"] for pair in answer["pairs"]]
    np.testing.assert_allclose(found, [most for most, *_ in wanted], atol=1e-5)
    assert len(training.ids) == 36, "only training rows explain"
    assert answer["pairs"][0]["metadata"].keys() == {"who", "visit", "sick"}


def test_the_map_shows_the_two_main_axes(client: TestClient, served: Served) -> None:
    answer = client.get("/map", params={"column": "sick"}).json()
    places = np.array([answer["x"], answer["y"]]).T
    assert places.shape == (60, 2)
    vectors = served.vectors(range(60)).astype(np.float64)
    centred = vectors - vectors.mean(axis=0)
    main = np.linalg.svd(centred, compute_uv=False)
    spread = np.linalg.norm(places, axis=0)
    np.testing.assert_allclose(spread[1] / spread[0], main[1] / main[0], rtol=1e-4)
    assert np.abs(places).max() == pytest.approx(1)
    assert set(answer["values"]) == {0, 1}
    hits = client.post("/search", json={"id": answer["ids"][5], "k": 1}).json()
    np.testing.assert_allclose(hits["query"]["at"], places[5], atol=1e-6)


def test_what_is_served_is_told(client: TestClient) -> None:
    about = client.get("/about").json()
    assert about["views"] == {"labs": 4, "vitals": 3, "ecg": 2}
    assert about["method"] == "clip"
    assert about["can"] == ["embed", "search", "map", "why"]
    assert about["index"]["rows"] == 60
    assert about["index"]["columns"] == ["split", "visit", "sick"]
    assert client.get("/health").json() == {"status": "ok", "version": cp.__version__}
    assert client.get("/v1/models").json()["data"][0]["id"] == "run"


LONG = [0.5] * 9
WRONG: list[tuple[str, Any, int, str]] = [
    ("/v1/embeddings", {"input": "a text"}, 400, "is text, not an object of views"),
    ("/v1/embeddings", {"input": [RECORD, "a text"]}, 400, "record 2 is text"),
    ("/v1/embeddings", {"input": [1, 2, 3]}, 422, "input"),
    ("/v1/embeddings", {"input": []}, 422, "input"),
    ("/v1/embeddings", {"input": {"labs": LONG}}, 400, "labs"),
    ("/v1/embeddings", {"input": {"lab": [1]}}, 400, 'did you mean "labs"'),
    ("/v1/embeddings", {"input": {}}, 400, ""),
    ("/v1/embeddings", {"input": {"labs": [None] * 4}}, 400, ""),
    ("/v1/embeddings", {"input": {"labs": [1e39] * 4}}, 422, "less than or equal"),
    ("/v1/embeddings", {"input": {"labs": [10**400] * 4}}, 422, "input"),
    ("/v1/embeddings", {"input": {"labs": [True] * 4}}, 422, "input"),
    ("/v1/embeddings", {"input": RECORD, "model": "other"}, 404, 'only "run"'),
    ("/v1/embeddings", {"input": RECORD, "dimensions": 3}, 400, "4 numbers"),
    ("/v1/embeddings", {"input": RECORD, "more": 1}, 422, "more"),
    ("/search", {"k": 3}, 400, "exactly one of"),
    ("/search", {"id": "p0_3", "input": RECORD}, 400, "exactly one of"),
    ("/search", {"id": "nobody"}, 404, 'no id "nobody"'),
    ("/search", {"id": "../../etc/passwd"}, 404, "no id"),
    ("/search", {"id": "p0_3", "k": 0}, 422, "k"),
    ("/search", {"id": "p0_3", "where": {"colour": 1}}, 400, 'no metadata column "colour"'),
    ("/search", {"id": "p0_3", "where": {"sick": "very"}}, 400, "sick"),
    ("/search", {"vector": [1.0]}, 400, "4"),
    ("/search", {"vector": [0.0] * 4}, 400, "no direction"),
    ("/why", {"id": "p0_3", "hit": "nobody"}, 404, 'no id "nobody"'),
    ("/predict", {"input": RECORD}, 404, "clip does not predict; this run can: embed, search"),
    ("/recommend", {"user": 3}, 404, "clip does not recommend"),
]


@pytest.mark.parametrize(("path", "body", "status", "said"), WRONG)
def test_a_wrong_request_is_told_what_is_wrong(
    client: TestClient, path: str, body: Any, status: int, said: str
) -> None:
    answer = client.post(path, json=body)
    assert (answer.status_code, said in answer.json()["error"]["message"]) == (status, True), answer.text


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_that_are_none_are_refused(client: TestClient, number: str) -> None:
    headers = {"content-type": "application/json"}
    for body in ('{"input": {"labs": [%s, 1, 1, 1]}}', '{"vector": [%s, 1, 1, 1]}'):
        path = "/search" if "vector" in body else "/v1/embeddings"
        assert client.post(path, content=body % number, headers=headers).status_code == 422


@pytest.mark.parametrize("body", ["{", "[" * 100_000, '{"id": "\\ud800"}', b"\xff\xfe", "null", '{"id": "\\u0000"}'])
def test_bodies_that_are_no_json_are_refused(client: TestClient, body: Any) -> None:
    answer = client.post("/search", content=body, headers={"content-type": "application/json"})
    assert 400 <= answer.status_code < 500
    assert answer.json()["error"]["message"]


def test_a_mistake_in_one_request_does_not_touch_its_company(served: Served) -> None:
    from concurrent.futures import ThreadPoolExecutor

    bodies = [{"input": RECORD}] * 6 + [{"input": {"labs": LONG}}] * 2
    with client_of(served, wait=0.05) as client, ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda body: client.post("/v1/embeddings", json=body), bodies))
        assert [answer.status_code for answer in answers] == [200] * 6 + [400] * 2
        assert len({answer.text for answer in answers[:6]}) == 1
        text = client.get("/metrics").text
    together = float(text.split("counterpoint_batch_requests_sum ")[1].split()[0])
    batches = float(text.split("counterpoint_batch_requests_count ")[1].split()[0])
    assert together >= 8 > batches - 8, text


def test_the_token_is_asked_for(served: Served) -> None:
    with client_of(served, token="s3cret") as client:
        closed = ("/about", "/metrics", "/v1/models", "/map")
        for headers in (
            {},
            {"authorization": "Bearer s3cre"},
            {"authorization": "Basic s3cret"},
            {"authorization": "é"},
        ):
            raw = {name: value.encode("latin-1") for name, value in headers.items()}
            for path in closed:
                answer = client.get(path, headers=raw)
                assert answer.status_code == 401
                assert answer.headers["www-authenticate"] == "Bearer"
                assert "s3cret" not in answer.text
            assert client.post("/search", json={"id": "p0_3"}, headers=raw).status_code == 401
        assert client.get("/about", headers={"authorization": "Bearer s3cret"}).status_code == 200
        assert client.get("/health").status_code == 200
        assert client.get("/").status_code == 200


def test_requests_have_limits(served: Served) -> None:
    with client_of(served, body=2000, inputs=3) as client:
        assert client.post("/search", json={"id": "x" * 3000}).status_code == 413
        chunks = (b"[" + b"1," * 100 for _ in range(100))
        assert client.post("/search", content=chunks).status_code == 413
        assert client.post("/v1/embeddings", json={"input": [RECORD] * 4}).status_code == 413
        assert client.post("/search", json={"id": "p0_3"}).status_code == 200
    with client_of(served, rate=2.0) as client:
        answers = [client.get("/health") for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 429, 429]
        assert int(answers[-1].headers["retry-after"]) >= 1


def test_other_origins_and_other_names_are_not_answered(served: Served) -> None:
    origin = {"origin": "https://elsewhere.example"}
    with client_of(served) as client:
        assert "access-control-allow-origin" not in client.get("/about", headers=origin).headers
        assert client.get("/about", headers={"host": "elsewhere.example"}).status_code == 400
        plain = client.post("/search", content=json.dumps({"id": "p0_3"}), headers={"content-type": "text/plain"})
        assert plain.status_code == 422, "a form of another page must not be taken for JSON"
    with client_of(served, origins=("https://elsewhere.example",), token="t") as client:
        asked = origin | {"access-control-request-method": "POST", "access-control-request-headers": "authorization"}
        answer = client.options("/search", headers=asked)
        assert answer.headers["access-control-allow-origin"] == "https://elsewhere.example"


def test_too_much_waiting_is_turned_away(served: Served) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with client_of(served, waiting=2, wait=0.3) as client, ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: client.post("/v1/embeddings", json={"input": RECORD}), range(6)))
    assert sorted(answer.status_code for answer in answers) == [200, 200, 503, 503, 503, 503]


def test_a_failure_is_logged_and_not_told(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Served):
        def embed(self, records: Any) -> Any:
            raise RuntimeError("secret detail")

    with client_of(Broken(served.method, "run")) as client:
        answer = client.post("/v1/embeddings", json={"input": RECORD})
    assert answer.status_code == 500
    assert "secret" not in answer.text
    failed = next(record for record in caplog.records if record.getMessage() == "failed")
    assert failed.facts["request"] in answer.json()["error"]["message"]
    assert answer.headers["x-request-id"] == failed.facts["request"]


def test_without_an_index_there_is_no_search(served: Served) -> None:
    with client_of(Served(served.method, "run")) as client:
        for answer in (client.post("/search", json={"id": "a"}), client.get("/map")):
            assert answer.status_code == 404
            assert "--index" in answer.json()["error"]["message"]
        assert client.get("/about").json()["can"] == ["embed"]


def test_capabilities_are_offered_when_the_method_has_them(served: Served) -> None:
    class Able:
        """A method that classifies and recommends."""

        name, facts = "able", served.method.facts
        Data = type(served.method).Data

        def predict(self, data: Any) -> list[dict[str, Any]]:
            return [{"label": "sick", "rows": len(data)}] * len(data)

        def recommend(self, users: list[Any], k: int, **wishes: Any) -> list[list[dict[str, Any]]]:
            return [[{"id": f"item {n} for {user}", "score": 1.0} for n in range(k)] for user in users]

    with client_of(Served(Able(), "able")) as client:
        predicted = client.post("/predict", json={"input": [RECORD, RECORD]}).json()
        assert predicted["data"] == [{"label": "sick", "rows": 2}] * 2
        assert client.post("/recommend", json={"user": "ann", "k": 2}).json()["hits"][1]["id"] == "item 1 for ann"
        assert client.post("/v1/embeddings", json={"input": RECORD}).status_code == 404


def test_what_cannot_be_served_is_said_before_anything_listens(run: Path, index: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a run folder"):
        Served.open(tmp_path)
    with pytest.raises(UserError, match="is not an index"):
        Served.open(run, tmp_path)
    other = shutil.copytree(run, tmp_path / "other")
    weights = load_file(other / "model.safetensors")
    save_file({name: weight.flip(0) for name, weight in weights.items()}, other / "model.safetensors")
    with pytest.raises(UserError, match="do not belong together"):
        Served.open(other, index)
    config = (other / "config.yaml").read_text()
    (other / "config.yaml").write_text(config.replace("format: 1", "format: 99"))
    with pytest.raises(UserError, match="newer version"):
        Served.open(other)


def test_an_index_of_one_view_is_asked_with_that_view(run: Path, tmp_path: Path) -> None:
    build(run / "embeddings.parquet", str(tmp_path / "labs"), view="labs")
    with client_of(Served.open(run, tmp_path / "labs")) as client:
        answer = client.post("/search", json={"input": RECORD, "k": 3}).json()
        alone = client.post("/search", json={"input": {"labs": RECORD["labs"]}, "k": 3}).json()
        assert [hit["id"] for hit in answer["hits"]] == [hit["id"] for hit in alone["hits"]]
        lacking = client.post("/search", json={"input": {"ecg": RECORD["ecg"]}, "k": 1}).json()
    opened = Index.open(tmp_path / "labs")
    best = opened.search(oracle(run, {"ecg": RECORD["ecg"]}), 1).ids[0, 0]
    assert lacking["hits"][0]["id"] == best, "what lacks the view is searched with what it has"


def test_no_path_of_the_machine_is_told(client: TestClient, run: Path) -> None:
    told = [client.get(path).text for path in ("/about", "/v1/models", "/health", "/openapi.json", "/")]
    told.append(client.post("/search", json={"id": "nobody"}).text)
    assert not any(str(run.parent) in text for text in told)


def test_the_metrics_count_by_address_and_not_by_what_was_typed(client: TestClient) -> None:
    client.get("/no/such/address")
    client.get("/health")
    text = client.get("/metrics").text
    assert 'counterpoint_requests_total{method="GET",path="/health",status="200"}' in text
    assert "such" not in text
    assert 'path="other"' in text
    assert "process_resident_memory_bytes" in text


def test_the_interface_is_described(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    assert set(document["paths"]) == {
        *("/health", "/metrics", "/about", "/v1/models", "/v1/embeddings"),
        *("/search", "/why", "/map", "/predict", "/recommend"),
    }
    assert client.get("/docs").status_code == 200
    assert client.base_url == HOME
