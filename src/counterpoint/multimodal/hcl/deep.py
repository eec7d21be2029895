"""Hierarchical contrastive learning, deep: an encoder for every view and every set of views it may share with."""

from itertools import combinations, pairwise
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor
from torch.nn.functional import normalize

from counterpoint.multimodal import encoders, use
from counterpoint.multimodal.encoders import ViewsConfig
from counterpoint.multimodal.hcl import group_lasso
from counterpoint.multimodal.hcl.encoders import Head, Sharing, StructureEncoders, explained_share, head_name
from counterpoint.multimodal.hcl.explanation import column_names, explained
from counterpoint.multimodal.hcl.group_lasso import LassoConfig, targets_of
from counterpoint.multimodal.hcl.structures import Kind, Structures
from counterpoint.multimodal.space import REFERENCE, LearnedSpace, scaled
from counterpoint.multimodal.table import Table
from counterpoint.multimodal.views import batch_of, of_all_ranks
from counterpoint.objectives import Embeddings, RowLoss, linear_contrast, spectral_contrast, sum_over_ranks
from counterpoint.training import Batch, Clock, Encoded, Method, Phase
from counterpoint.training.optim import Group

EXPLAINED = 2048  # training rows at most that the explanation rests on
FEW = 16  # rows of a view below which it is not explained
SLOWER = 0.1  # learning rate of the encoders while fine-tuning, as a share (released code)


class HCL(LearnedSpace, Method):
    """For each structure (a set of views) the views in it are drawn together, and apart from other rows.

    `h_{m,k}`, the vector of view m in structure k, comes from the view's encoder and a head of its own; `f_m` holds
    those of a view side by side, zero where it has no part. With `contrast=linear`, the released code's, h has unit
    length and the loss is half the mean over i != j of `phi_ij` minus half the mean of `phi_ii`, `phi_ij` the product
    of the rows' sums of f over views, plus a regulariser. Its least is reached by a single direction per structure, the
    same in all (method page); so the default, `spectral`, is the spectral contrast between every two views and of each
    with itself: it adds the squares of negatives, which whitens f_m. A row's vector is, for each structure, the mean
    over the views it has. With `label=COLUMN` a group lasso over the structures predicts that column, or a network that
    learns with or after them (`supervision`).
    Source: arXiv 2604.05462, released code re-derived; one head per structure where the code has one per level.

    >>> from counterpoint.multimodal.simulate.hcl import hcl
    >>> model = HCL(rank=2, hidden=8, head=(8,), epochs=1).fit(hcl(256, widths=(6, 6), rank=1))
    >>> [part["name"] for part in model.explain()["structures"]], model.embed(hcl(3, widths=(6, 6), rank=1)).shape
    (['A + B', 'A', 'B'], torch.Size([3, 6]))
    """

    class Config(ViewsConfig, LassoConfig):
        """Options of HCL; heads, weights and the ways of supervision are the released code's."""

        dim: int = Field(256, ge=2, description="numbers that a view's encoder gives to its heads")
        rank: int = Field(5, ge=1, description="numbers of a view in one structure")
        head: tuple[int, ...] = Field((256, 128), description="units of a head's hidden layers")
        structures: Kind = Field("subsets", description="every subset of views, or one shared and the private ones")
        heads: Sharing = Field(
            "structure", description="one head per view and structure, or one per view and size of structure"
        )
        contrast: Literal["spectral", "linear"] = Field(
            "spectral", description="squares of negatives too, or unit vectors and no squares as the code has it"
        )
        regulariser: Literal["none", "squared", "released"] = Field(
            "none", description="squared products of a view's structures, or their sums as the code has them"
        )
        regulariser_weight: float = Field(1.0, ge=0, description="weight of the regulariser (lambda)")
        supervision: Literal["lasso", "joint", "finetune"] = Field(
            "lasso", description="a label is learned after, with, or after and with small steps of, the encoders"
        )
        contrast_weight: float = Field(1.0, ge=0, description="weight of the whole contrast beside a label's loss")

    options: Config
    after = Method.after  # there is no learned scale
    encoders: StructureEncoders
    predictor: Any
    agreement: Tensor
    recipe = f"""{scaled("encoders.towers.view_NAME.front")}
3. For each `encoders.towers.view_NAME.net.K.weight` in the order of K: W x + b, then ReLU after all but the last.
   Divide by the length (at least 1e-4).
4. For each structure that the view is in, the K-th in the order of the option `structures`, do the same with
   `encoders.heads.view_NAME_K` (`view_NAME_of_SIZE` with heads=level). With contrast=linear divide by the length (at
   least 1e-4) and by the square root of the number of structures of the view; by default leave it as it is.
5. The view's vector holds these side by side, zeros for structures without the view.

The joint vector has for each structure the mean over its views that are present, side by side, divided by the length
(at least 1e-12). Where structures were divided by a root, multiply by it first. {REFERENCE}"""

    def measure(self, data: Table) -> dict[str, Any]:
        """What the encoders and the label need to know; raises `UserError` for more views than there is room for."""
        structures = self._structures(list(data.views))
        o, heads = self.options, self._heads(structures)
        widths = [sum([*o.head, structures.ranks[k]]) for k in heads.values()]
        structures.require_room(16 * sum(self._sizes(structures)) + 8 * o.batch_size * sum(widths))
        facts = encoders.measure(self, data)
        return {**facts, "columns": column_names(data, facts["views"]), **group_lasso.label_facts(data, self.options)}

    def remarks(self, data: Table) -> list[str]:
        """How many structures, heads and parameters there are."""
        structures = self._structures(list(data.views))
        sizes = self._sizes(structures)
        said = f"{structures.words()}: {len(sizes)} heads of {sum(sizes):,} parameters on {len(data.views)} encoders"
        return [*encoders.remarks(self, data), said]

    def _heads(self, structures: Structures) -> dict[str, int]:
        """The heads by name, and the structure of each."""
        pairs = [(name, k) for name in structures.views for k in structures.having(name)]
        return {head_name(self.options.heads, name, k, structures): k for name, k in pairs}

    def _sizes(self, structures: Structures) -> list[int]:
        """The parameters of each head."""
        widths = [[self.options.dim, *self.options.head, structures.ranks[k]] for k in self._heads(structures).values()]
        return [sum((a + 1) * b for a, b in pairwise(each)) for each in widths]

    def build(self, facts: dict[str, Any]) -> None:
        """Encoders and heads, room for the explanation, and what predicts the label."""
        o, views = self.options, list(facts["views"])
        self.structures = self._structures(views)
        self.encoders = StructureEncoders(self, facts["views"], self.structures)
        use.allocate_references(self, dict.fromkeys(views, self.structures.width))
        for name, front in self.encoders.fronts.items():
            self.register_buffer(f"power of {name}", torch.zeros(front.width, len(self.structures) + 1))
            self.register_buffer(f"variance of {name}", torch.zeros(front.width))
        self.register_buffer("agreement", torch.full((len(self.structures),), torch.nan))
        if o.supervision == "lasso":
            group_lasso.attach(self, facts)
        elif facts.get("label") is not None:
            with self.seeded("predictor"):
                self.predictor = Head(self.structures.width, max(1, len(facts["classes"])))

    def _structures(self, views: list[str]) -> Structures:
        return Structures.of(views, self.options.rank, self.options.structures)

    @property
    def _supervised(self) -> bool:
        return self.options.supervision != "lasso" and self.facts.get("label") is not None

    def batch(self, data: Table, rows: Int[Tensor, " n"], generator: torch.Generator) -> Batch:
        """Some rows, a share of the views hidden if the options say so; with their labels where those are learned."""
        made = encoders.batch(self, data, rows, generator)
        if self._supervised:
            made.context["targets"] = targets_of(data, self.facts, rows)
        return made

    def phases(self, data: Table) -> list[Phase]:
        """Contrast, then with `finetune` the label; references, the explanation, and the group lasso."""
        fit, reference = use.phases(self, data)
        learned = [fit]
        if self._supervised and self.options.supervision == "finetune":
            slow = self.options.optim.groups | {"encoders": Group(lr_scale=SLOWER)}
            optim = self.options.optim.model_copy(update={"groups": slow})
            learned.append(self.phase("finetune", data, losses=self._label_losses, optim=optim, epochs=fit.epochs))
        lasso = group_lasso.lasso_phases(self, data) if self.options.supervision == "lasso" else []
        return [*learned, reference, self._explanation(data), *lasso]

    # The loss -------------------------------------------------------------------------------------------------

    def losses(self, batch: Batch, clock: Clock) -> dict[str, Float[Tensor, ""]]:
        """The linear contrast, the regulariser, and with `joint` supervision the label's loss."""
        encoded = self.encode(batch.views)
        encoders.watch(self, encoded, batch, clock)
        o, vectors = self.options, self._blocks(encoded)
        summed = Embeddings(torch.stack(list(vectors.values())).sum(dim=0), batch.ids)
        contrast = linear_contrast(summed, summed)
        if o.contrast == "linear":
            terms = {"contrast": o.contrast_weight * contrast.mean() / 2}
        else:
            terms = {n: o.contrast_weight * loss for n, loss in self._spectral(encoded, batch).items()}
        if o.regulariser != "none":
            overlap = torch.stack([self._overlap(v) for v in vectors.values()]).sum(dim=0)
            loss = RowLoss(overlap, contrast.valid).mean()
            if o.regulariser == "released":  # a sum over the batch there, so that its weight grows with the batch
                loss = loss * sum_over_ranks(contrast.valid.sum())
            terms["regulariser"] = o.contrast_weight * o.regulariser_weight * loss
        if self._supervised and o.supervision == "joint":
            terms["label"] = self._label_loss(encoded, batch)
        return terms

    def _spectral(self, encoded: Encoded, batch: Batch) -> dict[str, Float[Tensor, ""]]:
        """The spectral contrast of every two views, one way, and of each view with itself at half the weight."""
        sides = {n: Embeddings(v, batch.ids)[encoded.present[n]] for n, v in encoded.vectors.items()}
        terms = {f"{a}-{b}": spectral_contrast(sides[a], sides[b]).mean() for a, b in combinations(sides, 2)}
        return terms | {name: spectral_contrast(side, side).mean() / 2 for name, side in sides.items()}

    def _blocks(self, encoded: Encoded) -> dict[str, Float[Tensor, "n q"]]:
        """Each view's structures side by side, as the heads gave them, zero where the row lacks the view."""
        unit = self.options.contrast == "linear"
        roots = {name: len(self.structures.having(name)) ** 0.5 if unit else 1.0 for name in encoded.vectors}
        return {n: roots[n] * v * encoded.present[n][:, None] for n, v in encoded.vectors.items()}

    def _overlap(self, vectors: Float[Tensor, "n q"]) -> Float[Tensor, " n"]:
        """What the structures of one view have in common, over as many numbers as the smallest has."""
        least = min(self.structures.ranks)
        blocks = torch.stack([vectors[:, part][:, :least] for part in self.structures.columns], dim=1)
        if self.options.regulariser == "released":
            return blocks.sum(dim=1).square().sum(dim=1)
        products = blocks @ blocks.mT
        return products.square().sum(dim=(1, 2)) - products.diagonal(dim1=1, dim2=2).square().sum(dim=1)

    def _label_losses(self, batch: Batch, clock: Clock) -> dict[str, Float[Tensor, ""]]:
        return {"label": self._label_loss(self.encode(batch.views), batch)}

    def _label_loss(self, encoded: Encoded, batch: Batch) -> Float[Tensor, ""]:
        """Cross-entropy of classes, or the squared error of a scaled number, over the rows that have a label."""
        targets = batch.context["targets"]
        known = targets.isfinite().all(dim=1) & torch.stack(list(encoded.present.values())).any(dim=0)
        wanted = targets.nan_to_num().to(next(iter(encoded.vectors.values())).dtype)
        found = self.predictor.net(self.factors(encoded))
        if self.facts["classes"]:
            value = -(found.log_softmax(dim=1) * wanted).sum(dim=1)
        else:
            value = (found - wanted).square()[:, 0]
        return RowLoss(value, known).mean()

    # Use ------------------------------------------------------------------------------------------------------

    def factors(self, encoded: Encoded) -> Float[Tensor, "n q"]:
        """For each structure the mean of its unit vectors over the views that a row has, side by side."""
        vectors = self._blocks(encoded)
        total = torch.stack(list(vectors.values())).sum(dim=0)
        counts = torch.zeros_like(total)
        for name, present in encoded.present.items():
            counts += present[:, None] * self.structures.columns_of(name).to(total.device)
        return total / counts.clamp(min=1)

    def joint(self, encoded: Encoded) -> Float[Tensor, "n q"]:
        """The direction of the structures' vectors side by side."""
        return normalize(self.factors(encoded), dim=1)

    def scores(self, given: Encoded, target: str, candidates: Float[Tensor, "m q"]) -> Float[Tensor, "n m"]:
        """Sum over the given views, and over the structures they share with the target, of cosines; scaled."""
        query = torch.stack([v * given.present[n][:, None] for n, v in given.vectors.items()]).sum(dim=0)
        return query @ candidates.T

    predict = group_lasso.predict

    def _lasso_rows(self, encoded: Encoded) -> tuple[Tensor, Tensor]:
        """What the label is regressed on, and the rows that have it."""
        return self.factors(encoded), torch.stack(list(encoded.present.values())).any(dim=0)

    def _lasso_correction(self) -> float:
        return 0.0

    def explain(self) -> dict[str, Any]:
        """What part of each view each structure tells of, and how well the views of a structure agree."""
        self.require_fitted()
        share, rest, columns = {}, {}, {}
        for name in self.structures.views:
            power, variance = getattr(self, f"power of {name}"), getattr(self, f"variance of {name}")
            whole = (power * variance[:, None]).sum(dim=0) / variance.sum().clamp(min=1e-30)
            share[name], rest[name] = whole[:-1], 1 - float(whole[-1])
            if name in self.facts["columns"]:
                columns[name] = (self.facts["columns"][name], power[:, :-1])
        agreement = {k: value for k, value in enumerate(self.agreement.tolist()) if value == value}
        about = (
            "share of variance that a linear map of the structure's vector explains in other training rows; structures "
            "may tell of the same, so shares can add up to more than the whole"
        )
        return explained(self.structures, share, rest, columns, agreement, about)

    def _explanation(self, data: Table) -> Phase:
        """A pass over a sample of training rows, half of them to map from vectors to values, half to judge that."""

        def plan(generator: torch.Generator) -> list[Tensor]:
            return [torch.randperm(len(data), generator=generator)[:EXPLAINED]]

        def visit(batch: Batch, clock: Clock) -> None:
            views = of_all_ranks(batch).views
            encoded = self.encode(views)
            for name, front in self.encoders.fronts.items():
                there = encoded.present[name]
                if int(there.sum()) >= FEW:
                    values, vectors = front(views[name])[there].double(), encoded.vectors[name][there].double()
                    parts = [*self.structures.columns, slice(None)]
                    power = torch.stack([explained_share(vectors[:, part], values) for part in parts], dim=1)
                    getattr(self, f"power of {name}").copy_(power)
                    getattr(self, f"variance of {name}").copy_(values.var(dim=0))
            for k in range(len(self.structures)):
                self.agreement[k] = self._agreement(encoded, k)

        def batch(rows: Tensor, generator: torch.Generator) -> Batch:
            return batch_of(data, rows, self.fronts)

        return Phase("explain", plan=plan, batch=batch, visit=visit)

    def _agreement(self, encoded: Encoded, k: int) -> float:
        """Mean cosine between the views of a structure in one row, less that between two rows; NaN for one view."""
        part, found = self.structures.columns[k], []
        for a, b in combinations(self.structures.members[k], 2):
            both = encoded.present[a] & encoded.present[b]
            if int(both.sum()) >= FEW:
                x, y = (normalize(encoded.vectors[name][both][:, part].double(), dim=1) for name in (a, b))
                found.append(float((x * y).sum(dim=1).mean() - x.mean(dim=0) @ y.mean(dim=0)))
        return sum(found) / len(found) if found else float("nan")
