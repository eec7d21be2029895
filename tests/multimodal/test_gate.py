"""The fast scores equal the naive ones, value and gradient, for every switch; the gate starts where the card says."""

from itertools import product

import pytest
import torch
from torch.nn.functional import normalize

from counterpoint.multimodal.gate import Gate, Seek
from multimodal.naive_gate import naive_products

SWITCHES = [
    *(
        {"activation": activation, "null": null, "neutral": neutral}
        for activation, null, neutral in product(
            ("sigmoid", "softmax"), (True, False), ("trainable", "random", "ones", "none")
        )
    ),
    {"kind": "matrix"},
    {"kind": "matrix", "neutral": "none"},
]


def make(
    views: int = 3, n: int = 6, m: int = 5, dim: int = 8, **switches
) -> tuple[Gate, dict[int, torch.Tensor], torch.Tensor]:
    torch.manual_seed(0)
    gate = Gate(views, dim, 7, gamma=0.3, **switches).double()
    with torch.no_grad():
        for parameter in gate.parameters():  # away from symmetric starts
            parameter.add_(0.3 * torch.randn_like(parameter))
    vectors = {k: normalize(torch.randn(n, dim, dtype=torch.float64), dim=1) for k in range(views)}
    return gate, vectors, normalize(torch.randn(m, dim, dtype=torch.float64), dim=1)


def seek(gate: Gate, t: int, vectors: dict[int, torch.Tensor], candidates: torch.Tensor) -> Seek:
    others = [k for k in sorted(vectors) if k != t]
    present = [torch.ones(len(vectors[k]), dtype=torch.bool) for k in others]
    chosen = [vectors[k] for k in others]
    return Seek(t, candidates, others, chosen, [gate.keys(k, vectors[k]) for k in others], present)


@pytest.mark.parametrize("switches", SWITCHES, ids=str)
def test_fast_equals_naive_in_value_and_gradient(switches):
    gate, vectors, candidates = make(**switches)
    leaves = [v.clone().requires_grad_() for v in (*vectors.values(), candidates)]
    *sides, candidates = (normalize(leaf, dim=1) for leaf in leaves)  # the fast form counts on unit vectors
    vectors = dict(enumerate(sides))
    fast = gate.products(seek(gate, 1, vectors, candidates))
    naive = naive_products(gate, 1, {0: vectors[0], 2: vectors[2]}, candidates)
    torch.testing.assert_close(fast, naive, rtol=1e-10, atol=1e-12)
    weight = torch.randn(fast.shape, dtype=torch.float64)
    inputs = [*leaves, *gate.parameters()]
    ours = torch.autograd.grad((fast * weight).sum(), inputs, allow_unused=True, retain_graph=True)
    theirs = torch.autograd.grad((naive * weight).sum(), inputs, allow_unused=True)
    for a, b, leaf in zip(ours, theirs, inputs, strict=True):
        zero = torch.zeros_like(leaf)
        torch.testing.assert_close(zero if a is None else a, zero if b is None else b, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("views", [2, 4, 5])
def test_any_number_of_views(views):
    gate, vectors, candidates = make(views=views)
    fast = gate.products(seek(gate, 0, vectors, candidates))
    naive = naive_products(gate, 0, {k: vectors[k] for k in range(1, views)}, candidates)
    torch.testing.assert_close(fast, naive, rtol=1e-10, atol=1e-12)


def test_fp32_at_the_cards_size_to_1e_6():
    gate, vectors, candidates = make(n=24, m=16, dim=256)
    exact = naive_products(gate, 0, {1: vectors[1], 2: vectors[2]}, candidates)
    single = gate.float()
    fast = single.products(seek(single, 0, {k: v.float() for k, v in vectors.items()}, candidates.float()))
    assert (fast.double() - exact).abs().max() < 1e-6


@pytest.mark.parametrize("switches", SWITCHES[:8], ids=str)
def test_own_vectors_are_the_diagonal(switches):
    gate, vectors, _ = make(**switches)
    own = gate.own(seek(gate, 0, vectors, vectors[0]))
    score = (vectors[0] * own[0] * own[1]).sum(dim=1)
    full = gate.products(seek(gate, 0, vectors, vectors[0]))
    torch.testing.assert_close(score, full.diagonal(), rtol=1e-10, atol=1e-12)


def test_it_starts_as_the_card_says():
    gate = Gate(3, 16, 16)
    assert gate.alpha.item() == pytest.approx(0.0474, abs=1e-4)
    assert gate.temperature.item() == pytest.approx(0.631, abs=1e-3)
    assert gate.null_bias.tolist() == [0.0, 0.0, 0.0]
    torch.testing.assert_close(gate.neutral.norm(dim=1), torch.ones(3))


def test_an_absent_view_gets_no_weight_from_the_softmax_and_is_exactly_its_neutral_direction():
    gate, vectors, candidates = make(activation="softmax")
    absent = seek(gate, 0, {**vectors, 2: gate.neutral[2].expand(6, -1)}, candidates)
    absent = Seek(0, candidates, absent.others, absent.vectors, absent.keys, [absent.present[0], ~absent.present[1]])
    weights = gate.weights(absent)
    assert float(weights[1].detach().max()) == 0.0
    gated = gate.own(Seek(0, vectors[0], absent.others, absent.vectors, absent.keys, absent.present))
    torch.testing.assert_close(gated[1], gate.neutral[2].expand(6, -1))
