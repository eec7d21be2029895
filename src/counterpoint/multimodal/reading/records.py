"""Records, as a program sends them, as a table: each gives some of a run's views."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from counterpoint.errors import UserError, nearest
from counterpoint.multimodal.kinds import KINDS
from counterpoint.multimodal.table import Table


def table_of_records(records: Sequence[Any], facts: Mapping[str, Any], source: str = "records") -> Table:
    """Records of the form {view: value} as rows of the views that any of them gives; each kind says what a value is.

    A view that is left out or null is absent from that row, a null in a list is a missing value. `facts` are those of
    the fitted method, `source` names the records in errors. Raises `UserError` naming the record and the view.
    """
    known: Mapping[str, Mapping[str, Any]] = facts["views"]
    for number, record in enumerate(records, start=1):
        _check(record, known, f"{source}: record {number}")
    given = [name for name in known if any(record.get(name) is not None for record in records)]
    views = {}
    for name in given:
        kind = KINDS[known[name].get("kind", "numbers")]
        values = [record.get(name) for record in records]
        views[name] = kind.of_records(name, values, partial(_where, source, name), known[name])
    return Table(views, {}, np.arange(len(records)), source)


def _where(source: str, view: str, row: int) -> str:
    return f'{source}: record {row + 1}, view "{view}"'


def _check(record: Any, known: Mapping[str, Any], where: str) -> None:
    """A record is a mapping of known views, with at least one of them."""
    if not isinstance(record, Mapping):
        kind = "text" if isinstance(record, str) else type(record).__name__
        forms = {name: KINDS[view.get("kind", "numbers")].form for name, view in known.items()}
        plain = all(view.get("kind", "numbers") in ("numbers", "vector") for view in known.values())
        wanted = "{view: numbers}" if plain else "{view: value}"
        shown = ", ".join(known if plain else (f"{name} ({form})" for name, form in forms.items()))
        raise UserError(f"{where} is {kind}, not an object of views: {wanted}; views: {shown}")
    for name in record:
        if name not in known:
            raise UserError(f'{where}: unknown view "{name}"; {nearest(str(name), known)}')
    if all(value is None for value in record.values()):
        raise UserError(f"{where} gives no view; give at least one of {', '.join(known)}")
