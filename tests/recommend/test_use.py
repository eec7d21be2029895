"""Lists for people: filters, controls, reasons, known users and files, from Python, the command line and the server."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from counterpoint import jobs, load
from counterpoint.cli import main
from counterpoint.errors import UserError
from counterpoint.recommend.sasrec import SASRec
from counterpoint.serving.served import Served
from counterpoint.training import Trainer
from recommend.shop import ITEMS, SESSIONS, catalogue, shop
from serving.served_run import client_of

SASREC = (
    "dim=8",
    "layers=1",
    "epochs=1",
    "batch_size=16",
    "max_length=6",
    "behaviours.view=view",
    "behaviours.buy=buy",
)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = shop(40, 0)
    folder = tmp_path_factory.mktemp("shop")
    events = {
        "user": data.user_ids[data.users],
        "item": data.item_ids[data.items],
        "time": data.times,
        "behaviour": np.array(data.labels)[data.behaviours],
    }
    pq.write_table(pa.table(events), folder / "shop.parquet")
    pq.write_table(catalogue(), folder / "items.parquet")
    return folder / "shop.parquet"


@pytest.fixture(scope="module")
def run(file: Path) -> Path:
    told: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jobs, "report_of", lambda folder, say: None)
        jobs.fit(jobs.Fit("sasrec", file, file.parent / "run", [*SASREC, "catalogue=items.parquet"]), say=told.append)
    assert any("events, " in line for line in told)
    assert any("too few events to be asked about" in line for line in told)
    return file.parent / "run"


@pytest.fixture(scope="module")
def method() -> SASRec:
    return SASRec(dim=8, layers=1, epochs=2, batch_size=16).fit(shop(40, 0), trainer=Trainer(progress=False))


def ids(hits: list[dict[str, Any]]) -> list[str]:
    return [hit["id"] for hit in hits]


def test_lists_are_the_best_scores_without_what_was_seen(method: SASRec) -> None:
    (hits,) = method.recommend([["i3", "i4"]], k=ITEMS)
    assert len(hits) == ITEMS - 2
    assert not {"i3", "i4"} & set(ids(hits))
    scores = [hit["score"] for hit in hits]
    assert scores == sorted(scores, reverse=True)
    (kept,) = method.recommend([["i3", "i4"]], k=ITEMS, exclude_seen=False)
    assert len(kept) == ITEMS
    assert hits[0]["title"].startswith(("Tea", "Rice", "Salt", "Soap"))


def test_nobody_in_particular_gets_what_is_popular(method: SASRec) -> None:
    hits = method.recommend(SESSIONS, k=3)[1]
    counts = method.items.counts.sort(descending=True).values
    assert [round(float(np.expm1(hit["score"]))) for hit in hits] == counts[:3].tolist()


def test_filters(method: SASRec) -> None:
    (hits,) = method.recommend([["i3"]], k=ITEMS, where={"kind": "tea"})
    assert set(ids(hits)) == {f"i{n}" for n in range(0, ITEMS, 4)}
    (hits,) = method.recommend(
        [["i3"]], k=ITEMS, where={"kind": ["tea", "rice"], "tags": "even"}, allow=["i0", "i1", "i3"]
    )
    assert ids(hits) == ["i0"]
    assert method.recommend([["i3"]], allow=[]) == [[]]


def test_diversity_is_maximal_marginal_relevance(method: SASRec) -> None:
    plain, spread, most = (ids(method.recommend([["i3", "i9"]], k=6, diversity=d)[0]) for d in (0.0, 0.5, 1.0))
    assert plain[0] == spread[0] == most[0]
    assert len(set(most)) == 6

    @torch.no_grad()
    def alike(listed: list[str]) -> float:
        numbers = torch.from_numpy(method.items.numbers(listed))
        cosines = method.similarity(numbers, numbers)
        return float((cosines.sum() - cosines.trace()) / 30)

    assert alike(most) < alike(spread) <= alike(plain) + 1e-6


def test_popular_items_lose(method: SASRec) -> None:
    def popularity(weight: float) -> float:
        hits = method.recommend([["i3"], ["i5", "i6"]], k=5, popularity=weight)
        return float(
            method.items.counts[method.items.numbers([one for row in hits for one in ids(row)])].float().mean()
        )

    assert popularity(5.0) < popularity(0.0) < popularity(-5.0)


def test_reasons_are_the_nearest_items_of_the_history(method: SASRec) -> None:
    (hits,) = method.recommend([["i3", "i9", "i12"]], k=2, reasons=2)
    history = torch.tensor([3, 9, 12])
    for hit in hits:
        number = torch.from_numpy(method.items.numbers([hit["id"]]))
        with torch.no_grad():
            expected = method.similarity(number, history)[0].topk(2)
        pairs = [(f"i{history[n]}", float(cosine)) for cosine, n in zip(*expected, strict=True) if cosine > 0]
        assert ids(hit["reasons"]) == [name for name, _ in pairs]
        assert [near["similarity"] for near in hit["reasons"]] == pytest.approx([cosine for _, cosine in pairs])


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ({}, "give either histories or users"),
        ({"histories": [["i3"]], "users": ["u1"]}, "give either histories or users"),
        ({"histories": [["i33"]]}, 'unknown item "i33"; did you mean "i3"'),
        ({"histories": ["i3"]}, "a history is a list of items"),
        ({"histories": [[{"item": "i3", "behaviour": "bye"}]]}, 'unknown behaviour "bye"; did you mean "buy"'),
        ({"histories": [[{"id": "i3"}]]}, "is not an event"),
        ({"users": ["u1"]}, "no histories of known users here"),
        ({"histories": [["i3"]], "where": {"kin": "tea"}}, 'items have no "kin"; did you mean "kind"'),
        ({"histories": [["i3"]], "allow": ["x"]}, 'unknown item "x"'),
        ({"histories": [["i3"]], "diversity": 2.0}, "diversity=2.0 from 0 to 1"),
        ({"histories": [["i3"]], "k": 0}, "k=0 is at least 1"),
    ],
)
def test_a_mistake_is_one_line(method: SASRec, arguments: dict[str, Any], line: str) -> None:
    with pytest.raises(UserError) as raised:
        method.recommend(**arguments)
    assert line in str(raised.value)


# --- a run folder


def test_a_fit_leaves_everything_that_is_asked_for_later(run: Path) -> None:
    evaluation = json.loads((run / "evaluation.json").read_text())
    assert evaluation["against"]["name"] == "markov"
    assert evaluation["assessment"]["protocol"]["seen"] in ("kept", "removed")
    items = pq.read_table(run / "embeddings.parquet")
    assert items["id"].to_pylist()[:2] == ["i3", "i4"] or len(items) == ITEMS
    assert {"joint", "title", "kind", "tags"} <= set(items.column_names)
    assert len(pq.read_table(run / "histories.parquet")) == 40


def test_known_users_get_lists_from_all_they_did(run: Path) -> None:
    model: Any = load(run)
    row = pq.read_table(run / "histories.parquet").to_pylist()[7]
    events = [{"item": i, "behaviour": b} for i, b in zip(row["items"], row["behaviours"], strict=True)]
    assert model.recommend(users=[row["user"]]) == model.recommend([events])
    with pytest.raises(UserError, match=r'unknown user "u77"; did you mean "u7".*for someone new give a history'):
        model.recommend(users=["u77"])


def test_the_same_run_is_judged_again(run: Path, file: Path) -> None:
    again = jobs.evaluate(run, file)
    assert (
        again["measures"]["ndcg10"]["value"]
        == json.loads((run / "evaluation.json").read_text())["measures"]["ndcg10"]["value"]
    )


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    code = main(["recommend", *arguments])
    printed = capsys.readouterr()
    assert code == 0, printed.err
    return printed.out


def test_the_command_line(run: Path, file: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    found = json.loads(said(capsys, str(run), "--user", "u3", "--user", "u5", "-k", "2", "--json"))
    assert [one["user"] for one in found] == ["u3", "u5"]
    text = said(capsys, str(run), "--history", "i3,i4", "-k", "3", "--where", "kind=tea,rice", "--reasons", "1")
    assert text.splitlines()[0].split() == ["user", "rank", "id", "title", "score", "because", "of"]
    assert len(text.splitlines()) == 4
    said(capsys, str(run), "-o", str(tmp_path / "all.parquet"), "-k", "4", "--quiet")
    table = pq.read_table(tmp_path / "all.parquet").to_pylist()
    model: Any = load(run)
    expected = model.recommend(users=[row["user"] for row in table], k=4)
    assert [row["items"] for row in table] == [ids(hits) for hits in expected]
    said(capsys, str(run), "-o", str(tmp_path / "file.parquet"), "--data", str(file), "-k", "4", "--quiet")
    assert pq.read_table(tmp_path / "file.parquet")["items"].to_pylist() == [row["items"] for row in table]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ((), "say for whom"),
        (("--user", "u1", "--history", "i1"), "say for whom"),
        (("--user", "nobody"), 'unknown user "nobody"'),
        (("--history", "i1", "--where", "kind"), "write col=value"),
        (("--user", "u1", "-o", "x.parquet"), "--output is for everybody"),
        (("--history", "i1", "--diversity", "3"), "--diversity"),
    ],
)
def test_a_mistake_on_the_command_line_is_one_line(
    run: Path, arguments: tuple[str, ...], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["recommend", str(run), *arguments]) == 2
    printed = capsys.readouterr().err
    assert line in printed
    assert printed.count("\n") == 1


def test_the_server(run: Path) -> None:

    with client_of(Served.open(run)) as client:
        assert "recommend" in client.get("/about").json()["can"]
        asked = {"history": ["i3", {"item": "i4", "behaviour": "view"}], "k": 3, "reasons": 1, "where": {"kind": "tea"}}
        hits = client.post("/recommend", json=asked).json()["hits"]
        assert len(hits) == 3
        assert {near["id"] for hit in hits for near in hit["reasons"]} <= {"i3", "i4"}
        assert client.post("/recommend", json={"user": "u3"}).status_code == 200
        for wrong, status in (({"user": "x"}, 400), ({}, 400), ({"history": ["x"]}, 400), ({"history": [1.5]}, 422)):
            assert client.post("/recommend", json=wrong).status_code == status, wrong
