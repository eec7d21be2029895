"""Trackers hear what the run folder hears, and how the fit ended."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from lightning_fabric.loggers.logger import Logger

from counterpoint.errors import UserError
from counterpoint.training import Run, Trainer
from counterpoint.training.trackers import MLflowLogger, numbers, tracker
from training.toys import Points, Toy

DATA = Points.made()


class Heard(Logger):
    """Remembers what it is told."""

    name, version = "heard", 0

    def __init__(self) -> None:
        self.metrics: list[tuple[int | None, dict[str, float]]] = []
        self.options: list[dict[str, Any]] = []
        self.ends: list[str] = []

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.metrics.append((step, metrics))

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        self.options.append(params)

    def finalize(self, status: str) -> None:
        self.ends.append(status)


class Deaf(Heard):
    """Stops the fit when it is first told a number."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        raise self.error


def lines(run: Run) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]


def test_a_tracker_hears_every_line_of_the_run(tmp_path: Path) -> None:
    heard, run = Heard(), Run(tmp_path / "run")
    toy = Toy().fit(DATA, DATA, Trainer(run=run, progress=False, trackers=[heard]))
    written = lines(run)
    assert [step for step, _ in heard.metrics] == [line["step"] for line in written]
    for (_, told), line in zip(heard.metrics, written, strict=True):
        if "loss" in line:
            assert told[f"{line['phase']}/loss"] == line["loss"]
        else:
            assert told[f"{line['phase']}/metrics/error"] == line["metrics"]["error"]
    assert heard.ends == ["success"]
    (told,) = heard.options
    assert told["method"] == "Toy"
    assert told["training"]["seed"] == 0
    assert told["epochs"] == toy.options.epochs


def test_without_a_run_folder_and_with_two_trackers() -> None:
    one, other = Heard(), Heard()
    Toy().fit(DATA, trainer=Trainer(progress=False, trackers=[one, other]))
    assert one.metrics
    assert one.metrics == other.metrics


def test_trackers_do_not_change_what_is_learned() -> None:
    alone = Toy().fit(DATA, trainer=Trainer(progress=False))
    heard = Toy().fit(DATA, trainer=Trainer(progress=False, trackers=[Heard()]))
    for name, value in alone.state_dict().items():
        assert bool((heard.state_dict()[name] == value).all()), name


@pytest.mark.parametrize(("error", "status"), [(KeyboardInterrupt(), "aborted"), (UserError("no"), "failed")])
def test_the_end_is_told(error: BaseException, status: str) -> None:
    deaf = Deaf(error)
    with pytest.raises(type(error)):
        Toy().fit(DATA, trainer=Trainer(progress=False, trackers=[deaf]))
    assert deaf.ends == [status]


def test_numbers_that_are_not_finite_are_left_out() -> None:
    event = {"phase": "fit", "epoch": 1, "step": 2, "metrics": {"top1": math.nan, "mrr": 0.5}, "notes": {}}
    assert numbers(event) == {"fit/metrics/mrr": 0.5}


def test_tensorboard_reads_what_was_logged(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = Run(tmp_path / "run")
    Toy().fit(DATA, trainer=Trainer(run=run, progress=False, trackers=[tracker("tensorboard", run.folder)]))
    events = EventAccumulator(str(run.folder / "tensorboard")).Reload()
    written = [line for line in lines(run) if line["phase"] == lines(run)[0]["phase"]]
    scalars = events.Scalars(f"{written[0]['phase']}/loss")
    assert [scalar.step for scalar in scalars] == [line["step"] for line in written]
    assert [scalar.value for scalar in scalars] == pytest.approx([line["loss"] for line in written])


def test_mlflow_reads_what_was_logged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "server").as_uri())
    mlflow = pytest.importorskip("mlflow")
    run = Run(tmp_path / "run a")
    logger = tracker("mlflow", run.folder)
    assert isinstance(logger, MLflowLogger)
    Toy().fit(DATA, trainer=Trainer(run=run, progress=False, trackers=[logger]))
    client = mlflow.MlflowClient()
    found = client.get_run(logger.version)
    assert (found.info.status, found.info.run_name) == ("FINISHED", "run a")
    assert found.data.params["method"] == "Toy"
    history = client.get_metric_history(logger.version, f"{lines(run)[0]['phase']}/loss")
    written = [line for line in lines(run) if line["phase"] == lines(run)[0]["phase"]]
    assert [(point.step, point.value) for point in history] == [(line["step"], line["loss"]) for line in written]


def test_mlflow_that_cannot_log_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.delenv("MLFLOW_ALLOW_FILE_STORE", raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "server").as_uri())
    with pytest.raises(UserError, match="set MLFLOW_TRACKING_URI"):
        tracker("mlflow", tmp_path).log_metrics({"a": 1.0}, step=0)
