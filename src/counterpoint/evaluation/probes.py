"""What frozen vectors know about a label: nearest neighbours, a linear probe, and both with few labels."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor
from torch.nn.functional import normalize

from counterpoint.errors import need

C_GRID = (0.01, 0.1, 1.0, 10.0, 100.0)
Labels = Shaped[np.ndarray, " n"]


@dataclass(frozen=True, eq=False)
class Probe:
    """How a probe did on each test row: right (1), wrong (0), or the share of repeats that were right."""

    correct: Float[np.ndarray, " n"]
    settings: dict[str, Any]

    @property
    def accuracy(self) -> float:
        """The share of test rows that are right."""
        return float(self.correct.mean())


ProbeMethod = Callable[[Tensor, np.ndarray, Tensor, np.ndarray], Probe]


def knn_probe(
    train: Float[Tensor, "n d"],
    train_labels: Shaped[np.ndarray, " n"],
    test: Float[Tensor, "m d"],
    test_labels: Shaped[np.ndarray, " m"],
    k: int = 5,
) -> Probe:
    """The majority label of the k training rows nearest by cosine.

    A tied vote goes to the first label in sorted order. With fewer training rows than k, all of them vote;
    the settings store the k that was used.

    >>> x, y = torch.eye(3), np.array(["a", "b", "c"])
    >>> knn_probe(x, y, x, y, k=1).accuracy
    1.0
    """
    names, classes = np.unique(train_labels, return_inverse=True)
    votes = torch.nn.functional.one_hot(torch.from_numpy(classes), len(names))
    keys, used = normalize(train, dim=1), min(k, len(train))
    chosen = torch.cat(
        [
            votes[(part @ keys.T).topk(used).indices.cpu()].sum(1).argmax(1)
            for part in torch.split(normalize(test, dim=1), 1024)
        ]
    )
    return Probe(_right(names[chosen.numpy()], test_labels), {"probe": "knn", "k": used, "metric": "cosine"})


def linear_probe(
    train: Float[Tensor, "n d"],
    train_labels: Shaped[np.ndarray, " n"],
    test: Float[Tensor, "m d"],
    test_labels: Shaped[np.ndarray, " m"],
    *,
    grid: Sequence[float] = C_GRID,
    seed: int = 0,
    iterations: int = 2000,
    standardise: bool = True,
) -> Probe:
    """Logistic regression on standardised dimensions, or on the vectors as they are.

    C is chosen on a fifth of the training rows and the model refitted on all. Where a fifth cannot hold
    every class (few labels), C is 1 and the settings say "fixed". Needs scikit-learn (extra `eval`). Raises
    ValueError when the training labels are all the same.
    """
    x, y = _array(train), train_labels
    if len(np.unique(y)) < 2:
        raise ValueError("a linear probe needs at least two different labels")
    inner = _inner_split(y, seed)
    strength, how = 1.0, "fixed"
    if inner is not None and len(grid) > 1:
        fit_rows, check_rows = inner
        scores = [
            _logistic(x[fit_rows], y[fit_rows], c, iterations, standardise)[0].score(x[check_rows], y[check_rows])
            for c in grid
        ]
        strength, how = grid[int(np.argmax(scores))], "inner split"
    elif len(grid) == 1:
        strength = grid[0]
    model, converged = _logistic(x, y, strength, iterations, standardise)
    settings = {
        "probe": "linear",
        "standardised": standardise,
        "C": strength,
        "C_from": how,
        "grid": list(grid),
        "seed": seed,
        "iterations": iterations,
        "converged": converged,
    }
    return Probe(_right(model.predict(_array(test)), test_labels), settings)


def few_labels(
    train: Float[Tensor, "n d"],
    train_labels: Shaped[np.ndarray, " n"],
    test: Float[Tensor, "m d"],
    test_labels: Shaped[np.ndarray, " m"],
    *,
    counts: Sequence[int] = (10, 20, 50),
    repeats: int = 5,
    seed: int = 0,
    probe: ProbeMethod = linear_probe,
) -> dict[int, Probe]:
    """Probe with only so many training labels in all, for each of `counts`.

    They are drawn in proportion to the classes, every class at least once, `repeats` times. A count above
    the number of rows means all rows, probed once. Raises ValueError for a count below the classes.
    """
    found: dict[int, Probe] = {}
    for count in sorted({min(count, len(train)) for count in counts}):
        draws = repeats if count < len(train) else 1
        tries = []
        for repeat in range(draws):
            rows = stratified(train_labels, count, np.random.default_rng([seed, count, repeat]))
            tries.append(probe(train[torch.from_numpy(rows)], train_labels[rows], test, test_labels))
        settings = {"labels": count, "repeats": draws, "seed": seed, "each": [one.settings for one in tries]}
        found[count] = Probe(np.mean([one.correct for one in tries], axis=0), settings)
    return found


def stratified(
    labels: Shaped[np.ndarray, " n"], count: int, generator: np.random.Generator
) -> Int[np.ndarray, " count"]:
    """Draw `count` rows in ascending order, one of each class and the rest in proportion to the classes.

    >>> rows = stratified(np.array([0] * 8 + [1] * 4), 6, np.random.default_rng(0))
    >>> int((rows < 8).sum()), len(set(rows.tolist()))
    (4, 6)
    """
    _, classes, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    if not len(sizes) <= count <= len(labels):
        raise ValueError(f"cannot draw {count} rows of {len(labels)} in {len(sizes)} classes")
    shuffled = generator.permutation(len(labels))
    by_class = shuffled[np.argsort(classes[shuffled], kind="stable")]
    place = np.concatenate([np.arange(size) for size in sizes])
    share = np.where(place == 0, 0.0, (place + 0.5) / np.repeat(sizes, sizes))
    return np.sort(by_class[np.lexsort((generator.random(len(labels)), share))[:count]])


def _logistic(x: np.ndarray, y: np.ndarray, strength: float, iterations: int, standardise: bool) -> tuple[Any, bool]:
    """A fitted model, and whether its solver converged."""
    linear, pipeline = need("sklearn.linear_model", "eval"), need("sklearn.pipeline", "eval")
    scaler = need("sklearn.preprocessing", "eval").StandardScaler() if standardise else "passthrough"
    model = pipeline.make_pipeline(scaler, linear.LogisticRegression(C=strength, max_iter=iterations))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", need("sklearn.exceptions", "eval").ConvergenceWarning)
        model.fit(x, y)
    return model, bool(np.max(model[-1].n_iter_) < iterations)


def _inner_split(labels: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Rows to fit and rows to choose on, or None when a fifth cannot hold every class."""
    _, sizes = np.unique(labels, return_counts=True)
    if sizes.min() < 2 or len(labels) // 5 < len(sizes):
        return None
    check = stratified(labels, len(labels) // 5, np.random.default_rng(seed))
    return np.setdiff1d(np.arange(len(labels)), check), check


def _right(predicted: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return np.asarray(predicted == labels, dtype=np.float64)


def _array(vectors: Tensor) -> np.ndarray:
    array: np.ndarray = vectors.detach().double().cpu().numpy()
    return array
