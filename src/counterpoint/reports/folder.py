"""A run folder's files, read once; what is absent stays None and the page says so."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from counterpoint.errors import UserError
from counterpoint.reports.pictures import is_png

VIEW = "view:"


@dataclass(frozen=True)
class Folder:
    """What the report shows: settings, events, final numbers, joint vectors and columns, pictures and words by id."""

    config: dict[str, Any]
    events: list[dict[str, Any]]
    evaluation: dict[str, Any]
    rows: pa.Table | None
    pictures: dict[str, bytes]
    words: dict[str, str] = field(default_factory=dict)

    @property
    def method(self) -> str:
        """The method's catalog name."""
        return str(self.config.get("method", "method"))

    @property
    def source(self) -> str:
        """What it was fitted on, as a short name."""
        return str(self.data.get("source") or "its data").rstrip("/").split("/")[-1]

    @property
    def data(self) -> dict[str, Any]:
        """Where the rows came from, how they were read and what to show of them."""
        return self.config.get("data") or {}

    @property
    def seed(self) -> int:
        """What all randomness followed from."""
        return int((self.config.get("training") or self.config).get("seed") or 0)

    @property
    def assessment(self) -> dict[str, Any]:
        """The parts of the evaluation beyond the headline."""
        return self.evaluation.get("assessment") or {}

    @property
    def picture_view(self) -> str | None:
        """The view that the pictures show."""
        shown = (self.data.get("display") or {}).get("picture")
        return shown.rpartition(":")[0] if shown else None

    @property
    def label(self) -> str | None:
        """The column that names a row for a reader."""
        return (self.data.get("display") or {}).get("label")


def read(run: Path) -> Folder:
    """Read a run folder; raises `UserError` when it is none or when a file in it is damaged."""
    if not (run / "config.yaml").is_file():
        raise UserError(f"{run}: not a run folder (config.yaml is missing); give a folder that `fit` has written")
    pictures, words = _display(run / "display.parquet")
    return Folder(
        config=_mapping(run / "config.yaml", _yaml),
        events=_events(run / "metrics.jsonl"),
        evaluation=_mapping(run / "evaluation.json", _json),
        rows=_parquet(run / "embeddings.parquet", needs="joint"),
        pictures=pictures,
        words=words,
    )


def _mapping(path: Path, parse: Callable[[Path], Any]) -> dict[str, Any]:
    """Read a file that holds one mapping; an absent file is an empty one."""
    if not path.is_file():
        return {}
    try:
        value = parse(path)
    except (ValueError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path}: damaged ({reason}); write it again") from None
    if not isinstance(value, dict):
        raise UserError(f"{path}: damaged (a mapping was expected); write it again")
    return value


def _yaml(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _events(path: Path) -> list[dict[str, Any]]:
    """Read the events; a last line that a killed run left half-written is passed over."""
    if not path.is_file():
        return []
    lines = path.read_bytes().split(b"\n")
    events = []
    for number, line in enumerate(lines, start=1):
        try:
            event = json.loads(line) if line.strip() else None
        except ValueError:
            if number == len(lines):
                break
            raise UserError(f"{path}: line {number} is damaged (not JSON); remove that line") from None
        if isinstance(event, dict):
            events.append(event)
    return events


def _parquet(path: Path, needs: str) -> pa.Table | None:
    """Read the columns of a file but the vectors of single views, which the page does not show."""
    if not path.is_file():
        return None
    try:
        names = pq.read_schema(path).names
        for column in ("id", needs):
            if column not in names:
                raise UserError(f'{path}: has no column "{column}"; write it again')
        return pq.read_table(path, columns=[name for name in names if not name.startswith(VIEW)])
    except (pa.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path}: damaged ({reason}); write it again") from None


def _display(path: Path) -> tuple[dict[str, bytes], dict[str, str]]:
    """Read pictures and words by id; what is no PNG is left out."""
    table = _parquet(path, needs="picture")
    if table is None:
        return {}, {}
    ids = [str(key) for key in table["id"].to_pylist()]
    words = table["caption"].to_pylist() if "caption" in table.column_names else [None] * len(ids)
    pairs = zip(ids, table["picture"].to_pylist(), strict=True)
    pictures = {key: picture for key, picture in pairs if picture is not None and is_png(picture)}
    return pictures, {key: text for key, text in zip(ids, words, strict=True) if text is not None}
