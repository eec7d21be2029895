"""Group-relative policy optimisation, the two formulas; a short loop of ours uses them.

TRL's trainer brings its own loop, data sets and checkpoints, so that a run could neither be resumed bit for bit nor
shared over ranks as every other method here; the loss itself is these few lines.
Source: the standard form, as arXiv 2402.03300, equations 3 and 4; that CLEAR (arXiv 2604.07487) uses it is known from
descriptions alone.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

SMALL = 1e-4
"""What is added to the deviation of a group's rewards."""


def advantages(rewards: Float[Tensor, "n g"]) -> Float[Tensor, "n g"]:
    """Rewards minus their group's mean, over its deviation; 0 where all of a group are equal.

    >>> advantages(torch.tensor([[0.0, 1.0], [0.5, 0.5]])).round(decimals=2)
    tensor([[-1.,  1.],
            [ 0.,  0.]])
    """
    gaps = rewards - rewards.mean(dim=1, keepdim=True)
    return gaps / (rewards.std(dim=1, correction=0, keepdim=True) + SMALL)


def clipped(
    now: Float[Tensor, "n t"],
    old: Float[Tensor, "n t"],
    reference: Float[Tensor, "n t"],
    advantage: Float[Tensor, " n"],
    inside: Bool[Tensor, "n t"],
    clip: float,
) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"]]:
    """Per text, means over its tokens: -min(rho A, clip(rho, 1 - c, 1 + c) A), and the distance to the reference.

    rho is the ratio of a token's probability now to that when it was drawn. The distance is the estimate
    exp(r) - r - 1 of the KL divergence, with r = log reference - log now; it is never negative.
    """
    ratio, share = (now - old).exp(), advantage[:, None]
    gain = torch.minimum(ratio * share, ratio.clamp(1 - clip, 1 + clip) * share)
    gap = reference - now
    count = inside.sum(dim=1).clamp(min=1)
    loss = -(gain * inside).sum(dim=1) / count
    distance = ((gap.exp() - gap - 1) * inside).sum(dim=1) / count
    return loss, distance
