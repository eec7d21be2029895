"""Options from the command line: types, merging over defaults, and one clear line for every mistake."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, field_validator

from counterpoint.errors import UserError
from counterpoint.options import Option, check, describe, divide, nested, parse


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Group(Strict):
    lr_scale: float = Field(1.0, gt=0)


class Optim(Strict):
    lr: float = Field(1e-3, gt=0, le=1)
    betas: tuple[float, float] = (0.9, 0.999)
    clip: float | None = None
    groups: dict[str, Group] = {}


class Config(Strict):
    dim: int = Field(64, ge=1)
    temperature: float | Literal["learned"] = 0.1
    negatives: Literal["n", "n_squared", "pair"] = "n"
    power: Literal[1, 2] = 1
    symmetric: bool = True
    terms: tuple[str, ...] = ()
    names: str | tuple[str, ...] = ""
    optim: Optim = Optim(lr=0.01, betas=(0.9, 0.95), groups={"gate": Group(lr_scale=10)})

    @field_validator("dim")
    @classmethod
    def _even(cls, value: int) -> int:
        if value % 2:
            raise ValueError("must be even")
        return value


class Reader:
    @classmethod
    def read(
        cls, path: str, *, view: Mapping[str, str] | None = None, group: str | None = None, keep: tuple[str, ...] = ()
    ) -> "Reader":
        return cls()


@pytest.mark.parametrize(
    ("pair", "expected"),
    [
        ("dim=8", {"dim": 8}),
        ("temperature=0.5", {"temperature": 0.5}),
        ("temperature=learned", {"temperature": "learned"}),
        ("negatives=pair", {"negatives": "pair"}),
        ("power=2", {"power": 2}),
        ("symmetric=false", {"symmetric": False}),
        ("terms=id", {"terms": ("id",)}),
        ("terms=id,graph", {"terms": ("id", "graph")}),
        ("terms=", {"terms": ()}),
        ("names=a", {"names": "a"}),
        ("names=a,b", {"names": ("a", "b")}),
        ("optim.clip=none", {"optim": {"clip": None}}),
        ("optim.clip=1", {"optim": {"clip": 1.0}}),
        ("optim.betas=0.8,0.9", {"optim": {"betas": (0.8, 0.9)}}),
        ("optim.groups.gate.lr_scale=3", {"optim": {"groups": {"gate": {"lr_scale": 3.0}}}}),
    ],
)
def test_a_text_gets_its_fields_type(pair: str, expected: dict[str, Any]) -> None:
    assert parse(nested([pair]), Config) == expected


@pytest.mark.parametrize(
    ("pair", "line"),
    [
        ("temprature=1", 'unknown option "temprature"; did you mean "temperature"?'),
        ("optim.rate=1", 'unknown option "optim.rate"; (known: betas, clip, groups, lr)'),
        ("optim.groups.gate.lrscale=1", 'unknown option "optim.groups.gate.lrscale"; did you mean "lr_scale"?'),
        ("dim=big", 'option dim: "big" is not a whole number >= 1'),
        ("dim=0", 'option dim: "0" is not a whole number >= 1'),
        ("dim=3", "option dim: must be even"),
        ("optim.lr=2", 'option optim.lr: "2" is not a number > 0 and <= 1'),
        ("optim=fast", 'option optim: "fast" is not name=value pairs'),
        ("optim.clip=x", 'option optim.clip: "x" is not a number or none'),
        ("optim.betas=0.9,x", 'option optim.betas: "x" is not items with commas between'),
        ("negatives=pairs", 'option negatives: "pairs" is not one of n, n_squared, pair; did you mean "pair"?'),
        ("power=3", 'option power: "3" is not one of 1, 2'),
        ("symmetric=maybe", 'option symmetric: "maybe" is not true or false'),
        ("temperature=warm", 'option temperature: "warm" is not one of learned or a number'),
    ],
)
def test_a_mistake_is_one_line(pair: str, line: str) -> None:
    with pytest.raises(UserError) as caught:
        parse(nested([pair]), Config)
    assert str(caught.value).startswith(line)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("pairs", [["dim"], ["=3"], ["a..b=3"], ["dim=1", "dim=2"], ["optim=1", "optim.lr=2"]])
def test_what_is_no_option_is_refused(pairs: list[str]) -> None:
    with pytest.raises(UserError, match=r"key=value|twice|single value"):
        nested(pairs)


def test_nested_options_are_laid_over_the_methods_defaults() -> None:
    optim = check({"optim": {"betas": (0.5, 0.6)}}, Config).optim  # type: ignore[attr-defined]
    assert optim == Optim(lr=0.01, betas=(0.5, 0.6), groups={"gate": Group(lr_scale=10)})
    both = check({"optim": {"groups": {"head": {"lr_scale": 2}}}}, Config).optim.groups  # type: ignore[attr-defined]
    assert both == {"gate": Group(lr_scale=10), "head": Group(lr_scale=2)}
    assert check({"optim": Optim()}, Config).optim == Optim()  # type: ignore[attr-defined]


def test_options_go_to_the_reader_or_to_the_method() -> None:
    reading, fitting = divide(["view.labs=lab_*", "dim=8", "keep=age", "group=patient"], Reader, Config)
    assert reading == {"view": {"labs": "lab_*"}, "keep": ("age",), "group": "patient"}
    assert fitting == {"dim": 8}


def test_an_unknown_name_is_compared_with_both() -> None:
    with pytest.raises(UserError, match='unknown option "vew"; did you mean "view"'):
        divide(["vew.labs=lab_*"], Reader, Config)
    with pytest.raises(UserError, match='unknown option "dims"; did you mean "dim"'):
        divide(["dims=8"], Reader, Config)


def test_a_name_of_both_is_an_authors_mistake() -> None:
    class Clash(Strict):
        group: ClassVar[int] = 0
        view: str = ""

    with pytest.raises(TypeError, match="share options: view"):
        divide([], Reader, Clash)


def test_describe_shows_the_methods_own_defaults() -> None:
    shown = {option.name: option for option in describe(Config)}
    assert shown["optim.lr"] == Option("optim.lr", "a number > 0 and <= 1", "0.01", "")
    assert shown["negatives"].kind == "one of n, n_squared, pair"


@given(st.lists(st.text(max_size=12), max_size=4))
def test_no_text_makes_a_traceback(texts: list[str]) -> None:
    mistakes: list[str] = []
    for pairs in (texts, [f"{text}={text}" for text in texts], [f"dim={text}" for text in texts[:1]]):
        try:
            divide(pairs, Reader, Config)
        except UserError as error:
            mistakes.append(str(error))
    assert all(mistakes)
