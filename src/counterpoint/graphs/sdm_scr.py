"""SDM-SCR: signal told from noise in each node's text, and only the signal smoothed along the edges."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import normalize

from counterpoint.errors import UserError
from counterpoint.graphs import decouple
from counterpoint.graphs.augment import view
from counterpoint.graphs.embedder import GraphConfig, LearnedNodes
from counterpoint.graphs.encoders import GCN, Projection
from counterpoint.graphs.graph import AttributedGraph
from counterpoint.graphs.inputs import prepared, text_vectors, width_of
from counterpoint.graphs.judge import node_classes
from counterpoint.graphs.spectral import diagnosis, dirichlet, personalised
from counterpoint.graphs.structure import Structure
from counterpoint.objectives import (
    Embeddings,
    Ids,
    cosine,
    info_nce,
    log_mass,
    mean_over_ranks,
    orthogonality,
)
from counterpoint.training import Batch, Clock, Method, Phase, rng
from counterpoint.training.sparse import Sparse

VIEWS = ("raw", "signal", "noise")
ALTERED = 0.3
"""Without a split: the share of edges left out, and of features masked, in what stands for the signal."""


class SDMSCR(LearnedNodes, Method):
    """A node's text finds its own signal among all signals and noises; signals agree with their neighbourhood.

    Reconstruction from the abstract of arXiv 2604.14746, whose equations are not known to us: those of
    docs/methods/sdm-scr.md are ours.

    >>> columns = {"signal": ["a", "a", "b", "b"], "noise": ["x", "y", "x", "y"]}
    >>> graph = AttributedGraph.of([[0, 2], [1, 3]], texts=["a x", "a y", "b x", "b y"], columns=columns)
    >>> SDMSCR(base="hashed", dim=8, epochs=2).fit(graph).embed(graph).shape
    torch.Size([4, 8])
    """

    class Config(GraphConfig):
        """Options of SDM-SCR; all defaults are ours."""

        decoupler: Literal["given", "lexical", "random", "none"] = Field(
            "given",
            description="signal and noise: columns of these names (a language model's, or known), words near the task, "
            "at random, or no split (then the raw text is altered at random)",
        )
        task: str = Field("", description="of lexical: the domain and what is to be told apart, never a node's class")
        share: float = Field(0.5, gt=0, lt=1, description="of lexical and random: the share of words that are signal")
        temperature: float = Field(0.5, gt=0, description="of the contrast")
        noise_negatives: Literal["own", "batch", "none"] = Field(
            "batch", description="whose noise a node is contrasted with: its own, that of all compared nodes, nobody's"
        )
        noise_weight: float = Field(1.0, gt=0, description="weight of each noise among the negatives")
        noise_branch: Literal["propagated", "alone"] = Field(
            "propagated", description="whether the noise goes along edges, or through the same layers node by node"
        )
        consistency: float = Field(0.5, ge=0, description="weight of the consistency of signals; 0: SDM alone")
        form: Literal["filter", "dirichlet"] = Field(
            "filter", description="consistency with the filtered signal (no gradient), or the Dirichlet energy"
        )
        consistent: Literal["signal", "both"] = Field(
            "signal", description="what is made consistent: signal, or noise too"
        )
        alpha: float = Field(0.8, gt=0, lt=1, description="of the filter: share that goes on at each step")
        steps: int = Field(10, ge=1, description="of the filter: steps along edges")
        smooth: bool = Field(False, description="whether the filter is put on the vectors after training")
        orthogonality: float = Field(0.1, ge=0, description="weight of the orthogonality of signal and noise")
        reconstruction: float = Field(0.1, ge=0, description="weight of the raw vector made of signal and noise")
        output: Literal["signal", "both"] = Field(
            "signal", description="a node's vector: signal's, or raw and signal's"
        )

    options: Config
    diagnoses: list[dict[str, Any]]

    def build(self, facts: dict[str, Any]) -> None:
        """One network for all views, one projection, and the way back to the raw vector."""
        dim, width = self.options.dim, facts["width"]
        with self.seeded("encoder"):
            self.encoder = GCN([width, dim, dim], norm=True)
        with self.seeded("projection"):
            self.projection = Projection(dim, dim, dim)
        if self._splits and self.options.reconstruction:
            with self.seeded("back"):
                self.back = nn.Linear(2 * dim, width)
        self.diagnoses = []
        self._build_head(facts, dim * (2 if self.options.output == "both" else 1))

    @property
    def _splits(self) -> bool:
        return self.options.decoupler != "none"

    # Views ---------------------------------------------------------------------------------------------------------

    def _prepared(self, data: AttributedGraph) -> tuple[Tensor, Structure]:
        """Vectors of raw text, signal and noise side by side, made once for all parts of a graph."""
        if data.texts is None:
            raise UserError(f"{data.source}: nodes have no texts; SDM-SCR splits texts")
        texts_only = replace(data, features=None)
        raw, structure = prepared(texts_only, self.options.base)
        assert isinstance(raw, Tensor)
        if not self._splits:
            return raw, structure
        options = self.options
        key = ("split", options.decoupler, options.task, options.share, options.base)
        if key not in data.held:
            parts = [text_vectors(part, options.base) for part in zip(*self._split(data), strict=True)]
            data.held[key] = torch.cat([raw, *parts], dim=1)
        return data.held[key], structure

    def _width(self, features: Tensor | Sparse) -> int:
        """The width of one view."""
        return width_of(features) // (len(VIEWS) if self._splits else 1)

    def _split(self, data: AttributedGraph) -> Sequence[decouple.Split]:
        """Signal and noise of every node."""
        options, texts = self.options, data.texts
        assert texts is not None
        if options.decoupler == "lexical":
            return decouple.lexical(texts, options.task, options.share, options.base)
        if options.decoupler == "random":
            return decouple.at_random(texts, options.share)
        if missing := [name for name in ("signal", "noise") if name not in data.node_columns]:
            raise UserError(
                f'{data.source}: no column "{missing[0]}"; give decoupled=FILE of a language model or decoupler=lexical'
            )
        return list(zip(data.node_columns["signal"], data.node_columns["noise"], strict=True))

    def _parts(self, features: Tensor) -> dict[str, Tensor]:
        """The views of features that lie side by side."""
        if not self._splits:
            return {"raw": features, "signal": features}
        return dict(zip(VIEWS, features.chunk(3, dim=1), strict=True))

    # Learning ------------------------------------------------------------------------------------------------------

    def losses(self, batch: Batch, clock: Clock) -> dict[str, Float[Tensor, ""]]:
        """Contrast, consistency, orthogonality, reconstruction."""
        options, structure, place = self.options, batch.context["structure"], batch.views["place"]
        matrix, given = structure.matrix(), self._parts(batch.context["features"])
        carried = self._parts(batch.context["carried"])
        hidden = {
            name: self.encoder(x, None) if self._along(name, matrix) is None else self.encoder(x_carried, matrix, True)
            for (name, x), x_carried in zip(given.items(), carried.values(), strict=True)
        }
        if not self._splits:
            masked, altered = view(given["raw"], structure, ALTERED, ALTERED, clock.shared_rng("altered"))
            hidden["signal"] = self.encoder(masked, altered)
        unit = {name: normalize(_centred(self.projection(one)), dim=1) for name, one in hidden.items()}
        terms = {"contrast": self._contrast({name: one[place] for name, one in unit.items()}, batch)}
        if options.consistency:
            names = ("signal", "noise") if options.consistent == "both" and self._splits else ("signal",)
            parts = [self._consistency(unit[name], structure, place) for name in names]
            terms["consistency"] = options.consistency * torch.stack(parts).sum()
        if self._splits and options.orthogonality:
            terms["orthogonality"] = options.orthogonality * orthogonality(unit["signal"][place], unit["noise"][place])
        if self._splits and options.reconstruction:
            made = self.back(torch.cat([hidden["signal"], hidden["noise"]], dim=1)[place])
            error = (made - given["raw"][place]).square().mean(dim=1)
            terms["reconstruction"] = options.reconstruction * mean_over_ranks(error)
        return terms

    def _given(self, features: Tensor | Sparse, structure: Structure) -> dict[str, Any]:
        return self._carried(features, structure)

    def _along(self, name: str, matrix: Any) -> Any:
        """What a view's vectors go along."""
        return None if name == "noise" and self.options.noise_branch == "alone" else matrix

    def _contrast(self, unit: dict[str, Tensor], batch: Batch) -> Float[Tensor, ""]:
        """Each node's raw text finds its own signal among the signals and the noise."""
        options = self.options
        asked, keys = (Embeddings(unit[name], batch.ids) for name in ("raw", "signal"))
        also = []
        if self._splits and options.noise_negatives != "none":
            weight = torch.tensor(options.noise_weight).log().to(asked.vectors)
            if options.noise_negatives == "own":
                mass = (unit["raw"] * unit["noise"]).sum(1) / options.temperature
            else:
                nobody = torch.full_like(batch.ids.row, -1)
                noise = Embeddings(unit["noise"], Ids(row=nobody, positive=nobody))
                mass = log_mass(asked, noise, temperature=options.temperature)
            also.append(mass + weight)
        return info_nce(asked, keys, temperature=options.temperature, also=also).mean()

    def _consistency(self, unit: Tensor, structure: Structure, place: Tensor) -> Float[Tensor, ""]:
        """How far vectors are from what is smooth along the edges."""
        if self.options.form == "dirichlet":
            return dirichlet(structure.matrix(), unit)
        with torch.no_grad():
            smooth = personalised(structure.matrix(), unit, self.options.alpha, self.options.steps)
        return cosine(unit[place], smooth[place]).mean()

    # After learning ------------------------------------------------------------------------------------------------

    def phases(self, data: AttributedGraph) -> Sequence[Phase]:
        """Learning, the classifier, and a look at how smooth the views are before and after."""
        features, structure = self._prepared(data)
        given = {"features": features, "structure": structure}

        def visit(batch: dict[str, Any], clock: Clock) -> None:
            views = self._parts(batch["features"])
            if not self._splits:
                views.pop("signal")
            made = {name: self.encoder(x, self._along(name, batch["structure"].matrix())) for name, x in views.items()}
            for when, looked_at in (("given", views), ("learned", made)):
                found = diagnosis(batch["structure"], looked_at, rng(self.seed, "diagnosis"))
                self.note(**{f"{when}: {name}": value for name, value in found.items()})
                self.diagnoses.append({"when": when, **found})

        rows = torch.from_numpy(data.focus)
        return [*super().phases(data), Phase("diagnose", plan=lambda _: [rows], batch=lambda *_: given, visit=visit)]

    def tables(self) -> dict[str, list[dict[str, Any]]]:
        """What the views looked like before and after learning."""
        return {"diagnosis": self.diagnoses}

    def load_tables(self, tables: dict[str, list[dict[str, Any]]]) -> None:
        """Take back what `tables` gave."""
        self.diagnoses = tables.get("diagnosis", [])

    def _vectors(self, features: Any, structure: Structure) -> Float[Tensor, "n d"]:
        parts, matrix = self._parts(features), structure.matrix()
        names = ("raw", "signal") if self.options.output == "both" else ("signal",)
        found = torch.cat([self.encoder(parts[name], matrix) for name in names], dim=1)
        return personalised(matrix, found, self.options.alpha, self.options.steps) if self.options.smooth else found

    def leak_check(self, data: AttributedGraph) -> dict[str, float]:
        """Whether signals name classes: accuracy as it is, and with the words of class names taken out of signals.

        `nodes` counts the signals that had such a word. Nothing is trained again. Raises `UserError` as the judge does.
        """
        if not self._splits:
            raise UserError("decoupler=none splits no text, so no signal can name a class")
        pairs = self._split(data)
        left, nodes = decouple.stripped([signal for signal, _ in pairs], self.facts["classes"])
        cleaned = data.with_columns(signal=left, noise=[noise for _, noise in pairs])
        other = type(self)(**{**self.given, "decoupler": "given"})
        other.prepare(self.facts, self.seed)
        other.load_state_dict(self.state_dict())
        plain, without = (
            node_classes(method, graph).value("accuracy") for method, graph in ((self, data), (other.eval(), cleaned))
        )
        return {"nodes": float(nodes), "accuracy": plain, "without class names": without}


def _centred(vectors: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    """Without the mean over nodes: otherwise noise would be told from signal by a constant offset alone."""
    return vectors - vectors.mean(dim=0)
