"""The runner puts our objective where a peer's test file looks for the peer's, and counts what comes of it."""

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import run

ROOT = Path(__file__).resolve().parent.parent.parent
FILE = "tests/losses/test_ntxent_loss.py"
TESTS = """
from pytorch_metric_learning.losses import NTXentLoss


def test_the_loss_is_ours():
    assert NTXentLoss(0.1).__module__ == "adapters.metric_learning"


def test_with_another_reducer_it_is_theirs():
    assert NTXentLoss(0.1, reducer=None).__module__.startswith("pytorch_metric_learning")


def test_that_fails():
    assert False


def test_of_a_flag(mocker):
    assert False
"""


def test_a_test_file_of_a_peer_meets_our_objective(tmp_path: Path) -> None:
    pytest.importorskip("pytorch_metric_learning")
    (tmp_path / FILE).parent.mkdir(parents=True)
    (tmp_path / FILE).write_text(TESTS)
    command = [sys.executable, ROOT / "conformance" / "run.py", "--suite", "metric_learning", tmp_path, FILE]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    found = json.loads(done.stdout.splitlines()[-1])
    mocks = find_spec("pytest_mock") is not None  # it brings `mocker`, so that nothing is left out
    failed = ["test_of_a_flag", "test_that_fails"] if mocks else ["test_that_fails"]
    assert found == {"passed": 2, "left_out": int(not mocks), "failed": failed}


def test_a_failure_that_an_adapter_explains_is_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pytorch_metric_learning")
    (tmp_path / FILE).parent.mkdir(parents=True)
    (tmp_path / FILE).write_text(TESTS.replace("def test_of_a_flag(mocker)", "def test_of_bits()"))
    git = ["git", "-C", tmp_path, "-c", "user.name=n", "-c", "user.email=e"]
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    subprocess.run([*git, "commit", "--quiet", "--allow-empty", "-m", "start"], check=True)
    adapter = run.import_module("adapters.metric_learning")
    monkeypatch.setattr(adapter, "SUITES", {FILE: adapter.SUITES[FILE]})
    monkeypatch.setattr(adapter, "EXPECTED", {FILE: {"test_of_bits": "bits"}}, raising=False)
    monkeypatch.setattr(run, "PEERS", ("metric_learning",))
    (row,) = run.suites({adapter.PEER: tmp_path})
    assert (row["passed"], row["failed"], row["expected"]) == (2, ["test_that_fails"], {"test_of_bits": "bits"})
    assert len(row["commit"]) == 40


def test_a_folder_that_is_no_repository_has_no_commit(tmp_path: Path) -> None:
    assert run.at_commit(tmp_path) == {}
