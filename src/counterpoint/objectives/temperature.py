"""A learnable temperature."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn


class LogScale(nn.Module):
    """A positive scale, the inverse of a temperature, learned as its logarithm.

    Source: CLIP, arXiv 2103.00020, section 2.5. `init` and `maximum` are scales, not logarithms. The
    optimiser may step beyond `maximum`; call `clamp_` after each step. Raises ValueError unless 0 < init <=
    maximum.

    >>> LogScale(init=1 / 0.07, maximum=100.0).temperature
    tensor(0.0700, grad_fn=<ExpBackward0>)
    """

    def __init__(self, init: float = 1 / 0.07, maximum: float = 100.0) -> None:
        super().__init__()
        if not 0 < init <= maximum:
            raise ValueError(f"a scale starts above 0 and at most at its maximum {maximum}, not at {init}")
        self.maximum = maximum
        self.log_scale = nn.Parameter(torch.tensor(math.log(init)))

    @property
    def scale(self) -> Float[Tensor, ""]:
        """What similarities are multiplied by."""
        return self.log_scale.exp()

    @property
    def temperature(self) -> Float[Tensor, ""]:
        """What similarities are divided by."""
        return (-self.log_scale).exp()

    @torch.no_grad()
    def clamp_(self) -> None:
        """Bring the scale back under its maximum."""
        self.log_scale.clamp_(max=math.log(self.maximum))
