"""A pickled pandas data frame read as data: nothing that it names is imported, called or made."""

import lzma
import pickletools
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from counterpoint.errors import UserError

CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
}
TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
LITERALS = (
    "SHORT_BINUNICODE",
    "BINUNICODE",
    "BININT",
    "BININT1",
    "BININT2",
    "SHORT_BINBYTES",
    "BINBYTES",
    "BYTEARRAY8",
)
NUMBERS = ("f8", "i8", "i4", "f4", "b1")
MARK = object()


@dataclass
class Named:
    """What a pickle names or would make: a name, arguments, a state; here it stays a record of those."""

    name: str
    arguments: tuple[Any, ...] = ()
    state: Any = None
    entries: dict[Any, Any] = field(default_factory=dict)


def columns_of(path: Path) -> dict[str, Shaped[np.ndarray, " n"]]:
    """The columns of a data frame that was pickled and packed with lzma; numbers, truth values and texts.

    Raises `UserError` for a file that is not that.
    """
    try:
        frame = _plain(lzma.decompress(path.read_bytes()))
        blocks, axes = frame.state["_mgr"].arguments[:2]
        names = _values(axes[0].arguments[1]["data"])
        found = {}
        for block in blocks:
            values, place = _values(block.arguments[0]), block.arguments[1]
            numbers = range(*place.arguments) if place.name == "builtins.slice" else _values(place)
            for row, number in enumerate(numbers):
                found[str(names[number])] = values[row]
        return {str(name): found[str(name)] for name in names}
    except (OSError, lzma.LZMAError, ValueError, LookupError, AttributeError, TypeError) as error:
        raise UserError(f"{path}: holds no data frame as expected ({error})") from error


def _values(array: Named) -> np.ndarray:
    """The numbers or texts of an array."""
    if array.name.endswith("_frombuffer"):
        data, kind, shape, order = array.arguments
        if kind.arguments[0] not in NUMBERS:
            raise ValueError(f"numbers of type {kind.arguments[0]}")
        return np.frombuffer(data, dtype=kind.arguments[0]).reshape(shape, order=order)
    _, shape, kind, fortran, entries = array.state
    if kind.arguments[0] != "O8" or not all(isinstance(entry, str | int | float) for entry in entries):
        raise ValueError("entries that are no texts")
    return np.array(entries, dtype=object).reshape(shape, order="F" if fortran else "C")


def _plain(data: bytes) -> Any:
    """What a pickle describes, with `Named` for everything that it would call; protocol 4 and 5."""
    stack: list[Any] = []
    memo: list[Any] = []

    def since_mark() -> list[Any]:
        place = max(number for number, one in enumerate(stack) if one is MARK)
        taken = stack[place + 1 :]
        del stack[place:]
        return taken

    for operation, argument, _ in pickletools.genops(data):
        name = operation.name
        if name in ("PROTO", "FRAME", "STOP"):
            continue
        if name in LITERALS:
            stack.append(argument)
        elif name in CONSTANTS:
            stack.append(CONSTANTS[name]())
        elif name in TUPLES:
            stack[-TUPLES[name] :] = [tuple(stack[-TUPLES[name] :])]
        elif name == "MARK":
            stack.append(MARK)
        elif name == "TUPLE":
            stack.append(tuple(since_mark()))
        elif name == "MEMOIZE":
            memo.append(stack[-1])
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(memo[int(argument or 0)])
        elif name == "APPENDS":
            taken = since_mark()
            stack[-1].extend(taken)
        elif name == "STACK_GLOBAL":
            module, what = stack[-2:]
            stack[-2:] = [Named(f"{module}.{what}")]
        elif name in ("REDUCE", "NEWOBJ"):
            made, arguments = stack[-2:]
            stack[-2:] = [Named(made.name, arguments)]
        elif name == "BUILD":
            state = stack.pop()
            stack[-1].state = state
        elif name == "SETITEM":
            key, value = stack[-2:]
            del stack[-2:]
            _set(stack[-1], [key, value])
        elif name == "SETITEMS":
            pairs = since_mark()
            _set(stack[-1], pairs)
        else:
            raise ValueError(f"an operation that data do not need: {name}")
    return stack[-1]


def _set(target: Any, pairs: list[Any]) -> None:
    entries = target.entries if isinstance(target, Named) else target
    entries.update(zip(pairs[::2], pairs[1::2], strict=True))
