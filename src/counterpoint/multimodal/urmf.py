"""URMF: views fused by how certain each is of what it says, to predict a class."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from counterpoint.errors import UserError, nearest
from counterpoint.multimodal.fusion import INTERACTION, UNWEIGHTED, Fused, Fusion, FusionNetwork, Opinions, Order
from counterpoint.multimodal.kinds.kind import How
from counterpoint.multimodal.labels import assess_labels, classes_of, codes, label_column, labelled
from counterpoint.multimodal.table import Table
from counterpoint.multimodal.tokens import measure_tokens, token_front
from counterpoint.multimodal.views import batch_of, parts_of
from counterpoint.objectives import Embeddings, Ids, gather, gaussian_divergence, mean_over_ranks, nt_xent
from counterpoint.objectives.ranks import rank, sizes
from counterpoint.training import Batch, Clock, Method, Phase, Predictions, SGDConfig, in_chunks
from counterpoint.training.batch import to_device

ROWS = 1024
"""Rows fused at a time outside training."""
REFERENCES = 256
"""Training rows kept as a yardstick for reliability."""
MODULATED = 5
"""The epoch from which on gradients are modulated (EAU's code)."""


class URMF(Method):
    """A class predicted from several views, each weighted by the precision of its Gaussian posterior.

    The first view's tokens attend to those of the others, then to themselves; the result and each view alone give a
    Gaussian, and the classifier sees their precision-weighted mean. Rows without a label take part in all terms but
    the classifier's; an absent view counts as nothing.
    Source: arXiv 2604.06728, whose list of losses this is; the equations are a reconstruction, after its predecessor
    EAU with the defects of that code mended (docs/methods/urmf.md).

    >>> from counterpoint.multimodal.simulate.tokens import polarity
    >>> model = URMF(dim=16, epochs=1).fit(polarity(256, seed=0))
    >>> said = model.predict(polarity(4, seed=1))
    >>> list(said.weights), said.probabilities.shape
    (['text', 'image', 'interaction'], torch.Size([4, 2]))
    """

    class Config(SGDConfig):
        """Options of URMF; the terms' weights, `dim`, `hidden` and `temperature` are those of EAU's code."""

        epochs: int = Field(15, ge=1, description="passes over the rows")
        batch_size: int = Field(128, ge=2, description="rows per step")

        label: str = Field("label", description="the column to predict")
        only: tuple[str, ...] = Field((), description="views used; none named: all")
        words: Literal["learned", "static"] = Field(
            "learned", description="vectors of a text's words at the start: random, or WordLlama's; both learn"
        )
        dim: int = Field(128, ge=2, description="numbers in a token and in a latent")
        heads: int = Field(4, ge=1, description="heads of the attention; dim is a multiple of it")
        hidden: int = Field(64, ge=1, description="units of the classifier's hidden layer")
        dropout: float = Field(0.2, ge=0, lt=1, description="dropout in projections, attention and classifier")
        fusion: Fusion = Field(
            "precision",
            description="weights by precision, by exp(-variance), those and EAU's gate, or equal ones; latents side by "
            "side; or decisions weighted by their energy",
        )
        interaction: bool = Field(True, description="a latent of the views' attention to each other, beside their own")
        order: Order = Field("cross-self", description="attention to the other views first, or to the own tokens")
        task: float = Field(1.0, ge=0, description="weight of the classes' cross-entropy")
        bottleneck: float = Field(1e-3, ge=0, description="weight of the fused latent's bottleneck; 0: off")
        prior: float = Field(1e-3, ge=0, description="weight of each latent's divergence from N(0, I); 0: off")
        alignment: float = Field(1e-5, ge=0, description="weight of the divergence between views; 0: off")
        symmetric: bool = Field(False, description="divergence between views in both directions, averaged")
        contrast: float = Field(1e-3, ge=0, description="weight of the self-sampling contrast; 0: off")
        temperature: float = Field(0.5, gt=0, description="temperature of the self-sampling contrast")
        modulation: float = Field(
            0.0, ge=0, description="from epoch 5 on gradients of a view grow by this share of its variance; EAU's: 0.01"
        )

        @model_validator(mode="after")
        def _heads_divide(self) -> "URMF.Config":
            if self.dim % self.heads:
                raise ValueError(f"dim={self.dim} is no multiple of heads={self.heads}")
            return self

        @property
        def uncertain(self) -> bool:
            """Whether anything learns the variances."""
            return self.fusion not in UNWEIGHTED or any((self.bottleneck, self.prior, self.alignment, self.contrast))

    Data = Table
    judge, assess = staticmethod(labelled), staticmethod(assess_labels)
    options: Config

    # Training ---------------------------------------------------------------------------------------------

    def measure(self, data: Table) -> dict[str, Any]:
        """What sizes each view's way to tokens, and the classes.

        Raises `UserError` when the label column is absent or holds no classes, for a view called "interaction", or
        when `only` names a view that is not there.
        """
        if INTERACTION in data.views:
            raise UserError(f'{data.source}: a view may not be called "{INTERACTION}" here; give it another name')
        label = self.options.label
        for name in (used := self.options.only or tuple(data.views)):
            if name not in data.views:
                raise UserError(f"{data.source}: only={name}: there is no such view; {nearest(name, data.views)}")
        self._how = How(learns=True)
        static = self.options.words == "static"
        views = {name: measure_tokens(data.views[name], self._how, static) for name in data.views if name in used}
        return {"views": views, "label": label, "classes": classes_of(data, label)}

    def build(self, facts: dict[str, Any]) -> None:
        """The network, the classifier, and room for the yardstick of `reliability`."""
        o, fronts, how = self.options, {}, getattr(self, "_how", None)
        for name, view in facts["views"].items():
            with self.seeded(f"view {name}"):
                fronts[name] = token_front(view, o.dim, how.bases.pop(name, None) if how else None)
        self.network = FusionNetwork(self, facts["views"], fronts)

        def classifier() -> nn.Module:
            last = nn.Linear(o.hidden, len(facts["classes"]))
            return nn.Sequential(nn.Linear(o.dim, o.hidden), nn.ReLU(), nn.Dropout(o.dropout), last)

        if o.fusion == "energy":
            self.opinions = Opinions(self, self.network.latents, classifier)
        else:
            with self.seeded("classifier"):
                self.classifier = classifier()
        for name in facts["views"]:
            self.register_buffer(f"reference {name}", torch.full((REFERENCES,), torch.nan))

    def batch(self, data: Table, rows: Int[Tensor, " n"], generator: torch.Generator) -> Batch:
        """The views of some rows; `context` holds the numbers of their classes, -1 without one."""
        found = codes(label_column(data, self.facts["label"])[rows.numpy()], self.facts["classes"])
        used = replace(data, views={name: view for name, view in data.views.items() if name in self.facts["views"]})
        made = batch_of(used, rows, self.network.named_fronts, generator)
        made.context["classes"] = torch.from_numpy(found)
        return made

    def losses(self, batch: Batch, clock: Clock) -> dict[str, Float[Tensor, ""]]:
        """The terms whose weight is above 0: task, bottleneck, prior, alignment, contrast."""
        o = self.options
        self.network.modulation = o.modulation if self.training and clock.epoch >= MODULATED else 0.0
        fused: Fused = in_chunks(self.network, batch.views, self.chunk if self.training else 0)
        target, rows = batch.context["classes"], sizes(len(batch.ids))
        self._watch(fused)
        terms = {}
        if o.task:
            terms["task"] = o.task * self._task(fused, target)
        if o.bottleneck and o.fusion != "energy":  # which fuses decisions: there is no fused latent
            drawn = fused.result.sample(_noise(fused.result.mean, rows, clock, "fused"))
            kept = gaussian_divergence(fused.result).mean(_share(fused.known, drawn))
            terms["bottleneck"] = o.bottleneck * (kept + self._mistake(self.classifier(drawn), target, fused.known))
        if o.prior:
            each = [gaussian_divergence(q).mean(_share(fused.present[n], q.mean)) for n, q in fused.latents.items()]
            terms["prior"] = o.prior * torch.stack(each).sum()
        if o.alignment and len(self.facts["views"]) > 1:
            pairs = combinations(self.facts["views"], 2)
            terms["alignment"] = o.alignment * torch.stack([self._apart(fused, a, b) for a, b in pairs]).sum()
        if o.contrast:
            each = [self._against_itself(fused, name, batch.ids, rows, clock) for name in fused.latents]
            terms["contrast"] = o.contrast * torch.stack(each).sum()
        return terms

    def _task(self, fused: Fused, target: Int[Tensor, " n"]) -> Float[Tensor, ""]:
        """The mistakes of the decision, and of each latent's own where decisions are added up."""
        if self.options.fusion != "energy":
            return self._mistake(self.classifier(fused.result.mean), target, fused.known)
        said, sharp = self.opinions(fused.latents, fused.present)
        own = [self._mistake(one, target, fused.present[name]) for name, one in said.items()]
        return self._mistake(_together(said, sharp), target, fused.known) + torch.stack(own).sum()

    def _mistake(
        self, logits: Float[Tensor, "n c"], target: Int[Tensor, " n"], known: Bool[Tensor, " n"]
    ) -> Float[Tensor, ""]:
        """Mean cross-entropy over the rows that have a label and what is decided by."""
        value = cross_entropy(logits, target.clamp(min=0), reduction="none")
        return mean_over_ranks(value, _share((target >= 0) & known, value))

    def _apart(self, fused: Fused, one: str, other: str) -> Float[Tensor, ""]:
        """KL between two views' posteriors, over the rows that have both."""
        q, p = fused.latents[one], fused.latents[other]
        weight = _share(fused.present[one] & fused.present[other], q.mean)
        value = gaussian_divergence(q, p).mean(weight)
        return 0.5 * (value + gaussian_divergence(p, q).mean(weight)) if self.options.symmetric else value

    def _against_itself(
        self, fused: Fused, name: str, ids: Ids, rows: Sequence[int], clock: Clock
    ) -> Float[Tensor, ""]:
        """NT-Xent between two samples of a row's posterior, against those of the other rows (arXiv 2604.06728)."""
        latent, present = fused.latents[name], fused.present[name]
        draws = [latent.sample(_noise(latent.mean, rows, clock, f"{name} {draw}")) for draw in (0, 1)]
        sides = [Embeddings(normalize(draw, dim=1), ids) for draw in draws]
        if not present.all():
            sides = [side[present] for side in sides]
        return nt_xent(*sides, temperature=self.options.temperature).mean()

    def _watch(self, fused: Fused) -> None:
        """Note how much each latent counts and how uncertain it is."""
        with torch.no_grad():
            self.note(**{f"weight {n}": w[fused.known].mean().nan_to_num() for n, w in fused.weights.items()})
            if self.options.uncertain:
                self.note(**{f"variance {n}": v.nanmean().nan_to_num() for n, v in _variances(fused).items()})

    def phases(self, data: Table) -> list[Phase]:
        """Training, then a pass that keeps the variances of some training rows as a yardstick for reliability."""

        def visit(batch: Batch, clock: Clock) -> None:
            found = _variances(self.network(batch.views))
            for name in self.facts["views"]:
                buffer, values = getattr(self, f"reference {name}"), gather(found[name])
                buffer.fill_(torch.nan)
                buffer[: len(values)] = values

        def plan(generator: torch.Generator) -> list[Tensor]:
            return [torch.randperm(len(data), generator=generator)[:REFERENCES]]

        return [self.phase("fit", data), self.phase("reference", data, plan=plan, visit=visit)]

    # Use --------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def predict(self, table: Table) -> Predictions:
        """The class of each row, how likely each is, how much each view counted and how uncertain it is.

        Weights and variances are means over dimensions; "interaction" stands beside the views. A view that the table
        lacks is absent in every row. Raises `UserError` when it has none of the run's views, or one of another kind.
        """
        parts = [self._said(fused) for fused in self._fused(table)]
        joined = {
            part: {name: torch.cat([getattr(one, part)[name] for one in parts]) for name in getattr(parts[0], part)}
            for part in ("weights", "variances")
        }
        chances = torch.cat([one.probabilities for one in parts if one.probabilities is not None])
        return Predictions.of_classes(self.facts["classes"], chances, **joined)

    @torch.no_grad()
    def embed(self, table: Table) -> Float[Tensor, "n d"]:
        """The fused latent's mean, divided by its length; zero for a row without any view."""
        vectors: Tensor = torch.cat([normalize(f.result.mean, dim=1) * f.known[:, None] for f in self._fused(table)])
        return vectors

    def reliability(self, table: Table) -> dict[str, Float[Tensor, " n"]]:
        """How far each view of each row can be trusted, from 0 to 1; NaN where that cannot be said.

        It is the share of training rows (a fixed sample of at most 256) whose view is trusted less: here, whose
        variance is larger. A view like those of training scores 0.5 on average, one that says little near 0.
        """
        found = self.predict(table).variances
        trust = {}
        for name in self.facts["views"]:
            reference = getattr(self, f"reference {name}")
            reference = reference[reference.isfinite()]
            own = found[name][:, None] if found else torch.full((len(table), 1), torch.nan)
            share = (reference > own).double().mean(dim=1) + 0.5 * (reference == own).double().mean(dim=1)
            trust[name] = share.masked_fill(own.isnan()[:, 0], torch.nan).float()
        return trust

    def _fused(self, table: Table) -> list[Fused]:
        """All rows fused, some at a time."""
        self.require_fitted()
        if not any(name in table.views for name in self.facts["views"]):
            raise UserError(f"{table.source} has none of the run's views; it needs {', '.join(self.facts['views'])}")
        device = next(self.parameters()).device
        facts, fronts = self.facts["views"], self.network.named_fronts
        needed = [name for name in facts if name in table.views]
        return [self.network(to_device(part, device)) for part in parts_of(table, facts, needed, fronts, ROWS)]

    def _said(self, fused: Fused) -> Predictions:
        """What the method says of fused rows."""
        nothing = ~fused.known
        if self.options.fusion == "energy":
            said, sharp = self.opinions(fused.latents, fused.present)
            logits, total = _together(said, sharp), torch.stack([w.abs() for w in sharp.values()]).sum(dim=0)
            counted = {name: w.abs() / total for name, w in sharp.items()}
        else:
            logits, counted = self.classifier(fused.result.mean), {n: w.mean(dim=1) for n, w in fused.weights.items()}
        chances = logits.softmax(dim=1).masked_fill(nothing[:, None], torch.nan)
        weights = {name: w.masked_fill(nothing, torch.nan) for name, w in counted.items()}
        told = _variances(fused) if self.options.uncertain else {}
        return Predictions.of_classes(self.facts["classes"], chances, weights=weights, variances=told)


def _together(
    said: Mapping[str, Float[Tensor, "n c"]], sharp: Mapping[str, Float[Tensor, " n"]]
) -> Float[Tensor, "n c"]:
    """Logits added up by their weights."""
    return torch.stack([one * sharp[name][:, None] for name, one in said.items()]).sum(dim=0)


def _variances(fused: Fused) -> dict[str, Float[Tensor, " n"]]:
    """The mean variance of each latent over its dimensions; NaN where a row lacks it."""
    absent = {name: ~present for name, present in fused.present.items()}
    return {n: q.variance.mean(dim=1).masked_fill(absent[n], torch.nan) for n, q in fused.latents.items()}


def _share(rows: Tensor, like: Tensor) -> Float[Tensor, " n"]:
    """A mask as weights."""
    return rows.to(like.dtype)


def _noise(like: Float[Tensor, "n d"], rows: Sequence[int], clock: Clock, use: str) -> Float[Tensor, "n d"]:
    """Standard normal noise, the same for a row however the rows are shared out among ranks."""
    whole = torch.randn(sum(rows), like.shape[1], generator=clock.shared_rng(use), dtype=like.dtype)
    first = sum(rows[: rank()])
    return whole[first : first + len(like)].to(like.device)
