"""Pictures, by path or as bytes: the vectors of a frozen vision model, or pixels for one that learns with the rest."""

import base64
import binascii
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Float, Float16
from torch import Tensor

from counterpoint.errors import UserError
from counterpoint.multimodal.items import Items, Made
from counterpoint.multimodal.kinds.frozen import Frozen, measure_frozen
from counterpoint.multimodal.kinds.kind import Front, How, Index, Kind, Where, coded
from counterpoint.multimodal.table import Kind as Name
from counterpoint.multimodal.table import View
from counterpoint.pretrained.lowrank import borrow
from counterpoint.pretrained.pictures import (
    LITE,
    Picture,
    PictureBase,
    PictureEncoder,
    augmented,
    pixels_of,
    read_pictures,
    unreadable,
)

AT_ONCE = 1024
"""Rows whose pixels are looked at together."""
NAMED = 5
"""Pictures that do not open are counted; so many are named."""


class PictureFront(Front):
    """A vision model that learns: pixels, NaN for a row without a picture, to vectors."""

    rows = 64

    def __init__(self, facts: Mapping[str, Any], base: PictureBase | None) -> None:
        super().__init__()
        mode, self.augment = facts["pretrained"], float(facts["augment"])
        if base is None and mode == "lora":
            base = read_pictures(facts["base"]["source"])
        if base is None:
            self.encoder = PictureEncoder(facts["base"])
        else:
            base.check(facts["base"])
            self.encoder = PictureEncoder.of(base, facts["base"])
        if base is not None and mode == "lora":
            borrow(self.encoder.network, facts["rank"], base.source)
        self.width = self.encoder.width

    def tensor(self, view: View, index: Index) -> Float16[Tensor, "n 3 s s"]:
        """Numbers from 0 to 255."""
        assert view.items is not None
        numbers = view.values[index, 0]
        known = numbers >= 0
        side = self.encoder.size
        found = np.full((len(numbers), 3, side, side), np.nan, dtype=np.float16)
        found[known] = pixels(view.items, self.encoder.facts).rows(numbers[known])
        return torch.from_numpy(found)

    def augmented(self, values: Tensor, generator: torch.Generator) -> Tensor:
        """Cropped, mirrored and with other light."""
        return augmented(values, self.augment, generator)

    def forward(self, values: Float[Tensor, "n 3 s s"]) -> Float[Tensor, "n w"]:
        known = self.present(values)
        vectors: Tensor = self.encoder(values[known].to(self.encoder.mean.dtype))
        return vectors.new_zeros(len(values), self.width).index_put((known.nonzero()[:, 0],), vectors)


class Pictures(Kind):
    """One picture per row."""

    name: ClassVar[Name] = "pictures"
    unit: ClassVar[str] = "different"
    enters: ClassVar[str] = (
        "the vector that the frozen model `views.NAME.base` of the facts makes, NaN without a picture"
    )
    form: ClassVar[str] = 'a picture as "data:image/png;base64,.."'

    def reading(self, path: Path, rows: int, schema: pa.Schema, columns: Sequence[str]) -> "Files":
        """Paths, from the folder of the file on, or the files' bytes. Raises `UserError` for other columns."""
        if len(columns) > 1:
            raise UserError(f'{path}: columns "{columns[0]}" and "{columns[1]}": a view of pictures is one column')
        kind = schema.field(columns[0]).type
        if not holds_pictures(kind):
            raise UserError(f'{path}: column "{columns[0]}" holds {kind}, neither paths of pictures nor their bytes')
        return Files(path)

    def measure(self, view: View, how: How) -> dict[str, Any]:
        """The model's facts; of a frozen one also what scales its vectors, which are made here.

        For a model that learns all pictures are decoded here, so that none fails in the middle of a fit. Raises
        `UserError` for those that do not open, and when there is no room for their pixels.
        """
        assert view.items is not None
        learned = how.learns and how.pretrained != "frozen"
        source = how.encoder.get(view.name, LITE)
        facts: dict[str, Any] = {"pretrained": how.pretrained if learned else "frozen", "columns": 1}
        if not learned:
            facts["base"] = _frozen(source).facts
            return measure_frozen(view, facts, features(view.items, facts), how.scaled)
        base = read_pictures(source)
        if how.pretrained == "lora" and base.config["model_type"] == LITE:
            raise UserError(f"encoder.{view.name}={LITE} has no linear layers for pretrained=lora; use frozen or full")
        how.bases[view.name] = base
        facts |= how.updates() | {"base": base.facts(), "augment": how.augment, "complete": bool(view.present.all())}
        _room(view, base.size)
        made = pixels(view.items, facts["base"])
        for start in range(0, len(view.values), AT_ONCE):
            numbers = view.values[start : start + AT_ONCE, 0]
            made.rows(numbers[numbers >= 0])
        return facts

    def front(self, facts: Mapping[str, Any], base: Any = None) -> Front:
        """Scaled vectors of a frozen model, or the model."""
        return Frozen(facts, features) if facts["pretrained"] == "frozen" else PictureFront(facts, base)

    def of_records(
        self, name: str, records: Sequence[Any], where: Where, facts: Mapping[str, Any] | None = None
    ) -> View:
        """Bytes, a `data:` text with base64, or (for data in memory, without facts) a path."""
        found = [None if r is None else _picture(r, where(row), facts is None) for row, r in enumerate(records)]
        for row, picture in enumerate(found):
            if picture is not None and (wrong := unreadable([picture])):
                raise UserError(f"{where(row)}: does not open ({wrong[0][1]})")
        return View(name, self.name, (name,), *coded(found))

    def read_by(self, view: View, how: How) -> str | None:
        """The model."""
        source, mode = how.encoder.get(view.name, LITE), how.pretrained if how.learns else "frozen"
        return f'view "{view.name}": pictures are read by {source} ({mode})'

    def size(self, view: View) -> dict[str, Any]:
        """How many different pictures there are."""
        return {"width": len(np.unique(view.values[view.values >= 0])), "unit": self.unit}


def features(items: Items, facts: Mapping[str, Any]) -> Made:
    """The frozen model's vector of every picture, each made when it is first asked for."""
    base = facts["base"]

    def make(pictures: list[Picture]) -> Float[np.ndarray, "n d"]:
        vectors: Float[np.ndarray, "n d"] = _encoder(base).encode(pictures).numpy()
        return vectors

    key = ("pictures", base["hash"], base["size"], base["resize"])
    return items.once(key, lambda: Made(items, (_encoder(base).width,), np.float32, make, "pictures"))


def pixels(items: Items, base: Mapping[str, Any]) -> Made:
    """Every picture in the model's form, each made when it is first asked for."""
    side = int(base["size"])
    key = ("pixels", side, base["resize"], base["resample"])
    make = lambda pictures: pixels_of(pictures, base)  # noqa: E731
    return items.once(key, lambda: Made(items, (3, side, side), np.uint8, make, "pictures"))


def holds_pictures(kind: pa.DataType) -> bool:
    """Whether a column of this type can name or hold pictures: text, bytes, a struct of bytes and path, nothing."""
    if pa.types.is_dictionary(kind):
        return holds_pictures(kind.value_type)
    if pa.types.is_struct(kind):
        return {field.name for field in kind} == {"bytes", "path"}
    tests = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, pa.types.is_null)
    return any(test(kind) for test in (*tests, pa.types.is_binary, pa.types.is_large_binary))


class Files:
    """The pictures of a column while its file streams by."""

    def __init__(self, path: Path) -> None:
        self.path, self.folder = path, path if path.is_dir() else path.parent
        self.found: list[Picture | None] = []
        self.column = ""

    def put(self, column: str, start: int, array: pa.Array) -> None:
        """Take a batch."""
        self.column = column
        self.found += [_entry(value, self.folder) for value in array.to_pylist()]

    def view(self, name: str, kind: Name, columns: tuple[str, ...]) -> View:
        """All rows; raises `UserError` when some pictures do not open, counting them and naming five."""
        numbers, items = coded(self.found)
        if wrong := unreadable(items.entries):
            first = {int(number): row for row, number in reversed(list(enumerate(numbers[:, 0].tolist())))}
            named = ", ".join(
                f"{_name(items.entries[place])} (row {first[place] + 1}: {why})" for place, why in wrong[:NAMED]
            )
            more = f" and {len(wrong) - NAMED:,} more" if len(wrong) > NAMED else ""
            raise UserError(
                f'{self.path}: column "{self.column}": {len(wrong):,} of {len(items):,} pictures do not open: '
                f"{named}{more}; mend them, or leave their cells empty"
            )
        return View(name, kind, columns, numbers, items)


def _entry(value: Any, folder: Path) -> Picture | None:
    """A cell as a path or bytes."""
    if isinstance(value, Mapping):
        value = value.get("bytes") or value.get("path")
    if isinstance(value, str):
        return folder / value.strip() if value.strip() else None
    return value or None


def _name(picture: Picture) -> str:
    return "bytes" if isinstance(picture, bytes) else picture.name


def _picture(record: Any, where: str, paths: bool) -> Picture:
    """A record as a picture."""
    if isinstance(record, bytes) and record:
        return record
    if isinstance(record, Path) and paths:
        return record
    if isinstance(record, str) and record.startswith("data:image/") and ";base64," in record:
        try:
            return base64.b64decode(record.partition(";base64,")[2], validate=True)
        except binascii.Error:
            raise UserError(f"{where}: is not base64 behind data:image/..;base64,") from None
    if isinstance(record, str) and paths:
        return Path(record)
    raise UserError(
        f"{where}: must be {Pictures.form}, not {'another text' if isinstance(record, str) else type(record).__name__}"
    )


def _room(view: View, side: int) -> None:
    """Raise `UserError` when the pixels of all pictures have no room among temporary files."""
    assert view.items is not None
    needed, free = len(view.items) * 3 * side * side, shutil.disk_usage(tempfile.gettempdir()).free
    if needed > 0.8 * free:
        raise UserError(
            f'view "{view.name}": the pixels of {len(view.items):,} pictures need {needed / 2**30:.1f} GiB of '
            f"temporary files, {free / 2**30:.1f} GiB are free; use pretrained=frozen, or set TMPDIR to a larger disk"
        )


def _encoder(base: Mapping[str, Any]) -> PictureEncoder:
    """The frozen model; raises `UserError` when it is not the one that was fitted with."""
    if _frozen(base["source"]).facts["hash"] != base["hash"]:
        _frozen.cache_clear()
        read_pictures(base["source"]).check(base)
    return _frozen(base["source"])


@lru_cache(maxsize=2)
def _frozen(source: str) -> PictureEncoder:
    base = read_pictures(source)
    return PictureEncoder.of(base, base.facts()).eval()
