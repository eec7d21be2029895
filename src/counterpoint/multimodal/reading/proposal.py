"""Which columns make which view: patterns over column names, and a proposal when nobody named any."""

import difflib
import re
import shlex
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

import numpy as np
import pyarrow as pa

from counterpoint.errors import UserError
from counterpoint.multimodal.reading.sources import as_float32

Views = Mapping[str, str | Sequence[str]]
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
ASIDE = re.compile("ids?|u?uid|guid|idx|index|row|labels?|target|class|fold|split|group|cluster|unnamed")
"""A column whose last word is one of these is no description of its row."""


def choose(views: Views, names: Sequence[str], source: str, aside: Sequence[str] = ()) -> dict[str, tuple[str, ...]]:
    """Expand the patterns of each view to columns, in the order of the patterns, then of the file.

    A pattern is a column's name or has the wildcards `*`, `?` and `[...]`; several are separated by commas or
    given as a list. Wildcards pass over `aside` (the id and group columns).
    Raises `UserError` for a bad view name, a pattern that matches nothing, and a column claimed twice.

    >>> choose({"labs": "lab_*,crp", "ecg": "ecg"}, ["crp", "lab_a", "lab_b", "ecg"], "a.csv")
    {'labs': ('lab_a', 'lab_b', 'crp'), 'ecg': ('ecg',)}
    """
    chosen: dict[str, tuple[str, ...]] = {}
    owner: dict[str, str] = {}
    for view, patterns in views.items():
        if not NAME.fullmatch(view):
            raise UserError(f'view name "{view}" is not allowed; use letters, digits, "_" and "-", a letter first')
        pieces = [piece.strip() for piece in patterns.split(",")] if isinstance(patterns, str) else patterns
        columns = [column for piece in pieces for column in _matches(piece, view, names, source, aside)]
        for column in columns:
            if owner.setdefault(column, view) != view:
                raise UserError(
                    f'{source}: column "{column}" is in view "{owner[column]}" and in view "{view}"; '
                    "narrow one of the two patterns"
                )
        chosen[view] = tuple(dict.fromkeys(columns))
    return chosen


def require(column: str, names: Sequence[str], source: str, use: str) -> None:
    """Raise `UserError` with the nearest names unless the file has this column."""
    if column not in names:
        raise UserError(f'{source}: no column "{column}" for {use}; {_near(column, names)}')


def propose(head: pa.Table, vectors: Sequence[str], names: Sequence[str]) -> dict[str, str]:
    """Propose views, as the `view` option would say them, from column names and a look at the first rows.

    `head` holds the numeric columns, `vectors` names columns of lists, texts or pictures (each a view). Numeric columns
    with a common beginning (before `_`, `.`, `-`, a space or a digit) make a view, what is left over makes the view
    "rest". Constant columns, ids and labels belong to no view.

    >>> head = pa.table({"lab_a": [1.5], "lab_b": [2.0], "v1": [0.5], "v2": [0.1], "patient_id": [7]})
    >>> propose(head, ["ecg"], [*head.column_names, "ecg"])
    {'lab': 'lab_*', 'v': 'v*', 'ecg': 'ecg'}
    """
    numbers = [name for name in head.column_names if not set_aside(name) and _can_be_said(name, names)]
    groups = _by_beginning(numbers, others=len(vectors))
    grouped = {name for columns in groups.values() for name in columns}
    rest = [name for name in numbers if name not in grouped and _describes(as_float32(head.column(name)))]
    patterns = [(beginning, _pattern(beginning, columns, names)) for beginning, columns in groups.items()]
    patterns += [(name, _exactly(name)) for name in vectors if not set_aside(name) and _can_be_said(name, names)]
    if len(rest) >= 2:
        patterns.append(("rest", ",".join(_exactly(name) for name in rest)))
    proposal: dict[str, str] = {}
    for wish, pattern in patterns:
        proposal[_view_name(wish, proposal)] = pattern
    return proposal


def as_options(views: Views) -> str:
    """Write views as options of the command line.

    >>> print(as_options({"labs": "lab_*", "ecg": ["a", "b"]}))
    view.labs='lab_*' view.ecg=a,b
    """
    joined = {name: value if isinstance(value, str) else ",".join(value) for name, value in views.items()}
    return " ".join(f"view.{name}={shlex.quote(patterns)}" for name, patterns in joined.items())


def _matches(piece: str, view: str, names: Sequence[str], source: str, aside: Sequence[str]) -> list[str]:
    if piece in aside:
        raise UserError(f'{source}: column "{piece}" of view "{view}" is the id or group column; leave it out')
    found = [piece] if piece in names else [n for n in names if fnmatchcase(n, piece) and n not in aside]
    if not found:
        raise UserError(f'{source}: "{piece}" of view "{view}" matches no column; {_near(piece, names)}')
    return found


def _near(wanted: str, names: Sequence[str]) -> str:
    near = difflib.get_close_matches(wanted.strip("*?"), names, n=5, cutoff=0.4) or list(names[:5])
    return f"nearest columns: {', '.join(near)}"


def _words(name: str) -> list[re.Match[str]]:
    return list(re.finditer(r"[^_.\-\s\d]+", name))


def set_aside(name: str) -> bool:
    """Whether a column's name says that it is an id, a label or the like."""
    words = _words(name)
    return name == "y" or (bool(words) and ASIDE.fullmatch(words[-1].group().lower()) is not None)


def _by_beginning(names: Sequence[str], others: int) -> dict[str, list[str]]:
    """Groups of at least two names that begin alike; by more words while one word leaves a single view."""
    groups: dict[str, list[str]] = {}
    for depth in (1, 2, 3):
        together: dict[str, list[str]] = {}
        for name in names:
            if words := _words(name):
                together.setdefault(name[: words[:depth][-1].end()], []).append(name)
        deeper = {beginning: columns for beginning, columns in together.items() if len(columns) > 1}
        groups = groups if groups and len(deeper) < 2 else deeper
        if len(groups) + others >= 2:
            break
    return groups


def _describes(values: np.ndarray) -> bool:
    """Whether a column looks like a measurement, rather than constant, an id or a label."""
    known = values[~np.isnan(values)]
    distinct = len(np.unique(known))
    if distinct < 2 or not (known == np.floor(known)).all():
        return distinct > 1
    counts = len(known) > 2 and bool((known[1:] > known[:-1]).all())
    looks_like_id = counts or (distinct == len(known) >= 100)
    looks_like_label = distinct <= max(2, min(20, len(known) // 10))
    return not (looks_like_id or looks_like_label)


def _pattern(beginning: str, columns: Sequence[str], names: Sequence[str]) -> str:
    """The shortest pattern that means exactly these columns."""
    plain = beginning == beginning.strip() and not set(beginning) & set("*?[,")
    for separator in ("_", ".", "-", " ", ""):
        pattern = f"{beginning}{separator}*"
        if plain and [name for name in names if fnmatchcase(name, pattern)] == list(columns):
            return pattern
    return ",".join(_exactly(name) for name in columns)


def _exactly(name: str) -> str:
    """Commas and outer spaces mean something between patterns; any one character stands for them."""
    inner = name.strip()
    margin = len(name) - len(name.lstrip())
    return "?" * margin + inner.replace(",", "?") + "?" * (len(name) - margin - len(inner))


def _can_be_said(name: str, names: Sequence[str]) -> bool:
    """Whether a pattern can mean this column and no other."""
    pattern = _exactly(name)
    return bool(name.strip()) and (pattern == name or [n for n in names if fnmatchcase(n, pattern)] == [name])


def _view_name(wish: str, taken: Mapping[str, str]) -> str:
    name = re.sub(r"[^A-Za-z0-9]+", "_", wish).strip("_")
    name = name if NAME.fullmatch(name) else f"view_{name}".rstrip("_")
    number = 2
    unique = name
    while unique in taken:
        unique, number = f"{name}_{number}", number + 1
    return unique
