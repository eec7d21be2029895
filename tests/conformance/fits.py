"""Fits of catalog methods, comparable bit for bit; what the two ranks are asked to do."""

import dataclasses
import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from conformance.options_of import allowed, merged
from conformance.samples import Sample, sample_of
from counterpoint import catalog
from counterpoint.training import Batch, Clock, Method, Run, SGDConfig, Trainer, rng
from training.toys import events

ROWS = 48


def class_of(name: str) -> Any:
    return catalog.row(name).load()


def small(name: str, *more: Mapping[str, Any]) -> dict[str, Any]:
    """Options that make a method small, and more."""
    method = class_of(name)
    return merged(allowed(method.Config, sample_of(method).small), *more)


def made_for(sample: Sample, option: str) -> Callable[[int, int], Any]:
    """What makes data with gaps: the sample's own, or those that an option is about."""
    return sample.about[option].made if option in sample.about else sample.made


def fit(
    name: str,
    *more: Mapping[str, Any],
    run: Run | None = None,
    save_every: int = 0,
    judged: bool = False,
    option: str = "",
) -> Any:
    """A small fit on data with gaps, those that `option` is about."""
    method, made = class_of(name), made_for(sample_of(class_of(name)), option)
    validation = made(ROWS // 2, 1) if judged else None
    trainer = Trainer(run=run, save_every=save_every, progress=False)
    return method(**small(name, *more)).fit(made(ROWS, 0), validation, trainer)


def flat(value: Any, path: str = "") -> dict[str, Any]:
    """Nested results as (type, shape, bytes) by place, so that equal means bit for bit."""
    if isinstance(value, Tensor):
        value = value.detach().numpy()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {k: v for name, item in value.items() for k, v in flat(item, f"{path}.{name}").items()}
    if isinstance(value, list | tuple):
        return flat(dict(enumerate(value)), path)
    array = np.asarray(value)
    return {path: (str(array.dtype), array.shape, array.tobytes())}


def state(method: Any) -> dict[str, Any]:
    """All tensors and tables of a method."""
    return flat({**method.state_dict(), "tables": json.dumps(method.tables())})


def capabilities(method: Any, sample: Sample) -> list[str]:
    """What a fitted method can be asked, by the names that the sample knows."""
    return [name for name in sample.calls if hasattr(method, name)]


def outputs(method: Any, sample: Sample, option: str = "") -> dict[str, Any]:
    """What a fitted method answers about other rows."""
    data = made_for(sample, option)(ROWS // 2, 2)
    return flat({name: sample.calls[name](method, data) for name in capabilities(method, sample)})


def two_rank_fit(name: str, options: dict[str, Any], rows: int, complete: bool) -> tuple[dict[str, Any], float | None]:
    """All state after one step of plain gradient descent over all rows in float64, and the loss."""
    method = class_of(name)
    sample = sample_of(method)
    plain: dict[str, Any] = {}
    if issubclass(method.Config, SGDConfig):
        descent = {"name": "sgd", "lr": 0.1, "betas": (0.0, 0.0), "weight_decay": 0.0, "warmup": 0, "clip": None}
        plain = {"optim": descent, "epochs": 1, "batch_size": rows}
    data = (sample.complete if complete else sample.made)(rows, 0)
    with tempfile.TemporaryDirectory() as folder:
        run = Run(Path(folder) / "run")
        made = method(**small(name, plain, options))
        made.fit(data, trainer=Trainer(run=run, precision="64-true", progress=False))
        lines = events(run.folder) if (run.folder / "metrics.jsonl").exists() else []
    loss = [row["loss"] for row in lines if row.get("terms")]
    return {key: value.detach().numpy() for key, value in made.state_dict().items()}, loss[0] if loss else None


def two_rank_fits(name: str, variants: list[tuple[dict[str, Any], int, bool]]) -> list[Any]:
    """Several fits at once, for one trip to the ranks."""
    return [two_rank_fit(name, *variant) for variant in variants]


def loss_on_rows(method: Method, data: Any, index: list[int]) -> Tensor | None:
    """The loss of a batch of chosen rows, without an optimiser; None when there is no loss."""
    if type(method).losses is Method.losses:
        return None
    batch = method.batch(data, torch.tensor(index), rng(0))
    if isinstance(batch, Batch):
        assert batch.ids.row.tolist() == index, "ids are not the data's row numbers"
    return torch.stack(list(method.losses(batch, Clock(0, "fit", 0, 0, 1)).values())).sum()
