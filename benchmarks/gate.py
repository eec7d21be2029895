"""Gated Symile: exact fast scores against the naive per-pair form, and a gated step against an ungated one."""

import torch
from harness import interleave, write
from torch.nn.functional import normalize

from counterpoint.multimodal.gate import Gate, Seek
from counterpoint.multimodal.gated_symile import GatedSymile
from counterpoint.multimodal.simulate import xnor
from counterpoint.multimodal.symile import Symile
from counterpoint.training import Clock, rng


def naive(gate: Gate, vectors: list[torch.Tensor], candidates: torch.Tensor) -> torch.Tensor:
    """One gated vector per (query, candidate) and view, made candidate by candidate with vectors of size n x d."""
    columns = []
    for candidate in candidates:
        keys = [gate.keys(m, v) for m, v in zip((1, 2), vectors, strict=True)]
        present = [torch.ones(len(v), dtype=torch.bool) for v in vectors]
        seek = Seek(0, candidate[None], [1, 2], vectors, keys, present)
        product = candidate
        for m, weight, e in zip((1, 2), gate.weights(seek), vectors, strict=True):
            mixed = (1 - gate.alpha) * e + gate.alpha * (weight * e + (1 - weight) * gate.neutral[m])
            product = product * normalize(mixed, dim=1)
        columns.append(product.sum(dim=1))
    return torch.stack(columns, dim=1)


def scores(n: int, dim: int) -> dict[str, object]:
    """Time and error of the scores of n queries against n candidates."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        gate = Gate(3, dim, dim, gamma=0.0)
        first, *vectors = (normalize(torch.randn(n, dim), dim=1) for _ in range(3))
    present = [torch.ones(n, dtype=torch.bool)] * 2

    def fast() -> torch.Tensor:
        keys = [gate.keys(m, v) for m, v in zip((1, 2), vectors, strict=True)]
        return gate.products(Seek(0, first, [1, 2], vectors, keys, present))

    with torch.no_grad():
        error = float((fast() - naive(gate, vectors, first)).abs().max())
        seconds = interleave({"naive": lambda: naive(gate, vectors, first), "fast": fast}, repeats=5)
    ratio = seconds["naive"] / seconds["fast"]
    return {"what": f"scores, N={n}, d={dim}: naive / fast", "ratio": ratio, "goal": ">= 20", "met": ratio >= 20,
            "largest_difference": error, "ms": {k: 1e3 * v for k, v in seconds.items()}}  # fmt: skip


def step(n: int, dim: int) -> dict[str, object]:
    """Time of losses and gradients of one batch, gated against ungated with the same encoders and negatives."""
    table = xnor(n, p=1.0, seed=0)
    rows = torch.arange(n)
    methods = {"gated": GatedSymile(dim=dim), "ungated": Symile(dim=dim, negatives="pair")}
    for method in methods.values():
        method.prepare(method.measure(table))
    batch = methods["gated"].batch(table, rows, rng(0))
    clock = Clock(0, "fit", 0, 0, 1)

    def train(name: str) -> None:
        method = methods[name]
        method.zero_grad(set_to_none=True)
        torch.stack(list(method.losses(batch, clock).values())).sum().backward()

    seconds = interleave({name: (lambda name=name: train(name)) for name in methods}, repeats=15)
    ratio = seconds["gated"] / seconds["ungated"]
    return {"what": f"step, N={n}, d={dim}: gated / ungated", "ratio": ratio, "goal": "<= 2", "met": ratio <= 2,
            "ms": {k: 1e3 * v for k, v in seconds.items()}}  # fmt: skip


if __name__ == "__main__":
    rows = [scores(128, 256), scores(128, 64)]
    rows += [step(n, dim) for n in (128, 512) for dim in (64, 256)]
    write("gate", rows, "Gated Symile, fp32; encoders 128-256-256-d as in the card")
