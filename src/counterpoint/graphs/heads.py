"""A linear classifier of frozen vectors, kept with a run so that it can say classes of new nodes."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

STRENGTH = 10.0
"""C of scikit-learn's logistic regression: the inverse weight of the squared weights."""
ROUNDS = 200


class LogisticHead(nn.Module):
    """Multinomial logistic regression on unit vectors, solved by L-BFGS in float64.

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
        x = normalize(vectors.detach().double(), dim=1)
        weight, bias = (torch.zeros_like(part, dtype=x.dtype, requires_grad=True) for part in (self.weight, self.bias))
        solver = torch.optim.LBFGS(
            [weight, bias], max_iter=ROUNDS, tolerance_grad=1e-9, tolerance_change=1e-14, line_search_fn="strong_wolfe"
        )

        def loss() -> Tensor:
            solver.zero_grad()
            fit = cross_entropy(x @ weight + bias, labels, reduction="sum")
            value = (fit + weight.square().sum() / (2 * STRENGTH)) / len(x)
            value.backward()  # type: ignore[no-untyped-call]
            return value

        with torch.enable_grad():
            solver.step(loss)  # type: ignore[arg-type]
        self.weight.copy_(weight.detach())
        self.bias.copy_(bias.detach())
