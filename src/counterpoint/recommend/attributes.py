"""What catalogues say of items, as a sparse matrix of items by attributes."""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Int

from counterpoint.errors import UserError
from counterpoint.recommend.interactions import Interactions
from counterpoint.recommend.items import TITLES
from counterpoint.training.sparse import Sparse, SparseBuffer

LEAST = 2
"""Items that an attribute has to be said of: one that only one item has tells nothing of others."""
Said = list[list[str]]
"""The attributes of each item, each once."""


class Described:
    """Mixed in before a recommender: the attributes of its items, as `self.shares`, items by attributes."""

    words: list[str]
    """The attributes, in the order of their columns."""
    said: Sparse | None = None
    """What `measure` read, until `build` takes it."""

    def measure(self: Any, data: Interactions) -> dict[str, Any]:
        """What the recommender measures, and how many attributes there are; raises `UserError` without any."""
        facts: dict[str, Any] = super().measure(data)  # type: ignore[misc]
        said = said_of(data.catalogue)
        self.words = vocabulary(said)
        if not self.words:
            raise UserError(
                f"{data.source}: items have no attributes that two of them share; give a catalogue=FILE with some"
            )
        self.said = shares(said, self.words)
        return facts | {"attributes": len(self.words), "described": len(self.said.col)}

    def _build_attributes(self: Any, facts: dict[str, Any]) -> None:
        """The attributes, from what `measure` read or from the run that is loaded."""
        self.shares = SparseBuffer(facts["items"], facts["described"], symmetric=False, columns=facts["attributes"])
        said, self.said = self.said, None
        if said is not None:
            self.shares.fill(said)

    def tables(self) -> dict[str, list[dict[str, Any]]]:
        """The attributes' names."""
        return {"attributes": [{"attribute": word} for word in self.words]}

    def load_tables(self, tables: dict[str, list[dict[str, Any]]]) -> None:
        """Take back the attributes' names."""
        self.words = [row["attribute"] for row in tables["attributes"]]


def said_of(catalogue: pa.Table) -> Said:
    """The attributes of each item: "column=value" for each value, and each word of a title.

    A column of lists says each of its values, one of texts or whole numbers its value. Other columns say nothing.

    >>> said_of(pa.table({"id": ["a"], "title": ["Green tea"], "kind": [["tea", "leaf"]], "price": [1.5]}))
    [['green', 'kind=leaf', 'kind=tea', 'tea']]
    """
    found: list[set[str]] = [set() for _ in range(catalogue.num_rows)]
    for name in catalogue.column_names:
        kind = catalogue.schema.field(name).type
        if name == "id" or pa.types.is_floating(kind):
            continue
        for said, value in zip(found, catalogue[name].to_pylist(), strict=True):
            said.update(_words(name, value))
    return [sorted(one) for one in found]


def vocabulary(said: Said) -> list[str]:
    """The attributes that at least `LEAST` items have, in the order of the alphabet.

    >>> vocabulary([["a", "b"], ["b"]])
    ['b']
    """
    counts = Counter(word for one in said for word in one)
    return sorted(word for word, count in counts.items() if count >= LEAST)


def shares(said: Said, words: Sequence[str]) -> Sparse:
    """Items by attributes: 1 / sqrt(k) for each of an item's k attributes, so that sums are of one size.

    >>> shares([["a", "b"], []], ["a", "b"]).value
    tensor([0.7071, 0.7071])
    """
    number = {word: place for place, word in enumerate(words)}
    known = [[number[word] for word in one if word in number] for one in said]
    counts = np.array([len(one) for one in known], dtype=np.int64)
    rows = torch.from_numpy(np.repeat(np.arange(len(known)), counts))
    columns = torch.tensor([place for one in known for place in one], dtype=torch.int64)
    value = torch.from_numpy(np.repeat(np.maximum(counts, 1) ** -0.5, counts)).to(torch.float32)
    return Sparse.of(rows, columns, value, (len(known), len(words)))


def alike(matrix: Sparse) -> Int[torch.Tensor, " n"]:
    """Equal numbers for rows that have the same columns; -1 for those that have none.

    >>> alike(shares([["a"], [], ["a"]], ["a"])).tolist()
    [0, -1, 0]
    """
    crow, col = matrix.crow.tolist(), matrix.col.tolist()
    kinds: dict[tuple[int, ...], int] = {(): -1}
    found = [tuple(col[start:end]) for start, end in pairwise(crow)]
    return torch.tensor([kinds.setdefault(one, len(kinds) - 1) for one in found], dtype=torch.int64)


def _words(name: str, value: Any) -> Iterator[str]:
    if isinstance(value, list):
        yield from (f"{name}={one}" for one in value if one is not None)
    elif isinstance(value, str) and name in TITLES:
        yield from value.lower().split()
    elif isinstance(value, str | int) and value != "":
        yield f"{name}={value}"
