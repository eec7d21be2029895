"""What `rewrite` does, callable from Python; it prints nothing."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from counterpoint import jobs, reports
from counterpoint.errors import UserError, nearest
from counterpoint.files import write_json, write_text
from counterpoint.serving.search import Say, require
from counterpoint.text.clusters.statements import script_of
from counterpoint.text.files import SUFFIXES, is_text, read_file, texts_of
from counterpoint.text.labels.labelled import NAMES, STRANGE
from counterpoint.text.private.privacy import check_epsilon
from counterpoint.text.private.rewriting import promise
from counterpoint.text.private.spans import LONGEST
from counterpoint.text.private.vocabulary import read_vocabulary
from counterpoint.training import load

STANDARD_INPUT = "-"


@dataclass(frozen=True)
class Wish:
    """How to rewrite: the budget of a span, who proposes, how many draws a replacement has, a list of words, a seed."""

    epsilon: float
    proposer: str = "auto"
    length: int | None = None
    vocabulary: Path | None = None
    seed: int | None = None

    def __post_init__(self) -> None:
        check_epsilon(self.epsilon)


def rewrite(
    run: Path,
    source: str,
    wish: Wish,
    output: Path | None = None,
    page: Path | None = None,
    column: str | None = None,
    say: Say = jobs.silent,
) -> dict[str, Any]:
    """Rewrite the private spans of a text, or of the texts of a table, and say what that guarantees.

    `source` is a file of plain text, a table (`column` names its texts), or "-" for standard input. Returns the new
    texts with places, scores and budgets, never the words that stood there. `output` gets the same: plain text, or JSON
    for .json. `page` gets a page for the person who owns the text; it shows the original. Raises `UserError` for a run
    that is not fitted or cannot rewrite, an epsilon that is not above 0, and a source without a text.
    """
    method: Any = require(load(run), "rewrite")
    texts = read_texts(source, column)
    words = None if wish.vocabulary is None else read_vocabulary(wish.vocabulary)
    there = [place for place, text in enumerate(texts) if text is not None]
    if len(there) < len(texts):
        say(f"{len(texts) - len(there)} of {len(texts)} rows have no text and are passed over")
    for text in _looked_at([texts[place] or "" for place in there]):
        say(text)
    made = method.rewrite(
        [texts[place] for place in there], wish.epsilon, wish.proposer, wish.length, words, seed=wish.seed
    )
    if cut := method.cut([piece.original for one in made for piece in one.replacements]):
        say(f"{cut} found spans are longer than the encoder reads; they were scored by their beginning, replaced whole")
    if page is not None:
        reports.write_rewriting(page, run, made)
    if any(one.budget.placeholders for one in made):
        say(f"{sum(one.budget.placeholders for one in made)} spans could not be rewritten and have the placeholder")
    found: list[dict[str, Any] | None] = [None] * len(texts)
    for place, one in zip(there, made, strict=True):
        found[place] = one.told()
    budgets = [one.budget for one in made]
    result = {
        "texts": found,
        "budget": {
            "epsilon_per_span": wish.epsilon,
            "spans": sum(one.spans for one in budgets),
            "placeholders": sum(one.placeholders for one in budgets),
            "epsilon_total_largest": max((one.total for one in budgets), default=0.0),
        },
        "statement": promise(made),
    }
    if output is not None:
        if output.suffix.lower() == ".json":
            write_json(output, result)
        else:
            write_text(output, plain_text(found))
    return result | ({"page": str(page)} if page is not None else {})


def plain_text(found: Sequence[dict[str, Any] | None]) -> str:
    """The new texts alone; of a table one per line, with blanks in the place of line breaks."""
    if len(found) == 1:
        return str((found[0] or {}).get("text", ""))
    return "".join(" ".join(str((one or {}).get("text", "")).split()) + "\n" for one in found)


def read_texts(source: str, column: str | None) -> list[str | None]:
    """The text of a file, or those of a table's column; raises `UserError` naming file and line."""
    if source == STANDARD_INPUT:
        return [_one_text(sys.stdin.buffer.read(4 * LONGEST + 1), "standard input")]
    path = Path(source)
    if path.suffix.lower() not in SUFFIXES:
        if column is not None:
            raise UserError(f"--text {column}: {path} is a plain text without columns")
        try:
            with path.open("rb") as file:
                return [_one_text(file.read(4 * LONGEST + 1), str(path))]
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    table = read_file(path)
    kinds = [field.name for field in table.schema if is_text(field.type)]
    name = column or next((known for known in (*NAMES, "full_text") if known in kinds), None)
    name = name or (kinds[0] if len(kinds) == 1 else None)
    if name is None or name not in kinds:
        raise UserError(
            f"{path}: which column holds the texts? --text {name or 'COLUMN'}; {nearest(name or '', kinds)}"
        )
    texts = texts_of(table[name].cast(pa.large_string()))
    if all(text is None for text in texts):
        raise UserError(f'{path}: column "{name}" has no text in any row')
    for row, text in enumerate(texts, start=1):
        if text is not None and len(text) > LONGEST:
            raise UserError(f"{path}: row {row} has more than {LONGEST:,} characters; divide the text")
    return texts


def _one_text(data: bytes, where: str) -> str:
    """One text of UTF-8, with or without a byte order mark."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        if error.reason == "unexpected end of data" and len(data) > 4 * LONGEST:
            raise UserError(f"{where}: has more than {LONGEST:,} characters; divide the text") from None
        raise UserError(
            f"{where}: line {line} is not UTF-8 (byte {error.start + 1}, 0x{data[error.start]:02x}); convert the file, "
            "for example with iconv"
        ) from None
    if not text.strip():
        raise UserError(f"{where}: is empty, so there is nothing to rewrite")
    if len(text) > LONGEST:
        raise UserError(f"{where}: has more than {LONGEST:,} characters; divide the text")
    return text


def _looked_at(texts: Sequence[str]) -> list[str]:
    """What is wrong with texts."""
    found = []
    if strange := sum(STRANGE in text for text in texts):
        found.append(f"warning: {strange} texts hold {STRANGE}, the mark of a wrong encoding")
    scripts = sorted({script_of(text) for text in texts} - {"latin", "none"})
    if scripts:
        found.append(f"warning: scripts {', '.join(scripts)}: chunks are found by spaces and capitals; expect misses")
    return found
