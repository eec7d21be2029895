"""pytorch-metric-learning. Its losses average over pairs or triplets, ours over queries: equal in balanced batches."""

from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from adapters.case import Case, Difference, Scalar, labelled, unit
from counterpoint.objectives import Embeddings, RowLoss, against, info_nce, log_mass, nt_xent, sup_con
from counterpoint.objectives.mining import contrastive_margin, multi_similarity, triplet
from counterpoint.objectives.regularisers import vicreg

PEER = "pytorch-metric-learning"
NAME = "pytorch_metric_learning"
ONE = ((20, 8),)
CLASSES = 4


def labels(vectors: Tensor, classes: int = CLASSES) -> Tensor:
    """Classes in turn."""
    return torch.arange(len(vectors)) % classes


def part(name: str) -> Any:
    """A module of the library."""
    return import_module(f"{NAME}.{name}")


def theirs(name: str, miner: str | None = None, classes: int = CLASSES, mean: bool = False, **options: Any) -> Scalar:
    """A loss of vectors and classes, with a miner; with `mean` the plain mean, where its own leaves zeros out."""

    def loss(vectors: Tensor) -> Tensor:
        more = {"reducer": part("reducers").MeanReducer()} if mean else {}
        mined = getattr(part("miners"), miner)()(vectors, labels(vectors, classes)) if miner else None
        found: Tensor = getattr(part("losses"), name)(**options, **more)(vectors, labels(vectors, classes), mined)
        return found

    return loss


def views(name: str, **options: Any) -> Scalar:
    """A loss of two views."""

    def loss(a: Tensor, b: Tensor) -> Tensor:
        found: Tensor = part("losses").SelfSupervisedLoss(getattr(part("losses"), name)(**options))(a, b)
        return found

    return loss


def rows(vectors: Tensor) -> Embeddings:
    """Unit vectors with their classes."""
    return labelled(unit(vectors)[0], labels(vectors))


def within(loss: Any, **options: Any) -> Scalar:
    """A loss of ours that compares a set with itself."""

    def found(vectors: Tensor) -> Tensor:
        both = rows(vectors)
        value: RowLoss = loss(both, both, **options)
        return value.mean()

    return found


def each_positive(queries: Embeddings, keys: Embeddings, temperature: float) -> Tensor:
    """Their NT-Xent: every positive pair against the query's negatives, without its other positives."""
    mass = log_mass(queries, keys, temperature=temperature, over="negatives", itself="excluded")
    a, b = queries.ids, keys.ids
    i, j = ((a.positive[:, None] == b.positive) & (a.row[:, None] != b.row)).nonzero(as_tuple=True)
    logits = (queries.vectors[i] * keys.vectors[j]).sum(1) / temperature
    return against(logits, logits, mass[i], valid=mass[i] != -torch.inf).mean()


def sides(
    embeddings: Tensor, classes: Tensor, ref: Tensor | None, ref_classes: Tensor | None
) -> tuple[Embeddings, Embeddings]:
    """Queries and keys of a call in their style, unit vectors; one object when there is no reference set."""
    queries = labelled(unit(embeddings)[0], classes)
    return queries, queries if ref is None else labelled(unit(ref)[0], ref_classes, first=len(queries))


def drop_in(name: str, ours: Any) -> Any:
    """A class of their call that ours answers; with another distance or reducer it stays theirs."""
    original = getattr(part("losses"), name)

    class Loss:
        def __new__(cls, temperature: float = 0.1, **others: Any) -> Any:
            return original(temperature, **others) if others else super().__new__(cls)

        def __init__(self, temperature: float = 0.1) -> None:
            self.temperature = temperature

        def __call__(
            self, embeddings: Tensor, labels: Tensor, ref_emb: Tensor | None = None, ref_labels: Tensor | None = None
        ) -> Tensor:
            found: Tensor = ours(*sides(embeddings, labels, ref_emb, ref_labels), self.temperature)
            return found

    return Loss


def nt_xent_loss() -> Any:
    """`NTXentLoss` from one mass per query."""
    return drop_in("NTXentLoss", each_positive)


def sup_con_loss() -> Any:
    """`SupConLoss`."""
    return drop_in("SupConLoss", lambda q, k, t: info_nce(q, k, temperature=t, itself="excluded").mean())


def vicreg_loss() -> Any:
    """`VICRegLoss` of the same call."""

    class VICRegLoss:
        def __init__(self, invariance_lambda: float, variance_mu: float, covariance_v: float, eps: float) -> None:
            self.weights = [float(weight) for weight in (invariance_lambda, variance_mu, covariance_v)]
            self.eps = eps

        def __call__(self, embeddings: Tensor, ref_emb: Tensor) -> Tensor:
            return vicreg(embeddings, ref_emb, *self.weights, epsilon=self.eps)

    return VICRegLoss


def picked(loss: Any, similarity: Tensor, classes: Tensor) -> list[Tensor]:
    """The pairs (anchor, positive, anchor, negative) that a loss of ours picks: those its gradient touches.

    A query whose vector is its row of similarities has these as its products with the unit vectors.
    """
    pairs: list[list[tuple[int, int]]] = [[], []]
    for i in range(len(similarity)):
        others = torch.tensor([j for j in range(len(similarity)) if j != i], dtype=torch.int64)
        logits = similarity[i, others][None].detach().requires_grad_()
        keys = labelled(torch.eye(len(others), dtype=logits.dtype), classes[others], first=1)
        value = loss(labelled(logits, classes[i : i + 1]), keys).value.sum()
        touched = others[torch.autograd.grad(value, logits)[0][0] != 0] if len(others) else others
        for j in touched.tolist():
            pairs[int(classes[i] != classes[j])].append((i, j))
    return [torch.tensor([pair[side] for pair in kind], dtype=torch.int64) for kind in pairs for side in (0, 1)]


def similarities(distance: Any, embeddings: Tensor) -> Tensor:
    """What a distance of theirs says, larger for nearer."""
    matrix: Tensor = distance(embeddings)
    return matrix if distance.is_inverted else -matrix


def multi_similarity_miner() -> Any:
    """`MultiSimilarityMiner`: the pairs of `multi_similarity`."""

    class MultiSimilarityMiner:
        def __init__(self, epsilon: float = 0.1, distance: Any = None) -> None:
            self.epsilon, self.distance = epsilon, distance or part("distances").CosineSimilarity()

        def __call__(self, embeddings: Tensor, labels: Tensor) -> list[Tensor]:
            def loss(queries: Embeddings, keys: Embeddings) -> RowLoss:
                return multi_similarity(queries, keys, alpha=1.0, beta=1.0, epsilon=self.epsilon)

            return picked(loss, similarities(self.distance, embeddings), labels)

    return MultiSimilarityMiner


def batch_hard_miner() -> Any:
    """`BatchHardMiner`: the triplets of `triplet(mining="hard")`."""

    class BatchHardMiner:
        def __init__(self, distance: Any) -> None:
            self.distance = distance

        def __call__(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            def loss(queries: Embeddings, keys: Embeddings) -> RowLoss:
                return triplet(queries, keys, margin=1e6, mining="hard")

            a, p, a2, n = picked(loss, similarities(self.distance, embeddings), labels)
            n = torch.stack([n[a2 == i][0] for i in a]) if len(a) else n  # of equal negatives the first
            matrix = self.distance(embeddings)
            near, far = (max, min) if self.distance.is_inverted else (min, max)
            self.hardest_pos_pair = far(matrix[a, p].tolist(), default=0)
            self.hardest_neg_pair = near(matrix[a, n].tolist(), default=0)
            sign = -1 if self.distance.is_inverted else 1
            self.hardest_triplet = max((sign * (matrix[a, p] - matrix[a, n])).tolist(), default=0)
            return a, p, n

    return BatchHardMiner


CASES = [
    *(
        Case(
            PEER,
            f"NTXentLoss of two views, temperature {t}",
            lambda a, b, t=t: nt_xent(*unit(a, b), temperature=t).mean(),
            views("NTXentLoss", temperature=t),
        )
        for t in (0.5, 0.07)
    ),
    *(
        Case(
            PEER,
            f"SupConLoss, {classes} classes, temperature {t}",
            lambda x, t=t, c=classes: sup_con(unit(x)[0], labels(x, c), temperature=t).mean(),
            theirs("SupConLoss", classes=classes, temperature=t),
            ONE,
        )
        for t in (0.5, 0.07)
        for classes in (2, 5)
    ),
    Case(
        PEER,
        "NTXentLoss of classes, made of a mass",
        lambda x: each_positive(rows(x), rows(x), 0.2),
        theirs("NTXentLoss", temperature=0.2),
        ONE,
    ),
    Case(PEER, "VICRegLoss", vicreg, lambda a, b: part("losses").VICRegLoss()(a, ref_emb=b)),
    Case(
        PEER,
        "TripletMarginLoss, every triplet",
        within(triplet, margin=0.3, distance="euclidean"),
        theirs("TripletMarginLoss", margin=0.3, mean=True),
        ONE,
    ),
    Case(
        PEER,
        "TripletMarginLoss with BatchHardMiner",
        within(triplet, margin=0.3, distance="euclidean", mining="hard"),
        theirs("TripletMarginLoss", "BatchHardMiner", margin=0.3, mean=True),
        ONE,
    ),
    Case(PEER, "MultiSimilarityLoss", within(multi_similarity, epsilon=None), theirs("MultiSimilarityLoss"), ONE),
    Case(
        PEER,
        "MultiSimilarityLoss with MultiSimilarityMiner",
        within(multi_similarity),
        theirs("MultiSimilarityLoss", "MultiSimilarityMiner"),
        ONE,
    ),
]

DIFFERENCES = [
    Difference(
        PEER,
        "NTXentLoss, several positives",
        lambda x: sup_con(unit(x)[0], labels(x), temperature=0.2).mean(),
        theirs("NTXentLoss", temperature=0.2),
        "theirs leaves a query's other positives out of the denominator; ours keeps them, as SupCon does",
        ONE,
    ),
    Difference(
        PEER,
        "TripletMarginLoss, its own mean",
        within(triplet, margin=0.3, distance="euclidean"),
        theirs("TripletMarginLoss", margin=0.3),
        "theirs averages over the triplets that are not zero; ours over all that were picked",
        ONE,
    ),
    Difference(
        PEER,
        "ContrastiveLoss",
        within(contrastive_margin),
        theirs("ContrastiveLoss"),
        "theirs has the distance itself, averaged where it is not zero; ours half its square, as in the paper",
        ONE,
    ),
]

SUITES = {
    "tests/losses/test_ntxent_loss.py": {
        f"{NAME}.losses.NTXentLoss": nt_xent_loss,
        f"{NAME}.losses.SupConLoss": sup_con_loss,
    },
    "tests/losses/test_supcon_loss.py": {
        f"{NAME}.losses.SupConLoss": sup_con_loss,
        f"{NAME}.losses.supcon_loss.SupConLoss": sup_con_loss,
    },
    "tests/losses/test_vicreg_loss.py": {f"{NAME}.losses.VICRegLoss": vicreg_loss},
    "tests/miners/test_multi_similarity_miner.py": {f"{NAME}.miners.MultiSimilarityMiner": multi_similarity_miner},
    "tests/miners/test_batch_hard_miner.py": {f"{NAME}.miners.BatchHardMiner": batch_hard_miner},
}
