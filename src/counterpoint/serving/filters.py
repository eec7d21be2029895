"""Which rows match: conditions on metadata columns.

A condition is a value (equal), a list (one of), None (missing) or a mapping of bounds (`{">=": 40, "<": 60}`); all must
hold. A missing value matches None alone.
"""

import operator
import re
from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool

from counterpoint.errors import UserError, nearest

BOUNDS = {">=": pc.greater_equal, "<=": pc.less_equal, ">": pc.greater, "<": pc.less}
_CONDITION = re.compile(r"([^<>=]+)(>=|<=|=|>|<)(.*)", re.DOTALL)


def parse(conditions: Sequence[str]) -> dict[str, Any]:
    """Conditions as a command line gives them; a comma separates the values of a list.

    Raises `UserError` for one that is not COLUMN, an operator and a value, or two that exclude each other's form.

    >>> parse(["site=oslo,bergen", "age>=40", "age<60"])
    {'site': ['oslo', 'bergen'], 'age': {'>=': '40', '<': '60'}}
    """
    found: dict[str, Any] = {}
    for text in conditions:
        match = _CONDITION.fullmatch(text)
        if match is None:
            raise UserError(f"--where {text}: write col=value, col=a,b, col>=value, col<=value, col>value or col<value")
        column, sign, value = (part.strip() for part in match.groups())
        if sign == "=":
            meant: Any = value.split(",") if "," in value else value
        else:
            meant = {sign: value}
        earlier = found.get(column)
        if isinstance(earlier, dict) and isinstance(meant, dict) and not earlier.keys() & meant.keys():
            found[column] = earlier | meant
        elif earlier is not None:
            raise UserError(f'--where {text}: there is another condition on "{column}"; write its values as a list')
        else:
            found[column] = meant
    return found


def matching(table: pa.Table, where: Mapping[str, Any]) -> Bool[np.ndarray, " n"]:
    """The rows of a table for which every condition holds.

    Raises `UserError` for an unknown column or a value that the column's type cannot hold.

    >>> matching(pa.table({"age": [30, 50, None]}), {"age": {">=": 40}}).tolist()
    [False, True, False]
    """
    masks = [_holds(column, table, wanted) for column, wanted in where.items()]
    return reduce(operator.and_, masks, np.ones(len(table), dtype=bool))


def _holds(name: str, table: pa.Table, wanted: Any) -> Bool[np.ndarray, " n"]:
    if name not in table.column_names:
        raise UserError(f'where: no metadata column "{name}"; {nearest(name, table.column_names)}')
    column = table[name]
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if wanted is None:
        found = pc.is_null(column)
    elif isinstance(wanted, Mapping):
        if unknown := [sign for sign in wanted if sign not in BOUNDS]:
            raise UserError(f'where "{name}": unknown bound "{unknown[0]}"; {nearest(str(unknown[0]), BOUNDS)}')
        bounds = [BOUNDS[sign](column, value_for(name, column.type, value)) for sign, value in wanted.items()]
        found = reduce(pc.and_, bounds) if bounds else pc.is_valid(column)
    elif isinstance(wanted, list | tuple | set | frozenset):
        values = [value_for(name, column.type, value) for value in wanted]
        known = [value.as_py() for value in values if value.type == column.type]  # a fraction equals no whole number
        found = pc.is_in(column, value_set=pa.array(known, column.type))
    else:
        found = pc.equal(column, value_for(name, column.type, wanted))
    return np.asarray(pc.fill_null(found, False).to_numpy(zero_copy_only=False), dtype=bool)


def value_for(name: str, kind: pa.DataType, value: Any) -> pa.Scalar:
    """A value to compare a column with: of its type, or a float beside whole numbers; text is read as a number."""
    fraction = pa.types.is_integer(kind) and not isinstance(value, int)
    for wanted in (kind, pa.float64()) if fraction else (kind,):
        try:
            scalar = pa.scalar(value)
            if value is not None and _is_text(kind) and not _is_text(scalar.type):
                break
            return scalar.cast(wanted)
        except (pa.ArrowException, OverflowError, TypeError):
            continue
    raise UserError(f'where "{name}": {str(value)[:40]!r} is no value of a column of {kind}')


def _is_text(kind: pa.DataType) -> bool:
    return any(test(kind) for test in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view))
