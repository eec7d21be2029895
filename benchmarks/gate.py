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


def products_alone(n: int, dim: int) -> float:
    """The matrix products of a gated step over those of an ungated one: what no code for the exact gate can go below.

    Each product is there once forward and twice backward. Ungated: the encoders and a product of n x n x d per target.
    Gated: also two n x n x d per pair of views for the gate's matches and one for the mixed products (a view's with the
    third one's neutral direction; both targets can share it), and maps of n x d x d for queries, keys and NULL.
    """
    layers = [(128, 256), (256, 256), (256, dim)]
    encoders = 3 * [(n, *layer) for layer in layers]
    scores = 3 * [(n, dim, n)]
    gate = 9 * [(n, dim, n)] + 9 * [(n, dim, dim)]

    def run(shapes: list[tuple[int, int, int]]) -> None:
        for a, b, c in shapes:
            left, right, out = (torch.empty(side) for side in ((a, b), (b, c), (a, c)))
            torch.mm(left, right, out=out)
            torch.mm(left.T, out, out=right)
            torch.mm(out, right.T, out=left)

    kinds = {"gated": encoders + scores + gate, "ungated": encoders + scores}
    seconds = interleave({name: (lambda shapes=shapes: run(shapes)) for name, shapes in kinds.items()}, repeats=15)
    return seconds["gated"] / seconds["ungated"]


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
    least = products_alone(n, dim)
    what = f"step, N={n}, d={dim}: gated / ungated (its matrix products alone: {least:.1f})"
    return {"what": what, "ratio": ratio, "goal": "<= 2", "met": ratio <= 2, "products_alone": least,
            "ms": {k: 1e3 * v for k, v in seconds.items()}}  # fmt: skip


if __name__ == "__main__":
    rows = [scores(128, 256), scores(128, 64)]
    rows += [step(n, dim) for n in (128, 512) for dim in (64, 256)]
    write("gate", rows, "Gated Symile, fp32; encoders 128-256-256-d as in the card")
