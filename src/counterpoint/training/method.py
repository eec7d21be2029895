"""A published method: data -> facts -> network -> phases -> capability."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from counterpoint import catalog
from counterpoint.errors import UserError
from counterpoint.options import check
from counterpoint.training.clock import Clock, seeded
from counterpoint.training.config import MethodConfig, SGDConfig
from counterpoint.training.phase import Phase
from counterpoint.training.runs import Run
from counterpoint.training.samplers import shuffled
from counterpoint.training.trainer import Trainer

M = TypeVar("M", bound="Method")


class Method(nn.Module):
    """The base of every method; a subclass names its `Config`, `Data` and `judge` and fills in what follows.

    `measure` sizes the network from the data, `build` makes it from those facts alone (so that a run loads without
    data), `batch` makes views of rows, `losses` names the terms whose sum is minimised, `phases` orders the stages.
    """

    Config: ClassVar[type[MethodConfig]] = MethodConfig
    Data: ClassVar[type[Any]]
    judge: ClassVar[Callable[..., Any]]
    options: Any
    chunk: int = 0
    """Rows that encoders take at a time while training, set by the Trainer; 0: all."""

    def __init__(self, **options: Any) -> None:
        """Check and keep the options; nothing else. Raises `UserError` on a wrong one."""
        super().__init__()
        self.given = options
        self.options = check(options, type(self).Config)
        self.facts: dict[str, Any] = {}
        self.seed = 0
        self.notes: dict[str, float] = {}

    # What a subclass writes ------------------------------------------------------------------------------

    def measure(self, data: Any) -> dict[str, Any]:
        """JSON facts that size the network."""
        raise NotImplementedError(f"{type(self).__name__}.measure")

    def remarks(self, data: Any) -> Sequence[str]:
        """What a person should know of this method on these data before it is trained."""
        return ()

    def build(self, facts: dict[str, Any]) -> None:
        """The network, from the facts alone; every parameter and buffer is allocated here."""
        raise NotImplementedError(f"{type(self).__name__}.build")

    def plan(self, data: Any, generator: torch.Generator) -> Sequence[Int[Tensor, " _"]]:
        """Rows of each batch of an epoch: shuffled, `batch_size` at a time."""
        return shuffled(len(data), self.options.batch_size, generator)

    def batch(self, data: Any, rows: Int[Tensor, " n"], generator: torch.Generator) -> Any:
        """Views and ids of some rows, on the CPU, without calling the network."""
        raise NotImplementedError(f"{type(self).__name__}.batch")

    def losses(self, batch: Any, clock: Clock) -> dict[str, Float[Tensor, ""]]:
        """Named, weighted terms, each exact over ranks when gradients are averaged (`RowLoss.mean`)."""
        raise NotImplementedError(f"{type(self).__name__}.losses")

    def phases(self, data: Any) -> Sequence[Phase]:
        """One phase made of `plan`, `batch` and `losses`."""
        return [self.phase("fit", data)]

    def after(self, batch: Any, clock: Clock) -> None:
        """What follows an optimiser step: clamps, queues, momentum copies."""

    def tables(self) -> dict[str, list[dict[str, Any]]]:
        """Learned state that is not tensors, saved as JSON lines."""
        return {}

    def load_tables(self, tables: dict[str, list[dict[str, Any]]]) -> None:
        """Take back what `tables` gave."""

    def opened(self, folder: Path) -> None:
        """Hear which run folder it was loaded from, for what else lies there."""

    # What every method inherits --------------------------------------------------------------------------

    def phase(self, name: str, data: Any, **change: Any) -> Phase:
        """A phase over `data` from this method's own plan, batch, losses and options, with changes."""
        fields: dict[str, Any] = {
            "plan": lambda generator: self.plan(data, generator),
            "batch": lambda rows, generator: self.batch(data, rows, generator),
        }
        if "visit" not in change:
            fields |= {"losses": self.losses, "after": self.after}
        if isinstance(self.options, SGDConfig) and "visit" not in change:
            fields |= {"optim": self.options.optim, "epochs": self.options.epochs, "keep": self.options.keep}
        return Phase(name, **(fields | change))

    def prepare(self, facts: dict[str, Any], seed: int = 0) -> None:
        """Build the network from facts, as JSON would give them back; of an earlier network nothing is left."""
        self.facts = json.loads(json.dumps(facts))
        self.seed = seed
        for part in (self._modules, self._parameters, self._buffers):
            part.clear()
        self.build(self.facts)

    @contextmanager
    def seeded(self, part: str) -> Iterator[None]:
        """Initialise a named part from its own stream, so that arms with one seed start equal in what they share."""
        with seeded(self.seed, "build", part):
            yield

    def fit(self: M, data: Any, validation: Any = None, trainer: Trainer | None = None) -> M:
        """Learn from `data`; with `validation`, `judge` it after every epoch. Returns self, in eval mode.

        `trainer` says where and how to run (seed, device, precision, run folder); default `Trainer()`.
        """
        trainer = trainer or Trainer()
        self.prepare(self.measure(data), trainer.seed)
        phases = self.phases(data)
        for first in phases[:1]:
            first.rows_of(trainer.seed, 0)  # data that make no batch leave no run folder behind
        trainer.begin(self, data)
        metrics = None if validation is None else lambda: type(self).judge(self, validation).summary()
        trainer.fit(self, phases, metrics)
        self.to("cpu").eval()
        if trainer.run is not None:
            trainer.run.save(self)
        return self

    def note(self, **values: float | Tensor) -> None:
        """Values to watch (not to minimise); they go into metrics.jsonl with the step's losses."""
        detached = {n: v.detach() if isinstance(v, Tensor) else v for n, v in values.items()}
        self.notes |= {name: float(value) for name, value in detached.items()}

    @property
    def name(self) -> str:
        """This method's name in the catalog; raises `UserError` when it has none."""
        target = f"{type(self).__module__}:{type(self).__qualname__}"
        for row in catalog.rows().values():
            if row.target == target:
                return row.name
        raise UserError(f"{target} is in no catalog; add a row (CONTRIBUTING.md) before saving a run")

    def save(self, folder: str | Path) -> Path:
        """Write options, facts, weights and tables to a run folder that `counterpoint.load` reads."""
        self.require_fitted()
        run = Run(folder)
        run.begin(self, fingerprint=None, settings={"seed": self.seed})
        run.save(self)
        return run.folder

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """All options, those given exactly as given (scikit-learn compares them by identity)."""
        return {name: self.given.get(name, getattr(self.options, name)) for name in type(self).Config.model_fields}

    def set_params(self: M, **options: Any) -> M:
        """Change options before `fit`; raises `UserError` on a wrong one."""
        self.given = self.given | options
        self.options = check(self.given, type(self).Config)
        return self

    def require_fitted(self) -> None:
        """Raise `UserError` unless the network stands."""
        if not self.facts:
            raise UserError(f"this {type(self).__name__} is not fitted; call fit(...) or counterpoint.load(...)")
