"""From files to `SpannedTexts`: CoNLL, presidio's JSON, tables with a column of spans, folders of them."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from counterpoint.errors import UserError, nearest
from counterpoint.text.files import SUFFIXES, is_text, objects, plain, read_file
from counterpoint.text.labels.labelled import IDS, NAMES
from counterpoint.text.private.spans import Span, SpannedTexts

CONLL = (".conll", ".bio", ".iob", ".annotated")
TEXTS = (*NAMES, "full_text")
"""Columns that are taken for the texts, the first that a file has."""
SPANS = ("spans", "entities", "annotations")
STARTS, ENDS, LABELS = ("start", "start_position", "begin"), ("end", "end_position"), ("label", "entity_type", "type")
VALUE = "entity_value"
TEMPLATE = "template_id"
Named = Mapping[str, str | None]
Row = dict[str, Any]


def read(path: Path, named: Named) -> SpannedTexts:
    """Read a file or a folder of files; `named` gives the columns that a user named."""
    if not path.exists():
        raise UserError(f"{path}: there is no such file")
    known = (*CONLL, ".json", *SUFFIXES)
    if path.is_dir():
        paths = sorted(one for one in path.iterdir() if one.suffix.lower() in known and not one.name.startswith("."))
        if not paths:
            raise UserError(f"{path}: no file of texts with spans in it ({', '.join(known)})")
    else:
        paths = [path]
    rows = [row for one in paths for row in _rows_of(one, named)]
    return _made(rows, str(path), named)


def _made(rows: list[Row], source: str, named: Named) -> SpannedTexts:
    """The rows of all files as one; columns that some rows lack have gaps."""
    names = list(dict.fromkeys(name for row in rows for name in row["columns"]))
    columns = {name: [row["columns"].get(name) for row in rows] for name in names}
    group = named["group"] or (TEMPLATE if TEMPLATE in columns else None)
    if group is not None and group not in columns:
        raise UserError(f"{source}: group={group}: no such column; {nearest(group, columns)}")
    notes = [f"rows of an equal {group} stay together (group={group})"] if group and not named["group"] else []
    ids = [row["id"] for row in rows] if all(row["id"] is not None for row in rows) else None
    if ids is not None and len(set(ids)) < len(ids):
        ids = None
        notes.append("ids occur twice and are not used; rows are numbered")
    made = SpannedTexts.of(
        [row["text"] for row in rows],
        [row["spans"] if row["text"] and not row["text"].isspace() else () for row in rows],
        [row["domain"] for row in rows],
        columns,
        ids,
        source,
        group,
    )
    domains = [str(name) for name in made.domains]
    notes += [
        "domains: " + ", ".join(f"{name} {domains.count(name)}" for name in made.names),
        "scripts: " + ", ".join(f"{name} {count}" for name, count in made.scripts.items()),
    ]
    return SpannedTexts(
        made.texts, made.spans, made.domains, made.columns, made.ids, made.source, made.group, tuple(notes)
    )


def _rows_of(path: Path, named: Named) -> list[Row]:
    suffix = path.suffix.lower()
    if suffix in CONLL:
        unknown = [name for name in ("text", "spans", "domain", "id", "group") if named[name] is not None]
        if unknown:
            raise UserError(f"{path}: {unknown[0]}={named[unknown[0]]}: a CoNLL file has no columns to name")
        return [
            {"text": text, "spans": spans, "domain": path.stem, "id": None, "columns": {}}
            for text, spans in _conll(path)
        ]
    records = _json(path) if suffix in (".json", ".jsonl", ".ndjson") else _table(path)
    return _records(path, records, named)


def _json(path: Path) -> list[Row]:
    """A file that holds a list of objects, or one object per line."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        raise UserError(f"{path}: line {line} is not UTF-8; convert the file, for example with iconv") from None
    if path.suffix.lower() != ".json":
        found: Any = objects(text.splitlines(), str(path))
    else:
        try:
            found = json.loads(text)
        except ValueError:
            raise UserError(f"{path}: is not JSON; one object per line goes into a .jsonl") from None
    if not isinstance(found, list) or not found or not all(isinstance(row, dict) for row in found):
        raise UserError(f"{path}: must hold a list of objects with a text and its spans")
    return found


def _table(path: Path) -> list[Row]:
    table = read_file(path)
    columns: dict[str, Sequence[Any]] = {}
    for name in table.column_names:
        kind = table.schema.field(name).type
        values = plain(table[name]) if not is_text(kind) else None
        columns[name] = table[name].to_pylist() if values is None else values.tolist()
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _records(path: Path, records: list[Row], named: Named) -> list[Row]:
    """Rows of objects: which field is the text, which the spans, and what is kept beside them."""
    names = list(dict.fromkeys(name for row in records for name in row))
    for what in ("text", "spans", "domain", "id"):
        if named[what] is not None and named[what] not in names:
            raise UserError(f"{path}: {what}={named[what]}: no such column; {nearest(str(named[what]), names)}")
    text = named["text"] or next((name for name in TEXTS if name in names), None)
    spans = named["spans"] or next((name for name in SPANS if name in names), None)
    for what, found in (("text", text), ("spans", spans)):
        if found is None:
            raise UserError(
                f"{path}: the columns do not show which one holds the {what}; name it: {what}=COLUMN "
                f"(columns: {', '.join(names)})"
            )
    assert text is not None
    assert spans is not None
    domain = named["domain"] or ("domain" if "domain" in names else None)
    key = named["id"] or next((name for name in IDS if name in names), None)
    kept = [name for name in names if name not in (text, spans, domain, key, "masked")]
    made = []
    for number, row in enumerate(records, start=1):
        if row.get(text) is not None and not isinstance(row[text], str):
            raise UserError(f'{path}: row {number}, column "{text}": not a text')
        told = None if domain is None else row.get(domain)
        if domain is not None and (told is None or not str(told).strip()):
            raise UserError(f'{path}: row {number}, column "{domain}": the domain is missing')
        where = f'{path}: row {number}, column "{spans}"'
        made.append(
            {
                "text": row.get(text),
                "spans": list(_spans(row.get(spans), row.get(text) or "", where)),
                "domain": path.stem if told is None else str(told),
                "id": None if key is None else row.get(key),
                "columns": {name: row.get(name) for name in kept if not isinstance(row.get(name), dict | list)},
            }
        )
    return made


def _spans(told: Any, text: str, where: str) -> Iterator[Span]:
    """Spans of a list of objects or of [start, end, label], or of such a list as JSON."""
    if isinstance(told, str):
        try:
            told = json.loads(told) if told.strip() else []
        except ValueError:
            raise UserError(f"{where}: not JSON; write [[start, end, label], ...]") from None
    for one in told or []:
        values = _from_object(one) if isinstance(one, dict) else list(one) if isinstance(one, list | tuple) else []
        whole = len(values) in (2, 3) and all(isinstance(v, int) and not isinstance(v, bool) for v in values[:2])
        if not whole:
            raise UserError(f"{where}: {one!r} is no span; write start, end and label")
        span = Span(values[0], values[1], *[str(label) for label in values[2:]])
        value = one.get(VALUE) if isinstance(one, dict) else None
        if value is not None and text[span.start : span.end] != value:
            raise UserError(
                f"{where}: characters {span.start} to {span.end} are not its {VALUE}; offsets count characters"
            )
        yield span


def _from_object(one: Mapping[str, Any]) -> list[Any]:
    found = [next((one[name] for name in names if name in one), None) for names in (STARTS, ENDS, LABELS)]
    return found if found[2] is not None else found[:2]


def _conll(path: Path) -> Iterator[tuple[str, list[Span]]]:
    """Sentences of a file with a token and its BIO tag per line; tokens are joined by single spaces."""
    words: list[tuple[str, str]] = []
    with path.open("rb") as file:
        for number, line in enumerate([*file, b""], start=1):
            try:
                fields = line.decode("utf-8-sig" if number == 1 else "utf-8").split()
            except UnicodeDecodeError as error:
                where = f"line {number} is not UTF-8: byte {error.start + 1}"
                raise UserError(f"{path}: {where}; convert the file, for example with iconv") from None
            if not fields or fields[0] == "-DOCSTART-":
                if words:
                    yield _sentence(words)
                words = []
                continue
            tag = fields[-1]
            if len(fields) < 2 or not (tag == "O" or tag[:2] in ("B-", "I-", "E-", "S-", "L-", "U-")):
                raise UserError(f'{path}: line {number}: "{line.decode().strip()[:40]}" is no token with a BIO tag')
            words.append((fields[0], tag))


def _sentence(words: Sequence[tuple[str, str]]) -> tuple[str, list[Span]]:
    """The text and the spans of tokens with tags; a tag that goes on with nothing begins a span (IOB1)."""
    spans: list[Span] = []
    at, before = 0, "O"
    for word, tag in words:
        kind, label = tag[0], tag[2:]
        goes_on = kind in "IEL" and before != "O" and spans and spans[-1].label == label
        if goes_on:
            spans[-1] = spans[-1]._replace(end=at + len(word))
        elif tag != "O":
            spans.append(Span(at, at + len(word), label))
        before = "O" if kind in "OSUEL" else tag
        at += len(word) + 1
    return " ".join(word for word, _ in words), spans
