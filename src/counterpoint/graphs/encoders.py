"""Networks over graphs, shared by the wing's methods."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import dropout, elu

from counterpoint.graphs.inputs import Features
from counterpoint.training.sparse import Sparse


class GCN(nn.Module):
    """Graph convolutions: H' = act(norm(A H W + b)), A symmetrically normalised.

    `widths` are those of the features and of every layer. Normalisation takes mean and variance over the nodes of the
    graph at hand, in use as in training, so that no running statistics have to agree between views or ranks. `ends`
    says whether the last layer has normalisation and activation too. Source: arXiv 1609.02907, equation 2.

    >>> from counterpoint.graphs.structure import Structure
    >>> graph = Structure.of(torch.tensor([[0, 1], [1, 2]]), 3)
    >>> GCN([4, 8, 2])(torch.ones(3, 4), graph.matrix()).shape
    torch.Size([3, 2])
    """

    def __init__(
        self,
        widths: Sequence[int],
        activation: Literal["relu", "prelu"] = "prelu",
        norm: bool = False,
        ends: bool = True,
        drop: float = 0.0,
    ) -> None:
        super().__init__()
        pairs = list(pairwise(widths))
        self.weights = nn.ParameterList(nn.Parameter(torch.empty(pair)) for pair in pairs)
        self.biases = nn.ParameterList(nn.Parameter(torch.zeros(width)) for _, width in pairs)
        for weight in self.weights:
            nn.init.xavier_uniform_(weight)
        last = len(pairs) if ends else len(pairs) - 1
        self.norms = nn.ModuleList(nn.BatchNorm1d(w, track_running_stats=False) for w in widths[1 : last + 1] if norm)
        make: Any = nn.PReLU if activation == "prelu" else nn.ReLU
        self.acts = nn.ModuleList(make() for _ in range(last))
        self.drop = drop

    def forward(self, features: Features, matrix: Sparse | None, propagated: bool = False) -> Float[Tensor, "n h"]:
        """Vectors of all nodes; without a matrix each node alone. `propagated` features are A X already."""
        hidden: Any = features
        for number, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            if self.drop and self.training and isinstance(hidden, Tensor):
                hidden = dropout(hidden, self.drop)
            hidden = hidden @ weight
            if matrix is not None and not (propagated and number == 0):
                hidden = matrix @ hidden
            hidden = hidden + bias
            if number < len(self.norms):
                hidden = self.norms[number](hidden)
            if number < len(self.acts):
                hidden = self.acts[number](hidden)
        found: Tensor = hidden
        return found


class Projection(nn.Module):
    """Linear, ELU, linear: the head whose output is contrasted and thrown away (arXiv 2006.04131, section 3.2)."""

    def __init__(self, inside: int, hidden: int, out: int) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(inside, hidden), nn.Linear(hidden, out)

    def forward(self, vectors: Float[Tensor, "n h"]) -> Float[Tensor, "n p"]:
        found: Tensor = self.second(elu(self.first(vectors)))
        return found
