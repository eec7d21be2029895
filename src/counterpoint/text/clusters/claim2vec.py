"""Fine-tuning of a text encoder so that texts which say the same, in whatever language, cluster together."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Float32, Int
from pydantic import Field
from torch import Tensor
from torch.nn.functional import normalize

from counterpoint.errors import UserError, need
from counterpoint.objectives import Embeddings, Ids, contrastive_margin, stacked, sup_con
from counterpoint.rows import split_rows
from counterpoint.text.clusters.clusterers import (
    ALGORITHMS,
    Knob,
    check_algorithm,
    clustered,
    clustered_into,
    medoids,
    tuned,
)
from counterpoint.text.clusters.clustering import DEFAULT, grouping
from counterpoint.text.clusters.statements import Statements
from counterpoint.text.contrast import Contrast
from counterpoint.text.pairs import NEGATIVE, Pairs
from counterpoint.text.scripts import commonest
from counterpoint.training import Batch, Clock, Neighbours, Phase
from counterpoint.training.learning import all_but
from counterpoint.training.samplers import hard_negatives, in_order, shuffled

FEWEST = 10
"""Clusters below which none is kept aside: knobs are then chosen on the training texts themselves."""
DEVELOPMENT = "development"
"""A column so named says which rows are kept to choose knobs on."""
KEPT = 600
"""Most development texts that a run keeps."""


@dataclass(frozen=True, eq=False)
class Found:
    """Clusters of n texts: a number for each, and the row of the text that stands for its cluster."""

    assigned: Int[np.ndarray, " n"]
    medoids: Int[np.ndarray, " n"]
    algorithm: str
    knob: Knob | None


class Claim2Vec(Contrast):
    """Texts of one cluster attract, texts of other clusters repel; a cluster is never its own negative.

    Rows of pairs are of one cluster when they have an equal value in the data's group, or are joined by equal texts.
    `form` says how that enters the loss: `exclude` is InfoNCE over pairs whose denominator leaves out the cluster's
    other rows; `supcon` takes every text of the cluster in the batch as a positive; `plain` leaves out equal texts
    alone; `cosine` regresses cosines to 1 within a cluster and to at most 0 between clusters, without a softmax.

    Source: arXiv 2604.09812 for task and protocol; the loss is not published, so all four forms are a reconstruction.

    >>> Claim2Vec(base="minilm", form="supcon").options.freeze_words
    True
    """

    class Config(Contrast.Config):
        """Options of contrast, and how clusters are treated; the defaults are ours, no setting is published."""

        base: str = Field("e5", description="a folder, a name on the Hugging Face hub, minilm, e5 or static")
        form: Literal["exclude", "supcon", "plain", "cosine"] = Field(
            "exclude", description="what a cluster is in the loss; see the method's page"
        )
        freeze_words: bool = Field(
            True, description="the word table stays as it is; most of a multilingual base is that"
        )
        mine: int = Field(0, ge=0, description="nearest rows of other clusters drawn into a row's batch; 0: none")
        held: float = Field(0.15, gt=0, lt=0.5, description="share of rows, whole clusters, kept to choose knobs on")

    judge = staticmethod(grouping)
    options: Config
    development: Statements
    """Texts that are not trained on; the knobs of clustering algorithms are chosen on them."""

    def measure(self, data: Pairs) -> dict[str, Any]:
        """What contrast measures, and the number of rows; keeps the development texts."""
        need("sklearn.cluster", "eval")
        facts = super().measure(data)
        self.development = Statements.of(data.rows(parted(data, self.options.held)["development"])).at_most(KEPT)
        return {**facts, "rows": len(data)}

    def remarks(self, data: Pairs) -> Sequence[str]:
        """How many texts, clusters and languages there are, and what is kept aside."""
        said = Statements.of(data)
        sizes = np.unique(said.clusters, return_counts=True)[1]
        mixed = len(np.unique(said.clusters[said.mixed]))
        alone = int((sizes == 1).sum())
        found = [
            f"{len(said)} different texts in {len(sizes)} clusters ({mixed} in several languages, {alone} of one "
            f"text); languages: {commonest(said.languages.tolist())}"
        ]
        if sizes.max() > max(2, len(said) / 2):
            found.append(
                f"warning: one cluster holds {sizes.max()} of {len(said)} texts, since equal texts or groups join "
                "them; take out the texts that join what does not say the same"
            )
        if len(sizes) < FEWEST:
            found.append(f"fewer than {FEWEST} clusters: the knobs of clustering are chosen on the training texts")
        return found

    def build(self, facts: dict[str, Any]) -> None:
        """The encoder, and with `mine` room for the neighbours of every row."""
        super().build(facts)
        if self.options.mine:
            self.near = Neighbours(facts["rows"], self.encoder.width, self.options.mine)

    def tables(self) -> dict[str, list[dict[str, Any]]]:
        """Those of contrast, and the development texts."""
        return {**super().tables(), "development": self.development.json()}

    def load_tables(self, tables: dict[str, list[dict[str, Any]]]) -> None:
        """Take them back; raises `UserError` when one is missing."""
        super().load_tables(tables)
        if not tables.get("development"):
            raise UserError("tables/development.jsonl of the run is missing or empty; restore it, or fit again")
        names = ("text", "cluster", "language", "collection")
        self.development = Statements.from_rows([[row[name] for name in names] for row in tables["development"]])

    def phases(self, data: Pairs) -> Sequence[Phase]:
        """Mining, if it is asked for, with the base as it is; then the steps; nothing with `epochs=0`.

        Rows of one text take no part: it would be encoded to find nobody. Where the rows left are fewer than a batch,
        they are one batch.
        """
        if not self.options.epochs:
            return []
        rows = torch.from_numpy(parted(data, self.options.held)["train"])
        rows = rows[torch.from_numpy(sum(data.views[name].present[rows] for name in data.positives) > 1)]
        size = min(self.options.batch_size, max(2, len(rows)))
        fit: dict[str, Any] = {"trains": self._learning()}
        if not self.options.mine:
            return [
                self.phase("cluster", data, plan=lambda g: [rows[part] for part in shuffled(len(rows), size, g)], **fit)
            ]
        whole = [rows[part] for part in in_order(len(rows), size)]
        return [
            self.phase("mine", data, visit=self._mine, plan=lambda g: whole),
            self.phase("cluster", data, plan=lambda g: self._near_together(rows, size, g), **fit),
        ]

    def _learning(self) -> tuple[str, ...]:
        """The parts that learn: all, or all but the word table."""
        if not self.options.freeze_words:
            return ("",)
        base = self.encoder.base
        parts = all_but(base, base.get_input_embeddings(), "encoder.base.")  # type: ignore[operator]
        if not parts:
            raise UserError(f"base={self.options.base} is nothing but its word table; set freeze_words=false")
        return parts

    def _near_together(self, rows: Int[Tensor, " n"], size: int, generator: torch.Generator) -> list[Int[Tensor, " _"]]:
        """Batches of training rows with the nearest rows of other clusters."""
        place = torch.full((len(self.near.index) + 1,), -1)
        place[rows] = torch.arange(len(rows))
        near = place[self.near.index.cpu()[rows]]  # -1, for none, finds the last place, which is -1
        return [rows[part] for part in hard_negatives(near, size, generator)]

    def _mine(self, batch: Batch, clock: Clock) -> None:
        """Keep the rows' vectors; after the last, find their neighbours."""
        vectors = self.encoder(batch.context["tokens"])
        total = vectors.new_zeros(len(batch.ids), self.encoder.width)
        for name, place in batch.views.items():
            if not name.startswith(NEGATIVE):
                total[place >= 0] += vectors[place[place >= 0]]
        ids = Ids(batch.ids.row, batch.context["cluster"])
        self.near.put(Embeddings(normalize(total, dim=1), ids))
        if clock.step == clock.steps - 1:
            self.near.search_()

    def batch(self, data: Pairs, rows: Int[Tensor, " n"], generator: torch.Generator) -> Batch:
        """That of contrast, with ids that know the clusters."""
        made = super().batch(data, rows, generator)
        made.context["cluster"] = cluster = torch.from_numpy(data.clusters[rows.numpy()])
        if self.options.form == "plain":
            return made
        nobody = torch.full_like(rows, -1)
        known = {name: torch.from_numpy(data.clusters_of(name)[rows.numpy()]) for name in data.negatives}
        if self.options.form == "exclude":
            made.ids = Ids(row=rows, positive=rows, exclude=cluster[:, None])
            made.context["hard"] = {name: Ids(nobody, nobody, one[:, None]) for name, one in known.items()}
        else:
            made.ids = Ids(row=rows, positive=cluster)
            made.context["hard"] = {name: Ids(row=rows, positive=one) for name, one in known.items()}
        return made

    def _terms(self, sides: dict[str, Embeddings]) -> dict[str, Float[Tensor, ""]]:
        """Pairs of views, or all texts as one set, where a hard negative belongs to its own cluster, if it has one."""
        if self.options.form in ("exclude", "plain"):
            return super()._terms(sides)
        every = stacked(*sides.values())
        if self.options.form == "supcon":
            return {"supcon": sup_con(every, temperature=self.options.temperature).mean()}
        return {"cosine": contrastive_margin(every, every, margin=1.0, distance="cosine").mean()}

    def prompt(self, view: str) -> str:
        """All texts are of one kind, so all get the prompt that asks."""
        return "query"

    def knobs(self, algorithms: Sequence[str] = tuple(ALGORITHMS)) -> dict[str, Knob]:
        """The knob of each clustering algorithm that does best on the development texts."""
        vectors = self.embed_texts(self.development.texts).cpu().numpy()
        return tuned(vectors, self.development, algorithms)

    def cluster(
        self, texts: Sequence[str], algorithm: str = "auto", knob: float | None = None, number: int | None = None
    ) -> Found:
        """Group texts that say the same; equal texts are one.

        `algorithm` is one of `clusterers.ALGORITHMS`, or "auto": the one that does best on the development texts. The
        `knob` (a cosine distance, for k-means a share of the texts) is the best there, too, unless it is given, or the
        `number` of clusters. Memory grows with the square of the number of texts. Raises `UserError` for an unknown
        algorithm, or a number that it cannot make.
        """
        different = {text: row for row, text in enumerate(dict.fromkeys(texts))}
        place = np.array([different[text] for text in texts], dtype=np.int64)
        found = self.cluster_vectors(self.embed_texts(list(different)).cpu().numpy(), algorithm, knob, number)
        first = np.unique(place, return_index=True)[1]
        return replace(found, assigned=found.assigned[place], medoids=first[found.medoids][place])

    def cluster_vectors(
        self,
        vectors: Float32[np.ndarray, "n d"],
        algorithm: str = "auto",
        knob: float | None = None,
        number: int | None = None,
    ) -> Found:
        """The same for the unit vectors of different texts."""
        if algorithm != "auto":
            check_algorithm(algorithm)
        elif knob is not None or number is not None:
            algorithm = DEFAULT
        best: Knob | None = None
        if knob is None and number is None:
            knobs = self.knobs(tuple(ALGORITHMS) if algorithm == "auto" else (algorithm,))
            algorithm, best = max(knobs.items(), key=lambda pair: pair[1].ari)
            knob = best.value
        if number is not None:
            assigned = clustered_into(vectors, algorithm, number)
        else:
            assigned = clustered(vectors, algorithm, knob or 0.0)
        return Found(assigned, medoids(vectors, assigned), algorithm, best)


def parted(data: Pairs, held: float) -> dict[str, Int[np.ndarray, " k"]]:
    """The rows to train on and those of development texts, whole clusters; the same whatever the seed.

    A column `development` says so itself: the rows where it is neither 0, false nor missing are development. With fewer
    than 10 clusters all rows are both. Raises `UserError` when the column leaves no row to either.
    """
    if DEVELOPMENT in data.columns:
        kept = np.array(
            [str(value).lower() not in ("0", "0.0", "false", "", "none", "nan") for value in data.columns[DEVELOPMENT]]
        )
        if kept.all() or not kept.any():
            raise UserError(f'{data.source}: column "{DEVELOPMENT}" is true in {"all" if kept.any() else "no"} rows')
        return {"train": np.flatnonzero(~kept), "development": np.flatnonzero(kept)}
    if len(np.unique(data.clusters)) < FEWEST:
        return dict.fromkeys(("train", "development"), np.arange(len(data)))
    return split_rows(len(data), {"train": 1 - held, "development": held}, 0, data.clusters, data.source, by="clusters")
