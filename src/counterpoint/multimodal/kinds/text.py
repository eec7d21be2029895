"""Texts: the vectors of a pretrained encoder that is frozen, or token numbers for one that learns with the rest."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from counterpoint.errors import UserError
from counterpoint.multimodal.items import Items, Made
from counterpoint.multimodal.kinds.categories import as_texts
from counterpoint.multimodal.kinds.frozen import Frozen, measure_frozen
from counterpoint.multimodal.kinds.kind import Front, How, Index, Kind, Where, coded
from counterpoint.multimodal.table import Kind as Name
from counterpoint.multimodal.table import View
from counterpoint.pretrained.lowrank import borrow
from counterpoint.pretrained.source import Base, read_base
from counterpoint.pretrained.texts import TextEncoder
from counterpoint.pretrained.tokens import Tokens

FROZEN, LEARNED = "static", "minilm"
"""The encoder where none is named: word vectors are some thirty times as quick (benchmarks/views.py)."""
LOOKED_AT = 1000
PROMPT = "document"


class TextFront(Front):
    """A text encoder that learns: token numbers, -1 behind the end, to unit vectors; zero for a row without a text."""

    rows = 512

    def __init__(self, facts: Mapping[str, Any], base: Base | None) -> None:
        super().__init__()
        self.mode: str = facts["pretrained"]
        if base is None and self.mode == "lora":
            base = read_base(facts["base"]["source"])
        if base is None:
            self.encoder = TextEncoder(facts["base"], None)
        else:
            base.check(facts["base"])
            self.encoder = TextEncoder.of(base, facts["base"])
        if base is not None and self.mode == "lora":
            borrow(self.encoder.base, facts["rank"], base.source)
        self.width = self.encoder.width

    @property
    def tokenizer(self) -> str | None:
        """That of an encoder of the run's own, all of whose weights learn."""
        return self.encoder.tokeniser.json() if self.mode == "full" else None

    @tokenizer.setter
    def tokenizer(self, text: str | None) -> None:
        assert text is not None
        self.encoder.load_tokenizer(text)

    def tensor(self, view: View, index: Index) -> Int[Tensor, "n l"]:
        """Token numbers, all rows as long as the longest text that is read."""
        assert view.items is not None
        numbers = view.values[index, 0]
        known = np.flatnonzero(numbers >= 0)
        ids = torch.full((len(numbers), self.encoder.facts["max_length"]), -1, dtype=torch.int64)
        tokens = self.encoder.tokenise([view.items.entries[number] for number in numbers[known].tolist()], PROMPT)
        inside = torch.arange(tokens.ids.shape[1]) < tokens.lengths[:, None]
        ids[torch.from_numpy(known), : tokens.ids.shape[1]] = torch.where(inside, tokens.ids, -1)
        return ids

    def forward(self, values: Int[Tensor, "n l"]) -> Float[Tensor, "n w"]:
        known: Bool[Tensor, " n"] = values[:, 0] >= 0
        lengths = (values[known] >= 0).sum(dim=1)
        tokens = Tokens(values[known].clamp(min=0), lengths, torch.zeros_like(lengths, dtype=torch.bool))
        vectors: Tensor = self.encoder(tokens)
        return vectors.new_zeros(len(values), self.width).index_put((known.nonzero()[:, 0],), vectors)


class Text(Kind):
    """One text per row, of one column or several joined by a space."""

    name: ClassVar[Name] = "text"
    form: ClassVar[str] = "a text"
    enters: ClassVar[str] = (
        "the vector that the frozen encoder `views.NAME.base` of the facts makes, NaN without a text"
    )

    def reading(self, path: Path, rows: int, schema: pa.Schema, columns: Sequence[str]) -> "Joined":
        """Equal texts are held once. Raises `UserError` for columns of numbers."""
        for column in columns:
            kind = schema.field(column).type
            inner = kind.value_type if pa.types.is_dictionary(kind) else kind
            tests = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, pa.types.is_null)
            if not any(test(inner) for test in tests):
                raise UserError(
                    f'{path}: column "{column}" holds {inner}, not texts; use kind numbers or categories for its view'
                )
        return Joined(path, columns)

    def measure(self, view: View, how: How) -> dict[str, Any]:
        """The encoder's facts; of a frozen one also what scales its vectors, which are made here.

        Raises `UserError` when the texts are numbers, or the encoder cannot be had.
        """
        assert view.items is not None
        _refuse_numbers(view)
        learned = how.learns and how.pretrained != "frozen"
        source = _source(view, how)
        facts: dict[str, Any] = {"pretrained": how.pretrained if learned else "frozen", "columns": 1}
        if not learned:
            facts["base"] = _frozen(source).facts
            return measure_frozen(view, facts, features(view.items, facts), how.scaled)
        if how.pretrained == "lora" and source == "static":
            raise UserError(f"encoder.{view.name}=static has no layers for pretrained=lora; use frozen, full or minilm")
        base = how.bases[view.name] = read_base(source)
        return facts | how.updates() | {"base": base.facts(), "complete": bool(view.present.all())}

    def front(self, facts: Mapping[str, Any], base: Any = None) -> Front:
        """Scaled vectors of a frozen encoder, or the encoder."""
        return Frozen(facts, features) if facts["pretrained"] == "frozen" else TextFront(facts, base)

    def of_records(
        self, name: str, records: Sequence[Any], where: Where, facts: Mapping[str, Any] | None = None
    ) -> View:
        """Texts; blank ones are missing."""
        for row, record in enumerate(records):
            if record is not None and not isinstance(record, str):
                raise UserError(f"{where(row)}: must be a text, not {type(record).__name__}")
        texts = [None if record is None or not record.strip() else record for record in records]
        return View(name, self.name, (name,), *coded(texts))

    def read_by(self, view: View, how: How) -> str | None:
        """The encoder, and what another would change."""
        source = _source(view, how)
        more = f"; encoder.{view.name}=minilm understands more and takes longer" if source == FROZEN else ""
        what = f"{source}, word vectors" if source == "static" else source
        return f'view "{view.name}": texts are read by {what} ({how.pretrained if how.learns else "frozen"}){more}'

    def shown(self, view: View, row: int) -> str | None:
        """The beginning of a row's text."""
        (text,) = view.entries(row)
        return text if text is None or len(text) <= 200 else f"{text[:197]}..."

    def size(self, view: View) -> dict[str, Any]:
        """Average characters of a text."""
        assert view.items is not None
        length = np.array([len(text) for text in view.items.entries], dtype=np.int64)
        known = view.values[view.values >= 0]
        return {"width": round(float(length[known].mean())) if len(known) else 0, "unit": "characters"}


def features(items: Items, facts: Mapping[str, Any]) -> Made:
    """The frozen encoder's vector of every text, each made when it is first asked for."""
    base = facts["base"]
    key = ("text", base["hash"], base["pooling"], base["max_length"])

    def make(texts: list[str]) -> Float[np.ndarray, "n d"]:
        vectors: Float[np.ndarray, "n d"] = _encoder(base).encode(texts, PROMPT).numpy()
        return vectors

    width = int(base["config"]["hidden_size"])
    return items.once(key, lambda: Made(items, (width,), np.float32, make, "texts"))


def _source(view: View, how: How) -> str:
    """The encoder that is asked for, or the default."""
    return how.encoder.get(view.name, LEARNED if how.learns and how.pretrained != "frozen" else FROZEN)


def _encoder(base: Mapping[str, Any]) -> TextEncoder:
    """The frozen encoder; raises `UserError` when it is not the one that was fitted with."""
    if _frozen(base["source"]).facts["hash"] != base["hash"]:
        _frozen.cache_clear()
        read_base(base["source"]).check(base)
    return _frozen(base["source"])


@lru_cache(maxsize=2)
def _frozen(source: str) -> TextEncoder:
    base = read_base(source)
    return TextEncoder.of(base, base.facts()).eval()


def _refuse_numbers(view: View) -> None:
    """Raise `UserError` when most of some texts are numbers."""
    assert view.items is not None
    texts = list(view.items.entries[:LOOKED_AT])
    numbers = sum(_is_number(text) for text in texts)
    if texts and numbers > 0.9 * len(texts):
        raise UserError(
            f'view "{view.name}": its texts are numbers ("{texts[0][:20]}"); use kind.{view.name}=numbers, or '
            f"kind.{view.name}=categories if they are names"
        )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


class Joined:
    """The texts of some columns while their file streams by."""

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        self.chunks: dict[str, list[pa.Array]] = {column: [] for column in columns}

    def put(self, column: str, start: int, array: pa.Array) -> None:
        """Take a batch."""
        self.chunks[column].append(as_texts(array.cast(pa.large_string())))

    def view(self, name: str, kind: Name, columns: tuple[str, ...]) -> View:
        """All rows."""
        parts = [pa.chunked_array(self.chunks[column]) for column in columns]
        whole = parts[0] if len(parts) == 1 else pc.binary_join_element_wise(*parts, " ", null_handling="skip")
        whole = pc.if_else(pc.equal(whole, ""), pa.scalar(None, pa.large_string()), whole)
        encoded = pa.chunked_array(whole.chunks, pa.large_string()).combine_chunks().dictionary_encode()
        encoded = encoded.combine_chunks() if isinstance(encoded, pa.ChunkedArray) else encoded
        numbers = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
        return View(name, kind, columns, numbers.reshape(-1, 1), Items(encoded.dictionary.to_pylist()))
