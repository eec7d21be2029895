"""A classifier of texts, fine-tuned plainly or with one of three guards against shortcuts that need training data."""

import copy
import json
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from counterpoint.errors import UserError
from counterpoint.objectives import gather, mean_over_ranks
from counterpoint.pretrained.classifiers import (
    SequenceClassifier,
    classes_in,
    classifier_facts,
    is_classifier,
    read_classifier,
    without_head,
)
from counterpoint.pretrained.source import Base, weights_hash
from counterpoint.text.labels.classes import classes_of, classified, codes, said_of
from counterpoint.text.labels.labelled import LabelledTexts
from counterpoint.text.labels.last_layer import sparse_logistic
from counterpoint.text.labels.masks import Leaning, leaning
from counterpoint.training import Clock, Method, Optim, Phase, Predictions, SGDConfig, rng
from counterpoint.training.samplers import in_order, shuffled

K = 10
"""Tokens of a text that are masked one by one to see what the classifier leans on."""
ROWS = 64
"""Rows of a pass without gradients."""


class TextClassifier(Method):
    """A pretrained encoder with a linear head, fine-tuned by cross-entropy (empirical risk minimisation).

    `training` says what is done about shortcuts in the training texts: nothing (erm); train again with the errors of a
    first, short training weighted up (jtt, arXiv 2107.09044); keep the body near its pretrained weights (nfl, the
    variant NFL-CP of arXiv 2305.13654); or train the last layer anew, with an l1 penalty, on held-out rows drawn
    equally from all groups (dfr, arXiv 2204.02937). A finished classifier as `base` is trained on, or with `epochs=0`
    taken as it is. Rows without a label or a text are left out.

    >>> TextClassifier(base="minilm", training="jtt").options.upweight
    6
    """

    class Config(SGDConfig):
        """Options of the classifier; learning rate and epochs are customary ones."""

        optim: Optim = Optim(lr=5e-5)
        epochs: int = Field(2, ge=0, description="passes over the rows; 0: a finished classifier as it is")
        batch_size: int = Field(32, ge=2, description="rows per step")

        base: str = Field("minilm", description="an encoder, as of contrast, or a folder with a finished classifier")
        label: str = Field("label", description="the column of the classes")
        max_length: int | None = Field(None, ge=4, description="tokens read of a text; none: as many as the base says")
        dropout: float = Field(0.1, ge=0, lt=1, description="dropout inside the network in training")
        training: Literal["erm", "jtt", "nfl", "dfr"] = Field("erm", description="plainly, or one of three guards")
        identify: int = Field(1, ge=1, description="jtt: passes of the first training, whose errors count")
        upweight: int = Field(6, ge=1, description="jtt: how often an error stands in a pass")
        pull: float = Field(1.0, ge=0, description="nfl: weight of the squared distance from the pretrained weights")
        held_out: float = Field(0.05, gt=0, lt=1, description="dfr: share of rows kept for the last layer")
        penalty: float = Field(0.01, ge=0, description="dfr: weight of the l1 norm, 1 / (n C)")

    Data = LabelledTexts
    judge = staticmethod(classified)
    options: Config
    base: Base | None = None
    """What `measure` read, until `build` takes it."""

    def measure(self, data: LabelledTexts) -> dict[str, Any]:
        """What shapes the network, the classes, and the share of texts that are cut; reads the base.

        Raises `UserError` for one class only, labels that a finished classifier does not know, and `epochs=0` of an
        encoder that has no head yet.
        """
        o = self.options
        finished = is_classifier(o.base)
        if not finished and not o.epochs and o.training != "dfr":
            raise UserError(f"epochs=0: {o.base} has no classes of its own yet; name a finished classifier, or train")
        self.base = read_classifier(o.base) if finished else without_head(o.base, classes_of(data, o.label))
        facts = classifier_facts(self.base, o.max_length)
        classes = classes_in(facts["config"])
        labelled = np.flatnonzero(codes(data, o.label, classes) >= 0)
        return {
            "views": {"text": {}},
            "classifier": facts | {"hash": weights_hash(self.base.state)},
            "finished": finished,
            "label": o.label,
            "classes": classes,
            "rows": len(data),
            "cut": cut_share(SequenceClassifier.tokeniser_of(self.base.tokenizer, facts), data.rows(labelled)),
        }

    def remarks(self, data: LabelledTexts) -> Sequence[str]:
        """How many rows have a label."""
        labels = data.labels(self.options.label)
        return [f"{sum(text is not None for text in labels)} of {len(data)} rows have a label"]

    def build(self, facts: dict[str, Any]) -> None:
        """The network; its weights and tokenizer come from what `measure` read, or from the run that is loaded."""
        base, self.base = self.base, None
        with self.seeded("head"):
            if base is None:
                self.classifier = SequenceClassifier(facts["classifier"], None, self.options.dropout)
            else:
                shape = facts["classifier"]
                self.classifier = SequenceClassifier.of(base, shape, self.options.dropout, not facts["finished"])
        if self.options.training in ("jtt", "nfl"):
            self.start = Start(self.classifier.network)
        if self.options.training == "jtt":
            self.errors = Errors(facts["rows"])

    def tables(self) -> dict[str, list[dict[str, Any]]]:
        """The tokenizer."""
        return {"tokenizer": [json.loads(self.classifier.tokeniser.json())]}

    def load_tables(self, tables: dict[str, list[dict[str, Any]]]) -> None:
        """Take the tokenizer; raises `UserError` when it is missing."""
        if not tables.get("tokenizer"):
            raise UserError("tables/tokenizer.jsonl of the run is missing or empty; restore it, or fit again")
        self.classifier.load_tokenizer(json.dumps(tables["tokenizer"][0], ensure_ascii=False))

    # Training ---------------------------------------------------------------------------------------------

    def phases(self, data: LabelledTexts) -> Sequence[Phase]:
        """The training, and before or after it what its guard needs."""
        o = self.options
        rows = np.flatnonzero(codes(data, o.label, self.facts["classes"]) >= 0)
        kept, held = self._held_out(data, rows) if o.training == "dfr" else (rows, rows[:0])

        def plan(rows: np.ndarray, weighted: bool = False) -> Any:
            def planned(generator: torch.Generator) -> list[Tensor]:
                index = torch.from_numpy(rows)
                if weighted:
                    index = index.repeat_interleave(1 + (o.upweight - 1) * self.errors.wrong.cpu()[index].long())
                return [index[some] for some in shuffled(len(index), min(o.batch_size, len(index)), generator)]

            return planned

        trains = {"trains": ("classifier",)}
        found = []
        if o.training == "jtt" and o.epochs:
            found.append(self.phase("identify", data, plan=plan(rows), epochs=o.identify, keep=None, **trains))
            chunks = [torch.from_numpy(rows)[some] for some in in_order(len(rows), ROWS)]
            found.append(self.phase("errors", data, plan=lambda generator: chunks, visit=self.mark))
        if o.epochs:
            found.append(self.phase("fit", data, plan=plan(kept, weighted=o.training == "jtt"), **trains))
        if o.training == "dfr":
            found.append(self.phase("last layer", data, plan=lambda generator: [held], visit=self.solve))
        return found

    def batch(self, data: LabelledTexts, rows: Int[Tensor, " n"], generator: torch.Generator) -> dict[str, Any]:
        """Tokens and numbers of the classes of some labelled rows."""
        some = data.rows(rows.numpy())
        classes = torch.from_numpy(codes(some, self.facts["label"], self.facts["classes"]))
        return {"rows": rows, "tokens": self.classifier.tokeniser(some.text.values.tolist()), "classes": classes}

    def losses(self, batch: Any, clock: Clock) -> dict[str, Float[Tensor, ""]]:
        """The cross-entropy; with nfl the distance from the pretrained body, too."""
        tokens = batch["tokens"]
        self.note(cut=float(tokens.truncated.float().mean()) if len(tokens) else 0.0)
        value = cross_entropy(self.classifier.logits(tokens), batch["classes"], reduction="none")
        terms = {"classes": mean_over_ranks(value)}
        if self.options.training == "nfl" and self.options.pull:
            terms["pull"] = self.options.pull * self.start.distance(self.classifier.network)
        return terms

    def mark(self, batch: Any, clock: Clock) -> None:
        """Note which rows the first training gets wrong; after the last of them begin anew (jtt)."""
        wrong = self.classifier.logits(batch["tokens"]).argmax(dim=1) != batch["classes"]
        rows, wrong = gather(batch["rows"]), gather(wrong.long())
        self.errors.wrong[rows] = wrong.bool()
        if clock.step == clock.steps - 1:
            self.start.restore_(self.classifier.network)
            self.note(errors=float(self.errors.wrong.sum()))

    @torch.no_grad()
    def solve(self, batch: Any, clock: Clock) -> None:
        """Put a new last layer in the place of the old, solved on the held-out rows (dfr)."""
        layer = self.classifier.last_layer
        vectors = gather(self.classifier.before_last_layer(batch["tokens"]))
        weights, bias = sparse_logistic(vectors, gather(batch["classes"]), layer.out_features, self.options.penalty)
        layer.weight.copy_(weights)
        layer.bias.copy_(bias)

    def _held_out(self, data: LabelledTexts, rows: np.ndarray) -> tuple[np.ndarray, Tensor]:
        """The rows to train on, and those for the last layer: equally many of each group."""
        order = rows[torch.randperm(len(rows), generator=rng(self.seed, "held out")).numpy()]
        held = order[: max(1, round(self.options.held_out * len(rows)))]
        kept = np.sort(order[len(held) :]) if self.options.epochs else rows
        group = [str(value) for value in codes(data.rows(held), self.options.label, self.facts["classes"]).tolist()]
        if data.subgroup is not None:
            group = [f"{a} {b}" for a, b in zip(group, data.columns[data.subgroup][held].tolist(), strict=True)]
        names, place, count = np.unique(np.array(group), return_inverse=True, return_counts=True)
        few = np.concatenate([held[place == name][: count.min()] for name in range(len(names))])
        if len({*codes(data.rows(few), self.options.label, self.facts["classes"]).tolist()}) < 2:
            raise UserError(
                f"{data.source}: the {len(held)} held-out rows have one class only; raise held_out above "
                f"{self.options.held_out:g}"
            )
        return kept, torch.from_numpy(np.sort(few))

    # Use --------------------------------------------------------------------------------------------------

    def predict(self, data: LabelledTexts) -> Predictions:
        """The class of each text, and how likely each is; nothing of rows without a text."""
        self.require_fitted()
        return said_of(self.classifier, data)

    def leanings(self, data: LabelledTexts) -> Leaning:
        """The ten tokens that each text's class leans on most, and what masking each of them costs.

        Raises `UserError` when the tokenizer has no mask token, or a row has no text.
        """
        self.require_fitted()
        return leaning(self.classifier, tokens_of(self.classifier, data), K, self.classifier.special())


class Start(nn.Module):
    """The weights that a network had when it was built."""

    training_only = True

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).requires_grad_(False)
        self.body = tuple(f"{network.base_model_prefix}.{part}" for part in ("embeddings", "encoder", "transformer"))

    def distance(self, network: nn.Module) -> Float[Tensor, ""]:
        """The squared distance of a network's body from here; its head has nothing to stay near to."""
        before = dict(self.network.named_parameters())
        pairs = ((p, before[name]) for name, p in network.named_parameters() if name.startswith(self.body))
        return torch.stack([(here - there).square().sum() for here, there in pairs]).sum()

    @torch.no_grad()
    def restore_(self, network: nn.Module) -> None:
        """Bring a network back to here."""
        for here, there in zip(network.parameters(), self.network.parameters(), strict=True):
            here.copy_(there)


class Errors(nn.Module):
    """Which training rows were wrong."""

    training_only = True
    wrong: Tensor

    def __init__(self, rows: int) -> None:
        super().__init__()
        self.register_buffer("wrong", torch.zeros(rows, dtype=torch.bool))


def tokens_of(classifier: SequenceClassifier, data: LabelledTexts) -> Any:
    """The tokens of rows that all have a text, on the classifier's device; raises `UserError` for one that has none."""
    if not data.present.all():
        row = int(np.flatnonzero(~data.present)[0]) + 1
        raise UserError(f"{data.source}: row {row} has no text; leave such rows out")
    return classifier.tokeniser(data.text.values.tolist()).to(next(classifier.parameters()).device)


def cut_share(tokeniser: Any, data: LabelledTexts) -> float:
    """The share of texts, among the first 1,000, that are longer than a classifier reads."""
    texts = [text for text in data.text.values[:1000] if text is not None]
    return round(float(tokeniser(texts).truncated.float().mean()), 4) if texts else 0.0
