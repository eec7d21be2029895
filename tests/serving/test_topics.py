"""`counterpoint topics` as a user drives it: what it prints and leaves, the page with clicks, and what it refuses."""

import csv
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import counterpoint as cp
from chromium import chromium, look
from counterpoint.cli import main
from counterpoint.language import open_model
from counterpoint.text.topics.corpus import Corpus
from counterpoint.text.topics.simulate import GOALS, goal_corpus

SMALL = ("epochs=4", "batch_size=32", "iterations=10", "hidden=20", "words=1", "--quiet")


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("topics") / "diary.csv"
    data = goal_corpus(120, 0, filler=3, loud=4)
    with path.open("w", newline="") as made:
        writer = csv.writer(made)
        writer.writerow(["id", "text"])
        writer.writerows([f"d{row}", text] for row, text in enumerate([*data.text.values, "  "]))
    return path


@pytest.fixture(scope="module")
def run(file: Path) -> Path:
    folder = file.parent / "run"
    assert main(["topics", str(file), "--goal", GOALS["a"], "-k", "4", *SMALL, "--out", str(folder)]) == 0
    return folder


def test_it_writes_topics_documents_and_pages(run: Path) -> None:
    found = json.loads((run / "topics.json").read_text())
    assert found["goal"] == GOALS["a"]
    assert (found["documents"], found["without_text"]) == (120, 1)
    assert sum(one["documents"] for one in found["topics"]) == 120
    aligned = [one["goal_alignment"] for one in found["topics"]]
    assert aligned == sorted(aligned, reverse=True)
    assert all(len(one["words"]) == 10 and one["examples"] for one in found["topics"] if one["documents"])
    assert all(one["above"][0] == one["documents"] for one in found["topics"])
    rows = pq.read_table(run / "documents.parquet").to_pylist()
    assert [row["id"] for row in rows] == [f"d{row}" for row in range(121)]
    assert rows[-1]["topic"] is None
    assert 0 < sum(not row["phrases"] for row in rows) - 1 == found["off_goal"] < 120
    assert {"npmi", "c_v", "c_p", "unique", "goal_alignment"} <= set(found["measures"])
    assert found["against"]["name"] == "clusters of the phrases"
    assert (run / "README.md").is_file()
    model: Any = cp.load(run)
    assert model.shares(Corpus.about(GOALS["a"], ["an awful headache"])).shape == (1, 4)


def test_it_prints_topics_and_measures(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = tmp_path / "documents.jsonl"
    options = [*SMALL[:-1], "epochs=1"][1:]
    words = [str(file), "--goal", GOALS["b"], "-k", "3", *options, "-o", str(lines), "--out", str(tmp_path / "run")]
    assert main(["topics", *words]) == 0
    printed = capsys.readouterr()
    head, *rest = printed.out.splitlines()
    assert head.split() == ["topic", "documents", "alignment", "words"]
    assert rest[3].endswith("of 120 documents say nothing near the goal")
    assert rest[-2:] == [str(lines), str(tmp_path / "run" / "topics.html")]
    assert "documents say nothing near the goal" in printed.err
    assert "1 of 121 rows have no text" in printed.err
    assert len([json.loads(line) for line in lines.read_text().splitlines()]) == 121


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--goal", " "], "--goal is empty"),
        (["--goal", "what?", "-k", "500"], "topics=500"),
        (["--goal", "what?", "-o", "a.csv"], "ends in .parquet or .jsonl"),
        (["--goal", "what?", "threshold=50"], "no document says anything near the goal"),
        (["--goal", "what?", "epoch=1"], 'did you mean "epochs"'),
        (["--goal", "what?", "--text", "nowhere"], 'no column "nowhere"'),
    ],
)
def test_refusals(words: list[str], said: str, file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["topics", str(file), *words, "--out", str(tmp_path / "run")]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert said in errors[-1]
    assert not (tmp_path / "run" / "topics.json").exists()


class Moody(BaseHTTPRequestHandler):
    """An endpoint that is late, then answers junk, then a list; by the number of the call."""

    calls = 0

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))["messages"][-1]["content"]
        type(self).calls += 1
        said = asked.rpartition("<<<")[2].partition(">>>")[0]
        text = "certainly!" if "football" in said else json.dumps(said.replace(".", "").split()[:2])
        if "goalkeeper" in said:
            time.sleep(0.6)
        body = {"choices": [{"message": {"content": text}, "finish_reason": "stop"}], "usage": None}
        try:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())
        except OSError:
            pass

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    from counterpoint.language import endpoint

    monkeypatch.setattr(endpoint, "_pause", lambda attempt, error: 0.0)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Moody)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1#moody"
    server.shutdown()
    server.server_close()


def test_an_endpoint_that_is_late_or_talks_is_counted_and_not_asked_twice(
    endpoint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.txt"
    lines = [
        "my headache again. so bad",
        "football all day",
        "the goalkeeper fell",
        *(f"cough number {n} x" for n in range(9)),
    ]
    path.write_text("\n".join(lines))
    words = ["topics", str(path), "--goal", "what hurts?", "-k", "2", "epochs=1", "batch_size=4", "least=1", "--model"]
    assert main([*words, endpoint, "--timeout", "0.3", "--out", str(tmp_path / "run")]) == 0
    said = capsys.readouterr().err
    assert "1 junk, 1 no answer, 10 phrases" in said
    assert "1 of 12 documents: no answer" in said
    before = Moody.calls
    assert main([*words, endpoint, "--timeout", "0.3", "--out", str(tmp_path / "run"), "--resume"]) == 0
    assert Moody.calls - before <= 6  # the junk and the late one alone
    assert open_model("http://localhost:1/v1#m")[0].name.endswith("#m")


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Any]:
    yield from chromium(tmp_path)


def test_the_page_answers_clicks_and_the_slider(browser: Any, run: Path) -> None:
    found = json.loads((run / "topics.json").read_text())
    look(browser, (run / "topics.html").as_uri())
    listed = browser.find_elements("css selector", "#list button")
    assert len(listed) == len(browser.find_elements("css selector", "#map g")) == 4
    listed[1].click()
    chosen = browser.find_element("css selector", '#list button[aria-pressed="true"]').get_attribute("data-topic")
    assert browser.find_element("id", "name").text.startswith(f"Topic {chosen}: ")
    own = next(one for one in found["topics"] if str(one["topic"]) == chosen)
    assert [one.text for one in browser.find_elements("css selector", "#words li")] == [
        word for word, _ in own["words"]
    ]
    circle = browser.find_elements("css selector", "#map g")[-1]
    topic = circle.get_attribute("data-topic")
    browser.execute_script("arguments[0].dispatchEvent(new MouseEvent('click', {bubbles: true}))", circle)
    assert browser.find_element("id", "name").text.startswith(f"Topic {topic}: ")
    assert browser.find_element("id", "kept").text == "120 of 120 documents"
    move = "const s = document.getElementById('goal'); s.value = 50; s.dispatchEvent(new Event('input'));"
    browser.execute_script(move)
    kept = sum(one["above"][50] for one in found["topics"])
    assert browser.find_element("id", "kept").text == f"{kept} of 120 documents"
    assert 55 <= kept <= 65
    assert [line for line in browser.get_log("browser") if line["level"] == "SEVERE"] == []


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, True)])
def test_the_page_fits_the_screen_and_keeps_the_rules(browser: Any, run: Path, width: int, dark: bool) -> None:
    rules = (files("axe_core_python") / "axe.min.js").read_text(encoding="utf-8")
    look(browser, (run / "topics.html").as_uri(), width, dark)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    browser.execute_cdp_cmd("Runtime.evaluate", {"expression": rules})
    broken = browser.execute_async_script(
        "const done = arguments[0]; axe.run().then(r => done(r.violations.map(v => [v.id, v.nodes.map(n => n.html)])))"
    )
    assert broken == []
