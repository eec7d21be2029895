"""DAMPER: private spans of texts found by prototypes of a contrastive encoder, and rewritten under a privacy budget."""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor
from torch.nn.functional import normalize

from counterpoint.errors import UserError, need
from counterpoint.objectives import Embeddings, Ids, RowLoss, info_nce
from counterpoint.pretrained.lowrank import borrow, strengthen
from counterpoint.pretrained.source import Base, read_base
from counterpoint.pretrained.texts import TextEncoder
from counterpoint.pretrained.tokens import Tokeniser
from counterpoint.text.private.finch import finch, means
from counterpoint.text.private.locating import Found, Pool, Prototypes, Remembered, Scores, above, locate
from counterpoint.text.private.preferences import Preferences, Rewriter
from counterpoint.text.private.rewriting import Rewritten, proposer_of, rewritten
from counterpoint.text.private.rows import PrivateRows, parted, rows_of
from counterpoint.text.private.span_judge import best_threshold, located, matched, sweep
from counterpoint.text.private.spans import SpannedTexts
from counterpoint.text.private.writer import SpanWriter
from counterpoint.training import Batch, Clock, Method, Optim, Phase, SGDConfig, Trainer, in_chunks
from counterpoint.training.samplers import class_balanced

GAMMA = 0.85
"""The published command's threshold for medical texts; what stands until thresholds are chosen."""


class Damper(Method):
    """An encoder that draws a domain's private spans together, prototypes of them, and what is near these is private.

    Anchors are private spans alone; positives are those of the same domain; every span of the batch, the anchor itself
    included, is in the denominator. A batch has as many spans of each domain, private and not. What is found can be
    rewritten: by the exponential mechanism over a public vocabulary, or by a language model tuned on preferences (DPO)
    and drawn from by that mechanism. `counterpoint.text.private.privacy` says what that guarantees.
    Source: arXiv 2604.10145, equations of its published code; its faults are mended (docs/methods).

    >>> Damper(base="minilm").options.temperature
    0.1
    """

    class Config(SGDConfig):
        """Options of DAMPER; learning rate, batch, passes, rank, dropout and temperature are the published code's."""

        optim: Optim = Optim(lr=1e-4)
        epochs: int = Field(30, ge=0, description="passes over the spans; 0: the base as it is")
        batch_size: int = Field(32, ge=4, description="spans per step, as many of each domain, private and not")

        base: str = Field("minilm", description="a folder, a name on the Hugging Face hub, minilm, e5 or static")
        max_length: int | None = Field(128, ge=4, description="tokens read of a span; none: as many as the base says")
        lora: int = Field(16, ge=1, description="rank of the learned updates; their scale is 2")
        dropout: float = Field(0.1, ge=0, lt=1, description="dropout before the updates in training")
        temperature: float = Field(0.1, gt=0, description="what cosines are divided by")
        prototypes: Literal["finch", "kmeans", "mean"] = Field(
            "finch", description="clusters whose means are prototypes: FINCH's, k-means', or one of all"
        )
        level: int = Field(-1, ge=-9, description="FINCH's partition: 0 the finest, -1 the coarsest, as the code takes")
        clusters: int = Field(18, ge=2, description="clusters of k-means")
        pool: Pool = Field("mean", description="over a domain's prototypes: the code's detection, or its evaluation")
        gamma: float | None = Field(
            None, ge=-1, le=1, description="least score of a private span; none: chosen on held texts, per domain"
        )
        join: bool = Field(True, description="found spans with blanks alone between them are one; the code: apart")
        held: float = Field(0.15, gt=0, lt=0.5, description="share of the texts kept to choose gamma on")
        rewriter: Rewriter = Rewriter()

    Data = SpannedTexts
    judge = staticmethod(located)
    options: Config
    base: Base | None = None
    """What `measure` read, until `build` takes it."""
    vectors: Tensor
    """The prototypes of each domain."""
    counts: Tensor
    """How many prototypes each domain has."""
    gamma: Tensor
    """The threshold of each domain."""
    recalls: Tensor
    """The recall on held texts at the thresholds; NaN where it was not measured."""

    def measure(self, data: SpannedTexts) -> dict[str, Any]:
        """The base's facts, the domains, how many private spans each has, and which share of the spans is cut.

        Raises `UserError` when a domain lacks private spans, or chunks that are not.
        """
        if self.options.prototypes == "kmeans":
            need("sklearn.cluster", "eval")
        learned, _ = parted(data, self.options.held)
        rows = rows_of(learned)
        self.base = read_base(self.options.base)
        facts = self.base.facts(max_length=self._longest(self.base))
        tokeniser = Tokeniser(self.base.tokenizer, facts["max_length"], facts["padding"], facts["prompts"])
        cut = tokeniser(rows.words).truncated.float().mean()
        return {
            "base": facts,
            "domains": learned.names,
            "private": [len(rows.private_of(number)) for number in range(len(learned.names))],
            "spans": len(rows),
            "cut": round(float(cut), 4),
            **({"writer": SpanWriter.measure(self.options.rewriter.model)} if self.options.rewriter.used else {}),
        }

    def _longest(self, base: Base) -> int | None:
        most = self.options.max_length
        return most if most is None else min(most, base.longest)

    def remarks(self, data: SpannedTexts) -> Sequence[str]:
        """How many spans there are to learn from, and what is lacking."""
        learned, held = parted(data, self.options.held)
        rows = rows_of(learned)
        private = int(rows.private.sum())
        said = [f"{private} private spans and {len(rows) - private} others to learn from, of {len(learned)} texts"]
        if held is learned:
            said.append("too few texts to keep some aside: gamma is chosen on the training texts, so it flatters")
        if len(learned.names) == 1:
            said.append("one domain: nothing is learned of telling domains apart")
        return said

    def build(self, facts: dict[str, Any]) -> None:
        """The frozen base with its updates, room for prototypes and thresholds, and the rewriting model, if any.

        The base is not in the run: it is read again wherever the run is loaded, and `UserError` is raised when it is
        not the same.
        """
        o, shape = self.options, facts["base"]
        base, self.base = self.base, None
        base = read_base(shape["source"]) if base is None else base
        base.check(shape)
        self.encoder = TextEncoder.of(base, shape, 0.0)
        with self.seeded("lora"):
            borrow(self.encoder.base, o.lora, base.source, dropout=o.dropout)
        domains, most = len(facts["domains"]), max(facts["private"])
        self.register_buffer("vectors", torch.zeros(domains, most, self.encoder.width))
        self.register_buffer("counts", torch.zeros(domains, dtype=torch.int64))
        self.register_buffer("gamma", torch.full((domains,), GAMMA if o.gamma is None else o.gamma))
        self.register_buffer("recalls", torch.full((domains,), torch.nan))
        self.preferences = Preferences(o.rewriter)
        if o.rewriter.used:
            with self.seeded("writer"):
                self.writer = SpanWriter(facts["writer"], o.rewriter.rank, o.rewriter.dropout)

    def tables(self) -> dict[str, list[dict[str, Any]]]:
        """Scores of the preferences; their words are kept only until the rewriting model has learned."""
        return {"preferences": self.preferences.rows} if self.options.rewriter.used else {}

    def load_tables(self, tables: dict[str, list[dict[str, Any]]]) -> None:
        """Take them back."""
        self.preferences.rows = list(tables.get("preferences", []))

    def fit(
        self, data: SpannedTexts, validation: SpannedTexts | None = None, trainer: Trainer | None = None
    ) -> "Damper":
        """Learn from texts; `validation` is looked at with `keep` alone, for which prototypes follow every epoch."""
        return super().fit(data, validation if self.options.keep is not None else None, trainer)

    # Training ---------------------------------------------------------------------------------------------

    def phases(self, data: SpannedTexts) -> Sequence[Phase]:
        """The contrast, the prototypes with their thresholds, and with a rewriting model preferences and DPO."""
        learned, held = parted(data, self.options.held)
        rows = rows_of(learned)
        first = [torch.zeros(1, dtype=torch.int64)]

        def make(batch: Any, clock: Clock) -> None:
            self._settle(rows, held)

        def after(batch: Any, clock: Clock) -> None:
            if self.options.keep is not None and (clock.step + 1) % (clock.steps // self.options.epochs) == 0:
                training, _ = self.encoder.training, self.encoder.eval()
                self._settle(rows, held)
                self.encoder.train(training)

        found = []
        if self.options.epochs:
            contrast: dict[str, Any] = {
                "plan": lambda generator: self._balanced(rows, generator),
                "batch": lambda some, generator: self._spans(rows, some),
                "losses": self._contrast,
            }
            found.append(self.phase("contrast", data, after=after, trains=("encoder",), **contrast))
        still: dict[str, Any] = {"plan": lambda generator: first, "batch": lambda some, generator: some}
        found.append(self.phase("prototypes", data, visit=make, **still))
        if self.options.rewriter.used:
            found += self.preferences.phases(self, rows)
        return found

    def _balanced(self, rows: PrivateRows, generator: torch.Generator) -> list[Int[Tensor, " _"]]:
        kinds = 2 * len(self.facts["domains"])
        each = self.options.batch_size // kinds
        if not each:
            raise UserError(f"batch_size={self.options.batch_size} has no room for {kinds} kinds; set {kinds} or more")
        return class_balanced(rows.kind, each * kinds, generator, per_class=each)

    def _spans(self, rows: PrivateRows, some: Int[Tensor, " n"]) -> Batch:
        """Some spans; those that are not private are nobody's positive."""
        ids = Ids(row=some, positive=torch.where(rows.private[some] == 1, rows.domain[some], -1))
        return Batch(ids, {}, {"tokens": self.encoder.tokeniser([rows.words[row] for row in some.tolist()])})

    def _contrast(self, batch: Batch, clock: Clock) -> dict[str, Float[Tensor, ""]]:
        ordered, back = batch.context["tokens"].longest_first()
        return {
            "contrast": private_contrast(
                Embeddings(in_chunks(self.encoder, ordered, self.chunk)[back], batch.ids), self.options.temperature
            ).mean()
        }

    def settle(self, data: SpannedTexts) -> None:
        """Make prototypes and thresholds anew from texts, with the encoder as it is."""
        self.require_fitted()
        learned, held = parted(data, self.options.held)
        self._settle(rows_of(learned), held)

    @torch.no_grad()
    def _settle(self, rows: PrivateRows, held: SpannedTexts) -> None:
        """Make the prototypes, then the thresholds; every rank does the same."""
        self.vectors.zero_()
        for number in range(len(self.facts["domains"])):
            vectors = self.span_vectors(rows.private_of(number))
            made = normalize(self._clustered(vectors), dim=1)
            self.counts[number] = len(made)
            self.vectors[number, : len(made)] = made.to(self.vectors)
        self.note(prototypes=float(self.counts.sum()))
        scored = self.scored(list(held.texts))
        for number, name in enumerate(self.facts["domains"]):
            voted = [row for row, some in enumerate(scored) if some and some[0].domain == name]
            mine = voted or range(len(held))  # its threshold holds for texts that are taken for this domain
            some, gold = [scored[row] for row in mine], [held.spans[row] for row in mine]
            if not any(gold):
                continue
            words = [held.texts[row] for row in mine]
            if self.options.gamma is None:
                self.gamma[number], self.recalls[number] = best_threshold(sweep(words, some, gold, self.joins))
                continue
            told = [
                above(text, one, float(self.gamma[number]), self.joins) for text, one in zip(words, some, strict=True)
            ]
            right = [matched([(f.start, f.end) for f in one], spans) for one, spans in zip(told, gold, strict=True)]
            self.recalls[number] = sum(right) / sum(map(len, gold))

    def _clustered(self, vectors: Float[Tensor, "n w"]) -> Float[Tensor, "k w"]:
        """The means of the clusters of a domain's private spans."""
        o = self.options
        if o.prototypes == "mean" or len(vectors) < 3:
            return vectors.mean(dim=0, keepdim=True)
        if o.prototypes == "kmeans":
            cluster: Any = need("sklearn.cluster", "eval")
            number = min(o.clusters, len(vectors))
            fitted = cluster.KMeans(number, n_init=4, random_state=self.seed).fit(vectors.double().cpu().numpy())
            labels = torch.from_numpy(fitted.labels_.astype("int64")).to(vectors.device)
        else:
            partitions = finch(vectors)
            level = o.level if -len(partitions) <= o.level < len(partitions) else (-1 if o.level >= 0 else 0)
            labels = partitions[level].to(vectors.device)
        return means(vectors, labels)

    # Use --------------------------------------------------------------------------------------------------

    @property
    def joins(self) -> bool:
        """Whether neighbouring found spans are one."""
        return bool(self.options.join)

    def gammas(self) -> dict[str, float]:
        """The threshold of each domain, by name."""
        return dict(zip(self.facts["domains"], self.gamma.tolist(), strict=True))

    def scored(self, texts: Sequence[str], vectors: Scores | None = None) -> list[list[Found]]:
        """All non-overlapping chunks of each text with their scores and levels; see `locating.locate`.

        `vectors` takes the place of `span_vectors`, for whoever remembers some.
        """
        self.require_fitted()
        prototypes, made = Prototypes(self.vectors, self.counts), vectors or Remembered(self.span_vectors)
        return locate(
            texts,
            lambda some: prototypes.likeness(made(some), self.options.pool),
            lambda some: prototypes.likeness(made(some), "mean"),
            self.facts["domains"],
        )

    def span_vectors(self, spans: Sequence[str]) -> Float[Tensor, "n w"]:
        """Unit vectors of spans by the learned encoder."""
        return self.encoder.encode(spans).to(self.vectors)

    def locate(self, texts: Sequence[str]) -> list[list[Found]]:
        """The private spans of each text, in its order, at the run's thresholds."""
        gammas = self.gammas()
        return [above(text, some, gammas, self.joins) for text, some in zip(texts, self.scored(texts), strict=True)]

    def likeness(self, spans: Sequence[str], domains: Sequence[str]) -> Float[Tensor, " n"]:
        """The largest cosine of each span with a prototype of its domain: the card's domain score, unstandardised."""
        self.require_fitted()
        own = torch.tensor([self.facts["domains"].index(name) for name in domains], dtype=torch.int64)
        scores = Prototypes(self.vectors, self.counts).likeness(self.span_vectors(spans), "max")
        return scores[torch.arange(len(own)), own.to(scores.device)]

    def meaning(self, spans: Sequence[str]) -> Float[Tensor, "n w"]:
        """Unit vectors of spans by the base as it was: what likeness of meaning is judged by."""
        self.require_fitted()
        strengthen(self.encoder.base, 0.0)
        try:
            return self.encoder.encode(spans)
        finally:
            strengthen(self.encoder.base, 1.0)

    def rewrite(
        self,
        texts: Sequence[str],
        epsilon: float,
        proposer: str = "auto",
        length: int | None = None,
        vocabulary: Sequence[str] | None = None,
        seed: int | None = None,
    ) -> list[Rewritten]:
        """Each text with its private spans replaced, `epsilon` spent on each span; see `rewriting.rewritten`.

        `proposer` is "words", "trained" (the run's own rewriting model), a language model's folder, name or address;
        "auto": the run's own, or words. A `seed` makes draws repeatable, and voids the guarantee for whoever knows it.
        Raises `UserError` for an epsilon that is not above 0.
        """
        self.require_fitted()
        made = proposer_of(self, proposer, length, vocabulary)
        return rewritten(list(texts), self.locate(texts), made, epsilon, self.recall_told(), seed)

    def cut(self, spans: Sequence[str]) -> int:
        """How many spans are longer than the encoder reads."""
        return int(self.encoder.tokenise(spans).truncated.sum())

    def recall_told(self) -> dict[str, float | None]:
        """The share of gold spans of the held texts that were found, by domain; None where it is not known."""
        values = [None if value != value else value for value in self.recalls.tolist()]
        return dict(zip(self.facts["domains"], values, strict=True))


def private_contrast(spans: Embeddings, temperature: float) -> RowLoss:
    """Supervised contrast whose anchors are private spans alone: a row per private span of the batch.

    `positive` says the domain of a private span, and is negative for one that is not private. The denominator runs over
    every span, the anchor itself included. An anchor without a positive is skipped.
    Source: arXiv 2604.10145's code: the mean over positives of -log(exp(cos/t) / sum over the batch of exp(cos/t)).
    """
    private = spans.ids.positive >= 0
    return info_nce(spans[private], spans, temperature=temperature, itself="negative")
