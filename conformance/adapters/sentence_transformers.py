"""sentence-transformers; its losses are asked for their loss of embeddings, so no model is needed."""

from functools import cache
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from adapters.case import TWO, Case, Difference, Scalar, unit
from counterpoint.objectives import info_nce, log_mass, multiple_negatives

PEER = "sentence-transformers"
THREE = (*TWO, (12, 8))
EVERY = ("query_to_doc", "query_to_query", "doc_to_query", "doc_to_doc")


def theirs(scale: float = 20.0, **options: Any) -> Scalar:
    """`MultipleNegativesRankingLoss` of queries, their documents and perhaps hard negatives."""

    @cache
    def made() -> Any:
        losses = import_module("sentence_transformers.sentence_transformer.losses")
        return losses.MultipleNegativesRankingLoss(None, scale=scale, **options)

    def loss(*embeddings: Tensor) -> Tensor:
        found: Tensor = made().compute_loss_from_embeddings(list(embeddings), torch.empty(0))
        return found

    return loss


def ours(*embeddings: Tensor, symmetric: bool = False) -> Tensor:
    """The same at temperature 1 / 20."""
    return multiple_negatives(*unit(*embeddings), temperature=0.05, symmetric=symmetric).mean()


def every_direction(q: Tensor, d: Tensor) -> Tensor:
    """One softmax over all four directions: our loss with three further masses."""
    q, d = unit(q, d)
    masses = [
        log_mass(q, q, temperature=0.05, itself="excluded"),
        log_mass(d, q, temperature=0.05),
        log_mass(d, d, temperature=0.05, itself="excluded"),
    ]
    return info_nce(q, d, temperature=0.05, also=masses).mean()


CASES = [
    Case(PEER, "MultipleNegativesRankingLoss", ours, theirs()),
    Case(PEER, "MultipleNegativesRankingLoss, a hard negative each", ours, theirs(), THREE),
    Case(
        PEER,
        "MultipleNegativesRankingLoss, symmetric",
        lambda *x: ours(*x, symmetric=True),
        theirs(directions=("query_to_doc", "doc_to_query"), partition_mode="per_direction"),
    ),
    Case(PEER, "MultipleNegativesRankingLoss, four directions", every_direction, theirs(directions=EVERY)),
]

DIFFERENCES = [
    Difference(
        PEER,
        "symmetric with hard negatives",
        lambda *x: ours(*x, symmetric=True),
        theirs(directions=("query_to_doc", "doc_to_query"), partition_mode="joint"),
        "theirs has by default one softmax over both directions, the positive in it twice; ours has one each",
        THREE,
    )
]
