"""Experiment trackers beside the run folder, off unless asked for: any Fabric logger, and two by name."""

import math
import re
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from counterpoint.errors import UserError, nearest, need
from counterpoint.options import flat
from counterpoint.training.hide import not_installed

with not_installed("torchmetrics"):
    from lightning_fabric.loggers.logger import Logger
    from lightning_fabric.loggers.tensorboard import TensorBoardLogger

ENDED = {"success": "FINISHED", "failed": "FAILED", "aborted": "KILLED"}


def tracker(name: str, folder: Path) -> Logger:
    """A tracker by name for the run in `folder`, for `Trainer(trackers=[...])`.

    "tensorboard" writes to `folder/tensorboard`; "mlflow" to the server or database of MLFLOW_TRACKING_URI, as an
    MLflow run with the folder's name. Raises `UserError` for another name, or when its package is absent.

    >>> tracker("tensorbord", Path("runs/a"))
    Traceback (most recent call last):
    counterpoint.errors.UserError: no tracker "tensorbord"; did you mean "tensorboard"? (known: mlflow, tensorboard)
    """
    if name == "tensorboard":
        need("tensorboard", "track")
        return TensorBoardLogger(root_dir=folder, name="tensorboard", version="")
    if name == "mlflow":
        return MLflowLogger(folder.resolve().name)
    raise UserError(f'no tracker "{name}"; {nearest(name, ["tensorboard", "mlflow"])}')


def numbers(event: Mapping[str, Any]) -> dict[str, float]:
    """The finite numbers of one line of metrics.jsonl under the name of their phase.

    >>> numbers({"phase": "fit", "epoch": 0, "step": 4, "loss": 1.5, "terms": {"a-b": 1.5}, "notes": {}})
    {'fit/loss': 1.5, 'fit/terms/a-b': 1.5}
    """
    told = {name: value for name, value in event.items() if name not in ("phase", "epoch", "step")}
    named = {f"{event['phase']}/{name}": value for name, value in flat(told, separator="/")}
    return {
        name: float(value) for name, value in named.items() if isinstance(value, float | int) and math.isfinite(value)
    }


class MLflowLogger(Logger):
    """An MLflow run as a Fabric logger; it is begun when something is first logged."""

    def __init__(self, run_name: str, experiment: str = "counterpoint") -> None:
        self.mlflow = need("mlflow", "track")
        self.run_name, self.experiment = run_name, experiment
        self.client: Any = None
        self.run_id: str | None = None

    @property
    def name(self) -> str:
        return self.experiment

    @property
    def version(self) -> str | None:
        return self.run_id

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Log numbers, their names in MLflow's alphabet."""
        run = self._run()
        for name, value in metrics.items():
            self.client.log_metric(run, _allowed(name), value, step=step)

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Log nested options under their dotted names."""
        run = self._run()
        for name, value in flat(vars(params) if isinstance(params, Namespace) else params):
            self.client.log_param(run, _allowed(name), value)

    def finalize(self, status: str) -> None:
        """End the MLflow run."""
        if self.run_id is not None:
            self.client.set_terminated(self.run_id, ENDED[status])

    def _run(self) -> str:
        if self.run_id is None:
            try:
                self.client = self.mlflow.MlflowClient()
                known = self.client.get_experiment_by_name(self.experiment)
                number = known.experiment_id if known else self.client.create_experiment(self.experiment)
                self.run_id = str(self.client.create_run(number, run_name=self.run_name).info.run_id)
            except (self.mlflow.MlflowException, ImportError) as error:
                where = f"mlflow cannot log to {self.mlflow.get_tracking_uri()}"
                reason = str(error).splitlines()[0]
                raise UserError(f"{where} ({reason}); set MLFLOW_TRACKING_URI, such as http://127.0.0.1:5000") from None
        return self.run_id


def _allowed(name: str) -> str:
    return re.sub(r"[^\w./ :-]", "_", name)
