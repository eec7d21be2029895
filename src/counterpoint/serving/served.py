"""A run and an index, opened once and asked many times; nothing here knows of HTTP."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from counterpoint.errors import UserError
from counterpoint.serving.atlas import Atlas
from counterpoint.serving.export import text_encoder
from counterpoint.serving.hits import Rows
from counterpoint.serving.index import Index
from counterpoint.serving.search import JOINT, open_for
from counterpoint.serving.why import Training, plain, read_training
from counterpoint.training import Method, Run, load

POINTS = 2000
"""Rows drawn on the map."""


@dataclass
class Served:
    """What a server offers: a fitted method under a name, an index of its vectors, its training rows."""

    method: Any
    name: str
    index: Index | None = None
    training: Training | None = None
    since: int = 0

    @classmethod
    def open(cls, run: Path, index: Path | None = None) -> "Served":
        """Load a run folder and an index folder.

        Raises `UserError` when one is missing, damaged or newer, or when they do not belong together.
        """
        method: Method = load(run)
        opened = open_for(index, run) if index is not None else None
        since = int((run / "config.yaml").stat().st_mtime)
        return cls(method, Run(run).folder.resolve().name, opened, read_training(run), since)

    # What it is -------------------------------------------------------------------------------------------

    @property
    def views(self) -> dict[str, int | str | None]:
        """The views a record may have: how many numbers each has, or its form in words; None for methods of texts."""
        return {name: self._form(facts) for name, facts in self.method.facts.get("views", {}).items()}

    def _form(self, facts: Mapping[str, Any]) -> int | str | None:
        from counterpoint.multimodal.kinds import KINDS

        if self.takes_text or facts.get("kind", "numbers") in ("numbers", "vector"):
            return facts.get("width")
        return KINDS[facts["kind"]].form

    @property
    def takes_text(self) -> bool:
        """Whether a record is a text."""
        return text_encoder(self.method) is not None

    def can(self, capability: str) -> bool:
        """Whether the method has a capability: embed, predict, recommend."""
        return callable(getattr(self.method, capability, None))

    @property
    def view(self) -> str:
        """Which vectors the index holds: the joint ones, or those of one view."""
        return str(self._index.about.get("view", JOINT))

    @cached_property
    def capabilities(self) -> list[str]:
        """Everything that can be asked, by the name of its address."""
        own = [name for name in ("embed", "predict", "recommend") if self.can(name)]
        found = ["search", "map"] if self.index is not None else []
        return own + found + (["why"] if self.index is not None and self.training is not None else [])

    # What it does -----------------------------------------------------------------------------------------

    def data(self, records: Sequence[Any]) -> Any:
        """Records as the method's data; raises `UserError` naming the first that is wrong."""
        return type(self.method).Data.of_records(records, self.method.facts, source="input")

    def embed(self, records: Sequence[Any], view: str = JOINT) -> Float[np.ndarray, "n d"]:
        """One vector per record: of one view where the record has it, else of all that it has.

        Raises `UserError` for a record without a vector.
        """
        data = self.data(records)
        with torch.inference_mode():
            found = self.method.embed(data)
            if view in data.views:
                encoded = self.method.embed_views(data, [view])
                found = torch.where(encoded.present[view][:, None], encoded.vectors[view], found)
        vectors: np.ndarray = found.float().cpu().numpy()
        for number, row in enumerate(vectors, start=1):
            if not np.isfinite(row).all():
                raise UserError(f"input: record {number} has numbers too large to be embedded")
            if not row.any():
                raise UserError(f"input: record {number} has nothing to embed")
        return vectors

    def reading(self, records: Sequence[Any]) -> tuple[int, list[int]]:
        """How many tokens of the records are read, and the numbers of those that are longer than that.

        Nothing for a run that reads no tokens.
        """
        if not self.takes_text:
            return 0, []
        owners, texts = [], []
        for number, record in enumerate(records):
            for text in [record] if isinstance(record, str) else record.values():
                if text is not None:
                    owners.append(number)
                    texts.append(text)
        tokens = self.method.encoder.tokenise(texts, "query")
        cut = {owner for owner, truncated in zip(owners, tokens.truncated.tolist(), strict=True) if truncated}
        return int(tokens.lengths.sum()), sorted(cut)

    def predict(self, records: Sequence[Any]) -> list[dict[str, Any]]:
        """What the method says of each record."""
        with torch.inference_mode():
            return [dict(answer) for answer in self.method.predict(self.data(records))]

    def recommend(self, user: Any = None, history: Sequence[Any] | None = None, **wishes: Any) -> list[dict[str, Any]]:
        """What a user, or somebody with a history, may want next, best first."""
        if (user is None) == (history is None):
            raise UserError("give either user or history")
        whom: dict[str, Any] = {"users": [user]} if history is None else {"histories": [history]}
        with torch.inference_mode():
            return [dict(hit) for hit in self.method.recommend(**whom, **wishes)[0]]

    def search(
        self, vectors: Float[np.ndarray, "n d"], k: int, where: Mapping[str, Any]
    ) -> list[list[tuple[Any, float, int]]]:
        """For each vector the ids, scores and row numbers of the k nearest rows."""
        found = self._index.search(vectors, k=k, where=where or None)
        return [
            [(plain(i), float(score), int(row)) for i, score, row in zip(*hits, strict=True)]
            for hits in zip(found.ids, found.scores, found.rows, strict=True)
        ]

    def metadata(self, rows: Rows) -> list[dict[str, Any]]:
        """The metadata of rows of the index."""
        found = self._index.metadata(rows) or [{}] * len(rows)
        return [{name: plain(value) for name, value in row.items()} for row in found]

    def ids(self, rows: Rows) -> list[Any]:
        """The ids of rows of the index."""
        return [plain(key) for key in self._index.ids[rows]]

    def row(self, key: Any) -> int:
        """The row number of an id, which may be given as text; raises `UserError` when there is no such row."""
        return self._index.row(key)

    def vectors(self, rows: Rows) -> Float[np.ndarray, "n d"]:
        """The vectors of rows of the index."""
        return self._index.vectors(rows)

    @property
    def _index(self) -> Index:
        assert self.index is not None
        return self.index

    # The map ----------------------------------------------------------------------------------------------

    @cached_property
    def drawn(self) -> np.ndarray:
        """Row numbers of what is on the map, evenly drawn."""
        rows = len(self._index)
        return np.unique(np.linspace(0, max(0, rows - 1), min(POINTS, rows)).astype(np.int64))

    @cached_property
    def atlas(self) -> Atlas:
        """The plane of the map."""
        return Atlas(self.vectors(self.drawn))

    def place(self, vectors: Float[np.ndarray, "n d"]) -> list[tuple[float, float]]:
        """Where vectors lie on the map."""
        return [(float(x), float(y)) for x, y in self.atlas.place(vectors)]
