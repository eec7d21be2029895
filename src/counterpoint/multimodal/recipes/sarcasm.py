"""Tweets with pictures, sarcastic or not: MMSD and MMSD2.0 as published, with five words about each picture."""

import ast
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet

from counterpoint.errors import UserError
from counterpoint.files import atomic_path

Version = Literal["mmsd2", "mmsd"]
MMSD2 = {"train": "text_json_final/train.json", "validation": "text_json_final/valid.json"}
MMSD = {"train": "text/train.txt", "validation": "text/valid2.txt"}
TEST = {"mmsd2": "text_json_final/test.json", "mmsd": "text/test2.txt"}
ATTRIBUTES = "extract/extract_all"
USAGE = "usage: python -m counterpoint.multimodal.recipes.sarcasm FOLDER OUT.parquet [mmsd2|mmsd]"


def posts(folder: str | Path, version: Version = "mmsd2") -> pa.Table:
    """One row per tweet: id, text, attributes (five words about its picture), label (1: sarcastic), split.

    The files are found anywhere below the folder, by the names they have in the published repositories. Attributes
    are null where MMSD has none for the picture. A test part is read where there is one. For "mmsd", training tweets
    are those that MMSD2.0 trains on, where that stands in the folder too, so that the two versions hold the same ones;
    alone, all of them. Raises `UserError` naming the file and the line or item that is not of the format.
    Sources: MMSD, Cai et al., ACL 2019 (with its picture attributes); MMSD2.0, arXiv 2307.07135.
    """
    root = Path(folder)
    words = dict(_attributes(_file(root, ATTRIBUTES)))
    kept = None
    if version == "mmsd" and (newer := _find(root, MMSD2["train"])) is not None:
        kept = {key for key, _, _ in _json(newer)}
    parts = dict(MMSD2 if version == "mmsd2" else MMSD)
    if _find(root, TEST[version]) is not None:
        parts["test"] = TEST[version]
    rows: list[tuple[int, str, list[str] | None, int, str]] = []
    for split, name in parts.items():
        path = _file(root, name)
        for key, text, label in _json(path) if version == "mmsd2" else _lines(path):
            if split != "train" or kept is None or key in kept:
                rows.append((key, text, words.get(key), label, split))
    names = ("id", "text", "attributes", "label", "split")
    columns = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True)) if rows else {}
    if not rows:
        raise UserError(f"{root}: its files hold no tweets")
    joined = [None if found is None else " ".join(found) for found in columns["attributes"]]
    return pa.table(columns | {"attributes": pa.array(joined, pa.string())})


def write_posts(folder: str | Path, path: str | Path, version: Version = "mmsd2") -> int:
    """Write the tweets as Parquet, whole or not at all; returns how many there are."""
    table = posts(folder, version)
    with atomic_path(path) as temporary:
        pa.parquet.write_table(table, temporary)
    return len(table)


def _find(root: Path, name: str) -> Path | None:
    """The first file of this name (its folder's included) below the root."""
    if not root.is_dir():
        raise UserError(f"{root}: is no folder; give the one that holds the published files of MMSD or MMSD2.0")
    return min((path for path in root.rglob(Path(name).name) if path.match(f"*/{name}")), default=None)


def _file(root: Path, name: str) -> Path:
    found = _find(root, name)
    if found is None:
        raise UserError(f"{root}: holds no {name}, as the published repository has it; give the folder around it")
    return found


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as UTF-8 text ({error})") from None


def _json(path: Path) -> Iterator[tuple[int, str, int]]:
    """MMSD2.0: a JSON list of objects with image_id, text and label."""
    try:
        items = json.loads(_read(path))
    except ValueError as error:
        raise UserError(f"{path}: is not JSON ({error})") from None
    if not isinstance(items, list):
        raise UserError(f"{path}: holds {type(items).__name__}, not a list of tweets")
    for number, item in enumerate(items, start=1):
        where = f"{path}: item {number}"
        if not isinstance(item, dict) or not {"image_id", "text", "label"} <= item.keys():
            raise UserError(f"{where} is not an object with image_id, text and label")
        yield _tweet(item["image_id"], item["text"], item["label"], where)


def _lines(path: Path) -> Iterator[tuple[int, str, int]]:
    """MMSD: a Python list per line, [id, text, label]; where there are two labels, the last is the human one."""
    for number, values in _lists(path):
        where = f"{path}: line {number}"
        if len(values) not in (3, 4):
            raise UserError(f"{where} has {len(values)} values, not [id, text, label] or [id, text, label, label]")
        yield _tweet(values[0], values[1], values[-1], where)


def _attributes(path: Path) -> Iterator[tuple[int, list[str]]]:
    """MMSD: a Python list per line, the id and the words about its picture."""
    for number, values in _lists(path):
        if len(values) < 2 or not all(isinstance(word, str) for word in values[1:]):
            raise UserError(f"{path}: line {number} is not [id, word, word, ..]")
        yield _id(values[0], f"{path}: line {number}"), values[1:]


def _lists(path: Path) -> Iterator[tuple[int, list[Any]]]:
    for number, line in enumerate(_read(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            values = ast.literal_eval(line.strip())
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            raise UserError(f"{path}: line {number} is not a Python list: {line.strip()[:60]}") from None
        if not isinstance(values, list):
            raise UserError(f"{path}: line {number} holds {type(values).__name__}, not a list")
        yield number, values


def _tweet(key: Any, text: Any, label: Any, where: str) -> tuple[int, str, int]:
    if not isinstance(text, str):
        raise UserError(f"{where}: the text is {type(text).__name__}, not text")
    if label not in (0, 1) or isinstance(label, bool):
        raise UserError(f"{where}: the label is {label!r}, not 0 or 1")
    return _id(key, where), text, int(label)


def _id(key: Any, where: str) -> int:
    """An id may be written as a number or as text."""
    if (isinstance(key, int) and not isinstance(key, bool)) or (isinstance(key, str) and key.isdigit()):
        return int(key)
    raise UserError(f"{where}: the id is {key!r}, not a number")


def _main(arguments: list[str]) -> int:
    if len(arguments) not in (2, 3) or arguments[2:] not in ([], ["mmsd2"], ["mmsd"]):
        print(USAGE, file=sys.stderr)
        return 2
    version: Version = "mmsd" if arguments[2:] == ["mmsd"] else "mmsd2"
    try:
        rows = write_posts(arguments[0], arguments[1], version)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{arguments[1]}: {rows} tweets")
    return 0


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
