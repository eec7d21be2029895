"""`counterpoint guard` as a user drives it: what it prints, the folder it leaves, the page, and what it refuses."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chromium import chromium, look
from counterpoint.cli import main
from counterpoint.reports.shortcuts import marked
from text import tiny_classifier
from text.labels.test_classifier import theirs
from text.tiny_classifier import classifier

OPTIONS = ("k=3", "batch_size=8", "optim.lr=0.02", "dropout=0", "--quiet")


def write(path: Path, rows: int, seed: int, labels: bool = True) -> Path:
    data = tiny_classifier.labelled(rows, seed, complete=True)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "text", *(["label"] if labels else [])])
        for row in range(rows):
            known = [data.columns["label"][row]] if labels else []
            writer.writerow([f"t{row}", data.text.values[row], *known])
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("guard")
    write(folder / "texts.csv", 40, 0)
    write(folder / "bare.csv", 30, 2, labels=False)
    write(folder / "support.csv", 20, 1)
    return folder


@pytest.fixture(scope="module")
def run(files: Path) -> Path:
    words = [str(files / "texts.csv"), "--support", str(files / "support.csv"), *OPTIONS]
    assert main(["guard", classifier(), *words, "--out", str(files / "run")]) == 0
    return files / "run"


def test_it_says_alpha_and_before_and_after(files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [str(files / "bare.csv"), "--support", str(files / "support.csv"), *OPTIONS[:-1]]
    assert main(["guard", classifier(), *words, "--out", str(tmp_path / "run")]) == 0
    printed = capsys.readouterr()
    first, head, *lines = printed.out.splitlines()
    assert first.startswith("alpha ")
    assert first.endswith(", by 20 labelled texts")
    assert head.split() == ["on", "the", "support", "before", "after"]
    assert [line.split()[0] for line in lines[:4]] == ["accuracy", "wga", "nll", "mstps"]
    assert lines[4].startswith("words it leaned on: word")
    assert lines[-3:] == [
        f"{name}: {tmp_path / 'run' / place}"
        for name, place in (*(("adapter", "adapter"), ("merged", "merged"), ("report", "report.html")),)
    ]
    assert "20 labelled rows set the strength, 30 texts are adapted to" in printed.err
    assert "it flatters" in printed.err


def test_the_folder_holds_a_run_an_adapter_and_a_classifier(run: Path, files: Path) -> None:
    found = json.loads((run / "evaluation.json").read_text())
    assert found["judged_on"] == "texts"
    assert found["rows"] == 40
    assert set(found["against"]["difference"]) == {"accuracy", "wga", "nll", "mstps"}
    assert {path.name for path in (run / "adapter").iterdir()} == {"adapter_config.json", "adapter_model.safetensors"}
    assert theirs(run / "merged", ["word1 word2"]).shape == (1, 2)
    assert "adapter_model" not in (run / "README.md").read_text()
    assert "AutoModelForSequenceClassification" in (run / "README.md").read_text()


def test_the_run_predicts_and_goes_on_from_nothing(run: Path, files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", str(run), str(files / "bare.csv"), "--json", "--quiet"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert len(said) == 30
    assert set(said[0]["probabilities"]) == {"bad", "good"}
    again = [str(files / "texts.csv"), "--support", str(files / "support.csv"), *OPTIONS, "--out", str(run)]
    assert main(["guard", classifier(), *again]) == 2
    assert "already holds a run" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (["--label", "lable"], 'no column "lable" with labels; did you mean "label"'),
        (["--text", "txt"], 'view.text: no column "txt"; did you mean "text"'),
        (["temprature=1"], 'unknown option "temprature"; did you mean "temperature"'),
        (["rank=0"], 'option rank: "0" is not a whole number >= 1'),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(
    files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: list[str], said: str
) -> None:
    words = [classifier(), str(files / "texts.csv"), *change, "--support", str(files / "support.csv")]
    assert main(["guard", *words, "--out", str(tmp_path / "run")]) == 2
    printed = capsys.readouterr().err
    assert said in printed
    assert printed.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_labels_of_another_classifier_are_named(
    files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    strange = tmp_path / "support.csv"
    strange.write_text("text,label\nword1 word2,happy\nword3,sad\n")
    words = [classifier(), str(files / "texts.csv"), "--support", str(strange), "--out", str(tmp_path / "run")]
    assert main(["guard", *words]) == 2
    said = (
        f'{strange} beside {files / "texts.csv"}: row 1, column "label": "happy" is none of the classifier\'s classes'
    )
    assert said in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_texts_are_escaped_and_marks_do_not_overlap() -> None:
    assert marked("<b>x</b>", []) == "&lt;b&gt;x&lt;/b&gt;"
    assert marked("ab cd", [[0, 2, 0.1], [1, 4, 0.9], [3, 5, -0.2]]).count("<mark") == 2
    assert marked("ab", [[0, 9, 1.0]]) == "ab"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    yield from chromium(tmp_path_factory.mktemp("profile"))


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("dark", [False, True])
def test_the_page_shows_the_words_in_their_texts(browser: Any, run: Path, width: int, dark: bool) -> None:
    look(browser, (run / "report.html").as_uri(), width, dark)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    found = json.loads((run / "evaluation.json").read_text())["assessment"]["shortcuts"]
    texts = browser.find_elements("css selector", "#shortcuts article.twice")
    assert len(texts) == len(found["examples"])
    marks = texts[0].find_elements("css selector", "p.leaned:nth-of-type(2) mark")
    one = found["examples"][0]
    assert [mark.get_attribute("textContent") for mark in marks] == [
        f"{one['text'][a:b]}{round(100 * drop)}" for a, b, drop in one["before"]["marks"]
    ]
    strongest = max(marks, key=lambda mark: float(mark.get_attribute("style").split(":")[1].rstrip("; ")))
    assert strongest.value_of_css_property("background-color") != "rgba(0, 0, 0, 0)"
    words = [cell.text for cell in browser.find_elements("css selector", "#shortcuts tbody th")]
    assert [word["word"] for word in found["words"]] == words[1:]
    assert browser.get_log("browser") == []
