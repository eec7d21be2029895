"""Item k-nearest neighbours: items that the same people took, by implicit's implementation."""

import warnings
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor

from counterpoint.errors import need
from counterpoint.recommend.counts import Counting, SparseRows
from counterpoint.recommend.histories import Histories
from counterpoint.recommend.interactions import Interactions
from counterpoint.training import Method, MethodConfig, Phase


class ItemKNN(Counting, Method):
    """Each item's nearest items by who took them; a history's score of an item is the sum of its similarities.

    Neighbours are those of the library implicit (`implicit.nearest_neighbours`).
    Source: doi 10.1145/963770.963776, section 4.

    >>> data = Interactions.of([1, 1, 2, 2, 3], ["a", "b", "a", "b", "c"])
    >>> ItemKNN().fit(data).recommend([["a"]], k=1)[0][0]["id"]
    'b'
    """

    class Config(MethodConfig):
        """Options of item kNN."""

        neighbours: int = Field(50, ge=1, description="nearest items that are kept of each")
        weighting: Literal["cosine", "tfidf", "bm25"] = Field("cosine", description="how what a user took is weighted")

    options: Config

    def build(self, facts: dict[str, Any]) -> None:
        """Room for the neighbours of every item."""
        self._build_items(facts)
        self.near = SparseRows(facts["items"], facts["items"], facts["items"] * self.options.neighbours)

    def phases(self, data: Interactions) -> Sequence[Phase]:
        """One pass that finds the neighbours."""
        return self._whole(data, self._count)

    def _count(self, data: Interactions, seed: int) -> None:
        knn, sparse = need("implicit.nearest_neighbours", "recommend"), need("scipy.sparse", "recommend")
        items = data.catalogue.num_rows
        ones = np.ones(len(data.items))
        took = sparse.csr_matrix((ones, (data.users, data.items)), shape=(len(data), items))
        names = {"cosine": "CosineRecommender", "tfidf": "TFIDFRecommender", "bm25": "BM25Recommender"}
        model = getattr(knn, names[self.options.weighting])(K=self.options.neighbours + 1, num_threads=1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it tells that it converts its own intermediate matrix
            model.fit(took, show_progress=False)
        rows, columns = model.similarity.nonzero()
        weights = np.asarray(model.similarity[rows, columns]).ravel()
        kept = rows != columns
        rows, columns, weights = rows[kept], columns[kept], weights[kept]
        order = np.lexsort((columns, -weights, rows))
        rows, columns, weights = rows[order], columns[order], weights[order]
        first = np.searchsorted(rows, np.arange(items))
        place = np.arange(len(rows)) - first[rows]
        near = place < self.options.neighbours
        full = rows[near] * self.options.neighbours + place[near]
        size = items * self.options.neighbours
        padded = np.zeros(size, dtype=np.int64), np.zeros(size)
        padded[0][full], padded[1][full] = columns[near], weights[near]
        self.near.fill(np.repeat(np.arange(items), self.options.neighbours), *padded)

    def scores(self, histories: Histories) -> Float[Tensor, "n v"]:
        """Sums of similarities to the items of a history, each counted once."""
        given = histories.distinct()[0]
        ones = torch.ones(len(given.items), device=given.items.device)
        return self.near.spread(given.owners, given.items, ones, len(given))

    def similarity(self, a: Int[Tensor, " n"], b: Int[Tensor, " m"]) -> Float[Tensor, "n m"]:
        """How alike the neighbours of items are."""
        return self.near.cosine(a, b)
