"""Covariances of views gathered batch by batch, each block over the rows that have both of its views."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from counterpoint.training import Encoded


class Moments(nn.Module):
    """Sums that a covariance follows from, in two halves: rows to fit on and rows to choose by.

    Kept in float64 and only while training. `total` has for each column its sum over the rows that have view v (d x M);
    absent views count as zeros, so every block sums over the rows that have both of its views.

    >>> x = torch.tensor([[1.0, 2.0], [3.0, 0.0]])
    >>> both = {"a": torch.tensor([True, True]), "b": torch.tensor([True, True])}
    >>> moments = Moments({"a": 1, "b": 1})
    >>> moments.add(Encoded({"a": x[:, :1], "b": x[:, 1:]}, both), torch.tensor([False, False]))
    >>> moments.covariance()
    tensor([[ 1., -1.],
            [-1.,  1.]], dtype=torch.float64)
    """

    training_only = True
    product: Tensor
    total: Tensor
    count: Tensor

    def __init__(self, widths: dict[str, int]) -> None:
        super().__init__()
        d, views = sum(widths.values()), len(widths)
        self.register_buffer("owner", torch.repeat_interleave(torch.tensor(list(widths.values()))), persistent=False)
        for name, shape in (("product", (2, d, d)), ("total", (2, d, views)), ("count", (2, views, views))):
            self.register_buffer(name, torch.zeros(shape, dtype=torch.float64))

    owner: Tensor

    def add(self, rows: Encoded, held: Bool[Tensor, " n"]) -> None:
        """Count some rows; `held` ones go into the second half."""
        present = torch.stack(list(rows.present.values()), dim=1).double()
        x = torch.cat([v.double() * rows.present[n][:, None] for n, v in rows.vectors.items()], dim=1)
        for half, chosen in enumerate((~held, held)):
            if chosen.any():
                part, there = (x, present) if chosen.all() else (x[chosen], present[chosen])
                self.product[half] += part.T @ part
                self.total[half] += part.T @ there
                self.count[half] += there.T @ there

    def rows_of(self, *halves: int) -> Float[Tensor, "m m"]:
        """How many rows have both of each two views, in some halves (default: both)."""
        return self.count[list(halves or (0, 1))].sum(dim=0)

    def centre(self) -> Float[Tensor, " d"]:
        """The mean of each column over the rows that have its view."""
        total = self.total.sum(dim=0)[torch.arange(len(self.owner)), self.owner]
        return total / self.rows_of().diagonal()[self.owner].clamp(min=1)

    def covariance(self, *halves: int) -> Float[Tensor, "d d"]:
        """The covariance of the rows of some halves (default: both); zero where two views never meet."""
        chosen, owner = list(halves or (0, 1)), self.owner
        count = self.rows_of(*halves).clamp(min=1)
        mean = self.total[chosen].sum(dim=0) / count[owner]
        beside = mean[:, owner]
        return self.product[chosen].sum(dim=0) / count[owner][:, owner] - beside * beside.T
