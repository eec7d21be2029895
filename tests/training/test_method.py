"""What every method inherits."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from counterpoint.errors import UserError
from counterpoint.training import Batch, Method, Optim, load
from counterpoint.training.batch import to_device
from counterpoint.training.progress import Progress
from training.toys import Points, Toy, snapshot


def test_options_are_checked_when_given() -> None:
    with pytest.raises(UserError, match='unknown option "hiden"; did you mean "hidden"'):
        Toy(hiden=3)
    assert Toy(optim={"lr": 0.5}).options.optim == Optim(lr=0.5)


def test_parameters_are_kept_as_given() -> None:
    optim = {"lr": 0.5}
    method = Toy(hidden=7, optim=optim)
    assert method.get_params()["optim"] is optim
    assert method.get_params() == {**Toy().get_params(), "hidden": 7, "optim": optim}
    assert method.set_params(hidden=3) is method
    assert (method.options.hidden, method.options.optim.lr) == (3, 0.5)
    with pytest.raises(UserError, match="unknown option"):
        method.set_params(hiden=3)


def test_scikit_learn_can_clone() -> None:
    base = pytest.importorskip("sklearn.base")
    method = Toy(hidden=7, optim={"lr": 0.5})
    assert base.clone(method).options == method.options


def test_parts_start_from_streams_of_their_own() -> None:
    class More(Toy):
        def build(self, facts: dict) -> None:
            with self.seeded("more"):
                self.more = nn.Linear(5, 5)
            super().build(facts)

    one, other, twin = Toy(), More(), More()
    for method, seed in ((one, 0), (other, 0), (twin, 1)):
        method.prepare({"width": 3}, seed)
    assert torch.equal(one.net[0].weight, other.net[0].weight)
    assert not torch.equal(other.net[0].weight, twin.net[0].weight)


def test_fitting_again_leaves_nothing_of_the_first_fit() -> None:
    class Named(Toy):
        def build(self, facts: dict) -> None:
            super().build(facts)
            self.register_buffer(f"of {facts['width']}", torch.zeros(1))

    wide = Points(torch.randn(22, 5, generator=torch.Generator().manual_seed(0)), torch.ones(22, 1))
    method = Named().fit(wide)
    assert snapshot(method.fit(Points.made())) == snapshot(Named().fit(Points.made()))


def test_an_unfitted_method_and_a_foreign_class_say_so() -> None:
    with pytest.raises(UserError, match="this Toy is not fitted"):
        Toy().require_fitted()

    class Nameless(Method):
        pass

    with pytest.raises(UserError, match="Nameless is in no catalog"):
        _ = Nameless().name
    for unwritten in (Nameless().measure, Nameless().build):
        with pytest.raises(NotImplementedError, match="Nameless"):
            unwritten({})


def test_save_and_load(tmp_path: Path) -> None:
    method = Toy().fit(Points.made())
    folder = method.save(tmp_path / "a")
    assert json.loads((folder / "tables/counted.jsonl").read_text().splitlines()[0])["rows"] == 8
    assert torch.equal(load(folder)(Points.made().x), method(Points.made().x))


def test_notes_carry_no_gradient() -> None:
    method = Toy()
    weight = nn.Parameter(torch.tensor(2.0))
    method.note(weight=weight, plain=1.0)
    assert method.notes == {"weight": 2.0, "plain": 1.0}


def test_to_device_reaches_every_tensor_and_nothing_else() -> None:
    from counterpoint.objectives import Ids

    rows = torch.arange(2)
    batch = Batch(Ids(rows, rows), {"a": torch.zeros(2), "b": [(torch.ones(1), "text", None)]}, {"n": 3})
    moved = to_device(batch, torch.device("meta"), torch.float64)
    assert moved.ids.row.device.type == moved.views["a"].device.type == moved.views["b"][0][0].device.type == "meta"
    assert moved.ids.row.dtype == torch.int64
    assert moved.views["a"].dtype == torch.float64
    assert moved.views["b"][0][1:] == ("text", None)
    assert moved.context == {"n": 3}


def test_a_bar_is_shown_on_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("fit", 3) as silent:
        silent.update(1, {"loss": 0.5})
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with Progress("fit", 3) as bar:
        bar.update(2, {"loss": 0.25})
        bar._bar.refresh()
    assert "fit" in capsys.readouterr().err
    with Progress("fit", 3, on=False) as off:
        assert not off.on
