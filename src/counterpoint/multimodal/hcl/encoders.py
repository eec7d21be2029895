"""Networks of deep HCL: heads for the structures of each view, and what predicts a label from them."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import normalize

from counterpoint.multimodal.encoders import SHORTEST, ViewEncoders, linear
from counterpoint.multimodal.hcl.group_lasso import predictions
from counterpoint.multimodal.hcl.structures import Structures
from counterpoint.training import Encoded, Method, Predictions

Sharing = Literal["structure", "level"]


class StructureEncoders(ViewEncoders):
    """The views' encoders, and on each of them a head for every structure of the view."""

    def __init__(self, method: Method, facts: dict[str, Any], structures: Structures) -> None:
        super().__init__(method, facts)
        self.structures, self.kind = structures, method.options.heads
        self.unit = method.options.contrast == "linear"
        self.heads = nn.ModuleDict()
        for name in facts:
            for k in structures.having(name):
                key = head_name(self.kind, name, k, structures)
                if key not in self.heads:
                    with method.seeded(f"head {key}"):
                        self.heads[key] = _layers([method.options.dim, *method.options.head, structures.ranks[k]])

    def forward(self, views: Mapping[str, Tensor]) -> Encoded:
        """Vectors with a block per structure, and presence, of the views given."""
        given = super().forward(views)
        vectors = {name: self._structured(name, x) for name, x in given.vectors.items()}
        return Encoded(vectors, given.present)

    def _structured(self, name: str, x: Float[Tensor, "n d"]) -> Float[Tensor, "n q"]:
        own = self.structures.having(name)
        keys = {k: head_name(self.kind, name, k, self.structures) for k in own}
        made = {key: self.heads[key](x) for key in dict.fromkeys(keys.values())}
        if self.unit:
            made = {key: normalize(h, dim=1, eps=SHORTEST) / len(own) ** 0.5 for key, h in made.items()}
        ranks = self.structures.ranks
        parts = [made[keys[k]] if k in keys else x.new_zeros(x.shape[0], ranks[k]) for k in range(len(self.structures))]
        return torch.cat(parts, dim=1)


class Head(nn.Module):
    """A network of one hidden layer of 256 units that predicts the label from a row's structures (released code)."""

    def __init__(self, width: int, targets: int) -> None:
        super().__init__()
        self.net = _layers([width, 256, targets])

    def said(self, z: Float[Tensor, "n q"], known: Tensor, facts: dict[str, Any]) -> Predictions:
        """Labels of rows from their structures."""
        found = self.net(z)
        return predictions(found.softmax(dim=1) if facts["classes"] else found, known, facts)


def head_name(kind: Sharing, name: str, k: int, structures: Structures) -> str:
    """Which head a view uses in a structure; with `level` all of one size share it."""
    return f"view_{name}_{k}" if kind == "structure" else f"view_{name}_of_{len(structures.members[k])}"


def _layers(widths: list[int]) -> nn.Sequential:
    """Linear layers with ReLU between them, initialised as the encoders' are."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def explained_share(vectors: Float[Tensor, "n r"], values: Float[Tensor, "n d"]) -> Float[Tensor, " d"]:
    """The share of each column's variance that least squares on the vectors explains, fitted and judged on halves.

    >>> x = torch.randn(200, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    >>> explained_share(x[:, :1], x).round(decimals=1)
    tensor([1., 0.], dtype=torch.float64)
    """
    first, second = slice(0, None, 2), slice(1, None, 2)
    z, x = vectors - vectors[first].mean(dim=0), values - values[first].mean(dim=0)
    gram = z[first].T @ z[first]
    gram.diagonal().add_(1e-6 * gram.diagonal().mean().clamp(min=1e-12))
    error = x[second] - z[second] @ torch.linalg.solve(gram, z[first].T @ x[first])
    total = x[second].square().sum(dim=0)
    share: Tensor = (1 - error.square().sum(dim=0) / total.clamp(min=1e-12)).clamp(0, 1) * (total > 0)
    return share
