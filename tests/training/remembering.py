"""A tiny contrast method with a queue, a momentum encoder and chunks, and what ranks and processes do with it."""

import hashlib
import sys
import time
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize
from torch.nn.parallel import DistributedDataParallel

from counterpoint import catalog
from counterpoint.objectives import Embeddings, Ids, info_nce, log_mass, rank, world
from counterpoint.training import Batch, Clock, Method, Phase, Run, SGDConfig, Trainer
from counterpoint.training.chunks import in_chunks
from counterpoint.training.memory import Momentum, Neighbours, Queue
from counterpoint.training.samplers import hard_negatives, in_order
from training.toys import judge

ROW = catalog.Row("remembering", "training.remembering:Remembering", "toys", "training.toys:Points", "none", "baseline")


class Rows:
    """Two noisy views of hidden numbers."""

    def __init__(self, n: int = 20) -> None:
        generator = torch.Generator().manual_seed(3)
        self.x = torch.randn(n, 3, generator=generator)
        self.y = self.x + 0.3 * torch.randn(n, 3, generator=generator)

    def __len__(self) -> int:
        return len(self.x)

    def fingerprint(self) -> str:
        return hashlib.blake2b(self.x.numpy().tobytes()).hexdigest()[:16]


class Remembering(Method):
    """Search for near rows, then MoCo steps on batches made of them."""

    class Config(SGDConfig):
        """Options of the toy."""

        chunk: int = 3
        dropout: float = 0.2
        size: int = 10
        epochs: int = 2
        batch_size: int = 8

    Data = Rows
    judge = staticmethod(judge)
    options: Config

    def measure(self, data: Rows) -> dict[str, Any]:
        return {"rows": len(data)}

    def build(self, facts: dict[str, Any]) -> None:
        with self.seeded("net"):
            self.net = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Dropout(self.options.dropout), nn.Linear(8, 4))
        self.slow = Momentum(self.net, decay=0.9)
        self.queue = Queue(self.options.size, 4)
        self.near = Neighbours(facts["rows"], 4, k=3)

    def batch(self, data: Rows, rows: Tensor, generator: torch.Generator) -> Batch:
        return Batch(Ids(row=rows, positive=rows), {"x": data.x[rows], "y": data.y[rows]})

    def losses(self, batch: Batch, clock: Clock) -> dict[str, Tensor]:
        queries = Embeddings(normalize(in_chunks(self.net, batch.views["x"], self.options.chunk)), batch.ids)
        keys = Embeddings(normalize(self.slow(batch.views["y"])), batch.ids)
        old = log_mass(queries, self.queue.keys(), temperature=0.2, itself="excluded", over="negatives")
        batch.context["keys"] = keys
        return {"nce": info_nce(queries, keys, temperature=0.2, also=[old]).mean()}

    def after(self, batch: Batch, clock: Clock) -> None:
        self.queue.push(batch.context["keys"])
        self.slow.update_()

    def phases(self, data: Rows) -> list[Phase]:
        def plan(generator: torch.Generator) -> list[Tensor]:
            return hard_negatives(self.near.index, self.options.batch_size, generator)

        def search(number: int) -> Phase:
            return self.phase(f"search {number}", data, visit=self._search, plan=lambda generator: in_order(20, 7))

        def train(number: int) -> Phase:
            return self.phase(f"train {number}", data, plan=plan)

        return [search(0), train(0), search(1), train(1)]

    def _search(self, batch: Batch, clock: Clock) -> None:
        self.near.put(Embeddings(self.net(batch.views["x"]), batch.ids))
        if clock.step == clock.steps - 1:
            self.near.search_()


def enter_catalog() -> None:
    """For processes of their own."""
    catalog.OWN = (*catalog.OWN, ROW)


def trained(size: int) -> dict[str, Tensor]:
    """All state after a fit whose batches have `size` rows, without dropout, in float64."""
    method = Remembering(dropout=0.0, batch_size=size).fit(Rows(), trainer=Trainer(precision="64-true", progress=False))
    return {name: value.detach() for name, value in method.state_dict().items()}


def pushed(lengths: tuple[int, int], size: int) -> dict[str, Tensor]:
    """A queue after two pushes of these shards."""
    queue = Queue(size, 2, exclude=1)
    for push in range(2):
        n = sum(lengths)
        row = torch.arange(n) + 100 * push
        vectors = torch.stack([row, -row], dim=1).float()
        first = sum(lengths[: rank()]) if world() > 1 else 0
        shard = slice(first, first + lengths[rank()]) if world() > 1 else slice(0, n)
        queue.push(Embeddings(vectors, Ids(row=row, positive=row // 2, exclude=row[:, None] % 3))[shard])
    return dict(queue.state_dict())


def distributed_gradients(chunk: int) -> list[Tensor]:
    """Gradients of a mean over 14 rows in chunks, under torch's own data parallel when there are ranks."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2)).double()
    module = DistributedDataParallel(net) if world() > 1 else net
    rows = torch.randn(14, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    views = [part.tensor_split(world())[rank()] for part in (rows, rows + 1)]
    found = [in_chunks(module, view, chunk) for view in views]
    (found[0] * found[1]).square().mean().backward()
    return [p.grad for p in net.parameters() if p.grad is not None]


def slowly(folder: str, pause: float) -> None:
    """Fit with a checkpoint after each step and a pause in each; for a process that is to be killed."""
    enter_catalog()
    descend = Remembering.losses

    def losses(self: Remembering, batch: Batch, clock: Clock) -> dict[str, Tensor]:
        time.sleep(pause)
        return descend(self, batch, clock)

    Remembering.losses = losses  # type: ignore[method-assign]
    Remembering(epochs=15).fit(Rows(), trainer=Trainer(run=Run(folder), save_every=1))
    sys.exit(0)
