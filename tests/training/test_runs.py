"""The run folder: written whole, refused when it is another run's, read without trust."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from counterpoint import files
from counterpoint.errors import UserError
from counterpoint.training import Run, Trainer, load
from training.toys import CutRun, Interrupted, Points, Toy, events, snapshot

DATA = Points.made()


def fitted(folder: Path, trainer: Any = None, **options: Any) -> Toy:
    return Toy(**options).fit(DATA, trainer=trainer or Trainer(run=Run(folder)))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run; tests copy it before they change it."""
    from counterpoint import catalog
    from training import toys

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(catalog, "OWN", (*catalog.OWN, toys.ROW))
        folder = tmp_path_factory.mktemp("runs") / "whole"
        fitted(folder)
    return folder


@pytest.fixture
def run(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "run"))


def change(run: Path, **parts: Any) -> None:
    path = run / "config.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | parts))


def test_what_is_in_a_folder(whole: Path) -> None:
    found = sorted(str(path.relative_to(whole)) for path in whole.rglob("*") if path.is_file())
    assert found == [
        "checkpoint/last.safetensors",
        "config.yaml",
        "metrics.jsonl",
        "model.safetensors",
        "tables/counted.jsonl",
    ]
    config = yaml.safe_load((whole / "config.yaml").read_text())
    assert config["method"] == "toy"
    assert config["options"]["optim"]["betas"] == [0.9, 0.999]
    assert config["training"] == {"seed": 0, "precision": "32-true", "chunk": 0}
    assert config["data"] == {"fingerprint": DATA.fingerprint()}
    assert config["facts"] == {"width": 3}
    assert set(config["versions"]) == {"python", "torch", "numpy"}


def test_a_run_loads_without_data(whole: Path) -> None:
    loaded = load(whole)
    again = fitted(whole.parent / "again")
    assert not loaded.training
    assert torch.equal(loaded(DATA.x), again(DATA.x))
    assert loaded.tables() == again.tables()
    assert loaded.options == again.options


def test_training_only_parts_are_in_the_checkpoint_alone(whole: Path) -> None:
    exported = load_file(whole / "model.safetensors")
    assert "mean" in exported
    assert not any(name.startswith("queue") for name in exported)
    assert load(whole).queue.rows.abs().sum() == 0


def test_borrowed_parts_are_saved_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build = Toy.build

    def borrowing(self: Toy, facts: dict[str, Any]) -> None:
        build(self, facts)
        self.base = torch.nn.Linear(2, 2)
        self.base.borrowed = "someone's model"
        torch.nn.init.ones_(self.base.weight.requires_grad_(False))

    monkeypatch.setattr(Toy, "build", borrowing)
    fitted(tmp_path / "a")
    assert not any(name.startswith("base") for name in load_file(tmp_path / "a/model.safetensors"))
    assert load(tmp_path / "a").base.weight.sum() == 4
    Toy().fit(DATA, trainer=Trainer(run=Run(tmp_path / "a", resume=True)))


def test_saving_a_fitted_method(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not fitted"):
        Toy().save(tmp_path / "a")
    method = Toy().fit(DATA, trainer=Trainer(seed=3, precision="64-true"))
    folder = method.save(tmp_path / "a")
    loaded = load(folder)
    assert loaded.seed == 3
    assert torch.equal(loaded(DATA.x.double()), method(DATA.x.double()))
    with pytest.raises(UserError, match="already holds a run"):
        method.save(tmp_path / "a")


@pytest.mark.parametrize(
    ("again", "difference"),
    [
        ({"options": {"optim": {"lr": 0.5}}}, r"options\.optim\.lr was 0\.001 and is now 0\.5"),
        ({"options": {"hidden": 5}}, r"options\.hidden was 4 and is now 5"),
        ({"seed": 1}, r"training\.seed was 0 and is now 1"),
        ({"precision": "64-true"}, r'training\.precision was "32-true" and is now "64-true"'),
        ({"data": Points.made(seed=1)}, "the training data differ"),
    ],
)
def test_another_run_is_refused(run: Path, again: dict[str, Any], difference: str) -> None:
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    trainer = Trainer(again.get("seed", 0), Run(run, resume=True), precision=again.get("precision", "32-true"))
    with pytest.raises(UserError, match=difference) as caught:
        Toy(**again.get("options", {})).fit(again.get("data", DATA), trainer=trainer)
    assert "\n" not in str(caught.value)
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_another_method_and_other_facts_are_refused(run: Path) -> None:
    change(run, method="clip")
    with pytest.raises(UserError, match='method was "clip" and is now "toy"'):
        fitted(run, Trainer(run=Run(run, resume=True)))
    change(run, method="toy", facts={"width": 4})
    with pytest.raises(UserError, match=r"facts\.width was 4 and is now 3"):
        fitted(run, Trainer(run=Run(run, resume=True)))


def test_an_existing_run_is_not_touched_by_accident(run: Path) -> None:
    with pytest.raises(UserError, match=r"already holds a run; add --resume"):
        fitted(run)


def test_resuming_what_is_finished_changes_nothing(run: Path) -> None:
    before = {p: p.read_bytes() for p in run.rglob("*") if p.is_file()}
    method = fitted(run, Trainer(run=Run(run, resume=True)))
    assert {p: p.read_bytes() for p in run.rglob("*") if p.is_file()} == before
    assert torch.equal(method(DATA.x), load(run)(DATA.x))


@pytest.mark.parametrize(
    ("parts", "line"),
    [
        ({"format": 99, "counterpoint": "9.0"}, r"written by a newer version \(9\.0\); upgrade"),
        ({"method": "toi"}, 'unknown method "toi"; did you mean "toy"'),
        ({"facts": None}, '"facts" is missing or not a mapping'),
        ({"options": {"hidn": 1}}, 'unknown option "hidn"'),
        ({"facts": {"width": 4}}, r"does not fit this run's config\.yaml .*mean"),
    ],
)
def test_a_config_that_cannot_be_trusted(run: Path, parts: dict[str, Any], line: str) -> None:
    change(run, **parts)
    with pytest.raises(UserError, match=line):
        load(run)


@pytest.mark.parametrize("text", ["a: [", "\x00", "just words", "[1, 2]", "", "!!python/object/apply:os.getpid []"])
def test_a_damaged_config_is_named(run: Path, text: str) -> None:
    (run / "config.yaml").write_text(text)
    with pytest.raises(UserError, match=r"config\.yaml (is damaged|is not a run's config)"):
        load(run)


def test_no_run_and_unfinished_runs(run: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not a run folder"):
        load(tmp_path)
    (run / "model.safetensors").unlink()
    with pytest.raises(UserError, match="did not finish"):
        load(run)


def test_damaged_and_foreign_weights(run: Path) -> None:
    path = run / "model.safetensors"
    state = load_file(path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match=r"model\.safetensors is damaged"):
        load(run)
    wrong = [
        {name: value for name, value in state.items() if name != "mean"},
        state | {"more": torch.ones(1)},
        state | {"mean": torch.ones(2)},
    ]
    for foreign, name in zip(wrong, ("mean", "more", "mean"), strict=True):
        save_file(foreign, path)
        with pytest.raises(UserError, match=rf"model\.safetensors does not fit .*first difference: {name}"):
            load(run)


def test_damaged_tables_and_checkpoints(run: Path) -> None:
    (run / "tables/counted.jsonl").write_text('{"a": 1}\n{"b"')
    with pytest.raises(UserError, match=r"counted\.jsonl: line 2 is not JSON"):
        load(run)
    last = run / "checkpoint/last.safetensors"
    last.write_bytes(last.read_bytes()[:100])
    with pytest.raises(UserError, match=r"last\.safetensors: cannot be read"):
        fitted(run, Trainer(run=Run(run, resume=True)))
    shutil.copy(run / "model.safetensors", last)
    with pytest.raises(UserError, match=r"last\.safetensors: not written by this library"):
        fitted(run, Trainer(run=Run(run, resume=True)))


@pytest.mark.parametrize("error", [OSError("no space left"), KeyboardInterrupt()])
def test_a_failed_write_leaves_the_last_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    """The end comes between the temporary file and the rename, at every write in turn."""
    reference = fitted(tmp_path / "reference", Trainer(run=Run(tmp_path / "reference"), save_every=1))
    replace, count = os.replace, [0]

    def failing(*paths: Any) -> None:
        count[0] += 1
        if count[0] % 4 == 0:
            raise error
        replace(*paths)

    monkeypatch.setattr(files.os, "replace", failing)
    folder = tmp_path / "run"
    for _ in range(30):
        try:
            method = fitted(folder, Trainer(run=Run(folder, resume=True), save_every=1))
            break
        except (UserError, KeyboardInterrupt):
            assert not list(tmp_path.rglob("*.tmp"))
    assert snapshot(method) == snapshot(reference)
    assert events(folder) == events(tmp_path / "reference")


def test_events_after_the_checkpoint_are_dropped(tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        fitted(tmp_path / "a", Trainer(run=CutRun(tmp_path / "a", cut=5), save_every=1))
    kept = (tmp_path / "a/metrics.jsonl").read_bytes()
    with open(tmp_path / "a/metrics.jsonl", "ab") as file:
        file.write(b'{"time": 1, "phase": "fit", "step": 99}\n{"torn')
    run = Run(tmp_path / "a", resume=True)
    method = Toy()
    method.prepare({"width": 3})
    assert run.restore(method) is not None
    assert (tmp_path / "a/metrics.jsonl").read_bytes() == kept


def test_events_of_a_run_that_died_before_its_first_checkpoint_are_dropped(tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        fitted(tmp_path / "a", Trainer(run=CutRun(tmp_path / "a", cut=1)))
    shutil.rmtree(tmp_path / "a/checkpoint")
    assert events(tmp_path / "a")
    fitted(tmp_path / "a", Trainer(run=Run(tmp_path / "a", resume=True)))
    fitted(tmp_path / "b")
    assert events(tmp_path / "a") == events(tmp_path / "b")


def test_temporary_files_of_a_killed_process_are_removed(run: Path) -> None:
    left = [run / ".config.yaml.x.tmp", run / "checkpoint/.last.safetensors.y.tmp"]
    for path in left:
        path.write_bytes(b"half")
    fitted(run, Trainer(run=Run(run, resume=True)))
    assert not any(path.exists() for path in left)


def test_what_is_said_about_data_is_kept(tmp_path: Path) -> None:
    fitted(tmp_path / "a", Trainer(run=Run(tmp_path / "a", data={"source": "points.csv"})))
    assert Run(tmp_path / "a").config()["data"] == {"fingerprint": DATA.fingerprint(), "source": "points.csv"}


def test_events_hold_no_number_that_json_lacks(tmp_path: Path) -> None:
    Run(tmp_path / "a").event({"a": float("nan"), "b": {"c": [float("inf"), 1.0]}})
    assert events(tmp_path / "a") == [{"a": None, "b": {"c": [None, 1.0]}}]
    json.loads((tmp_path / "a/metrics.jsonl").read_text(), parse_constant=pytest.fail)
