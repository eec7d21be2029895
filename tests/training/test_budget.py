"""What a plan predicts is what a step then keeps; where the numbers come from, and what is said about them."""

import json
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from counterpoint.errors import UserError
from counterpoint.objectives import Ids, Relation, dense_nce, info_nce
from counterpoint.training import Batch, Clock, Method, SGDConfig, budget
from counterpoint.training.budget import Budget, Growth, free_memory, plan
from counterpoint.training.chunks import in_chunks
from training.remembering import Remembering, Rows
from training.toys import Points, Toy

DATA = Points.made(600)
FLOAT = 4


class Measured(Method):
    """A network whose activations can be counted by hand, under a streamed or a dense loss."""

    class Config(SGDConfig):
        """Options of the toy."""

        dense: bool = False
        chunk: int = 0
        batch_size: int = 64
        epochs: int = 3

    options: Config

    def measure(self, data: Points) -> dict[str, Any]:
        return {"rows": len(data)}

    def build(self, facts: dict[str, Any]) -> None:
        self.net = nn.Sequential(nn.Linear(3, 100, bias=False), nn.Sigmoid(), nn.Linear(100, 8, bias=False))

    def batch(self, data: Points, rows: Tensor, generator: torch.Generator) -> Batch:
        return Batch(Ids(row=rows, positive=rows), {"x": data.x[rows]})

    def losses(self, batch: Batch, clock: Clock) -> dict[str, Tensor]:
        made = in_chunks(self.net, batch.views["x"], self.options.chunk)
        if self.options.dense:
            return {"nce": dense_nce(made @ made.T, Relation(batch.ids, batch.ids)).mean()}
        return {"nce": info_nce(made, made.detach(), temperature=1.0).mean()}


@pytest.fixture(scope="module")
def streamed() -> Budget:
    return plan(Measured(), DATA, device="cpu")


@pytest.fixture(scope="module")
def dense() -> Budget:
    return plan(Measured(dense=True), DATA, device="cpu")


def test_activations_are_counted_exactly(streamed: Budget) -> None:
    """Kept for backward, a row: 3 inputs, 100 outputs of the sigmoid (which is the second layer's input)."""
    assert streamed.network == Growth(linear=float(FLOAT * (3 + 100)))
    assert streamed.batch_size == 64
    assert streamed.steps == 3 * 10
    numbers = 300 + 800
    assert streamed.weights == FLOAT * numbers * (1 + 1 + 2), "weights, gradients, two moments"
    assert plan(Measured(optim={"name": "sgd"}), DATA, device="cpu").weights == FLOAT * numbers * (1 + 1 + 1)


def test_a_streamed_loss_grows_with_the_batch_and_a_dense_one_with_its_square(streamed: Budget, dense: Budget) -> None:
    assert streamed.loss.square == 0
    assert streamed.tiles.square == pytest.approx(FLOAT), "the one tile of a small batch"
    assert streamed.loss_at(2000) > FLOAT * 2000**2
    assert streamed.loss_at(50_000) < FLOAT * 50_000 * 100, "a large batch keeps no tile"
    assert dense.loss.square + dense.network.square >= FLOAT
    assert dense.at(50_000) > FLOAT * 50_000**2
    assert replace(dense, batch_size=600).dominant == "loss"


@pytest.mark.parametrize("options", [{"dense": True}, {"dense": False}, {"chunk": 16}])
def test_small_steps_foretell_large_ones(options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    whole = plan(Measured(batch_size=512, **options), DATA, device="cpu")
    monkeypatch.setattr(budget, "PROBE", 64)
    small = plan(Measured(batch_size=512, **options), DATA, device="cpu")
    assert small.at(512) == pytest.approx(whole.at(512), rel=0.02)


def test_chunks_are_seen_and_foreseen(streamed: Budget) -> None:
    chunked = plan(Measured(chunk=16), DATA, device="cpu")
    assert chunked.network.linear == FLOAT * 3, "the inputs alone"
    assert replace(streamed, batch_size=10_000)._in_chunks(10_000) < 0.9 * streamed.at(10_000)


def test_passes_before_the_steps_run_and_buffers_do_not_count() -> None:
    """The toy has a pass first, BatchNorm, dropout and a queue."""
    found = plan(Toy(), Points.made(), device="cpu")
    assert found.phase == "fit"
    assert found.network.linear > 0
    assert found.loss_at(8) == 0, "its squared error is no part of the contrast engine"
    assert found.seconds_per_step > 0


def test_batches_that_follow_from_a_search_can_be_planned() -> None:
    found = plan(Remembering(), Rows(), device="cpu")
    assert (found.phase, found.batch_size, found.steps) == ("train 0", 8, 6)


def test_the_users_random_state_is_untouched() -> None:
    before = torch.get_rng_state()
    plan(Toy(), Points.made(), device="cpu")
    assert torch.equal(torch.get_rng_state(), before)


def test_a_batch_that_does_not_fit_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    needed = plan(Measured(batch_size=512), DATA, device="cpu").at(200)
    monkeypatch.setattr(budget, "free_memory", lambda device: int(needed / budget.ROOM) + 1)
    found = plan(Measured(batch_size=512), DATA, device="cpu")
    assert not found.fits
    assert found.timed_rows == found.largest_batch == 200
    assert "a step of 200 rows" in "\n".join(found.words())


def test_a_method_without_steps_or_rows_is_refused() -> None:
    class Solved(Toy):
        def phases(self, data: Points) -> list[Any]:
            return [self.phase("solve", data, visit=self._centre)]

    with pytest.raises(UserError, match="Solved takes no gradient steps"):
        plan(Solved(), Points.made(), device="cpu")
    with pytest.raises(UserError, match="4 training rows are too few to measure a step; give at least 8"):
        plan(Measured(batch_size=4), Points.made(4), device="cpu")


# What is said ---------------------------------------------------------------------------------------------

MB = 1024.0**2
BASE = Budget(
    method="m",
    phase="fit",
    rows=100_000,
    batch_size=1000,
    device="cpu",
    weights=MB,
    network=Growth(linear=100.0 * 1024),
    loss=Growth(linear=1024.0),
    tiles=Growth(linear=1024.0, square=4.0),
    free=200 * int(MB),
    timed_rows=1000,
    seconds_per_step=0.25,
    steps=400,
)


def test_what_fits_needs_nothing() -> None:
    assert BASE.fits
    assert BASE.dominant == "network"
    assert BASE.advice() == ["nothing needs to be switched on"]
    assert BASE.at(BASE.largest_batch) <= 160 * MB < BASE.at(BASE.largest_batch + 1)
    assert "the network's activations need most" in BASE.words()
    assert any("a step; 400 steps take about 100 s" in line for line in BASE.words())


def test_activations_that_do_not_fit_go_in_chunks() -> None:
    found = replace(BASE, batch_size=5000)
    first, *rest = found.advice()
    assert "--chunk 256; in_chunks in code of your own): a step then needs" in first
    assert rest == [f"batch_size={found.largest_batch} is the largest that fits as things are"]
    assert found.largest_batch_in_chunks > 4 * found.largest_batch
    on_a_card = replace(found, device="cuda").advice()
    assert "--precision bf16-mixed halves most activations" in on_a_card


def test_a_dense_loss_is_named() -> None:
    found = replace(BASE, loss=Growth(square=200.0), batch_size=1000)
    assert found.dominant == "loss"
    assert "take a streamed one" in found.advice()[0]
    assert any(line.endswith("square of the batch") for line in found.words())
    assert "take a streamed one" in replace(found, free=None).advice()[0]


def test_a_network_too_large_is_said_to_be() -> None:
    found = replace(BASE, weights=500 * MB)
    assert found.dominant == "weights"
    assert found.largest_batch == 0
    assert found.advice() == ["take a smaller network"]


def test_unknown_memory_is_left_out() -> None:
    found = replace(BASE, free=None)
    assert found.fits
    assert found.largest_batch is None
    assert not any("free memory" in line for line in found.words())


def test_json_says_the_same() -> None:
    found = json.loads(json.dumps(BASE.as_json(), allow_nan=False))
    assert found["bytes"]["step"] == round(BASE.at(1000))
    assert sum(found["bytes"][part] for part in ("network", "loss", "weights")) == found["bytes"]["step"]
    assert found["dominant"] == "network"
    assert found["largest_batch"] == BASE.largest_batch


@pytest.mark.parametrize("coefficients", [(7.0, 3.0, 0.0), (0.0, 5.0, 2.0), (100.0, 0.0, 0.0)])
def test_growth_is_found_again(coefficients: tuple[float, float, float]) -> None:
    truth = Growth(*coefficients)
    found = Growth.through([8, 16, 32], [truth.at(n) for n in (8, 16, 32)])
    assert found.at(1000) == pytest.approx(truth.at(1000))
    assert found.square == pytest.approx(truth.square)


def test_noise_is_not_taken_for_a_square() -> None:
    assert Growth.through([8, 16, 32], [800.0, 1600.0, 3300.0]).square == 0


def test_free_memory_is_the_smaller_of_machine_and_container(monkeypatch: pytest.MonkeyPatch) -> None:
    files = {
        "/proc/meminfo": ["MemTotal: 9 kB", "MemAvailable:     1000 kB"],
        "/sys/fs/cgroup/memory.max": ["600000"],
        "/sys/fs/cgroup/memory.current": ["100000"],
    }
    monkeypatch.setattr(budget, "_lines", lambda path: files.get(path, []))
    cpu = torch.device("cpu")
    assert free_memory(cpu) == 500_000
    files["/sys/fs/cgroup/memory.max"] = ["max"]
    assert free_memory(cpu) == 1_024_000
    files.clear()
    assert free_memory(cpu) is None
