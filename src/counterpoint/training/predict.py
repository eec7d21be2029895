"""What a method says of rows it classifies, in one form for the command line, the server and the judges."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Predictions:
    """Per row a label, or None where a row says nothing; the rest is there where the method has it.

    `labels` are classes, or numbers when the label is one. `probabilities` has a column per entry of `classes`, NaN in
    rows without a label. `weights` say how much each view contributed (they sum to 1; 0 for a view that the row lacks),
    `variances` how uncertain the method is about each view of the row (NaN for a view that the row lacks).

    >>> chances = torch.tensor([[0.2, 0.8], [float("nan")] * 2])
    >>> said = Predictions.of_classes(["no", "yes"], chances, weights={"labs": torch.tensor([1.0, float("nan")])})
    >>> for row in said:
    ...     print(row["label"], row["weights"])
    yes {'labs': 1.0}
    None {'labs': None}
    """

    labels: Sequence[Any]
    classes: Sequence[Any] = ()
    probabilities: Float[Tensor, "n c"] | None = None
    weights: Mapping[str, Float[Tensor, " n"]] = field(default_factory=dict)
    variances: Mapping[str, Float[Tensor, " n"]] = field(default_factory=dict)

    @classmethod
    def of_classes(cls, classes: Sequence[Any], probabilities: Float[Tensor, "n c"], **more: Any) -> "Predictions":
        """The most probable class of each row as its label."""
        said = probabilities.isfinite().all(dim=1).tolist()
        best = probabilities.nan_to_num().argmax(dim=1).tolist()
        labels = [classes[place] if known else None for place, known in zip(best, said, strict=True)]
        return cls(labels, tuple(classes), probabilities, **more)

    def __len__(self) -> int:
        return len(self.labels)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Each row as JSON: label, and probabilities by class, weights and variances by view where there are any."""
        named: dict[str, Mapping[str, Tensor]] = {"weights": self.weights, "variances": self.variances}
        if self.probabilities is not None:
            named = {"probabilities": dict(zip(map(str, self.classes), self.probabilities.T, strict=True))} | named
        parts = {part: {name: _plain(values) for name, values in found.items()} for part, found in named.items()}
        for row, label in enumerate(self.labels):
            found = {part: {name: values[row] for name, values in of.items()} for part, of in parts.items() if of}
            yield {"label": label, **found}


@runtime_checkable
class Classifies(Protocol):
    """A method that says of each row which class it is, or which number its label has."""

    def predict(self, data: Any) -> Predictions:
        """What is said of each row of the method's data."""


def _plain(values: Tensor) -> list[float | None]:
    """Numbers as JSON has them, None for NaN."""
    return [value if math.isfinite(value) else None for value in torch.as_tensor(values).double().tolist()]
