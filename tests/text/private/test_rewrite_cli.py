"""`counterpoint fit damper` and `rewrite` as a user drives them: what is printed, written and refused, and the page."""

import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chromium import chromium, look
from counterpoint.cli import main
from text import tiny
from text.tiny_spans import spanned

TEXT = "the word1 word2 of the word45 word50, and for word48"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("damper")
    data = spanned(60, 0, complete=True)
    rows = [
        {"text": data.texts[row], "spans": [list(span) for span in data.spans[row]], "domain": data.domains[row]}
        for row in range(60)
    ]
    (folder / "notes.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "text.txt").write_text(TEXT + "\n", encoding="utf-8-sig")
    options = [f"base={tiny.tiny()}", "lora=2", "epochs=5", "batch_size=16", "optim.lr=0.01", "gamma=0.5"]
    assert main(["fit", "damper", str(folder / "notes.jsonl"), *options, "--out", str(folder / "run"), "--quiet"]) == 0
    return folder


def test_the_text_goes_to_stdout_and_the_statement_to_stderr(folder: Path, capsys: Any) -> None:
    assert main(["rewrite", str(folder / "run"), str(folder / "text.txt"), "--epsilon", "3", "--quiet"]) == 0
    told = capsys.readouterr()
    assert told.out.startswith("the ")
    assert told.out.endswith("\n")
    assert "\n\n" not in told.out
    assert told.err.startswith("Guaranteed: words of a public list")
    assert "Not guaranteed: everything outside the found spans" in told.err


def test_json_tells_places_and_budgets_but_not_what_stood_there(folder: Path, capsys: Any) -> None:
    words = ["rewrite", str(folder / "run"), str(folder / "text.txt"), "--epsilon", "4", "--length", "2", "--json"]
    assert main([*words, "--seed", "1"]) == 0
    told = json.loads(capsys.readouterr().out)
    (one,) = told["texts"]
    assert one["budget"]["spans"] == len(one["spans"]) >= 1
    assert one["budget"]["epsilon_total"] == 4 * len(one["spans"])
    assert one["budget"]["epsilon_per_draw"] == 2
    assert "original" not in one["spans"][0]
    assert any("knows the seed" in sentence for sentence in told["statement"])
    found = [TEXT[span["start"] : span["end"]] for span in one["spans"]]
    assert all(span not in one["text"] for span in found)
    assert main([*words, "--seed", "1"]) == 0
    assert json.loads(capsys.readouterr().out) == told


def test_a_table_with_gaps_and_a_list_of_ones_own(folder: Path, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "posts.csv").write_text(f'who,text\na,"{TEXT}"\nb,\n')
    (tmp_path / "words.txt").write_text("Paris\nRome\nOslo\n")
    out = tmp_path / "new.json"
    words = ["rewrite", str(folder / "run"), str(tmp_path / "posts.csv"), "--epsilon", "1", "-o", str(out)]
    assert main([*words, "--vocabulary", str(tmp_path / "words.txt")]) == 0
    assert "1 of 2 rows have no text" in capsys.readouterr().err
    told = json.loads(out.read_text())
    assert told["texts"][1] is None
    assert {span["replacement"] for span in told["texts"][0]["spans"]} <= {"Paris", "Rome", "Oslo"}


def test_standard_input(folder: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(TEXT.encode()), encoding="utf-8"))
    assert main(["rewrite", str(folder / "run"), "-", "--epsilon", "2", "--quiet"]) == 0
    assert "word1 word2" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (["--epsilon", "0"], "epsilon=0 must be a number above 0"),
        (["--epsilon", "-2"], "epsilon=-2 must be a number above 0"),
        (["--epsilon", "1", "--proposer", "trained"], "this run has no rewriting model"),
        (["--epsilon", "1", "--length", "0"], "length=0: a replacement has 1 to 32"),
        (["--epsilon", "1", "--proposer", "http://localhost:1/v1"], "which model?"),
        (["--epsilon", "1", "--vocabulary", "none.txt"], "cannot be read as a list of words"),
        (["--epsilon", "1", "--text", "note"], "is a plain text without columns"),
    ],
)
def test_mistakes_are_one_line_and_pass_nothing_on(folder: Path, capsys: Any, change: list[str], said: str) -> None:
    assert main(["rewrite", str(folder / "run"), str(folder / "text.txt"), *change]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert said in told.err
    assert told.err.count("\n") == 1


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"", "is empty"), (b" \n ", "is empty"), (b"a\nb \xff c", "line 2 is not UTF-8 (byte 5, 0xff)")],
)
def test_texts_that_are_none(folder: Path, tmp_path: Path, capsys: Any, content: bytes, said: str) -> None:
    (tmp_path / "a.txt").write_bytes(content)
    assert main(["rewrite", str(folder / "run"), str(tmp_path / "a.txt"), "--epsilon", "1"]) == 2
    told = capsys.readouterr()
    assert said in told.err
    assert told.out == ""


def test_without_a_trained_run_there_is_an_error_and_no_text(tmp_path: Path, folder: Path, capsys: Any) -> None:
    assert main(["rewrite", str(tmp_path / "none"), str(folder / "text.txt"), "--epsilon", "1"]) == 2
    told = capsys.readouterr()
    assert "is not a run folder" in told.err
    assert told.out == ""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    yield from chromium(tmp_path_factory.mktemp("profile"))


def test_the_page_marks_what_was_found(folder: Path, tmp_path: Path, browser: Any, capsys: Any) -> None:
    hostile = tmp_path / "text.txt"
    hostile.write_text("the <script>alert(1)</script> " + TEXT)
    page = tmp_path / "page.html"
    assert main(["rewrite", str(folder / "run"), str(hostile), "--epsilon", "3", "--page", str(page), "--quiet"]) == 0
    assert f"page: {page}" in capsys.readouterr().err
    look(browser, page.as_uri())
    before = browser.find_elements("css selector", ".before mark")
    after = browser.find_elements("css selector", ".after mark")
    assert len(before) == len(after) >= 1
    assert "do not send it on" in browser.find_element("css selector", ".warning").text
    assert "</script" in browser.find_element("css selector", ".before").text
    assert not browser.find_elements("css selector", "main script")
    assert "Guaranteed" in browser.find_element("css selector", "section ul").text
    assert browser.execute_script("return document.documentElement.scrollWidth <= window.innerWidth")
    assert not [line for line in browser.get_log("browser") if line["level"] == "SEVERE"]
