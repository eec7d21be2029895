"""FINCH: clusters of first neighbours, without a parameter, from fine to coarse."""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import normalize

BLOCK = 1024
"""Vectors compared with all others at a time."""


def finch(vectors: Float[Tensor, "n d"]) -> list[Int[Tensor, " n"]]:
    """Partitions of n vectors by cosine, the finest first: for each vector the number of its cluster.

    Every vector is joined with its nearest other one; connected vectors are a cluster; then the same with the means of
    clusters, until one cluster is left, which is no partition unless it is the first. Of equally near ones the first
    is nearest. Source: FINCH, arXiv 1902.11266, equation 1 and algorithm 1.

    >>> points = torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]])
    >>> finch(points)[0].tolist()
    [0, 0, 1, 1]
    """
    if not len(vectors):
        return [torch.zeros(0, dtype=torch.int64)]
    exact = vectors.detach().double().cpu()
    partitions = [_components(first_neighbours(exact))]
    while (clusters := int(partitions[-1].max()) + 1) > 2:
        merged = _components(first_neighbours(means(exact, partitions[-1])))
        if int(merged.max()) in (0, clusters - 1):
            break
        partitions.append(merged[partitions[-1]])
    return partitions


def means(vectors: Float[Tensor, "n d"], clusters: Int[Tensor, " n"]) -> Float[Tensor, "k d"]:
    """The mean vector of each cluster, its members counted alike."""
    number = int(clusters.max()) + 1 if len(clusters) else 0
    total = vectors.new_zeros(number, vectors.shape[1]).index_add_(0, clusters, vectors)
    return total / clusters.bincount(minlength=number)[:, None]


def first_neighbours(vectors: Float[Tensor, "n d"]) -> Int[Tensor, " n"]:
    """The nearest other vector of each by cosine; its own number for one that is alone."""
    unit = normalize(vectors, dim=1)
    near = []
    for rows in torch.arange(len(unit)).split(BLOCK):
        likeness = unit[rows] @ unit.T
        likeness[torch.arange(len(rows)), rows] = -torch.inf
        near.append(likeness.argmax(dim=1))
    return torch.cat(near)


def _components(near: Int[Tensor, " n"]) -> Int[Tensor, " n"]:
    """Connected parts of the graph of first neighbours, numbered by their first member.

    Two vectors that share a neighbour are connected through it, so the edges (i, near[i]) are enough.
    """
    root = list(range(len(near)))

    def find(place: int) -> int:
        while root[place] != place:
            root[place] = root[root[place]]
            place = root[place]
        return place

    for place, other in enumerate(near.tolist()):
        one, two = find(place), find(other)
        root[max(one, two)] = min(one, two)
    number: dict[int, int] = {}
    return torch.tensor([number.setdefault(find(place), len(number)) for place in range(len(near))])
