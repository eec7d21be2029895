"""What every recommender has: its items, the judgement, and lists for known users, new histories and nobody at all."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.ipc
import torch
from jaxtyping import Float, Int, Shaped
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import normalize

from counterpoint.errors import UserError
from counterpoint.objectives import Ids, RowLoss, softmax_over
from counterpoint.recommend import use
from counterpoint.recommend.assess import assess
from counterpoint.recommend.histories import Histories, histories, instances
from counterpoint.recommend.interactions import Interactions
from counterpoint.recommend.judge import for_method, next_item
from counterpoint.recommend.sampled import drawn_items, log_chances, sampled_softmax
from counterpoint.training import Batch, Clock, Phase, SGDConfig
from counterpoint.training.samplers import by_length

USERS = 1024
"""Histories that are read at a time."""


@dataclass(frozen=True, eq=False)
class ItemRows:
    """Items as rows to be embedded, with what people are shown of them."""

    table: pa.Table

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @property
    def ids(self) -> Shaped[np.ndarray, " n"]:
        """Their ids."""
        return np.asarray(self.table["id"].to_numpy())

    @property
    def columns(self) -> dict[str, Any]:
        """Titles and attributes; a list becomes a text."""
        found = {}
        for name in self.table.column_names[1:]:
            values = self.table[name].to_pylist()
            found[name] = [", ".join(map(str, one)) if isinstance(one, list) else one for one in values]
        return found

    def rows(self, index: slice) -> "ItemRows":
        """Some of them."""
        return ItemRows(self.table.slice(index.start, index.stop - index.start))


class Items(nn.Module):
    """The items that a method knows: their ids, titles and attributes, and how many training events each has."""

    table_bytes: Tensor
    counts: Tensor

    def __init__(self, facts: dict[str, Any]) -> None:
        super().__init__()
        self.labels: tuple[str, ...] = tuple(facts["behaviours"])
        self.target = self.labels.index(facts["target"] or self.labels[-1])
        """The behaviour that is asked for, or else the one that says most."""
        self.register_buffer("table_bytes", torch.zeros(facts["catalogue_bytes"], dtype=torch.uint8))
        self.register_buffer("counts", torch.zeros(facts["items"], dtype=torch.int64))

    def __len__(self) -> int:
        return len(self.counts)

    @cached_property
    def table(self) -> pa.Table:
        """A row per item: `id`, perhaps `title`, attributes."""
        return pa.ipc.open_stream(pa.py_buffer(self.table_bytes.cpu().numpy().tobytes())).read_all()

    @cached_property
    def ids(self) -> pa.Array:
        """The data's own ids, as texts."""
        return self.table["id"].combine_chunks().cast(pa.string())

    @cached_property
    def log_chances(self) -> Float[Tensor, " v"]:
        """The log of each item's chance to be drawn as a negative."""
        return log_chances(self.counts)

    @cached_property
    def chances(self) -> Float[Tensor, " v"]:
        """The running sum of those chances; made once, since a step should not cost the catalogue."""
        return self.log_chances.exp().cumsum(0)

    def numbers(self, ids: Sequence[Any]) -> Int[np.ndarray, " n"]:
        """The number of each id, -1 for one that is not known."""
        given = pa.array([str(one) for one in ids], pa.string())
        found: Int[np.ndarray, " n"] = (
            pc.fill_null(pc.index_in(given, value_set=self.ids), -1).to_numpy().astype(np.int64)
        )
        return found


def table_bytes(catalogue: pa.Table) -> Shaped[np.ndarray, " n"]:
    """A table as bytes, the same for equal tables."""
    sink = pa.BufferOutputStream()
    plain = catalogue.combine_chunks().replace_schema_metadata(None)
    with pa.ipc.new_stream(sink, plain.schema) as writer:
        writer.write_table(plain)
    return np.frombuffer(sink.getvalue(), dtype=np.uint8)


class Recommender:
    """Interactions in; lists of items for anybody out, judged by the next item over all items.

    Whoever mixes it in before `Method` calls `_build_items(facts)` in `build` and has `scores(histories)`. What it
    learns from a batch of histories, or counts over all of them, is its own affair.
    """

    Data = Interactions
    judge, assess = staticmethod(next_item), staticmethod(assess)
    recommend = use.recommend
    items: Items
    taken: tuple[np.ndarray, np.ndarray] | None = None
    """What `measure` read, until `build` takes it."""
    folder: Path | None = None

    def measure(self, data: Interactions) -> dict[str, Any]:
        """How many items and users there are and what behaviours; raises `UserError` when events are asked for."""
        if data.asked is not None and data.asked.any():
            raise UserError(
                f"{data.source}: {int(data.asked.sum())} events are asked for, so they cannot be trained on"
            )
        counts = np.bincount(data.items, minlength=data.catalogue.num_rows)
        self.taken = table_bytes(data.catalogue), counts
        return {
            "items": data.catalogue.num_rows,
            "users": len(data),
            "behaviours": list(data.labels),
            "target": data.protocol.target,
            "longest": int(data.lengths.max()),
            "catalogue_bytes": len(self.taken[0]),
        }

    def _build_items(self, facts: dict[str, Any]) -> None:
        """The items, from what `measure` read or from the run that is loaded."""
        self.items = Items(facts)
        taken, self.taken = self.taken, None
        if taken is not None:
            self.items.table_bytes.copy_(torch.from_numpy(taken[0].copy()))
            self.items.counts.copy_(torch.from_numpy(taken[1].astype(np.int64)))

    def opened(self, folder: Path) -> None:
        """Known users are looked up in the run's folder."""
        self.folder = folder

    def scores(self, histories: Histories) -> Float[Tensor, "n v"]:
        """How well each item follows each history; only the order within a history means something."""
        raise NotImplementedError(f"{type(self).__name__}.scores")

    def similarity(self, a: Int[Tensor, " n"], b: Int[Tensor, " m"]) -> Float[Tensor, "n m"]:
        """How alike items are, at most 1; what reasons and diversity go by."""
        raise NotImplementedError(f"{type(self).__name__}.similarity")


class PrefixConfig(SGDConfig):
    """Options of every recommender that is trained on histories by gradient steps."""

    batch_size: int = Field(128, ge=2, description="histories, or events with `positions=last`, per step")
    dim: int = Field(64, ge=2, description="numbers in a vector")
    max_length: int = Field(50, ge=2, description="events of a history that are read, the latest ones")
    negatives: int = Field(
        0, ge=0, description="items drawn by log popularity to stand for all others in the loss; 0: all items"
    )


class SequenceConfig(PrefixConfig):
    """Options of those that can learn from every event of a history at once."""

    positions: Literal["all", "last"] = Field(
        "all", description="what is learned from: every next event of a history at once, or each from its own prefix"
    )


class VectorRecommender(Recommender):
    """A recommender with a vector per item and one per history; an item's score is their dot product.

    Whoever mixes it in has `item_vectors()` and `vectors(histories)`.
    """

    def item_vectors(self) -> Float[Tensor, "v d"]:
        """A vector per item."""
        raise NotImplementedError(f"{type(self).__name__}.item_vectors")

    def vectors(self, histories: Histories) -> Float[Tensor, "n d"]:
        """A vector per history, none of which is empty."""
        raise NotImplementedError(f"{type(self).__name__}.vectors")

    def embedded(self) -> dict[str, Any]:
        """What a run's embeddings.parquet holds: the items."""
        return {"items": ItemRows(self.items.table)}

    def embed(self, data: Any) -> Float[Tensor, "n d"]:
        """Vectors of users, from all they did (0 for one who did nothing); or of items, from what `embedded` gives."""
        with torch.no_grad():
            if isinstance(data, ItemRows):
                return self.item_vectors()[torch.from_numpy(self.items.numbers(data.ids.tolist()))]
            given = for_method(self, data)
            read = histories(given, given.starts[:-1], given.starts[1:], known=True)
            found = self.item_vectors().new_zeros(len(read), self.item_vectors().shape[1])
            for rows in torch.arange(len(read)).split(USERS):
                there = rows[read.lengths[rows] > 0]
                found[there] = self.vectors(read.rows(there))
            return found

    def scores(self, histories: Histories) -> Float[Tensor, "n v"]:
        """Dot products of the histories' vectors with all items'."""
        found: Tensor = self.vectors(histories) @ self.item_vectors().T
        return found

    def similarity(self, a: Int[Tensor, " n"], b: Int[Tensor, " m"]) -> Float[Tensor, "n m"]:
        """Cosines of the items' vectors."""
        table = self.item_vectors()
        return normalize(table[a], dim=1) @ normalize(table[b], dim=1).T


class SequenceRecommender(VectorRecommender):
    """A recommender that learns which item comes next.

    Whoever mixes it in has `losses` over batches whose `views["history"]` are the inputs and `views["targets"]` the
    items that follow: each event's, or each row's with `positions=last`; `_next` is the loss of what it says of them.
    """

    options: Any
    phase: Any

    def phases(self, data: Interactions) -> Sequence[Phase]:
        """One phase over stretches of histories, or over prefixes."""
        return [self.phase("fit" if self._each else "fit prefixes", data)]

    def plan(self, data: Interactions, generator: torch.Generator) -> Sequence[Int[Tensor, " _"]]:
        """Instances of like length together; all in one batch where they are fewer than it takes."""
        lengths = self._instances(data).lengths
        return by_length(lengths, min(self.options.batch_size, max(2, len(lengths))), generator)

    def batch(self, data: Interactions, rows: Int[Tensor, " n"], generator: torch.Generator) -> Batch:
        """Inputs and targets of some instances."""
        chosen = self._instances(data).rows(rows)
        views = {"history": chosen.inputs(data), "targets": chosen.targets(data)}
        return Batch(Ids(row=rows, positive=rows), views)

    def _next(
        self,
        queries: Float[Tensor, "n d"],
        targets: Int[Tensor, " n"],
        clock: Clock,
        temperature: float = 1.0,
        table: Float[Tensor, "v d"] | None = None,
    ) -> RowLoss:
        """Cross-entropy of what follows over all items, or estimated from `negatives` of them; -1 is skipped.

        `table` is what `item_vectors` gives, where a step has made it already.
        """
        if not self.options.negatives:
            whole = self.item_vectors() if table is None else table
            return softmax_over(queries, whole, targets, temperature=temperature)
        items = drawn_items(self.items.chances, self.options.negatives, clock.shared_rng("negatives"))
        wanted = targets.clamp(min=0)
        asked = torch.cat([wanted, items])
        vectors = self._vectors_of(asked) if table is None else table[asked]
        own, drawn = vectors.split([len(wanted), len(items)])
        return sampled_softmax(queries, targets, own, items, drawn, self.items.log_chances[items], temperature)

    def _vectors_of(self, items: Int[Tensor, " n"]) -> Float[Tensor, "n d"]:
        """The vectors of some items; whoever has a table of them looks only these up."""
        return self.item_vectors()[items]

    def _instances(self, data: Interactions) -> Any:
        return instances(data, self._each, self.options.max_length)

    @property
    def _each(self) -> bool:
        """Whether every event of a history is learned from at once; else each has a row of its own."""
        return getattr(self.options, "positions", "last") == "all"
