"""The engine's losses on a shard of 14 rows, for `processes`."""

from collections.abc import Callable
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from counterpoint.objectives import (
    Embeddings,
    Ids,
    Relation,
    against,
    attraction,
    clip,
    dense_nce,
    info_nce,
    log_mass,
    log_masses,
    mean_over_ranks,
    mine,
    nt_xent,
    soft_nce,
    softmax_over,
    sup_con,
    symile,
)
from counterpoint.objectives.infonce import moco, multiple_negatives
from counterpoint.objectives.sigmoid import siglip
from counterpoint.objectives.weighted import debiased, decoupled, hardness_weighted

SHARDS = [(5, 4, 5), (7, 7), (9, 5), (14, 0)]
N = 14


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Rows:
    """A shard: three encoded views, plain and with ids, and what surrounds them."""

    def __init__(self, shard: slice, parameters: dict[str, Tensor]) -> None:
        inputs = torch.randn(3, N, 6, generator=generator(0), dtype=torch.float64)[:, shard]
        self.views = [F.normalize(x @ parameters["encoder"]) for x in inputs]
        self.t = parameters["temperature"].exp()
        self.row = torch.arange(N)[shard]
        row = self.row * 3 + 1
        self.ids = Ids(row, row, exclude=torch.stack([row % 4, row % 5], 1), log_weight=(row % 3).double())
        self.a, self.b, self.c = (Embeddings(view, self.ids) for view in self.views)
        self.labels = self.row % 4
        self.teacher = torch.randn(N, 3, generator=generator(1), dtype=torch.float64)[shard]
        self.table = parameters["table"]
        old = torch.arange(4, 12)
        queue = F.normalize(torch.randn(8, 5, generator=generator(2), dtype=torch.float64))
        weight = torch.zeros(8, dtype=torch.float64)
        self.queue = Embeddings(
            queue, Ids(old, -old, torch.stack([old % 4, old % 5], 1), None, weight), everywhere=True
        )

    def dense(self) -> Tensor:
        keys = self.b.gathered()
        return dense_nce(self.a.vectors @ keys.vectors.T / self.t, Relation(self.ids, keys.ids)).mean()

    def missing(self) -> Tensor:
        has_a, has_b = self.row % 5 != 1, self.row % 4 != 2
        return info_nce(self.a[has_a], self.b[has_b], temperature=self.t, symmetric=True).mean()

    def hard(self) -> Tensor:
        """Hard negatives of every query, and some that are for one query each."""
        own = Ids(self.row + 100, self.row * 0 - 1, self.ids.exclude, within=(self.row * 5 % N) * 3 + 1)
        hard = self.views[2][self.row > 0], Embeddings(self.views[2], own)
        return multiple_negatives(self.a, self.b, *hard, temperature=self.t, symmetric=True).mean()

    def hardness_weighted(self) -> Tensor:
        left, right = (Embeddings(view, replace(self.ids, positive=self.labels)) for view in self.views[:2])
        return hardness_weighted(left, right, temperature=self.t, concentration=0.5, prior=0.05).mean()

    def symile(self, negatives: str) -> Tensor:
        return symile(self.views, scale=1 / self.t, negatives=negatives, generator=generator(3)).mean()


OBJECTIVES: dict[str, Callable[[Rows], Tensor]] = {
    "info_nce, plain": lambda r: info_nce(r.views[0], r.views[1], temperature=r.t).mean(),
    "info_nce, ids": lambda r: info_nce(r.a, r.b, temperature=r.t).mean(),
    "clip, plain": lambda r: clip(r.views[0], r.views[1], r.t).mean(),
    "clip, ids": lambda r: clip(r.a, r.b, r.t).mean(),
    "nt_xent, plain": lambda r: nt_xent(r.views[0], r.views[1], temperature=r.t).mean(),
    "nt_xent, ids": lambda r: nt_xent(r.a, r.b, temperature=r.t).mean(),
    "sup_con": lambda r: sup_con(r.views[0], r.labels, temperature=r.t).mean(),
    "sup_con, inside": lambda r: sup_con(r.views[0], r.labels, temperature=r.t, positives="inside").mean(),
    "multiple_negatives": Rows.hard,
    "moco": lambda r: moco(r.a, r.b, r.queue, temperature=r.t).mean(),
    "debiased": lambda r: debiased(r.views[0], r.views[1], temperature=r.t, prior=0.05).mean(),
    "hardness_weighted": Rows.hardness_weighted,
    "decoupled": lambda r: decoupled(r.views[0], r.views[1], temperature=r.t).mean(),
    "decoupled, sigma": lambda r: decoupled(r.a, r.b, temperature=r.t, sigma=0.5).mean(),
    "siglip, plain": lambda r: siglip(r.views[0], r.views[1], scale=1 / r.t, bias=r.t - 2).mean(),
    "siglip, ids": lambda r: siglip(r.a, r.b, scale=1 / r.t, bias=-2.0).mean(),
    "queue": lambda r: info_nce(
        r.a,
        r.b,
        temperature=r.t,
        also=[log_mass(r.a, r.queue, temperature=r.t), mine(r.a, r.c, 3, temperature=r.t)],
    ).mean(),
    "log_masses": lambda r: sum(mean_over_ranks(mass) for mass in log_masses(r.a, r.b, temperature=r.t)),
    "attraction": lambda r: mean_over_ranks(attraction(r.a, r.b, temperature=r.t)[0]),
    "against": lambda r: against(
        attraction(r.a, r.b, temperature=r.t)[0], log_mass(r.a, r.c, temperature=r.t, over="negatives")
    ).mean(),
    "soft_nce": lambda r: soft_nce(
        r.views[0], r.views[1], r.teacher, r.teacher, temperature=r.t, teacher_temperature=0.5
    ).mean(),
    "softmax_over": lambda r: softmax_over(r.views[0], r.table, r.labels, temperature=r.t).mean(),
    "dense_nce": Rows.dense,
    "missing modality": Rows.missing,
    "weighted mean": lambda r: info_nce(r.a, r.b, temperature=r.t).mean((r.row + 1.0).double()),
    "symile n": lambda r: r.symile("n"),
    "symile n_squared": lambda r: r.symile("n_squared"),
    "symile pair": lambda r: r.symile("pair"),
}
