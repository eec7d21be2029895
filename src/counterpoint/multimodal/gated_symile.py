"""Gated Symile: Symile with a gate that switches untrustworthy views off, candidate by candidate."""

from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor

from counterpoint.errors import UserError
from counterpoint.multimodal import encoders
from counterpoint.multimodal.encoders import ViewsConfig
from counterpoint.multimodal.gate import Gate, Neutral, Seek
from counterpoint.multimodal.space import LearnedSpace
from counterpoint.multimodal.symile import product_scale
from counterpoint.multimodal.table import Table
from counterpoint.objectives import Embeddings, Relation, RowLoss, dense_nce, symile
from counterpoint.training import Batch, Clock, Encoded, Method, Optim
from counterpoint.training.optim import Group

MOST_VIEWS = 8  # the exact scores take 2^(views-1) matrix products


class Side(NamedTuple):
    """One view of the queries: vectors (neutral where absent), what it shows the gate, and which rows have it."""

    vectors: Float[Tensor, "n d"]
    keys: Float[Tensor, "n k"]
    present: Bool[Tensor, " n"]


class GatedSymile(LearnedSpace, Method):
    """Symile whose views are drawn towards a neutral direction where a candidate finds them untrustworthy.

    For target t and candidate j, `g_m = normalize((1 - alpha) e_m + alpha (w e_m + (1 - w) v_m))` takes the place of
    each other view's vector e_m, with the weight w of `gate.Gate`; the candidate itself is never gated. With `pair`
    negatives the row's own other views meet every candidate of the batch (`sampled=K` draws K of them with
    replacement, as the released code does); with `n` and `n_squared` each row is gated once, for its own target. An
    absent view is its neutral direction. `keep` early-stops on a validation metric; the authors use top-1 with
    patience 5.
    Source: arXiv 2604.05834 and its released code; the gate's learning rate x10 is our trial's (x1 barely moves it).

    >>> from counterpoint.multimodal.simulate import xnor
    >>> model = GatedSymile(dim=8, epochs=1, batch_size=64).fit(xnor(128, p=0.5, seed=0))
    >>> rows = xnor(4, p=0.5, seed=1)
    >>> model.retrieve(rows, target="A", given=["B", "C"], candidates=rows, k=2).ids.shape
    (4, 2)
    """

    class Config(ViewsConfig):
        """Options of Gated Symile, each a switch of the released code."""

        optim: Optim = Optim(
            name="schedule_free", lr=1e-3, betas=(0.9, 0.95), eps=1e-7, weight_decay=0.01, warmup=100, clip=1.0,
            groups={"gate": Group(lr_scale=10.0, weight_decay=0.0)},
        )  # fmt: skip
        gate: Literal["attention", "matrix"] = Field(
            "attention", description="candidate-conditioned, or one static table"
        )
        activation: Literal["sigmoid", "softmax"] = Field("sigmoid", description="how the gate's scores become weights")
        null: bool = Field(True, description="a NULL option that can take the weight from all views")
        neutral: Neutral = Field("trainable", description="what a distrusted view is drawn towards")
        gamma: float = Field(-3.0, description="initial logit of alpha, the share of the gated vector")
        gate_dim: int | None = Field(None, ge=1, description="numbers in the gate's queries and keys; none: as dim")
        negatives: Literal["pair", "n", "n_squared"] = Field("pair", description="which tuples are negatives")
        sampled: int = Field(0, ge=0, description="candidates drawn per row with replacement; 0 takes all of the batch")
        log_scale: float = Field(0.0, description="initial logarithm of the learned scale")

    options: Config

    def measure(self, data: Table) -> dict[str, Any]:
        """Width, scale and gaps of each view; raises `UserError` above 8 views."""
        if len(data.views) > MOST_VIEWS:
            raise UserError(
                f"{len(data.views)} views: gated-symile takes at most {MOST_VIEWS}; leave some out, or use clip"
            )
        return encoders.measure(self, data)

    def build(self, facts: dict[str, Any]) -> None:
        """One encoder per view, the gate and the scale."""
        o = self.options
        self.names = list(facts["views"])
        self._build_space(facts["views"])
        with self.seeded("gate"):
            self.gate = Gate(
                len(self.names), o.dim, o.gate_dim or o.dim, o.gate, o.activation, o.null, o.neutral, o.gamma
            )
        self.scale = product_scale(len(self.names), o.dim, o.log_scale)

    def losses(self, batch: Batch, clock: Clock) -> dict[str, Float[Tensor, ""]]:
        """One contrast per target view, each weighted 1/M, among the rows that have it."""
        encoded = self.encode(batch.views)
        sides = self._filled(encoded)
        terms = {}
        for target in self.names:
            rows = encoded.present[target]
            anchor = Embeddings(encoded.vectors[target], batch.ids)
            if rows.all():
                asked = sides
            else:
                anchor, asked = anchor[rows], [Side(*(part[rows] for part in side)) for side in sides]
            if self.options.negatives == "pair":
                loss = self._against_candidates(asked, target, anchor, clock)
            else:
                loss = self._against_tuples(asked, target, anchor, clock)
            terms[f"target {target}"] = loss.mean() / len(self.names)
        self.note(scale=self.scale.scale, alpha=self.gate.alpha)
        encoders.watch(self, encoded, batch, clock)
        return terms

    def _against_candidates(self, sides: list[Side], target: str, anchor: Embeddings, clock: Clock) -> RowLoss:
        """Each row's gated views against every candidate of the batch, on all ranks."""
        candidates = anchor.gathered()
        scores = self.scale.scale * self.gate.products(self._seek(sides, target, candidates.vectors))
        if self.options.sampled:
            draws = torch.randint(len(candidates) - 1, (len(anchor), self.options.sampled), generator=clock.rng(target))
            own = (candidates.ids.row[None] == anchor.ids.row[:, None]).int().argmax(dim=1, keepdim=True)
            draws = (draws + (draws >= own)).to(scores.device)
            count = torch.zeros_like(scores).scatter_add_(1, draws, torch.ones_like(draws, dtype=scores.dtype))
            scores = scores + count.scatter(1, own, 1.0).log()
        return dense_nce(scores, Relation(anchor.ids, candidates.ids))

    def _against_tuples(self, sides: list[Side], target: str, anchor: Embeddings, clock: Clock) -> RowLoss:
        """Each row gated for its own target; negatives are other rows' tuples."""
        gated = self.gate.own(self._seek(sides, target, anchor.vectors))
        views = [anchor, *(Embeddings(g, anchor.ids) for g in gated)]
        kind, generator = self.options.negatives, clock.shared_rng(f"negatives {target}")
        return symile(views, scale=self.scale.scale, negatives=kind, generator=generator, anchors=(0,))

    def scores(self, given: Encoded, target: str, candidates: Float[Tensor, "m d"]) -> Float[Tensor, "n m"]:
        """The gated product of the given views against each candidate; views not given are neutral."""
        return self.scale.scale * self.gate.products(self._seek(self._filled(given), target, candidates))

    def _filled(self, encoded: Encoded) -> list[Side]:
        """Every view of the run as the gate sees it; one that is not given or absent is its neutral direction."""
        sides, neutral = [], self.gate.neutral
        for m, name in enumerate(self.names):
            if name in encoded.vectors:
                vectors, present = encoded.vectors[name], encoded.present[name]
            else:
                vectors = neutral[m].expand(len(encoded), -1)
                present = torch.zeros(len(encoded), dtype=torch.bool, device=vectors.device)
            if not present.all():
                vectors = torch.where(present[:, None], vectors, neutral[m])
            sides.append(Side(vectors, self.gate.keys(m, vectors), present))
        return sides

    def _seek(self, sides: list[Side], target: str, candidates: Float[Tensor, "m d"]) -> Seek:
        t = self.names.index(target)
        others = [m for m in range(len(self.names)) if m != t]
        vectors, keys, present = zip(*(sides[m] for m in others), strict=True)
        return Seek(t, candidates, others, vectors, keys, present)

    @torch.no_grad()
    def gate_weights(self, encoded: Encoded, target: str) -> dict[str, Float[Tensor, " n"]]:
        """The gate's weight of each other view when each row looks for its own target; NaN where either is absent.

        They say what the gate does, which is trust only if it met untrustworthy views in training; `reliability`
        compares fits instead.
        """
        seek = self._seek(self._filled(encoded), target, encoded.vectors[target])
        lacking = ~encoded.present[target]
        return {
            self.names[m]: weight.expand(len(encoded), 1)[:, 0].masked_fill(lacking | ~present, torch.nan)
            for m, weight, present in zip(seek.others, self.gate.weights(seek, paired=True), seek.present, strict=True)
        }
