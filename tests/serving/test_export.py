"""What other tools make of an exported run: onnxruntime, numpy with the card in hand, model hubs."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.numpy import load_file

from counterpoint import catalog
from counterpoint.card import model_card
from counterpoint.cli import main
from counterpoint.errors import UserError
from counterpoint.files import write_json, write_text
from counterpoint.multimodal.cca.mcca import MCCA
from counterpoint.multimodal.cca.ridge import RidgeCCA
from counterpoint.multimodal.clip import CLIP
from counterpoint.multimodal.gated_symile import GatedSymile
from counterpoint.multimodal.gram import GRAM
from counterpoint.multimodal.symile import Symile
from counterpoint.multimodal.table import Table
from counterpoint.multimodal.triangle import TRIANGLE
from counterpoint.serving import export as exporting
from counterpoint.serving.export import export
from counterpoint.training import Run, Trainer, load
from small import write_rows

Folder = Path
SMALL = {"dim": 4, "hidden": 8, "epochs": 1, "batch_size": 16}
LEARNED = [Symile, GatedSymile, GRAM, TRIANGLE]
OPTIONS = dict.fromkeys(LEARNED, SMALL) | {
    RidgeCCA: {"ridges": (0.1,), "variates": (2,)},
    MCCA: {"ridges": (0.1,), "dims": (4,)},
}


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_rows(tmp_path_factory.mktemp("data") / "rows.csv")


@pytest.fixture(scope="module")
def table(rows: Path) -> Table:
    """Rows with views that are absent, and in every other row a gap where training had none."""
    return Table.read(rows, view={"labs": "lab_*", "vitals": "vit_*", "ecg": "ecg_*"}, id="who")


@pytest.fixture(scope="module")
def run(rows: Path, table: Table) -> Folder:
    about = {"source": str(rows), "rows": {"train": 60, "test": 12}, "reader": {"view": dict.fromkeys(table.views)}}
    run = Run(rows.parent / "run", data=about)
    CLIP(dim=4, hidden=8, layers=1, epochs=2, batch_size=16).fit(table, trainer=Trainer(run=run, progress=False))
    top1 = {"value": 0.5, "low": 0.25, "high": 0.75}
    unknown = dict.fromkeys(top1)
    judged = {"rows": 12, "measures": {"top1": top1, "mrr": top1, "odd": unknown}, "against": None}
    write_json(run.folder / "evaluation.json", judged)
    write_text(run.folder / "README.md", model_card(catalog.row("clip"), run.config(), judged))
    return run.folder


@pytest.fixture(scope="module")
def onnx(run: Folder) -> Folder:
    pytest.importorskip("onnxruntime")
    export(run, "onnx", run.parent / "onnx")
    return run.parent / "onnx"


def saved(method: type, table: Table, folder: Path) -> Folder:
    """The run folder of a method that was fitted and saved in Python, without a file of data."""
    method(**OPTIONS[method]).fit(table, trainer=Trainer(progress=False)).save(folder)
    return folder


def runtime_vectors(folder: Path, table: Table) -> dict[str, np.ndarray]:
    import onnxruntime

    session = onnxruntime.InferenceSession(folder / "model.onnx")
    given = {f"values:{name}": view.values for name, view in table.views.items()}
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, given), strict=True))


def check_runtime(run: Folder, folder: Path, table: Table) -> None:
    """The runtime's vectors are those of embed and embed_views, NaN where a row lacks the view."""
    method: Any = load(run)
    found = runtime_vectors(folder, table)
    assert np.allclose(found.pop("joint"), method.embed(table).numpy(), atol=1e-5)
    encoded = method.embed_views(table)
    assert list(found) == [f"view:{name}" for name in encoded.vectors]
    for name, vectors in encoded.vectors.items():
        present = encoded.present[name].numpy()
        assert np.allclose(found[f"view:{name}"][present], vectors.numpy()[present], atol=1e-5)
        assert np.isnan(found[f"view:{name}"][~present]).all()


@pytest.mark.parametrize("count", [1, 2, 60])
def test_onnx_gives_the_runs_vectors_for_any_number_of_rows(
    run: Folder, onnx: Folder, table: Table, count: int
) -> None:
    some = table.rows(slice(0, count))
    some.views["labs"].values[0, 1] = np.nan  # a gap in a column that had none in training: the view is absent
    check_runtime(run, onnx, some)


@pytest.mark.parametrize(
    "method", [RidgeCCA, *(pytest.param(other, marks=pytest.mark.slow) for other in (MCCA, *LEARNED))]
)
def test_onnx_of_every_method(method: type, table: Table, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    run = saved(method, table, tmp_path / "run")
    export(run, "onnx", tmp_path / "made")
    check_runtime(run, tmp_path / "made", table)


def test_the_cards_code_runs(onnx: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(onnx)
    (code,) = re.findall(r"```python\n(.*?)```", Path("README.md").read_text(), re.DOTALL)
    space: dict[str, Any] = {}
    exec(code, space)
    assert space["joint"].shape == (3, 4)


def test_no_path_of_this_machine_is_in_the_files(run: Folder, onnx: Folder) -> None:
    export(run, "safetensors", run.parent / "weights")
    here = [str(Path(exporting.__file__).parents[3]), str(run.parent), torch.__file__]
    for path in [*onnx.iterdir(), *(run.parent / "weights").iterdir()]:
        assert not [place for place in here if place.encode() in path.read_bytes()], path


# --- safetensors, read with the card's words and numpy alone


def unit(x: np.ndarray, least: float = 1e-12) -> np.ndarray:
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), least)


def scaled(values: np.ndarray, part: str, tensors: dict[str, np.ndarray], gaps: list[int]) -> tuple[Any, Any]:
    """Steps 1 and 2: what the network takes, and which rows have the view."""
    missing = np.isnan(values)
    x = (values - tensors[f"{part}.mean"]) / tensors[f"{part}.scale"]
    x = np.nan_to_num(np.concatenate([x, missing[:, gaps]], axis=1))
    unforeseen = np.delete(missing, gaps, axis=1).any(axis=1)
    return x, ~(missing.all(axis=1) | unforeseen)


def read(folder: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    facts = json.loads((folder / "facts.json").read_text())
    return facts["facts"]["views"], load_file(folder / "model.safetensors")


def test_the_weights_follow_the_recipe(run: Folder, table: Table, tmp_path: Path) -> None:
    export(run, "safetensors", tmp_path / "made")
    facts, tensors = read(tmp_path / "made")
    total = np.zeros((len(table), 4))
    for name, view in facts.items():
        tower = f"encoders.towers.view_{name}"
        x, present = scaled(table.views[name].values, f"{tower}.front", tensors, view["gaps"])
        layers = sorted(int(key.split(".")[-2]) for key in tensors if re.match(rf"{tower}\.net\.\d+\.weight", key))
        for layer in layers:
            x = x @ tensors[f"{tower}.net.{layer}.weight"].T + tensors[f"{tower}.net.{layer}.bias"]
            x = np.maximum(x, 0) if layer != layers[-1] else x
        total += unit(x, 1e-4) * present[:, None]
    method: Any = load(run)
    assert np.allclose(unit(total), method.embed(table).numpy(), atol=1e-5)


def test_the_weights_of_mcca_follow_its_recipe(table: Table, tmp_path: Path) -> None:
    run = saved(MCCA, table, tmp_path / "run")
    export(run, "safetensors", tmp_path / "made")
    facts, tensors = read(tmp_path / "made")
    total = np.zeros((len(table), tensors["of labs"].shape[1]))
    for name, view in facts.items():
        x, present = scaled(table.views[name].values, f"scalers.scalers.view_{name}", tensors, view["gaps"])
        total += unit(x @ tensors[f"of {name}"]) * present[:, None]
    method: Any = load(run)
    assert np.allclose(unit(total), method.embed(table).numpy(), atol=1e-5)


def test_the_weights_of_ridge_cca_follow_its_recipe(table: Table, tmp_path: Path) -> None:
    run = saved(RidgeCCA, table, tmp_path / "run")
    export(run, "safetensors", tmp_path / "made")
    facts, tensors = read(tmp_path / "made")
    parts = {
        n: scaled(table.views[n].values, f"scalers.scalers.view_{n}", tensors, v["gaps"]) for n, v in facts.items()
    }
    names = list(facts)
    spaces = []
    for number, a in enumerate(names):
        for b in names[number + 1 :]:
            sides = [(a, b), (b, a)]
            spaces.append(
                unit(sum(unit(parts[m][0] @ tensors[f"of {m} with {o}"]) * parts[m][1][:, None] for m, o in sides))
            )
    method: Any = load(run)
    assert np.allclose(unit(np.concatenate(spaces, axis=1)), method.embed(table).numpy(), atol=1e-5)


# --- the card


def head(folder: Path) -> dict[str, Any]:
    _, text, _ = (folder / "README.md").read_text().split("---\n", 2)
    found: dict[str, Any] = yaml.safe_load(text)
    return found


def test_the_cards_head_has_metrics_with_intervals_and_claims(run: Folder, onnx: Folder) -> None:
    evaluation = json.loads((run / "evaluation.json").read_text())
    for folder in (run, onnx):
        (result,) = head(folder)["model-index"][0]["results"]
        metrics = {metric["type"]: metric for metric in result["metrics"]}
        top1 = evaluation["measures"]["top1"]
        assert metrics["top1"]["value"] == top1["value"]
        assert metrics["top1"]["args"] == {"level": 0.95, "low": top1["low"], "high": top1["high"]}
        verdicts = {"holds", "fails", "inconclusive"}
        known = {*verdicts, *(f"{verdict} (quick)" for verdict in verdicts), "not run yet"}
        assert set(head(folder)["claims"].values()) <= known
        assert "## Limits" in (folder / "README.md").read_text()


def test_a_model_hub_reads_the_head(onnx: Folder) -> None:
    hub = pytest.importorskip("huggingface_hub")
    card = hub.ModelCard((onnx / "README.md").read_text()).data
    assert card.library_name == "counterpoint"
    assert {result.metric_type for result in card.eval_results} >= {"top1", "mrr"}


def test_a_run_that_was_never_judged_has_a_card_too(table: Table, tmp_path: Path) -> None:
    export(saved(MCCA, table, tmp_path / "run"), "safetensors", tmp_path / "made")
    assert "model-index" not in head(tmp_path / "made")
    text = (tmp_path / "made" / "README.md").read_text()
    assert "# mcca\n" in text
    assert "nothing was judged" in text


# --- mistakes


def test_a_folder_with_files_is_left_alone(run: Folder, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="is not empty"):
        export(run, "safetensors", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_vectors_that_differ_leave_nothing(run: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporting, "CLOSE", -1.0)
    with pytest.raises(UserError, match="nothing was written"):
        export(run, "safetensors", tmp_path / "made")
    assert not list(tmp_path.iterdir())


def test_a_graph_that_is_wrong_is_noticed(onnx: Folder, run: Folder) -> None:
    import onnxruntime

    from counterpoint.serving import export_onnx

    graph = export_onnx._of_views(load(run))
    session = onnxruntime.InferenceSession(onnx / "model.onnx")
    assert max(export_onnx._difference(graph, session, batch) for batch in graph.batches) < 1e-5
    with torch.no_grad():
        next(graph.network.parameters()).add_(0.1)
    assert max(export_onnx._difference(graph, session, batch) for batch in graph.batches) > 1e-3


@pytest.mark.parametrize(
    ("to", "said"), [("onx", 'did you mean "onnx"'), ("sentence-transformers", "clip does not take texts")]
)
def test_forms_that_do_not_fit_are_refused(run: Folder, tmp_path: Path, to: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        export(run, to, tmp_path / "made")
    assert not list(tmp_path.iterdir())


def test_a_run_of_a_newer_version_is_refused(run: Folder, tmp_path: Path) -> None:
    config = yaml.safe_load((run / "config.yaml").read_text()) | {"format": 99}
    write_text(tmp_path / "run" / "config.yaml", yaml.safe_dump(config))
    with pytest.raises(UserError, match="newer version"):
        export(tmp_path / "run", "safetensors", tmp_path / "made")


def test_the_command(run: Folder, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(run), "--to", "safetensors", "-o", str(tmp_path / "made"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert set(told["files"]) == {"README.md", "facts.json", "model.safetensors"}
    assert main(["export", str(run), "--to", "safetensors", "-o", str(tmp_path / "made")]) == 2
    assert "is not empty" in capsys.readouterr().err
