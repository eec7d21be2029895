"""What a fitted method of this wing is used for: vectors, retrieval from any subset of views, reliability.

Every method here has `encode(views) -> Encoded` and `scores(given, target, candidates)`; the functions below become its
methods by assignment in its class.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import normalize

from counterpoint.errors import UserError, nearest
from counterpoint.multimodal.encoders import paced
from counterpoint.multimodal.table import Table
from counterpoint.multimodal.views import batch_of, of_all_ranks, parts_of
from counterpoint.training import Clock, Encoded, Phase

ROWS = 4096  # rows encoded at a time
SCORES = 2**22  # scores made at a time
STEPS = 2000  # steps of a fit whose epochs are not given
REFERENCES = 256  # training rows kept as a yardstick for reliability


@dataclass(frozen=True)
class TopK:
    """The k best candidates of each query, best first: their ids, scores and row numbers among the candidates."""

    ids: np.ndarray
    scores: Float[Tensor, "n k"]
    index: Int[Tensor, "n k"]


@torch.no_grad()
def embed_views(self: Any, table: Table, views: Sequence[str] | None = None) -> Encoded:
    """Unit vectors of each view (default: all of the run) and which rows have it.

    Raises `UserError` when the table lacks a view, or it is of another kind or width than the run's.
    """
    self.require_fitted()
    names = list(views or self.facts["views"])
    device = next(self.buffers()).device
    tensors = parts_of(table, self.facts["views"], names, self.fronts, ROWS)
    parts = [self.encode({n: t.to(device) for n, t in part.items()}) for part in tensors]
    return Encoded(
        {n: torch.cat([part.vectors[n] for part in parts]) for n in names},
        {n: torch.cat([part.present[n] for part in parts]) for n in names},
    )


def embed(self: Any, table: Table) -> Float[Tensor, "n d"]:
    """One vector per row: the normalised mean of the views it has (zero for a row with none)."""
    self.require_fitted()
    vectors: Tensor = self.joint(
        embed_views(self, table, [name for name in self.facts["views"] if name in table.views])
    )
    return vectors


def joint(self: Any, encoded: Encoded) -> Float[Tensor, "n d"]:
    """The normalised mean of the views that are present."""
    total = sum(encoded.vectors[n] * encoded.present[n][:, None] for n in encoded.vectors)
    assert isinstance(total, Tensor)
    return normalize(total, dim=1)


@torch.no_grad()
def retrieve(
    self: Any, rows: Table, target: str, given: Sequence[str], candidates: Table | Encoded, k: int = 10,
    ids: np.ndarray | None = None,
) -> TopK:  # fmt: skip
    """The candidates whose `target` view best fits the `given` views of each row, best first.

    `candidates` are rows that have the target view, or vectors made before with `embed_views` (then with their `ids`).
    Raises `UserError` for an unknown view, a target among the given, or when no candidate has the target.
    """
    check_views(self, target, given)
    queries = embed_views(self, rows, given)
    pool = embed_views(self, candidates, [target]) if isinstance(candidates, Table) else candidates
    names = candidates.ids if isinstance(candidates, Table) else np.arange(len(pool)) if ids is None else ids
    index = pool.present[target].nonzero()[:, 0]
    if not len(index):
        raise UserError(f'no candidate has the view "{target}"')
    vectors = pool.vectors[target][index]
    best = [part.topk(min(k, len(index)), dim=1) for part in _scores_in_parts(self, queries, target, vectors)]
    found = index[torch.cat([part.indices for part in best])]
    return TopK(ids=names[found.numpy()], scores=torch.cat([part.values for part in best]), index=found)


def _scores_in_parts(self: Any, queries: Encoded, target: str, candidates: Float[Tensor, "m d"]) -> Any:
    """The score rows of all queries, some queries at a time so that memory stays bounded."""
    step = max(1, SCORES // len(candidates))
    for start in range(0, max(1, len(queries)), step):
        yield self.scores(queries.rows(slice(start, start + step)), target, candidates)


def check_views(self: Any, target: str, given: Sequence[str]) -> None:
    """Raise `UserError` unless target and given are different views of this run."""
    self.require_fitted()
    known = self.facts["views"]
    for name in (target, *given):
        if name not in known:
            raise UserError(f'unknown view "{name}"; {nearest(name, known)}')
    if not given or target in given:
        raise UserError(f'give at least one view other than the target "{target}"')


@torch.no_grad()
def reliability(self: Any, table: Table) -> dict[str, Float[Tensor, " n"]]:
    """How far each view of each row fits the row's other views, from 0 to 1; NaN where that cannot be said.

    It is the share of training rows (a fixed sample of at most 256) whose view would fit the row's other views worse
    than its own does. A view that carries information scores near 1, one from another row near 0.5 on average or lower.
    """
    encoded = embed_views(self, table)
    trust = {}
    for name in encoded.vectors:
        others = encoded.only([n for n in encoded.vectors if n != name])
        reference = getattr(self, f"reference {name}")
        reference = reference[reference.isfinite().all(dim=1)]
        own = own_scores(self, others, name, encoded.vectors[name])
        if len(reference):
            rivals = torch.cat(list(_scores_in_parts(self, others, name, reference)))
            share = (rivals < own[:, None]).float().mean(dim=1) + 0.5 * (rivals == own[:, None]).float().mean(dim=1)
        else:
            share = torch.full_like(own, torch.nan)
        known = encoded.present[name] & torch.stack(list(others.present.values())).any(dim=0)
        trust[name] = share.masked_fill(~known, torch.nan)
    return trust


def own_scores(self: Any, given: Encoded, target: str, candidates: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
    """The score of each row's own target; only the diagonals of small blocks are made and kept."""
    blocks = [slice(i, i + 64) for i in range(0, len(candidates), 64)]
    parts = [self.scores(given.rows(b), target, candidates[b]).diagonal() for b in blocks]
    return torch.cat(parts) if parts else candidates.new_zeros(0)


def allocate_references(self: Any, widths: dict[str, int]) -> None:
    """Buffers for the vectors of training rows that `reliability` compares with; NaN where a row lacks the view."""
    for name, width in widths.items():
        self.register_buffer(f"reference {name}", torch.full((REFERENCES, width), torch.nan))


def reference_phase(self: Any, table: Table) -> Phase:
    """A pass over a fixed random sample of training rows that fills the references."""

    def visit(batch: Any, clock: Clock) -> None:
        encoded = self.encode(of_all_ranks(batch).views)
        for name, vectors in encoded.vectors.items():
            buffer = getattr(self, f"reference {name}")
            buffer.fill_(torch.nan)
            buffer[: len(vectors)] = vectors.masked_fill(~encoded.present[name][:, None], torch.nan)

    def plan(generator: torch.Generator) -> list[Tensor]:
        return [torch.randperm(len(table), generator=generator)[:REFERENCES]]

    return Phase("reference", plan=plan, batch=lambda rows, generator: batch_of(table, rows, self.fronts), visit=visit)


def phases(self: Any, data: Table) -> list[Phase]:
    """Training, then a pass that keeps some training rows as a yardstick for reliability."""
    steps = max(1, len(data) // self.options.batch_size)
    epochs = self.options.epochs or min(200, max(5, -(-STEPS // steps)))
    return [self.phase("fit", data, epochs=epochs, optim=paced(self)), reference_phase(self, data)]
