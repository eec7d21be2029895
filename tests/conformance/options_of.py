"""What an option can be set to, derived from the Config's fields."""

import math
from collections.abc import Iterator, Mapping
from typing import Any, Literal, get_args, get_origin

import pytest
from pydantic import BaseModel

from counterpoint.training import Keep
from counterpoint.training.optim import Group

NEEDS: dict[str, dict[str, Any]] = {
    "optim.schedule": {"optim": {"name": "adamw", "warmup": 0}},
    "regulariser_weight": {"regulariser": "squared"},
    "symmetric_cross": {"crop": 0.5},
}
"""Options that only matter, or are only allowed, beside another."""


def paths(model: BaseModel, prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    """(dotted name, field, value) of every option, nested models opened."""
    for name, field in type(model).model_fields.items():
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            yield from paths(value, f"{prefix}{name}.")
        else:
            yield prefix + name, field, value


def others(path: str, field: Any, value: Any, part: str, metric: str) -> list[Any]:
    """Values other than the one an option has, all of a Literal's and otherwise a few to be tried in turn.

    `part` is a part of the network, `metric` a name that the judge measures.
    """
    annotation = field.annotation
    kinds = [annotation] if get_args(annotation) == () or get_origin(annotation) is Literal else get_args(annotation)
    if get_origin(annotation) is Literal:
        return [choice for choice in get_args(annotation) if choice != value]
    if annotation is bool:
        return [not value]
    if get_origin(annotation) is tuple:
        if get_args(annotation)[-1] is Ellipsis:
            return [value[:1], (type(value[0])(1),)]
        return [tuple(x / 2 if i == place else x for i, x in enumerate(value)) for place in range(len(value))]
    if Keep in kinds:
        return [{"metric": metric, "mode": mode} for mode in ("max", "min")]
    if get_origin(annotation) is dict and get_args(annotation)[1] is Group:
        return [{part: {"lr_scale": 3.0}}]
    for kind in (int, float):
        if kind in kinds:
            return _numbers(value, kind, field)
    pytest.fail(f"{path}: {annotation} has no other values here; add a case to tests/conformance/options_of.py")


def _numbers(value: float | None, kind: type, field: Any) -> list[Any]:
    """Numbers inside the field's range, from near ones to far ones."""
    low = max((getattr(m, n) for m in field.metadata for n in ("ge", "gt") if hasattr(m, n)), default=-math.inf)
    strict = any(hasattr(m, "gt") for m in field.metadata)
    high = min((getattr(m, n) for m in field.metadata for n in ("le", "lt") if hasattr(m, n)), default=math.inf)
    start = 0.01 if value is None else value
    tried = [start / 2, start + 3, 0.3, start * 1000, low + 1]
    found = [kind(x) for x in tried if math.isfinite(x)]
    return [x for x in found if x != value and x < high and (x > low if strict else x >= low)]


def nested(path: str, value: Any) -> dict[str, Any]:
    """{"a": {"b": value}} for "a.b"."""
    for part in reversed(path.split(".")):
        value = {part: value}
    return value


def merged(*trees: Mapping[str, Any]) -> dict[str, Any]:
    """Nested options, later ones over earlier ones."""
    result: dict[str, Any] = {}
    for tree in trees:
        for name, value in tree.items():
            old = result.get(name)
            both = isinstance(old, Mapping) and isinstance(value, Mapping)
            result[name] = merged(old, value) if both else value  # type: ignore[arg-type]
    return result


def texts(tree: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Options as they are typed on the command line."""
    found = []
    for name, value in tree.items():
        if isinstance(value, Mapping):
            found += texts(value, f"{prefix}{name}.")
        else:
            text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
            found.append(f"{prefix}{name}={text}")
    return found


def literals(config: type[BaseModel]) -> list[dict[str, Any]]:
    """Every value of every Literal of the Config itself, one at a time."""
    return [
        {name: choice}
        for name, field in config.model_fields.items()
        if get_origin(field.annotation) is Literal
        for choice in get_args(field.annotation)
    ]


def allowed(config: type[BaseModel], options: Mapping[str, Any]) -> dict[str, Any]:
    """Those of some options that a Config has."""
    return {name: value for name, value in options.items() if name in config.model_fields}
