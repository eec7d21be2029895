"""Alternating least squares: who took what as a product of vectors, by implicit's implementation."""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from counterpoint.errors import need
from counterpoint.recommend.counts import Counting
from counterpoint.recommend.histories import Histories
from counterpoint.recommend.interactions import Interactions
from counterpoint.recommend.recommender import VectorRecommender
from counterpoint.training import Method, MethodConfig, Phase

TOGETHER = 256
"""Histories that are solved for at a time."""


class ALS(VectorRecommender, Counting, Method):
    """A vector per item by alternating least squares; that of a history is the least-squares solution given the items.

    Items are those of the library implicit (`implicit.als`); the vectors that it finds for users are not kept, since
    the one solved for from a history is theirs. Source: doi 10.1109/ICDM.2008.22, equations 3 to 5.

    >>> data = Interactions.of([1, 1, 2, 2, 3, 3], ["a", "b", "a", "b", "c", "d"])
    >>> ALS(dim=2).fit(data).recommend([["a"]], k=1)[0][0]["id"]
    'b'
    """

    class Config(MethodConfig):
        """Options of alternating least squares; weight, iterations and regularisation as usual for implicit."""

        dim: int = Field(64, ge=1, description="numbers in a vector")
        weight: float = Field(10.0, gt=0, description="how much more each time counts that an item was taken than not")
        regularisation: float = Field(0.01, ge=0, description="weight of the squared vectors")
        iterations: int = Field(15, ge=1, description="times that users and items are solved for in turn")

    options: Config
    factors: Tensor

    def build(self, facts: dict[str, Any]) -> None:
        """Room for a vector per item."""
        self._build_items(facts)
        self.register_buffer("factors", torch.zeros(facts["items"], self.options.dim))

    def phases(self, data: Interactions) -> Sequence[Phase]:
        """One pass that solves."""
        return self._whole(data, self._solve)

    def _solve(self, data: Interactions, seed: int) -> None:
        als, sparse = need("implicit.cpu.als", "recommend"), need("scipy.sparse", "recommend")
        options = self.options
        ones = np.ones(len(data.items), dtype=np.float32)
        took = sparse.csr_matrix((ones, (data.users, data.items)), shape=(len(data), data.catalogue.num_rows))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it advises on threads of a library that is not used here
            model = als.AlternatingLeastSquares(
                options.dim,
                options.regularisation,
                options.weight,
                iterations=options.iterations,
                num_threads=1,
                random_state=seed,
            )
            model.fit(took, show_progress=False)
        self.factors.copy_(torch.from_numpy(model.item_factors))

    def item_vectors(self) -> Float[Tensor, "v d"]:
        """A vector per item."""
        return self.factors

    def vectors(self, histories: Histories) -> Float[Tensor, "n d"]:
        """(Y' Y + Y' (C - I) Y + regularisation I)^-1 Y' C p for each history: C is the weight of each item, p 1 for
        those that it has.
        """
        table = self.factors.double()
        squares = table.T @ table
        squares.diagonal().add_(self.options.regularisation)
        padded = torch.cat([table, table.new_zeros(1, table.shape[1])])
        given, times = histories.distinct()
        confidence = self.options.weight * times.to(table.dtype)
        solved = []
        for rows in torch.arange(len(given), device=given.starts.device).split(TOGETHER):
            some = slice(int(given.starts[rows[0]]), int(given.starts[rows[-1] + 1]))
            items, _, there = given.rows(rows).padded(len(table))
            taken = padded[items]
            weight = taken.new_zeros(items.shape).masked_scatter(there, confidence[some])
            more = ((weight - 1) * there)[..., None] * taken
            solved.append(torch.linalg.solve(squares + taken.mT @ more, (weight[..., None] * taken).sum(1)))
        return torch.cat(solved).to(self.factors.dtype)
