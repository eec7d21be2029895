"""What every command shares: common arguments, and how results and remarks are printed."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from counterpoint import launch

RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder that fit wrote.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress bars and no remarks.")]


def print_table(columns: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
    """Aligned columns under a bold head; plain in a pipe."""
    widths = [max(map(len, column)) for column in zip(columns, *lines, strict=True)]
    for number, line in enumerate([columns, *lines]):
        text = "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        typer.echo(typer.style(text, bold=True) if number == 0 else text)


def print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False))


def cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else "" if value is None else str(value)


def brief(value: Any, most: int = 80) -> str:
    """A cell that a line has room for; programs get all of it with --json.

    >>> brief("a long text", 7)
    'a lo...'
    """
    text = " ".join(cell(value).split())
    return text if len(text) <= most else text[: most - 3] + "..."


def names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def lively(quiet: bool) -> bool:
    """Whether progress bars are wanted: a person watches, and did not ask for quiet."""
    return not quiet and sys.stderr.isatty() and launch.is_first()


def remark(quiet: bool) -> Any:
    """Say something to the person beside the results: on stderr, unless quiet or not the first of several ranks."""
    silent = quiet or not launch.is_first()
    return (lambda text: None) if silent else (lambda text: typer.echo(text, err=True))
