"""A linear layer with few weights, solved on vectors that are frozen."""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import one_hot

STEPS = 1000
"""Steps of the solver; what is left of the gradient then is below 1e-6 in our tests."""


def sparse_logistic(
    vectors: Float[Tensor, "n d"], classes: Int[Tensor, " n"], count: int, penalty: float
) -> tuple[Float[Tensor, "c d"], Float[Tensor, " c"]]:
    """Weights and bias that minimise the mean cross-entropy + penalty |weights|_1, in float64; the bias is free.

    Vectors are standardised first, and the weights returned are those of the vectors as they are. The penalty is
    scikit-learn's 1 / (n C). Source: FISTA (Beck and Teboulle 2009).

    >>> weights, bias = sparse_logistic(torch.tensor([[-1.0, 0.3], [1.0, 0.3]]), torch.tensor([0, 1]), 2, 0.1)
    >>> bool((weights[:, 1] == 0).all()), weights[1, 0] > 0
    (True, tensor(True))
    """
    x = vectors.double()
    mean, spread = x.mean(dim=0), x.std(dim=0, correction=0)
    spread = torch.where(spread > 0, spread, torch.ones_like(spread))
    x = torch.cat([(x - mean) / spread, x.new_ones(len(x), 1)], dim=1)
    hot = one_hot(classes, count).to(x)
    step = 2 * len(x) / float(torch.linalg.matrix_norm(x, 2)) ** 2
    shrink = x.new_full((x.shape[1], 1), penalty * step)
    shrink[-1] = 0
    now = ahead = x.new_zeros(x.shape[1], count)
    speed = 1.0
    for _ in range(STEPS):
        moved = ahead - step * x.T @ ((x @ ahead).softmax(dim=1) - hot) / len(x)
        after = moved.sign() * (moved.abs() - shrink).clamp(min=0)
        faster = (1 + (1 + 4 * speed**2) ** 0.5) / 2
        ahead = after + (speed - 1) / faster * (after - now)
        now, speed = after, faster
    weights = (now[:-1] / spread[:, None]).T
    return weights, now[-1] - weights @ mean
