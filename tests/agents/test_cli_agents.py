"""improve and advise as a user drives them: a folder of weights, an endpoint, a page, Ctrl-C's --resume."""

import json
from pathlib import Path

import pytest

from agents.scripted import sums
from agents.tiny_llama import tiny_llama
from counterpoint.agents import environment as world
from counterpoint.cli import main
from language.server import Script, endpoint
from text import tiny

OPTIONS = [f"embedder={tiny.tiny()}", "students=2", "variants=none", "max_tokens=4"]


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    data = sums(6, 0)
    rows = [{"question": text, "answer": answer} for text, answer in zip(data.texts, data.answers, strict=True)]
    path = tmp_path / "sums.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_improve_with_a_folder_of_weights(questions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    assert main(["improve", str(questions), *OPTIONS, "--model", tiny_llama(), "--out", str(out), "--quiet"]) == 0
    printed = capsys.readouterr().out
    assert "accuracy" in printed
    assert "rules from" in printed
    assert len(lines(out / "tables" / "answers.jsonl")) == 6
    page = (out / "report.html").read_text()
    assert "Rules it wrote for itself" in page
    assert "What it cost" in page
    assert "calls failed" in printed
    assert main(["improve", str(questions), *OPTIONS, "--model", tiny_llama(), "--out", str(out), "--quiet"]) == 2
    assert "already holds a run" in capsys.readouterr().err


def test_improve_over_an_endpoint_that_dies_and_comes_back(
    questions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("counterpoint.language.endpoint._pause", lambda attempt, error: 0.0)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    script = Script()
    with endpoint(script) as address:
        command = ["improve", str(questions), *OPTIONS, "--model", f"{address}#m", "--quiet", "--out"]
        assert main([*command, str(tmp_path / "whole")]) == 0
        script.faults = [None] * 9 + [500] * 60
        assert main([*command, str(tmp_path / "cut")]) == 2
        assert "go on with --resume" in capsys.readouterr().err
        script.faults, asked = [], len(script.bodies)
        assert main([*command, str(tmp_path / "cut"), "--resume"]) == 0
    for name in ("rules", "answers"):
        assert lines(tmp_path / "cut" / "tables" / f"{name}.jsonl") == lines(
            tmp_path / "whole" / "tables" / f"{name}.jsonl"
        )
    assert len(script.bodies) - asked < 3 * 6  # what was answered before is not asked again
    written = b"".join(path.read_bytes() for path in (tmp_path / "cut").rglob("*") if path.is_file())
    assert b"sk-secret" not in written


def test_a_model_that_is_nowhere_is_one_line(
    questions: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["improve", str(questions), "--model", "http://127.0.0.1:1/v1", "--out", str(tmp_path / "r")]) == 2
    assert "which model?" in capsys.readouterr().err


def test_fit_clear_and_advise(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = world.runs(world.templates()[:12], 2, 5, 0)
    rows = [
        {"task": task, "template": kind, "outcome": outcome, "steps": [list(step) for step in steps]}
        for task, kind, outcome, steps in zip(
            data.tasks, data.columns["template"], data.outcomes, data.steps, strict=True
        )
    ]
    path = tmp_path / "trajectories.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    out = tmp_path / "run"
    options = ["environment=apps", "epochs=4", "rl_steps=2", "width=16"]
    assert main(["fit", "clear", str(path), *options, "--out", str(out), "--quiet"]) == 0
    assert "success" in capsys.readouterr().out
    assert main(["advise", str(out), "In the music app, delete the entry 'Rent'.", "something else"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2
    assert main(["advise", str(out), "a", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["task"] == "a"
    assert main(["evaluate", str(out), str(path), "--quiet"]) == 0
    del rows[3]["outcome"]
    path.write_text("\n".join(map(json.dumps, rows)))
    assert main(["fit", "clear", str(path), "--out", str(tmp_path / "other"), "--quiet"]) == 2
    assert 'row 4: no "outcome"' in capsys.readouterr().err
