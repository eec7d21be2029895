"""A real process that is stopped or killed leaves a folder that goes on to the same end, bit for bit."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from counterpoint.errors import UserError
from counterpoint.training import Run, Trainer, load
from training.toys import Points, Toy, events, snapshot

LIMIT = 300.0


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    """The fit that nobody stops."""
    from counterpoint import catalog
    from training import toys

    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(catalog, "OWN", (*catalog.OWN, toys.ROW))
        return folder, snapshot(go_on(folder))


@pytest.fixture
def process(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that fits the toy slowly into `tmp_path / "run"`."""
    code = f"from training.toys import slowly; slowly({str(tmp_path / 'run')!r}, 0.002)"
    paths = [str(Path(__file__).parents[1]), *filter(None, sys.path)]
    threads = str(torch.get_num_threads())  # sums are only added in the same order by as many threads as here
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": threads}
    started = subprocess.Popen([sys.executable, "-c", code], env=environment, stderr=subprocess.PIPE, text=True)
    yield started
    started.kill()
    started.wait()
    assert started.stderr is not None
    started.stderr.close()


def go_on(folder: Path) -> Toy:
    return Toy(epochs=30).fit(Points.made(), trainer=Trainer(run=Run(folder, resume=True), progress=False))


def wait_for_lines(process: subprocess.Popen[str], folder: Path, lines: int) -> None:
    """Until metrics.jsonl has so many lines."""
    deadline = time.monotonic() + LIMIT
    path = folder / "metrics.jsonl"
    while not path.exists() or path.read_bytes().count(b"\n") < lines:
        assert process.poll() is None, process.stderr and process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_ctrl_c_finishes_the_step_and_saves(
    process: subprocess.Popen[str], tmp_path: Path, whole: tuple[Path, dict]
) -> None:
    wait_for_lines(process, tmp_path / "run", 8)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=LIMIT) == 130
    done = len(events(tmp_path / "run"))
    assert 8 <= done < len(events(whole[0]))
    with pytest.raises(UserError, match=r"did not finish .* --resume"):
        load(tmp_path / "run")
    assert snapshot(go_on(tmp_path / "run")) == whole[1]
    assert events(tmp_path / "run") == events(whole[0])


@pytest.mark.parametrize(("lines", "pause"), [(1, 0.0), (40, 0.0077)])
def test_a_killed_process_can_go_on(
    process: subprocess.Popen[str], tmp_path: Path, whole: tuple[Path, dict], lines: int, pause: float
) -> None:
    wait_for_lines(process, tmp_path / "run", lines)
    time.sleep(pause)
    process.kill()
    assert process.wait(timeout=LIMIT) == -signal.SIGKILL
    assert snapshot(go_on(tmp_path / "run")) == whole[1]
    assert events(tmp_path / "run") == events(whole[0])
    assert not list((tmp_path / "run").rglob("*.tmp"))


def test_a_second_ctrl_c_stops_at_once(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGINT)
    trainer = Trainer(run=Run(tmp_path / "a"))
    with trainer._finish_the_step_on_interrupt():
        signal.raise_signal(signal.SIGINT)
        assert trainer.stopping
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_without_a_run_ctrl_c_is_pythons_own() -> None:
    with pytest.raises(KeyboardInterrupt), Trainer()._finish_the_step_on_interrupt():
        signal.raise_signal(signal.SIGINT)
