"""Every method there is, one row each; read without importing torch.

Third parties add rows through the entry-point group `counterpoint.methods`: each entry point's value is a `Row`
in a module that does not import torch.
"""

import json
from collections.abc import Iterable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from counterpoint.catalog import agents, graphs, multimodal, recommend, text
from counterpoint.catalog.row import Row as Row
from counterpoint.catalog.row import resolve as resolve
from counterpoint.errors import UserError, nearest

GROUP = "counterpoint.methods"
RESULTS = Path(__file__).parents[1] / "results"
"""The committed result of each claim, `<method>.json`; the claims board is generated from these files."""

OWN = (*multimodal.ROWS, *text.ROWS, *recommend.ROWS, *graphs.ROWS, *agents.ROWS)


def rows() -> dict[str, Row]:
    """All methods by name: our own, then third parties' in the order of their names.

    Raises `UserError` when an entry point cannot be loaded or takes a name that is in use.
    """
    found = {row.name: row for row in OWN}
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
        theirs = _third_party(entry)
        if theirs.name in found:
            raise UserError(f'{_package(entry)}: its method "{theirs.name}" has the name of another method')
        found[theirs.name] = theirs
    return found


def row(name: str, also: Iterable[str] = ()) -> Row:
    """The row of one method; raises `UserError` with the nearest name, or one of `also`, when there is none."""
    for own in OWN:
        if own.name == name:
            return own
    known = rows()
    if name not in known:
        raise UserError(f'unknown method "{name}"; {nearest(name, [*known, *also])}')
    return known[name]


def further_claims() -> dict[str, str]:
    """What methods claim beyond their first claim, by name; a claim is called what its constant is, in small letters.

    >>> further_claims()["symile-eight"]
    'counterpoint.multimodal.symile_claims:SYMILE_EIGHT'
    """
    stated = [claim for row in rows().values() for claim in row.further_claims]
    return {claim.rpartition(":")[2].lower().replace("_", "-"): claim for claim in stated}


def name_of(method: type) -> str:
    """The catalog name of a method's class; raises `UserError` when it has none."""
    for known in rows().values():
        if known.target.endswith(f":{method.__qualname__}") and known.load() is method:
            return known.name
    raise UserError(f"{method.__module__}:{method.__qualname__} is not in the catalog; see CONTRIBUTING.md for its row")


def latest_verdict(name: str) -> str | None:
    """What the committed run of a method's claim concluded (of its quick form, where there is no full run), or None.

    Raises `UserError` when the result file is damaged.
    """
    for path, note in ((RESULTS / f"{name}.json", ""), (RESULTS / f"{name}-quick.json", " (quick)")):
        if path.exists():
            try:
                return str(json.loads(path.read_text(encoding="utf-8"))["verdict"]) + note
            except (ValueError, KeyError, TypeError):
                raise UserError(f"{path}: not the result of a claim; restore it from the repository") from None
    return None


Entry = Any
"""An entry point: Python's own, or that of the back-port `importlib_metadata`, which takes over once imported."""


def _third_party(entry: Entry) -> Row:
    try:
        loaded = entry.load()
    except Exception as error:
        raise UserError(
            f'{_package(entry)}: its method "{entry.name}" cannot be loaded ({error}); mend or uninstall it'
        ) from error
    if not isinstance(loaded, Row):
        raise UserError(f'{_package(entry)}: its entry point "{entry.name}" is not a counterpoint.catalog.Row')
    return loaded


def _package(entry: Entry) -> str:
    return str(entry.value if entry.dist is None else entry.dist.name)
