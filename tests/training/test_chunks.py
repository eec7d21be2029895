"""Chunks give the values and gradients of the same network without them, and replay what is random."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from counterpoint.errors import UserError
from counterpoint.objectives import info_nce
from counterpoint.training.chunks import in_chunks

ROWS = torch.randn(10, 3, generator=torch.Generator().manual_seed(0))


def network(dropout: float = 0.5) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 16), nn.LayerNorm(16), nn.GELU(), nn.Dropout(dropout), nn.Linear(16, 4))


def by_hand(module: nn.Module, rows: Tensor, size: int) -> Tensor:
    """The chunks one after the other, with all their activations kept."""
    return torch.cat([module(part) for part in rows.split(size)])


def learned(run: Any, net: nn.Module, scale: float = 1.0) -> tuple[Tensor, list[Tensor], Tensor]:
    """Loss and gradients of two views through one network, and the random state that is left."""
    net.zero_grad(set_to_none=True)
    torch.manual_seed(7)
    first, second = run(net, ROWS), run(net, ROWS + 0.1)
    loss = info_nce(normalize(first), normalize(second), temperature=0.2).mean()
    (scale * loss).backward()
    return loss.detach(), [p.grad for p in net.parameters() if p.grad is not None], torch.get_rng_state()


@pytest.mark.parametrize("size", [1, 3, 10, 64])
@pytest.mark.parametrize("scale", [1.0, 1024.0])
def test_dropout_is_replayed_bit_for_bit(size: int, scale: float) -> None:
    """Two forward passes through one network and one backward pass, as for every contrastive loss."""
    net = network()
    plain = learned(lambda module, rows: by_hand(module, rows, size), net, scale)
    cached = learned(lambda module, rows: in_chunks(module, rows, size), net, scale)
    assert torch.equal(plain[0], cached[0])
    assert all(map(torch.equal, plain[1], cached[1]))
    assert torch.equal(plain[2], cached[2]), "the random state after backward must be that of the plain run"


def test_without_chunks_it_is_the_module() -> None:
    net = network()
    assert all(
        map(
            torch.equal,
            learned(lambda module, rows: in_chunks(module, rows, 0), net)[1],
            learned(lambda m, r: m(r), net)[1],
        )
    )


def test_the_whole_batch_is_compared() -> None:
    """In float64 the loss over chunks is the loss of the batch, unlike the mean of losses of chunks."""
    net, rows = network(0.0).double(), ROWS.double()

    def loss(views: list[Tensor]) -> Tensor:
        return info_nce(normalize(views[0]), normalize(views[1]), temperature=0.2).mean()

    whole = loss([net(rows), net(rows + 0.1)])
    chunked = loss([in_chunks(net, rows, 3), in_chunks(net, rows + 0.1, 3)])
    expected = torch.autograd.grad(whole, list(net.parameters()))
    found = torch.autograd.grad(chunked, list(net.parameters()))
    assert torch.allclose(whole, chunked, rtol=1e-14)
    assert all(torch.allclose(a, b, rtol=1e-12, atol=1e-14) for a, b in zip(expected, found, strict=True))


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_autocast_is_replayed(dropout: float) -> None:
    net = network(dropout)

    def run(forward: Any) -> list[Tensor]:
        net.zero_grad(set_to_none=True)
        torch.manual_seed(7)
        with torch.autocast("cpu", torch.bfloat16):
            found = forward()
            assert found.dtype == torch.bfloat16
            loss = found.float().square().mean()
        loss.backward()  # outside of autocast, where a replay without it would run in float32
        return [p.grad for p in net.parameters() if p.grad is not None]

    expected, found = run(lambda: by_hand(net, ROWS, 4)), run(lambda: in_chunks(net, ROWS, 4))
    assert all(map(torch.equal, expected, found))


def test_activations_of_one_chunk_only_are_alive() -> None:
    net, rows = network(), torch.randn(512, 3)

    def saved(run: Any) -> int:
        kept: dict[int, int] = {}

        def pack(tensor: Tensor) -> Tensor:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            run().sum()
        return sum(kept.values())

    assert saved(lambda: net(rows)) > 20 * rows.nbytes
    assert saved(lambda: in_chunks(net, rows, 64)) == rows.nbytes


def test_each_chunk_runs_twice_and_only_with_gradients() -> None:
    net, lengths = network(), []
    net[0].register_forward_hook(lambda module, inputs, output: lengths.append(len(output)))
    in_chunks(net, ROWS, 4).sum().backward()
    assert lengths[:3] == [4, 4, 2]
    assert sorted(lengths[3:]) == [2, 4, 4]
    lengths.clear()
    with torch.no_grad():
        assert not in_chunks(net, ROWS, 4).requires_grad
    assert lengths == [4, 4, 2]


def test_backward_can_be_repeated() -> None:
    """Naming the term with a gradient that is not finite asks for gradients term by term."""
    net = network()
    made = in_chunks(net, ROWS, 4)
    terms = [made.sum(), made.square().sum()]
    apart = [torch.autograd.grad(term, list(net.parameters()), retain_graph=True) for term in terms]
    once = torch.autograd.grad(sum(terms), list(net.parameters()))
    assert all(torch.allclose(a + b, c, atol=1e-4) for a, b, c in zip(*apart, once, strict=True))


def test_gradients_reach_the_inputs() -> None:
    net, rows = network(0.0), ROWS.clone().requires_grad_()
    (expected,) = torch.autograd.grad(by_hand(net, rows, 4).square().sum(), rows)
    (found,) = torch.autograd.grad(in_chunks(net, rows, 4).square().sum(), rows)
    assert torch.equal(expected, found)


# What goes in and comes out -------------------------------------------------------------------------------


@dataclass
class Made:
    vectors: dict[str, Tensor]
    present: tuple[Tensor, ...]


class Pair(NamedTuple):
    x: Tensor
    label: str


class Towers(nn.Module):
    """Takes a dictionary, gives a dataclass."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(3, 2)

    def forward(self, views: dict[str, Any]) -> Made:
        assert views["mode"] == "all"
        return Made({"a": self.net(views["a"])}, (views["b"][0] > 0, views["b"][1] * views["factor"]))


def test_dictionaries_lists_and_dataclasses_are_cut_and_joined() -> None:
    towers = Towers()
    views = {"a": ROWS, "b": [ROWS[:, 0], ROWS[:, 1]], "mode": "all", "factor": torch.tensor(2.0)}
    whole, found = towers(views), in_chunks(towers, views, 4)
    assert torch.allclose(found.vectors["a"], whole.vectors["a"])
    assert all(map(torch.equal, found.present, whole.present))
    found.vectors["a"].sum().backward()
    assert towers.net.weight.grad is not None


def test_tuples_keep_their_kind() -> None:
    class Named(nn.Module):
        def forward(self, inputs: Pair) -> Pair:
            return Pair(inputs.x * 2, inputs.label)

    found = in_chunks(Named(), Pair(ROWS, "x"), 4)
    assert isinstance(found, Pair)
    assert torch.equal(found.x, 2 * ROWS)
    assert found.label == "x"


def test_no_rows_are_no_rows() -> None:
    assert in_chunks(network(), ROWS[:0], 4).shape == (0, 4)


# What is refused ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("norm", [nn.BatchNorm1d(3), nn.BatchNorm1d(3, track_running_stats=False), nn.SyncBatchNorm(3)])
def test_batch_norm_is_refused_by_name(norm: nn.Module) -> None:
    before = {name: value.clone() for name, value in norm.state_dict().items()}
    with pytest.raises(UserError, match=r'"1" normalises over the batch.*LayerNorm or GroupNorm'):
        in_chunks(nn.Sequential(nn.Linear(3, 3), norm), ROWS, 4)
    assert all(torch.equal(value, before[name]) for name, value in norm.state_dict().items())


def test_batch_norm_in_eval_mode_is_a_fixed_map() -> None:
    net = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)).eval()
    assert torch.equal(in_chunks(net, ROWS, 5), by_hand(net, ROWS, 5))
    with pytest.raises(UserError, match="normalises over the batch"):
        in_chunks(nn.BatchNorm1d(3, track_running_stats=False).eval(), ROWS, 4)


class Counting(nn.Module):
    """Writes, or replaces, a buffer in every forward pass."""

    def __init__(self, replace: bool) -> None:
        super().__init__()
        self.replace = replace
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, rows: Tensor) -> Tensor:
        if self.replace:
            self.seen = self.seen + len(rows)
        else:
            self.seen += len(rows)
        return rows * 2


@pytest.mark.parametrize("module", [Counting(True), Counting(False)])
def test_a_buffer_that_forward_changes_is_refused(module: nn.Module) -> None:
    with pytest.raises(UserError, match='changes the buffer "seen"'):
        in_chunks(module, ROWS, 4)
    with torch.no_grad():
        assert torch.equal(in_chunks(module, ROWS, 4), 2 * ROWS)


def test_spectral_norm_is_refused() -> None:
    net = nn.utils.parametrizations.spectral_norm(nn.Linear(3, 3))
    with pytest.raises(UserError, match=r'changes the buffer "parametrizations\.weight\.0\._[uv]"'):
        in_chunks(net, ROWS, 4)


class Mean(nn.Module):
    def forward(self, rows: Tensor) -> Tensor:
        return rows.mean()


class Halved(nn.Module):
    def forward(self, rows: Tensor) -> Tensor:
        return rows[::2]


@pytest.mark.parametrize(
    ("module", "inputs", "size", "line"),
    [
        (network(), ROWS, -1, "not -1"),
        (network(), {"a": ROWS, "b": ROWS[:4]}, 2, r"same number of rows, not \[4, 10\]"),
        (network(), "text", 2, "not none at all"),
        (Mean(), ROWS, 4, "a result per row"),
        (Halved(), ROWS, 4, "Halved made 5 rows of 10"),
    ],
)
def test_what_has_no_rows_is_refused(module: nn.Module, inputs: Any, size: int, line: str) -> None:
    with pytest.raises(ValueError, match=line):
        in_chunks(module, inputs, size)
