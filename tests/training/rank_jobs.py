"""What the two ranks are asked to do for the tests of the core."""

import signal
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from counterpoint.errors import UserError
from counterpoint.objectives.ranks import mean_over_ranks, rank
from counterpoint.training import Clock, Method, Optim, Phase, Run, Trainer
from counterpoint.training.samplers import in_order
from training import toys
from training.toys import Points, Toy, snapshot

SGD = Optim(name="adamw", lr=0.1, weight_decay=0.1)


class Branches(Method):
    """Two branches that take turns, and a norm whose statistics depend on the rows seen."""

    def build(self, facts: dict[str, Any]) -> None:
        with self.seeded("net"):
            self.net = nn.ModuleList([nn.Linear(3, 1), nn.Linear(3, 1)])

    def losses(self, batch: Points, clock: Clock) -> dict[str, Tensor]:
        used = int(torch.randint(2, (), generator=clock.shared_rng("branch")))
        rows = (self.net[used](batch.x) - batch.y).square()[:, 0]
        spoiled = float("nan") if self.facts.get("spoil") == f"loss {rank()} {clock.step}" else 1.0
        terms = {"error": spoiled * mean_over_ranks(rows)}
        if self.facts.get("spoil") == f"gradient {rank()} {clock.step}":
            terms["root"] = (0 * self.net[used].weight).square().sum().sqrt()
        elif "spoil" in self.facts:
            terms["root"] = 0 * self.net[used].weight.sum()
        return terms


def branches(size: int, **facts: Any) -> dict[str, Any]:
    """Weights after six steps of `size` rows with a loss that is exact over ranks."""
    method, data = Branches(), Points.made(3 * size)
    method.prepare(facts)
    phase = Phase(
        "fit",
        plan=lambda generator: in_order(len(data), size),
        batch=lambda rows, generator: Points(data.x[rows], data.y[rows]),
        losses=method.losses,
        optim=SGD,
        epochs=2,
    )
    Trainer(precision="64-true").fit(method, [phase])
    return {name: value.detach() for name, value in method.state_dict().items()}


class Lookup(Method):
    """A table of which sparse gradients are made in four steps of five, beside a layer."""

    def build(self, facts: dict[str, Any]) -> None:
        with self.seeded("net"):
            self.table = nn.Embedding(9, 1, sparse=True)
            self.net = nn.Linear(3, 1)

    def losses(self, batch: Points, clock: Clock) -> dict[str, Tensor]:
        rows = (7 * batch.x[:, 0].abs()).long() % 9
        vectors = self.table.weight[rows] if clock.step % 5 == 4 else self.table(rows)
        return {"error": mean_over_ranks((vectors + self.net(batch.x) - batch.y).square()[:, 0])}


def looked_up(size: int, clip: float | None) -> Tensor:
    """The table after ten steps of `size` rows, or one row in every other step."""
    method, data = Lookup(), Points.made(3 * size + 2)
    method.prepare({})
    phase = Phase(
        "fit",
        plan=lambda generator: [part for rows in in_order(len(data), size) for part in rows.split([1, len(rows) - 1])],
        batch=lambda rows, generator: Points(data.x[rows], data.y[rows]),
        losses=method.losses,
        optim=Optim(lr=0.1, clip=clip),
        epochs=2,
    )
    Trainer(precision="64-true", progress=False).fit(method, [phase])
    return method.table.weight.detach()


def spoiled(what: str) -> str:
    """What the user is told when one rank's numbers are not finite."""
    try:
        branches(4, spoil=what)
    except UserError as error:
        return str(error)
    return "nothing"


def toy(folder: str) -> dict[str, Any]:
    """Fit the toy; its buffers, and what lies in the folder."""
    toys.enter_catalog()
    method = Toy(dropout=0.0).fit(Points.made(), trainer=Trainer(run=Run(folder)))
    dist.barrier()
    return {"mean": method.net[1].running_mean, "lines": len(toys.events(Path(folder)))}


def stopped_on_one_rank(folder: str) -> dict[str, Any]:
    """Ctrl-C reaches the second rank only; both stop after the same step and go on to the same end."""
    toys.enter_catalog()
    seen: list[int] = []
    losses = Toy.losses

    def interrupted(self: Toy, batch: Points, clock: Clock) -> dict[str, Tensor]:
        if rank() == 1 and clock.step == 2 and not seen.count(2):
            signal.raise_signal(signal.SIGINT)
        seen.append(clock.step)
        return losses(self, batch, clock)

    Toy.losses = interrupted  # type: ignore[method-assign]
    try:
        Toy().fit(Points.made(), trainer=Trainer(run=Run(folder)))
        seen.append(-1)
    except KeyboardInterrupt:
        pass
    dist.barrier()
    seen_first, seen[:] = list(seen), [2]
    method = Toy().fit(Points.made(), trainer=Trainer(run=Run(folder, resume=True)))
    Toy.losses = losses  # type: ignore[method-assign]
    return {"first": seen_first, "then": seen[1:], "state": snapshot(method)}
