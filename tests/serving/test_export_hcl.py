"""Both forms of HCL leave the library: as a graph that answers alike, and as tensors that follow their recipe."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from counterpoint.multimodal.hcl.deep import HCL
from counterpoint.multimodal.hcl.linear import HCLLinear
from counterpoint.multimodal.simulate.hcl import hcl
from counterpoint.multimodal.table import Table
from counterpoint.serving.export import export
from counterpoint.training import Trainer

QUIET = Trainer(progress=False)


@pytest.fixture(scope="module")
def table() -> Table:
    made = hcl(80, (4, 5, 6), rank=1, noise=0.3)
    views = {name: view.values.copy() for name, view in made.views.items()}
    views["A"][2::7, 1] = np.nan
    views["B"][3::5] = np.nan
    return Table.of(views)


def fitted(name: str, table: Table) -> Any:
    if name == "hcl":
        return HCL(rank=1, dim=4, hidden=8, layers=1, head=(4,), epochs=1, batch_size=20).fit(table, trainer=QUIET)
    return HCLLinear(ranks=(1,)).fit(table, trainer=QUIET)


@pytest.mark.parametrize("name", ["hcl", "hcl-linear"])
def test_the_graph_answers_as_the_run_does(name: str, table: Table, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    fitted(name, table).save(tmp_path / "run")
    assert export(tmp_path / "run", "onnx", tmp_path / "made")["difference"] <= 1e-5


def test_the_tensors_of_linear_hcl_follow_their_recipe(table: Table, tmp_path: Path) -> None:
    model = fitted("hcl-linear", table)
    model.save(tmp_path / "run")
    export(tmp_path / "run", "safetensors", tmp_path / "made")
    facts = json.loads((tmp_path / "made" / "facts.json").read_text())["facts"]["views"]
    tensors = {
        key: value.astype(np.float64) for key, value in load_file(tmp_path / "made" / "model.safetensors").items()
    }
    total, information, start = 0.0, {}, 0
    present = {}
    for name, view in facts.items():
        values = table.views[name].values.astype(np.float64)
        x = (values - tensors[f"scalers.scalers.view_{name}.mean"]) / tensors[f"scalers.scalers.view_{name}.scale"]
        x = np.nan_to_num(np.concatenate([x, np.isnan(values[:, view["gaps"]])], axis=1))
        rows = slice(start, start + x.shape[1])
        start = rows.stop
        w = tensors["loadings"][rows]
        present[name] = ~np.isnan(values).all(axis=1)
        total = total + ((x - tensors["centre"][rows]) @ w / tensors["noise"]) * present[name][:, None]
        information[name] = w.T @ w / tensors["noise"]
    joint = np.zeros_like(total)
    for row in range(len(table)):
        g = np.identity(len(joint[0])) + sum(information[name] for name in facts if present[name][row])
        joint[row] = np.linalg.solve(g, total[row])
    joint /= np.linalg.norm(joint, axis=1, keepdims=True).clip(1e-12)
    assert np.allclose(joint, model.embed(table).numpy(), atol=1e-4)
