"""URMF: a step with all its terms against a step of the same network without uncertainty."""

import torch
from harness import interleave, write

from counterpoint.multimodal.simulate.tokens import polarity
from counterpoint.multimodal.urmf import URMF
from counterpoint.training import Clock, rng

WITHOUT = {"fusion": "uniform", "bottleneck": 0.0, "prior": 0.0, "alignment": 0.0, "contrast": 0.0}


def step(n: int, dim: int, tokens: int) -> dict[str, object]:
    """Time of losses and gradients of one batch of n rows with two views of so many tokens."""
    table = polarity(n, seed=0, text_tokens=tokens, image_tokens=tokens, dim=64)
    methods = {"urmf": URMF(dim=dim), "without": URMF(dim=dim, **WITHOUT)}
    for method in methods.values():
        method.prepare(method.measure(table))
    batch = methods["urmf"].batch(table, torch.arange(n), rng(0))
    clock = Clock(0, "fit", 0, 0, 1)

    def train(name: str) -> None:
        method = methods[name]
        method.zero_grad(set_to_none=True)
        torch.stack(list(method.losses(batch, clock).values())).sum().backward()

    seconds = interleave({name: (lambda name=name: train(name)) for name in methods}, repeats=15)
    ratio = seconds["urmf"] / seconds["without"]
    return {
        "what": f"step, N={n}, d={dim}, {tokens} tokens a view: all terms / without uncertainty",
        "ratio": ratio,
        "goal": "<= 1.3",
        "met": ratio <= 1.3,
        "ms": {name: 1e3 * value for name, value in seconds.items()},
    }


if __name__ == "__main__":
    rows = [step(128, 128, tokens) for tokens in (16, 32, 64)]
    write("urmf", rows, "URMF, fp32, defaults; losses and gradients of one batch")
