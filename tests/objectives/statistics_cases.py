"""The losses on statistics of the batch, for `processes`."""

from collections.abc import Callable

import torch
from torch import Tensor

from counterpoint.objectives import Embeddings, Ids, linear_contrast, mean_over_ranks, spectral_contrast
from counterpoint.objectives.regularisers import (
    alignment,
    barlow_twins,
    canonical,
    cosine,
    orthogonality,
    uniformity,
    vicreg,
)
from counterpoint.objectives.transport import sinkhorn, swav
from objectives.engine_cases import Rows, generator


def widened(rows: Rows) -> tuple[Tensor, Tensor]:
    """Two views with more dimensions than there are rows."""
    bends = torch.linspace(-2, 2, 8, dtype=torch.float64)
    return tuple(torch.cat([(view * bend).sin() for bend in bends], 1) for view in rows.views[:2])


def stored(seed: int) -> Tensor:
    return torch.randn(6, 4, generator=generator(seed), dtype=torch.float64)


def transported(r: Rows) -> Tensor:
    cost = 1 - r.views[0][:, :, None] * r.views[1][:, None, :]
    weight = r.views[2].softmax(1)
    return mean_over_ranks(sinkhorn(cost, epsilon=r.t, weight0=weight, iterations=10000, tolerance=1e-14).value)


OBJECTIVES: dict[str, Callable[[Rows], Tensor]] = {
    "alignment": lambda r: alignment(r.a, r.b, power=1.5).mean(),
    "uniformity, plain": lambda r: uniformity(r.views[0] * 1.3, t=1.5),
    "uniformity, ids": lambda r: uniformity(r.a),
    "uniformity, everywhere": lambda r: uniformity(Embeddings(r.table, r.queue.ids[:4], everywhere=True)),
    "barlow_twins": lambda r: barlow_twins(r.a, r.b, 0.3),
    "canonical": lambda r: canonical(r.a, r.b, 0.3),
    "canonical, wide": lambda r: canonical(*widened(r), 0.3),
    "barlow_twins, wide": lambda r: barlow_twins(*widened(r), 0.3),
    "vicreg": lambda r: vicreg(r.a, r.b),
    "vicreg, wide": lambda r: vicreg(*widened(r)),
    "cosine": lambda r: cosine(r.a, r.b).mean(),
    "linear_contrast": lambda r: linear_contrast(
        *(Embeddings(view, Ids(r.row, r.labels)) for view in r.views[:2])
    ).mean(),
    "spectral_contrast": lambda r: spectral_contrast(r.a, r.b).mean(),
    "orthogonality": lambda r: orthogonality(r.a, r.b),
    "orthogonality, wide": lambda r: orthogonality(*widened(r)),
    "swav": lambda r: swav(*(view @ r.table.T for view in r.views), temperature=r.t).mean(),
    "swav, queues": lambda r: swav(
        *(view @ r.table.T for view in r.views), temperature=r.t, assign=[0, 2], queues=[stored(1), stored(2)]
    ).mean(),
    "sinkhorn": transported,
}
