"""Shortcut Guardrail: a shipped classifier is freed of its shortcuts with unlabelled texts and a few labels."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import normalize

from counterpoint.errors import UserError
from counterpoint.objectives import Embeddings, Ids, gather, info_nce, sum_over_ranks
from counterpoint.pretrained.classifiers import (
    Part,
    SequenceClassifier,
    classes_in,
    classifier_facts,
    read_classifier,
)
from counterpoint.pretrained.lowrank import borrow, strengthen, updates
from counterpoint.pretrained.source import Base, weights_hash
from counterpoint.text.labels.classes import codes, guarded, said_of
from counterpoint.text.labels.classifier import ROWS, cut_share, tokens_of
from counterpoint.text.labels.labelled import LabelledTexts
from counterpoint.text.labels.masks import Leaning, MaskBy, Masked, leaning, masked, random_saliency, top_tokens
from counterpoint.training import Batch, Clock, Method, Optim, Phase, Predictions, SGDConfig, in_chunks
from counterpoint.training.samplers import in_order, shuffled

GRID = tuple(place / 10 for place in range(11))
"""Strengths that are tried on the labelled rows."""
LORA_ALPHA = 16.0
"""The update's scale is this over its rank, as in the published code."""


class ShortcutGuardrail(Method):
    """Low-rank updates that make a text and its copies without an important word look alike, as strong as labels say.

    Rows with a label calibrate the strength; all others (or all rows, when every row has a label) are the texts that
    are adapted to, without a look at what they are. The classifier, its head included, stays as it is. Of strengths
    that are equally right the smallest is taken; 0 is the classifier as it was.
    Source: arXiv 2604.12277 v1; where its published code differs, the paper is followed (docs/methods).

    >>> ShortcutGuardrail(classifier="runs/sentiment", k=5).options.temperature
    0.1
    """

    class Config(SGDConfig):
        """Options of the guardrail; rank, learning rate, passes, k and temperature are the paper's."""

        optim: Optim = Optim(lr=1e-4, weight_decay=0.0, clip=1.0)
        epochs: int = Field(1, ge=1, description="passes over the texts")
        batch_size: int = Field(8, ge=2, description="texts per step, as in the published code")
        copies: Literal["one", "all"] = Field(
            "one", description="masked copies of a text in a step: one, so k steps for each text, or all k"
        )

        classifier: str = Field(
            "classifier", description="a folder with a transformers classifier, or its name on the hub"
        )
        label: str = Field("label", description="the column of the few labels")
        max_length: int | None = Field(None, ge=4, description="tokens read of a text; none: as many as it can")
        k: int = Field(10, ge=1, description="important tokens of a text")
        choose: Literal["gradient-input", "gradient", "random"] = Field(
            "gradient-input", description="importance: the paper's, the published code's, or none (placebo)"
        )
        mask_by: MaskBy = Field("position", description="mask one place, or every place of the same token")
        spare: tuple[str, ...] = Field((), description="tokens that are never masked, such as the,a,of")
        part: Part = Field("cls", description="what is contrasted: the first token's state, or the pooler's output")
        temperature: float = Field(0.1, gt=0, description="what cosines are divided by")
        rank: int = Field(4, ge=1, description="rank of the updates; the paper has 8 for 1,000 texts")
        dropout: float = Field(0.05, ge=0, lt=1, description="dropout before the updates in training")
        layers: tuple[str, ...] = Field(
            ("query", "value", "q_lin", "v_lin", "q", "v", "query_proj", "value_proj"),
            description="names of the linear layers that are updated",
        )

    Data = LabelledTexts
    judge = staticmethod(guarded)
    options: Config
    base: Base | None = None
    """What `measure` read, until `build` takes it."""
    right: Tensor
    """How many labelled rows are right at each strength of the grid."""
    asked: Tensor
    """How many labelled rows there were."""

    def measure(self, data: LabelledTexts) -> dict[str, Any]:
        """The classifier's facts, its classes, how many rows there are, and which share of them is cut.

        Raises `UserError` when the classifier cannot be repaired (no mask token, an unknown head, texts that do not
        begin with a token for the whole text), or the labels are none, of one class only, or not the classifier's.
        """
        o = self.options
        self.base = read_classifier(o.classifier)
        facts = classifier_facts(self.base, o.max_length)
        classes = classes_in(facts["config"])
        tokeniser = SequenceClassifier.tokeniser_of(self.base.tokenizer, facts)
        for name, what in (("mask_token", "mask token, so no word can be hidden"), ("cls_token", "first token")):
            if tokeniser.tokenizer.token_to_id(facts["special"].get(name, "")) is None:
                raise UserError(f"{o.classifier}: its tokenizer has no {what}; the guardrail needs one")
        if int(tokeniser(["a"]).ids[0, 0]) != tokeniser.tokenizer.token_to_id(facts["special"]["cls_token"]):
            raise UserError(f"{o.classifier}: its texts do not begin with {facts['special']['cls_token']}")
        found = codes(data, o.label, classes)
        self._check_support(data, found)
        return {
            "views": {"text": {}},
            "classifier": facts | {"hash": weights_hash(self.base.state)},
            "label": o.label,
            "classes": classes,
            "rows": len(data),
            "cut": cut_share(tokeniser, data),
        }

    def _check_support(self, data: LabelledTexts, found: Int[np.ndarray, " n"]) -> None:
        """Some rows of at least two classes calibrate, and at least two others are adapted to."""
        label, support = self.options.label, found[found >= 0]
        if not len(support):
            raise UserError(f'{data.source}: no row has a "{label}"; some 40 labels are needed to set the strength')
        if len(set(support.tolist())) < 2:
            raise UserError(
                f'{data.source}: all {len(support)} labels of "{label}" are of one class only, '
                f'"{classes_in(self.base.config)[support[0]] if self.base else support[0]}"; give some of each'
            )
        if len(unlabelled(data, label)) < 2:
            raise UserError(f"{data.source}: at least two texts are needed to adapt to, beside those with a label")

    def remarks(self, data: LabelledTexts) -> Sequence[str]:
        """How many rows calibrate, and how many are adapted to."""
        label = self.options.label
        few, many = sum(text is not None for text in data.labels(label)), len(unlabelled(data, label))
        return [f"{few} labelled rows set the strength, {many} texts are adapted to"]

    def build(self, facts: dict[str, Any]) -> None:
        """The frozen classifier with its updates, and room for the important tokens and the calibration.

        The classifier is not in the run: it is read again wherever the run is loaded, and `UserError` is raised when it
        is not the same.
        """
        o, shape = self.options, facts["classifier"]
        base, self.base = self.base, None
        base = read_classifier(shape["source"]) if base is None else base
        base.check(shape)
        with self.seeded("classifier"):
            self.classifier = SequenceClassifier.of(base, shape)
        if o.part == "pooler" and getattr(self.classifier.network.base_model, "pooler", None) is None:
            raise UserError(f"part=pooler: {shape['source']} has no pooler; use part=cls")
        with self.seeded("lora"):
            scale = LORA_ALPHA / o.rank
            borrow(self.classifier.network, o.rank, base.source, only=o.layers, scale=scale, dropout=o.dropout)
        self.important = Important(facts["rows"], o.k)
        self.register_buffer("right", torch.zeros(len(GRID), dtype=torch.int64))
        self.register_buffer("asked", torch.zeros((), dtype=torch.int64))

    # Training ---------------------------------------------------------------------------------------------

    def phases(self, data: LabelledTexts) -> Sequence[Phase]:
        """Importance of the tokens, the masked contrast, the calibration of the strength."""
        o = self.options
        texts = torch.from_numpy(unlabelled(data, o.label))
        labelled = torch.from_numpy(np.flatnonzero(codes(data, o.label, self.facts["classes"]) >= 0))
        learned = tuple(f"classifier.network.{name}" for name in updates(self.classifier.network))

        def shuffle(generator: torch.Generator) -> list[Tensor]:
            columns = [texts] if o.copies == "all" else self._columns(texts, len(data))
            found = [some[part] for some in columns for part in _batches(len(some), o.batch_size, generator)]
            return [found[place] for place in torch.randperm(len(found), generator=generator).tolist()]

        def chunks(rows: Tensor) -> Any:
            return lambda generator: [rows[some] for some in in_order(len(rows), ROWS)]

        return [
            self.phase("importance", data, plan=chunks(texts), batch=self._plain(data), visit=self.choose),
            self.phase("contrast", data, plan=shuffle, trains=learned),
            self.phase("calibrate", data, plan=chunks(labelled), batch=self._plain(data), visit=self.calibrate),
        ]

    def _columns(self, texts: Int[Tensor, " n"], rows: int) -> list[Int[Tensor, " _"]]:
        """For each of the k masks the texts that have it; the j-th mask of row i has the number i + j rows."""
        has = self.important.positions.cpu()[texts] >= 0
        columns = [texts[has[:, j]] + j * rows for j in range(self.options.k)]
        return [column for column in columns if len(column) > 1] or [texts]

    def _plain(self, data: LabelledTexts) -> Any:
        """Makes a batch of tokens and classes."""

        def made(rows: Tensor, generator: torch.Generator) -> dict[str, Any]:
            some = data.rows(rows.numpy())
            classes = torch.from_numpy(codes(some, self.facts["label"], self.facts["classes"]))
            return {"rows": rows, "tokens": self.classifier.tokeniser(some.text.values.tolist()), "classes": classes}

        return made

    def never(self) -> set[int]:
        """The numbers of tokens that are never masked: special ones, and those that are spared."""
        tokenizer = self.classifier.tokeniser.tokenizer
        spared = {tokenizer.token_to_id(token) for token in self.options.spare}
        return self.classifier.special() | {number for number in spared if number is not None}

    def choose(self, batch: Any, clock: Clock) -> None:
        """Find the important tokens of some texts, by the classifier as it is."""
        tokens, o = batch["tokens"], self.options
        strengthen(self.classifier.network, 0.0)
        if o.choose == "random":
            saliency = random_saliency(tokens, batch["rows"], clock.seed).to(tokens.ids.device)
        else:
            saliency = self.classifier.saliency(tokens, o.choose)
        found = top_tokens(saliency, tokens, o.k, self.never(), o.mask_by)
        self.important.positions[gather(batch["rows"])] = gather(found)
        strengthen(self.classifier.network, 1.0)

    def batch(self, data: LabelledTexts, rows: Int[Tensor, " n"], generator: torch.Generator) -> Batch:
        """Some texts and their masked copies; equal texts are not each other's negatives.

        A number of `rows` is that of a text, plus that of a mask times the number of texts, where a step has one copy.
        """
        column, rows = rows // len(data), rows % len(data)
        tokens = self.classifier.tokeniser(data.text.values[rows.numpy()].tolist())
        positions = self.important.positions.cpu()[rows]
        if self.options.copies == "one":
            positions = positions.gather(1, column[:, None])
        copies = masked(tokens, positions, self.classifier.mask, self.options.mask_by)
        alike = torch.from_numpy(data.alike[rows.numpy()])[:, None]
        return Batch(Ids(row=rows, positive=rows, exclude=alike), {"texts": tokens}, {"copies": copies})

    def losses(self, batch: Batch, clock: Clock) -> dict[str, Float[Tensor, ""]]:
        """Both halves of the masked contrast, half of each: copies find their texts, texts find their copies."""
        tokens, copies = batch.views["texts"], batch.context["copies"]
        strengthen(self.classifier.network, 1.0)
        self.note(cut=float(tokens.truncated.float().mean()) if len(tokens) else 0.0)
        run = _Vectors(self.classifier, self.options.part)
        anchors = normalize(in_chunks(run, tokens, self.chunk), dim=1)
        hidden = normalize(in_chunks(run, copies.tokens, self.chunk), dim=1)
        return masked_contrast(Embeddings(anchors, batch.ids), hidden, copies, self.options.temperature)

    def calibrate(self, batch: Any, clock: Clock) -> None:
        """Count for each strength how many labelled rows are right."""
        self.asked += sum_over_ranks(torch.tensor(len(batch["classes"]), device=self.asked.device))
        for place, strength in enumerate(GRID):
            strengthen(self.classifier.network, strength)
            said = self.classifier.logits(batch["tokens"]).argmax(dim=1)
            self.right[place] += sum_over_ranks((said == batch["classes"]).sum())
        if clock.step == clock.steps - 1:
            self.note(alpha=self.alpha)

    # Use --------------------------------------------------------------------------------------------------

    @property
    def alpha(self) -> float:
        """The strength: of those with the most labelled rows right, the smallest; 1 until it is calibrated."""
        return GRID[int(self.right.argmax())] if int(self.asked) else 1.0

    def predict(self, data: LabelledTexts, strength: float | None = None) -> Predictions:
        """The class of each text, and how likely each is; nothing of rows without a text.

        `strength` takes the place of the calibrated one; 0 is the classifier as it was.
        """
        self.require_fitted()
        strengthen(self.classifier.network, self.alpha if strength is None else strength)
        return said_of(self.classifier, data)

    def leanings(self, data: LabelledTexts, strength: float | None = None) -> Leaning:
        """The k tokens that each text's class leans on most, and what masking each of them costs.

        By the repaired classifier's own importance and classes, or at another strength. Raises `UserError` for a row
        without a text.
        """
        self.require_fitted()
        strengthen(self.classifier.network, self.alpha if strength is None else strength)
        o, tokens = self.options, tokens_of(self.classifier, data)
        how = "gradient-input" if o.choose == "random" else o.choose
        return leaning(self.classifier, tokens, o.k, self.never(), how, o.mask_by)

    def important_tokens(self, data: LabelledTexts) -> Int[Tensor, "n k"]:
        """The positions of the k most salient tokens of each text, in the classifier as it was."""
        self.require_fitted()
        return self.leanings(data, strength=0.0).positions


class Important(nn.Module):
    """The positions of the important tokens of every row, the most important first; -1: none.

    Until they are found they are the first words.
    """

    training_only = True
    positions: Tensor

    def __init__(self, rows: int, k: int) -> None:
        super().__init__()
        self.register_buffer("positions", torch.arange(1, k + 1).repeat(rows, 1))


class _Vectors(nn.Module):
    """What the head sees, as a module, so that it can run in chunks."""

    def __init__(self, classifier: SequenceClassifier, part: Part) -> None:
        super().__init__()
        self.classifier, self.part = classifier, part

    def forward(self, tokens: Any) -> Float[Tensor, "n d"]:
        return self.classifier.vectors(tokens, self.part)


def masked_contrast(
    anchors: Embeddings, hidden: Float[Tensor, "m d"], copies: Masked, temperature: float
) -> dict[str, Float[Tensor, ""]]:
    """MaskCL of unit vectors of n texts and of their m masked copies.

    With p_ij the copy of text i without its j-th important token, "text" is the half in which p_ij finds text i among
    the texts of the batch, "copy" the half in which text i finds p_ij among the copies p_.j without the other texts'
    j-th token. Each is a mean over the copies that have something to be told apart from, halved.
    Source: arXiv 2604.12277, L1 and L2 (its L_con = (L1 + L2) / (2 B k)).
    """
    of_copies = anchors.ids[copies.row]
    found = info_nce(Embeddings(hidden, of_copies), anchors, temperature=temperature)
    by_column = Ids(of_copies.row, of_copies.positive, of_copies.exclude, within=copies.column)
    asked = Embeddings(anchors.vectors[copies.row], by_column)
    kept = info_nce(asked, Embeddings(hidden, by_column), temperature=temperature)
    return {"text": found.mean() / 2, "copy": kept.mean() / 2}


def _batches(rows: int, batch_size: int, generator: torch.Generator) -> list[Tensor]:
    """All rows at random, in batches; one batch where there are fewer rows than it takes."""
    return shuffled(rows, min(batch_size, rows), generator)


def unlabelled(data: LabelledTexts, label: str) -> Int[np.ndarray, " m"]:
    """The rows to adapt to: those with a text and without a label, or all with a text when none is without."""
    free = np.array([value is None for value in data.labels(label)], dtype=bool)
    return np.flatnonzero(data.present & free if (data.present & free).any() else data.present)
