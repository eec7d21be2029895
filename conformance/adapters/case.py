"""What a comparison is, and how a part of a library is loaded."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec, module_from_spec
from types import ModuleType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from counterpoint.objectives import Embeddings, Ids

Scalar = Callable[..., Tensor]
TWO = ((12, 8), (12, 8))
"""Two views of twelve rows."""


@dataclass(frozen=True)
class Case:
    """An objective of ours and one of a peer that must agree in value and gradient on random vectors."""

    peer: str
    what: str
    ours: Scalar
    theirs: Scalar
    shapes: Sequence[tuple[int, ...]] = TWO
    constant: tuple[int, ...] = ()
    """Positions of inputs whose gradients are not compared, because one side gives them none."""

    def __str__(self) -> str:
        return f"{self.peer}: {self.what}"

    def inputs(self, dtype: torch.dtype = torch.float64) -> list[Tensor]:
        """The same vectors at each call; a shape of () is a positive number, such as a scale."""
        generator = torch.Generator().manual_seed(3)
        drawn = [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in self.shapes]
        return [(x if x.dim() else x.exp()).to(dtype).requires_grad_() for x in drawn]

    def errors(self, dtype: torch.dtype = torch.float64) -> tuple[float, float]:
        """How far we are from the peer in value and in the gradients, relative to the size of each."""
        inputs = self.inputs(dtype)
        kept = [x for position, x in enumerate(inputs) if position not in self.constant]
        values = [self.ours(*inputs), self.theirs(*inputs)]
        gradients = [torch.cat([g.flatten() for g in torch.autograd.grad(value, kept)]) for value in values]
        return _apart(*values), _apart(*gradients)


@dataclass(frozen=True)
class Difference:
    """An objective of ours and one of a peer under the same name that do not mean the same."""

    peer: str
    what: str
    ours: Scalar
    theirs: Scalar
    why: str
    shapes: Sequence[tuple[int, ...]] = TWO

    def __str__(self) -> str:
        return f"{self.peer}: {self.what}"

    def values(self) -> tuple[str, str]:
        """What each makes of the same random vectors: a number, or the name of what it raises."""
        inputs = Case(self.peer, self.what, self.ours, self.theirs, self.shapes).inputs()
        return _said(self.ours, inputs), _said(self.theirs, inputs)


def _apart(a: Tensor, b: Tensor) -> float:
    return float(((a - b).norm() / b.norm().clamp(min=1e-3)).detach())


def _said(loss: Scalar, inputs: list[Tensor]) -> str:
    try:
        return f"{float(loss(*inputs).detach()):.4f}"
    except ImportError:
        raise
    except Exception as error:
        return type(error).__name__


def unit(*vectors: Tensor) -> list[Tensor]:
    """Vectors at length one: peers normalise inside, our functions do not."""
    return [F.normalize(vector, dim=-1) for vector in vectors]


def labelled(vectors: Tensor, labels: Tensor | None = None, first: int = 0) -> Embeddings:
    """Vectors as rows of their own, numbered from `first`, with their classes; without, they are nobody's positives."""
    row = torch.arange(first, first + len(vectors))
    return Embeddings(vectors, Ids(row, torch.full_like(row, -1) if labels is None else labels))


def part_of(name: str, *packages: str, without: Sequence[str] = ()) -> ModuleType:
    """A module of a library without running the `__init__` of its packages, which import what it does not need.

    `packages` are further ones that the module imports from, `without` names modules that are replaced by empty ones.
    Raises ImportError when the library is not installed.
    """
    for package in dict.fromkeys(step for path in (name.rpartition(".")[0], *packages) for step in _steps(path)):
        if package not in sys.modules:
            spec = find_spec(package)
            if spec is None:
                raise ImportError(f"{package} is not installed")
            sys.modules[package] = module_from_spec(spec)
    for empty in without:
        sys.modules.setdefault(empty, ModuleType(empty))
    return import_module(name)


def _steps(package: str) -> list[str]:
    """A package and those it is in, outermost first.

    >>> _steps("a.b.c")
    ['a', 'a.b', 'a.b.c']
    """
    names = package.split(".")
    return [".".join(names[: depth + 1]) for depth in range(len(names))]


def later(module: Callable[[], ModuleType], name: str, **options: Any) -> Scalar:
    """The peer's loss, made when it is called: listing cases imports no peer."""

    def loss(*inputs: Any) -> Tensor:
        found: Tensor = getattr(module(), name)(**options)(*inputs)
        return found

    return loss
