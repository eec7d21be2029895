"""What a kind of view is: how its columns are read, measured and made into what an encoder's layers take."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from counterpoint.errors import UserError
from counterpoint.multimodal.items import Items
from counterpoint.multimodal.table import Kind as Name
from counterpoint.multimodal.table import View

Pretrained = Literal["frozen", "lora", "full"]
Index = Int[np.ndarray, " n"] | slice
Where = Callable[[int], str]
"""Names a record by its number from 0, for messages."""


@dataclass(frozen=True)
class How:
    """What a method asks of the kinds: scaled numbers or raw ones, and how pretrained encoders are used.

    With `learns` a kind may have parts of its own that learn (closed forms take fixed numbers). `rank` is that of
    low-rank updates (`pretrained="lora"`), `encoder` names the pretrained encoders of some views. `bases` holds what
    `measure` read, until `front` takes it.
    """

    scaled: bool = True
    learns: bool = False
    pretrained: Pretrained = "frozen"
    rank: int = 8
    encoder: Mapping[str, str] = field(default_factory=dict)
    augment: float = 0.0
    bases: dict[str, Any] = field(default_factory=dict)

    def updates(self) -> dict[str, int]:
        """The rank of low-rank updates as a fact of a view, where there are any."""
        return {"rank": self.rank} if self.pretrained == "lora" else {}


class Front(nn.Module):
    """The first part of a view's encoder, made from the view's facts: rows -> a tensor -> n x `width` numbers.

    The tensor's first dimension is rows; a missing value is NaN in floats and -1 in whole numbers, and everything of a
    row that lacks the view is missing. `rows` is how many rows are encoded at a time outside training.
    """

    width: int
    rows: int = 4096
    tokenizer: str | None = None
    """The tokenizer.json of an encoder that a run keeps whole, as text; None for all others."""

    def tensor(self, view: View, index: Index) -> Tensor:
        """Some rows of a view of this kind; no network is called."""
        raise NotImplementedError

    def augmented(self, values: Tensor, generator: torch.Generator) -> Tensor:
        """The same while training, for kinds that know augmentations."""
        return values

    def present(self, values: Tensor) -> Bool[Tensor, " n"]:
        """Which rows have the view."""
        missing = values.isnan() if values.is_floating_point() else values < 0
        return ~missing.flatten(1).all(dim=1)

    def forward(self, values: Tensor) -> Float[Tensor, "n w"]:
        raise NotImplementedError

    def sample(self, rows: int, generator: torch.Generator) -> Tensor:
        """Random rows such as `tensor` gives, to try an exported network with; raises `UserError` when it has none."""
        raise UserError("has an encoder that learns, which is no part of an exported network; use pretrained=frozen")


@runtime_checkable
class Reading(Protocol):
    """Collects the columns of one view while a file streams by."""

    def put(self, column: str, start: int, array: pa.Array) -> None:
        """Take a batch of one column, whose first row is `start`."""

    def view(self, name: str, kind: Name, columns: tuple[str, ...]) -> View:
        """The view, when all has come."""


class Kind(ABC):
    """One kind; the registry `KINDS` holds one object of each."""

    name: ClassVar[Name]
    unit: ClassVar[str] = "wide"
    form: ClassVar[str]
    """What a record of it looks like, for messages."""
    enters: ClassVar[str] = "raw numbers, NaN where missing"
    """What an exported network takes of it."""

    @abstractmethod
    def reading(self, path: Any, rows: int, schema: pa.Schema, columns: Sequence[str]) -> Reading:
        """What collects a file's columns; raises `UserError` for columns that cannot be of this kind."""

    @abstractmethod
    def measure(self, view: View, how: How) -> dict[str, Any]:
        """JSON facts of training rows, from which `front` is made; raises `UserError` for rows that cannot be used."""

    @abstractmethod
    def front(self, facts: Mapping[str, Any], base: Any = None) -> Front:
        """The first part of an encoder; `base` is what `measure` left in `how.bases`."""

    @abstractmethod
    def of_records(
        self, name: str, records: Sequence[Any], where: Where, facts: Mapping[str, Any] | None = None
    ) -> View:
        """A view of a value per row as a program gives it (None: missing); `facts` are those of a fitted method.

        Raises `UserError` naming the record that is wrong.
        """

    def read_by(self, view: View, how: How) -> str | None:
        """Which pretrained encoder reads a view, in words; None when none does."""
        return None

    def shown(self, view: View, row: int) -> str | None:
        """What a report shows of one row; None when there is nothing to show in words."""
        return None

    def size(self, view: View) -> dict[str, Any]:
        """`width` and `unit` of the line that is printed before training."""
        return {"width": view.width} | ({} if self.unit == "wide" else {"unit": self.unit})

    def remarks(self, view: View) -> list[str]:
        """What looks wrong with a view, in plain words."""
        return []


def coded(entries: Sequence[Any]) -> tuple[Int[np.ndarray, "n 1"], Items]:
    """Numbers of hashable values (-1 for None), and the distinct ones as items.

    >>> coded(["x", None, "x"])[0].T.tolist()
    [[0, -1, 0]]
    """
    place: dict[Any, int] = {}
    numbers = [-1 if entry is None else place.setdefault(entry, len(place)) for entry in entries]
    return np.array(numbers, dtype=np.int64).reshape(-1, 1), Items(list(place))
