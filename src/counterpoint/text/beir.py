"""Retrieval collections as BEIR lays them out: corpus.jsonl, queries.jsonl and judgements in qrels/*.tsv.

Source: arXiv 2104.08663; a folder, or a zip file of one.
"""

import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from counterpoint.errors import UserError, nearest
from counterpoint.text.files import objects
from counterpoint.text.pairs import Pairs, Texts

Place = Path | zipfile.Path
QUERY, DOCUMENT = ("text",), ("title", "text")
"""The fields that make a query and a document."""


class Judgement(NamedTuple):
    """Document `document` answers query `query`; the grade is above 0."""

    query: str
    document: str
    grade: int


def place_of(path: Path) -> tuple[Place, tuple[str, ...]] | None:
    """The collection that a path names and the judgements meant (none: all); None when it names no collection."""
    if path.is_dir():
        return path, ()
    if path.suffix == ".zip" and path.is_file():
        return zipfile.Path(path), ()
    if path.suffix == ".tsv" and path.parent.name == "qrels" and (path.parent.parent / "queries.jsonl").is_file():
        return path.parent.parent, (path.stem,)
    return None


def read(place: Place, parts: Sequence[str] = (), *, corpus: str | None = None, group: str | None = None) -> Pairs:
    """A row per judged pair of query and document; all documents compete when retrieval is judged.

    `parts` names the judgements, such as "train" (default: all there are). Kept columns: query_id, document_id, grade.
    Raises `UserError` naming the file and the line, query or document that is wrong.
    """
    queries = _texts(place / "queries.jsonl", QUERY)
    documents = _texts(_corpus(place, corpus), DOCUMENT)
    found = [judgement for part in parts or _parts(place) for judgement in _judgements(place, part)]
    for judged in found:
        for what, name, known in (("query", judged.query, queries), ("document", judged.document, documents)):
            if name not in known:
                raise UserError(f'{place}: the judgements name {what} "{name}", which its file does not have')
    if not found:
        raise UserError(f"{place}: no judgement has a grade above 0")
    columns: dict[str, Any] = {
        "query_id": _column([judged.query for judged in found]),
        "document_id": _column([judged.document for judged in found]),
        "grade": np.array([judged.grade for judged in found]),
    }
    return Pairs(
        views={
            "query": Texts("query", QUERY, _column([queries[judged.query] for judged in found])),
            "document": Texts("document", DOCUMENT, _column([documents[judged.document] for judged in found])),
        },
        columns=columns,
        ids=_column([f"{judged.query} {judged.document}" for judged in found]),
        source=str(place),
        group=group,
        pool=tuple(dict.fromkeys(text for text in documents.values() if text)),
    )


def _texts(file: Place, fields: Sequence[str]) -> dict[str, str]:
    """Text by id."""
    found: dict[str, str] = {}
    try:
        with file.open(encoding="utf-8") as lines:
            rows = objects(lines, str(file))
    except (FileNotFoundError, KeyError):
        raise UserError(f"{file} is missing; a collection has corpus.jsonl, queries.jsonl and qrels/*.tsv") from None
    for number, row in enumerate(rows, start=1):
        if not isinstance(row.get("_id"), str) or not isinstance(row.get("text"), str):
            raise UserError(f'{file}: entry {number} lacks a text "_id" or "text"')
        if row["_id"] in found:
            raise UserError(f'{file}: entry {number}: the id "{row["_id"]}" is there twice')
        found[row["_id"]] = " ".join(text for name in fields if (text := str(row.get(name) or "").strip()))
    return found


def _corpus(place: Place, name: str | None) -> Place:
    """The file of documents: corpus.jsonl, or one of corpus/*.jsonl."""
    if name is None and (place / "corpus.jsonl").is_file():
        return place / "corpus.jsonl"
    folder = place / "corpus"
    known = sorted(file.name.removesuffix(".jsonl") for file in folder.iterdir()) if folder.is_dir() else []
    if name is None and len(known) == 1:
        return folder / f"{known[0]}.jsonl"
    if name not in known:
        wish = f"corpus={name}" if name else "corpus= must say which"
        raise UserError(f"{place}: {wish}; {nearest(name or '', known)}")
    return folder / f"{name}.jsonl"


def _parts(place: Place) -> list[str]:
    folder = place / "qrels"
    return sorted(file.name.removesuffix(".tsv") for file in folder.iterdir()) if folder.is_dir() else []


def _judgements(place: Place, part: str) -> Iterator[Judgement]:
    """Judgements with a grade above 0, after the head line."""
    file = place / "qrels" / f"{part}.tsv"
    if not file.is_file():
        raise UserError(f"{place}: no judgements {part}; {nearest(part, _parts(place))}")
    with file.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            cells = line.rstrip("\r\n").split("\t")
            if number == 1 and not cells[-1].lstrip("-").isdigit():
                continue
            if len(cells) != 3 or not cells[2].lstrip("-").isdigit():
                raise UserError(f"{file}: line {number} is not query, document and a whole grade with tabs between")
            if int(cells[2]) > 0:
                yield Judgement(cells[0], cells[1], int(cells[2]))


def _column(texts: Sequence[str]) -> Any:
    values = np.empty(len(texts), dtype=object)
    values[:] = texts
    return values
