"""The last section: what is needed to make the run again."""

import shlex
from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import Any

from counterpoint.reports.folder import Folder
from counterpoint.reports.markup import join, tag
from counterpoint.reports.parts import LISTED, Section, details, flat

NOTE = "Rebuilt from config.yaml, which holds every setting and column; long lists of columns are written as patterns."


def made(folder: Folder, run: str) -> Section:
    """Show the command, the settings, the data and the versions."""
    config = folder.config
    lists = {
        "Options": config.get("options") or {},
        "Training": config.get("training") or {"seed": folder.seed},
        "Data": folder.data,
        "Versions": {"counterpoint": config.get("counterpoint"), **(config.get("versions") or {})},
        "Facts measured on the data": config.get("facts") or {},
    }
    command = [
        tag("h3", "Run it again"),
        tag("pre", tag("code", again(folder, run)), tabindex="0"),
        tag("p", NOTE, class_="note"),
    ]
    tables = (details(name, values, shown=name == "Options") for name, values in lists.items() if values)
    return Section("made", "How this was made", join([*command, *tables]))


def again(folder: Folder, run: str) -> str:
    """Write the command that makes this run anew: the one it was made with, or a fit from its settings."""
    data, reader = folder.data, folder.data.get("reader") or {}
    if command := data.get("command"):
        return str(command)
    views = {"view": patterns(reader["view"])} if isinstance(reader.get("view"), dict) else {}
    settings = flat({**reader, **views, **(folder.config.get("options") or {})})
    pairs = [f"{key}={value}" for key, value in settings.items() if value is not None]
    named = {"split": data.get("split"), **(data.get("files") or {}), **(data.get("display") or {})}
    flags = [word for name, value in named.items() if value is not None for word in (f"--{name}", str(value))]
    source = str(data.get("source") or "DATA")
    words = ["counterpoint", "fit", folder.method, source, *pairs, *flags, "--seed", str(folder.seed), "--out", run]
    return shlex.join(words)


def patterns(views: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Write a long list of columns as a pattern where their common beginning is no other view's.

    >>> patterns({"pix": [f"pix_{i}" for i in range(9)], "age": ["age"]})
    {'pix': 'pix_*', 'age': ['age']}
    """
    found: dict[str, Any] = dict(views)
    for view, columns in views.items():
        others = [name for other, names in views.items() if other != view for name in names]
        start = _beginning(columns)
        if start and len(columns) > LISTED and not any(name.startswith(start) for name in others):
            found[view] = f"{start}*"
    return found


def _beginning(names: Sequence[str]) -> str:
    """Find what all names begin with: it is what the first and the last in order share."""
    pairs = takewhile(lambda pair: pair[0] == pair[1], zip(min(names), max(names), strict=False))
    return "".join(letter for letter, _ in pairs)
