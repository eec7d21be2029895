"""A linear classifier of frozen vectors, kept with a run so that it can say classes of new nodes."""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import normalize, one_hot

STRENGTH = 10.0
"""C of scikit-learn's logistic regression: the inverse weight of the squared weights."""
ROUNDS = 50
NEAR = 1e-11
"""Steps smaller than this end the search, which then is far closer still."""


class LogisticHead(nn.Module):
    """Multinomial logistic regression on unit vectors, solved by Newton's method in float64.

    >>> head = LogisticHead(2, 2)
    >>> head.solve(torch.tensor([[0.0, 1.0], [1.0, 0.0], [0.1, 1.0]]), torch.tensor([0, 1, 0]))
    >>> head(torch.tensor([[0.9, 0.1]])).argmax()
    tensor(1)
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, inside: int, classes: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(inside, classes))
        self.register_buffer("bias", torch.zeros(classes))

    def forward(self, vectors: Float[Tensor, "n d"]) -> Float[Tensor, "n c"]:
        """Probabilities."""
        return (normalize(vectors, dim=1) @ self.weight + self.bias).softmax(dim=1)

    def solve(self, vectors: Float[Tensor, "n d"], labels: Int[Tensor, " n"]) -> None:
        """Take the weights that minimise the cross-entropy summed over rows, and half their square over C."""
        unit = normalize(vectors.detach().double(), dim=1)
        x = torch.cat([unit, unit.new_ones(len(unit), 1)], dim=1)
        wanted = one_hot(labels, self.weight.shape[1]).to(x)
        ridge = x.new_full((x.shape[1], 1), 1 / (STRENGTH * len(x)))
        ridge[-1] = 0  # the bias is free

        def loss(weight: Tensor) -> Tensor:
            fit = -((x @ weight).log_softmax(dim=1) * wanted).sum() / len(x)
            return fit + (ridge * weight.square()).sum() / 2

        weight = x.new_zeros(x.shape[1], wanted.shape[1])
        for _ in range(ROUNDS):
            chance = (x @ weight).softmax(dim=1)
            slope = _centred(x.T @ (chance - wanted) / len(x) + ridge * weight)

            def bent(step: Tensor, chance: Tensor = chance) -> Tensor:
                """The Hessian times a step."""
                moved = chance * (x @ step)
                turned = x.T @ (moved - chance * moved.sum(dim=1, keepdim=True)) / len(x) + ridge * step
                return _centred(turned)

            step = _solved(bent, slope)
            most = loss(weight) * (1 + 1e-10)  # close to the end, a loss is only known up to rounding
            while step.abs().max() > NEAR and loss(weight - step) > most:
                step = step / 2
            weight = weight - step
            if step.abs().max() < NEAR:
                break
        self.weight.copy_(weight[:-1])
        self.bias.copy_(weight[-1])


def _centred(weight: Tensor) -> Tensor:
    """Without what all classes share, which changes no probability and would drift."""
    return weight - weight.mean(dim=1, keepdim=True)


def _solved(matrix: Callable[[Tensor], Tensor], wanted: Tensor) -> Tensor:
    """x with A x = b for a positive A, by conjugate gradients."""
    found, left = torch.zeros_like(wanted), wanted.clone()
    way, size = left.clone(), left.square().sum()
    least = size * 1e-20
    for _ in range(2 * wanted.numel()):
        if size <= least or size == 0:
            break
        turned = matrix(way)
        length = size / (way * turned).sum()
        found, left = found + length * way, left - length * turned
        size, before = left.square().sum(), size
        way = left + size / before * way
    return found
