"""Options as a user writes them, `optim.groups.gate.lr_scale=10`, checked against a pydantic model.

Whatever is wrong is said in one line: the nearest valid name, the choices, or the range.
"""

import inspect
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin

from counterpoint.errors import UserError, nearest

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic.fields import FieldInfo
    from pydantic_core import ErrorDetails

KINDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
BOUNDS = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}


def nested(pairs: Sequence[str]) -> dict[str, Any]:
    """Turn `a.b=c` texts into a nested dictionary of texts.

    Raises `UserError` when a text has no `=`, or an option is given twice.

    >>> nested(["optim.lr=0.1", "optim.groups.gate.lr_scale=10", "dim=8"])
    {'optim': {'lr': '0.1', 'groups': {'gate': {'lr_scale': '10'}}}, 'dim': '8'}
    """
    tree: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        *path, leaf = name.split(".")
        if not equals or not all([*path, leaf]):
            raise UserError(f'"{pair}" is not an option; write key=value, such as epochs=20')
        branch: Any = tree
        for part in path:
            branch = branch.setdefault(part, {})
            if not isinstance(branch, dict):
                raise UserError(f"option {name}: {part} was given as a single value before")
        if leaf in branch:
            raise UserError(f"option {name} is given twice")
        branch[leaf] = value
    return tree


def parse(tree: Mapping[str, Any], model: "type[BaseModel]") -> dict[str, Any]:
    """Give the texts of a nested dictionary the types of a pydantic model's fields.

    Commas separate the items of a field that is a tuple, and `none` is None where the field allows it.
    Only what was given is returned. Raises `UserError` as `check` does.

    >>> import pydantic
    >>> class Config(pydantic.BaseModel, extra="forbid"):
    ...     dim: int = 64
    ...     terms: tuple[str, ...] = ()
    >>> parse(nested(["dim=8", "terms=id"]), Config)
    {'dim': 8, 'terms': ('id',)}
    """
    return _as_given(tree, check(_readable(tree, model), model).model_dump())


def check(values: Mapping[str, Any], model: "type[BaseModel]") -> "BaseModel":
    """Validate options against a pydantic model; nested ones are laid over the model's defaults, not in their place.

    Raises `UserError` with one line for the first option that is wrong.

    >>> import pydantic
    >>> class Config(pydantic.BaseModel, extra="forbid"):
    ...     temperature: float = pydantic.Field(default=0.1, gt=0)
    >>> check({"temprature": 1.0}, Config)
    Traceback (most recent call last):
    counterpoint.errors.UserError: unknown option "temprature"; did you mean "temperature"? (known: temperature)
    >>> check({"temperature": 0}, Config)
    Traceback (most recent call last):
    counterpoint.errors.UserError: option temperature: "0" is not a number > 0
    """
    from pydantic import ValidationError

    defaults = {name: field.get_default(call_default_factory=True) for name, field in model.model_fields.items()}
    laid = {name: _over(defaults.get(name), value) for name, value in values.items()}
    try:
        return model.model_validate(laid)
    except ValidationError as error:
        raise UserError(_line(error.errors(include_url=False)[0], model)) from None


def reader_model(reader: Any) -> "type[BaseModel]":
    """The options of a data class's `read(path, ...)` as a pydantic model, made from its signature."""
    from pydantic import ConfigDict, create_model

    parameters = list(inspect.signature(reader.read).parameters.values())[1:]
    fields: dict[str, Any] = {p.name: (p.annotation, p.default) for p in parameters}
    config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)
    return create_model(f"{reader.__name__}Options", __config__=config, **fields)


def divide(pairs: Sequence[str], reader: Any, config: "type[BaseModel]") -> tuple[dict[str, Any], dict[str, Any]]:
    """Part `key=value` texts into the options of the data's reader and those of the method, both typed and checked.

    A first text without `=` is the file that the reader's class says lies beside the data (`beside`), such as edges.
    Raises `UserError` for a name that neither knows, and `TypeError` when both know a name: one must be renamed.
    """
    if pairs and "=" not in pairs[0] and (beside := getattr(reader, "beside", None)):
        pairs = [f"{beside}={pairs[0]}", *pairs[1:]]
    of_reader = reader_model(reader)
    shared = sorted(of_reader.model_fields.keys() & config.model_fields.keys())
    if shared:
        raise TypeError(f"{config.__qualname__} and {reader.__name__}.read share options: {', '.join(shared)}")
    known = [*of_reader.model_fields, *config.model_fields]
    tree = nested(pairs)
    for name in tree:
        if name not in known:
            raise UserError(f'unknown option "{name}"; {nearest(name, known)}')
    reading = {name: value for name, value in tree.items() if name in of_reader.model_fields}
    fitting = {name: value for name, value in tree.items() if name in config.model_fields}
    return parse(reading, of_reader), parse(fitting, config)


def flat(tree: Mapping[str, Any], prefix: str = "", separator: str = ".") -> Iterator[tuple[str, Any]]:
    """Every value of nested mappings under its joined name.

    >>> list(flat({"optim": {"lr": 0.1}, "groups": {}}))
    [('optim.lr', 0.1), ('groups', {})]
    """
    for name, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from flat(value, f"{prefix}{name}{separator}", separator)
        else:
            yield prefix + name, value


@dataclass(frozen=True)
class Option:
    """One option as shown to a user."""

    name: str
    kind: str
    default: str
    about: str


def describe(model: "type[BaseModel]") -> Iterator[Option]:
    """Every option of a model, nested ones under their dotted names.

    >>> import pydantic
    >>> class Config(pydantic.BaseModel):
    ...     dim: int = pydantic.Field(default=64, ge=1, description="numbers in a vector")
    >>> list(describe(Config))
    [Option(name='dim', kind='a whole number >= 1', default='64', about='numbers in a vector')]
    """
    for name, field in model.model_fields.items():
        default = None if field.is_required() else field.get_default(call_default_factory=True)
        if _model(field.annotation) is None or default is None:
            shown = "" if field.is_required() else str(default)
            yield Option(name, _kind(field.annotation, field), shown, field.description or "")
            continue
        for inner in describe(type(default)):
            value = getattr(default, inner.name, inner.default)
            yield Option(f"{name}.{inner.name}", inner.kind, str(value), inner.about)


def _over(default: Any, value: Any) -> Any:
    """Nested values laid over the defaults of their place."""
    if not isinstance(value, Mapping):
        return value
    below = default if isinstance(default, Mapping) else dict(default or {})
    return {**below, **{name: _over(below.get(name), item) for name, item in value.items()}}


def _as_given(tree: Mapping[str, Any], dumped: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a dumped model that a user spoke of."""
    return {
        name: _as_given(value, dumped[name]) if isinstance(value, Mapping) else dumped[name]
        for name, value in tree.items()
    }


def _readable(value: Any, annotation: Any) -> Any:
    """What pydantic can read as the annotation: items of a tuple, choices that are not texts, None."""
    if isinstance(value, Mapping):
        return {name: _readable(item, _below(annotation, name)) for name, item in value.items()}
    kinds = _alternatives(annotation)
    if value.lower() == "none" and type(None) in kinds:
        return None
    choices = {str(choice): choice for choice in _choices(annotation)}
    if value in choices:
        return choices[value]
    if any(_is_sequence(kind) for kind in kinds) and (str not in kinds or "," in value):
        return [item.strip() for item in value.split(",") if item.strip()]
    return value


def _alternatives(annotation: Any) -> tuple[Any, ...]:
    """The members of a union, or the annotation alone."""
    return get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)


def _choices(annotation: Any) -> list[Any]:
    literals = [kind for kind in _alternatives(annotation) if get_origin(kind) is Literal]
    return [choice for literal in literals for choice in get_args(literal)]


def _is_sequence(kind: Any) -> bool:
    made = get_origin(kind) or kind
    return inspect.isclass(made) and issubclass(made, Sequence) and made is not str


def _model(annotation: Any) -> "type[BaseModel] | None":
    """The pydantic model among an annotation's alternatives."""
    from pydantic import BaseModel

    for kind in _alternatives(annotation):
        if inspect.isclass(kind) and issubclass(kind, BaseModel):
            return kind
    return None


def _below(annotation: Any, name: str) -> Any:
    """The annotation of one name inside a model or a mapping; None where there is no such place."""
    model = _model(annotation)
    if model is not None:
        return model.model_fields[name].annotation if name in model.model_fields else None
    for kind in _alternatives(annotation):
        made = get_origin(kind)
        if inspect.isclass(made) and issubclass(made, Mapping):
            return get_args(kind)[1]
    return None


def _kind(annotation: Any, field: "FieldInfo | None") -> str:
    """In words, what values are allowed."""
    choices = _choices(annotation)
    kinds = [kind for kind in _alternatives(annotation) if get_origin(kind) is not Literal and kind is not type(None)]
    words = [f"one of {', '.join(map(str, choices))}"] if choices else []
    for kind in kinds:
        words.append("items with commas between" if _is_sequence(kind) else KINDS.get(kind, "name=value pairs"))
    if type(None) in _alternatives(annotation):
        words.append("none")
    limits = [
        f"{sign} {getattr(bound, name)}"
        for bound in (field.metadata if field is not None else ())
        for name, sign in BOUNDS.items()
        if getattr(bound, name, None) is not None
    ]
    if limits:
        words[0] = f"{words[0]} {' and '.join(limits)}"
    return " or ".join(words)


def _line(problem: "ErrorDetails", model: "type[BaseModel]") -> str:
    """One line for one of pydantic's error records."""
    place: Any = model
    walked: list[str] = []
    field: FieldInfo | None = None
    for part in map(str, problem["loc"]):
        owner, below = _model(place), _below(place, part)
        if owner is not None:
            if part not in owner.model_fields:
                return f'unknown option "{".".join([*walked, part])}"; {nearest(part, owner.model_fields)}'
            field = owner.model_fields[part]
        elif below is None:
            break
        walked.append(part)
        place = below
    name = ".".join(walked)
    if problem["type"] in ("value_error", "assertion_error"):
        reason = problem["msg"].partition(", ")[2]
        return f"option {name}: {reason}" if name else reason
    if problem["type"] == "missing":
        return f"option {name} is needed: {_kind(place, field)}"
    choices = [str(choice) for choice in _choices(place)]
    close = f"; {nearest(str(problem['input']), choices)}" if choices else ""
    return f'option {name}: "{problem["input"]}" is not {_kind(place, field)}{close}'
