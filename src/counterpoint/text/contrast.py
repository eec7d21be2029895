"""Fine-tuning of a text encoder on texts that belong together."""

import json
from collections.abc import Sequence
from functools import partial
from itertools import combinations
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor
from torch.nn.functional import normalize

from counterpoint.errors import UserError, nearest
from counterpoint.objectives import Embeddings, Ids, multiple_negatives
from counterpoint.pretrained.lowrank import borrow
from counterpoint.pretrained.source import Base, read_base
from counterpoint.pretrained.texts import TextEncoder
from counterpoint.pretrained.tokens import Tokeniser, Tokens
from counterpoint.text.judge import retrieval
from counterpoint.text.pairs import NEGATIVE, Pairs, Texts
from counterpoint.training import Batch, Clock, Encoded, Method, Optim, Phase, SGDConfig, in_chunks

SAMPLE = 1000
"""Training rows whose texts are looked at for being cut."""


class Contrast(Method):
    """InfoNCE between texts that belong together: a row's texts attract, those of other rows repel.

    Of every two views the one named first finds the other; texts of `negative...` views are further candidates for the
    first view of any row. Rows that share a text are not each other's negatives. All texts of a batch are sorted by
    length and run in sub-batches: the same loss in less time.
    Source: multiple negatives ranking, arXiv 1705.00652, section 4.4, on cosines as in arXiv 1908.10084.

    >>> Contrast(base="minilm", lora=8).options.temperature
    0.05
    """

    class Config(SGDConfig):
        """Options of contrast; temperature 0.05 is the customary scale of 20."""

        optim: Optim = Optim(lr=2e-5)
        epochs: int = Field(1, ge=0, description="passes over the rows; 0: the base as it is")
        batch_size: int = Field(64, ge=2, description="rows per step; each is compared with all others of its batch")

        base: str = Field("minilm", description="a folder, a name on the Hugging Face hub, minilm, e5 or static")
        pooling: Literal["mean", "cls", "max"] | None = Field(None, description="of token vectors; none: the base's")
        max_length: int | None = Field(None, ge=4, description="tokens read of a text; none: as many as the base says")
        temperature: float = Field(0.05, gt=0, description="what cosines are divided by")
        symmetric: bool = Field(False, description="the second of two views finds the first, too")
        lora: int = Field(0, ge=0, description="rank of learned updates to a frozen base; 0: all weights learn")
        dropout: float = Field(0.1, ge=0, lt=1, description="dropout inside the base in training")

    Data = Pairs
    judge = staticmethod(retrieval)
    options: Config
    base: Base | None = None
    """What `measure` read, until `build` takes it."""
    recipe = """Texts become vectors of length 1 in four steps: put the prompt of `base.prompts` before the text, if
there is one; tokenise it with tokenizer.json, at most `base.max_length` tokens; run the transformer of `base.config`
(weights below `encoder.base.`); pool the last layer's vectors over the tokens as `base.pooling` says and divide by the
length. With `lora`, a linear layer's weight is layer.weight + 2 up down. The joint vector of several texts is their
mean, divided by its length."""

    def measure(self, data: Pairs) -> dict[str, Any]:
        """The base's facts, the views, and which share of some of their texts is cut; reads the base."""
        if len(data.positives) < 2:
            raise UserError(f"{data.source}: contrast needs two texts per row; views: {', '.join(data.views)}")
        self.base = read_base(self.options.base)
        facts = self.base.facts(self.options.pooling, self.options.max_length)
        tokeniser = Tokeniser(self.base.tokenizer, facts["max_length"], facts["padding"], facts["prompts"])
        order = (*data.positives, *data.negatives)
        return {"views": {name: {"cut": _cut(tokeniser, data.views[name])} for name in order}, "base": facts}

    def build(self, facts: dict[str, Any]) -> None:
        """The base; its weights and tokenizer come from what `measure` read, or from the run that is loaded.

        With `lora` the base is frozen, with updates beside its linear layers, and not in the run: it is read again
        wherever the run is loaded, and `UserError` is raised when it is not the same.
        """
        base, self.base = self.base, None
        if base is None and self.options.lora:
            base = read_base(facts["base"]["source"])
        if base is None:
            self.encoder = TextEncoder(facts["base"], None, self.options.dropout)
            return
        base.check(facts["base"])
        self.encoder = TextEncoder.of(base, facts["base"], self.options.dropout)
        if self.options.lora:
            with self.seeded("lora"):
                borrow(self.encoder.base, self.options.lora, base.source)

    def tables(self) -> dict[str, list[dict[str, Any]]]:
        """The tokenizer, in a run that has all weights of its own."""
        return {} if self.options.lora else {"tokenizer": [json.loads(self.encoder.tokeniser.json())]}

    def load_tables(self, tables: dict[str, list[dict[str, Any]]]) -> None:
        """Take the tokenizer; raises `UserError` when it is missing."""
        if self.options.lora:
            return
        if not tables.get("tokenizer"):
            raise UserError("tables/tokenizer.jsonl of the run is missing or empty; restore it, or fit again")
        self.encoder.load_tokenizer(json.dumps(tables["tokenizer"][0], ensure_ascii=False))

    def phases(self, data: Pairs) -> Sequence[Phase]:
        """One phase, or none with `epochs=0`."""
        return [self.phase("fit", data)] if self.options.epochs else []

    def batch(self, data: Pairs, rows: Int[Tensor, " n"], generator: torch.Generator) -> Batch:
        """All texts of some rows as one list of tokens, and for each view the place of its text in it (-1: none)."""
        index = rows.numpy()
        texts: list[str] = []
        places: dict[str, Tensor] = {}
        for name in self.facts["views"]:
            view = data.views[name]
            known = torch.from_numpy(view.present[index])
            places[name] = torch.where(known, len(texts) + known.cumsum(0) - 1, -1)
            texts += self.encoder.tokeniser.prompted(view.values[index][known.numpy()].tolist(), self.prompt(name))
        exclude, alike = _numbers(data, index) if data.repeats else (None, {})
        nobody = torch.full_like(rows, -1)
        hard = {name: Ids(nobody, nobody, alike.get(name)) for name in data.negatives}
        context = {"tokens": self.encoder.tokeniser(texts), "hard": hard}
        return Batch(Ids(row=rows, positive=rows, exclude=exclude), places, context)

    def losses(self, batch: Batch, clock: Clock) -> dict[str, Float[Tensor, ""]]:
        """One term for every two views; texts of negative views stand against the first one."""
        tokens: Tokens = batch.context["tokens"]
        ordered, back = tokens.longest_first()
        vectors = in_chunks(self.encoder, ordered, self.chunk)[back]
        sides = {name: self._side(name, vectors, batch) for name in batch.views}
        self.note(cut=float(tokens.truncated.float().mean()) if len(tokens) else 0.0)
        return self._terms(sides)

    def _terms(self, sides: dict[str, Embeddings]) -> dict[str, Float[Tensor, ""]]:
        """Every two views by name, the first finding the second; hard negatives stand against the first view."""
        positives = [name for name in sides if not name.startswith(NEGATIVE)]
        hard = [side for name, side in sides.items() if name.startswith(NEGATIVE)]
        pairs = list(combinations(positives, 2))
        loss = partial(multiple_negatives, temperature=self.options.temperature, symmetric=self.options.symmetric)
        return {
            f"{a}-{b}": loss(sides[a], sides[b], *(hard if a == positives[0] else ())).mean() / len(pairs)
            for a, b in pairs
        }

    def _side(self, name: str, vectors: Float[Tensor, "t d"], batch: Batch) -> Embeddings:
        """The texts of one view with their ids; a hard negative is nobody's positive."""
        place, ids = batch.views[name], batch.context["hard"].get(name, batch.ids)
        known = place >= 0
        return Embeddings(vectors[place[known]], ids[known])

    def prompt(self, view: str) -> str:
        """The name of the prompt put before a view's texts: the first view asks, the others answer."""
        return "query" if view == next(iter(self.facts["views"])) else "document"

    def embed_texts(self, texts: Sequence[str], prompt: str = "query", bf16: bool = False) -> Float[Tensor, "n d"]:
        """Unit vectors of texts that ask ("query") or answer ("document"); `bf16` as in `TextEncoder.encode`."""
        self.require_fitted()
        return self.encoder.encode(texts, prompt, bf16)

    def embed_views(self, data: Pairs, views: Sequence[str] | None = None) -> Encoded:
        """Unit vectors of each view (default: those of the run that the data have), and which rows have it.

        Raises `UserError` for a view that the run or the data do not have.
        """
        self.require_fitted()
        vectors, present = {}, {}
        for name in views or [name for name in self.facts["views"] if name in data.views]:
            for known in (self.facts["views"], data.views):
                if name not in known:
                    raise UserError(f'{data.source}: no view "{name}"; {nearest(name, known)}')
            view = data.views[name]
            place = {text: row for row, text in enumerate(dict.fromkeys(view.values[view.present]))}
            different = self.embed_texts(list(place), self.prompt(name))
            present[name] = torch.from_numpy(view.present).to(different.device)
            vectors[name] = different.new_zeros(len(data), self.encoder.width)
            vectors[name][present[name]] = different[[place[text] for text in view.values[view.present]]]
        if not vectors:
            raise UserError(f"{data.source}: has none of the run's views {', '.join(self.facts['views'])}")
        return Encoded(vectors, present)

    def embed(self, data: Pairs) -> Float[Tensor, "n d"]:
        """One vector per row: the normalised mean of its texts but hard negatives (zero for a row with none)."""
        return self.joint(self.embed_views(data, [name for name in self.facts["views"] if name in data.positives]))

    def joint(self, encoded: Encoded) -> Float[Tensor, "n d"]:
        """The normalised mean of the texts that are present, but hard negatives."""
        kept = [vectors for name, vectors in encoded.vectors.items() if not name.startswith(NEGATIVE)]
        return normalize(torch.stack(kept).sum(dim=0), dim=1)


def _cut(tokeniser: Tokeniser, view: Texts) -> float:
    """The share of a view's texts, among the first of them, that are longer than the encoder reads."""
    texts = [text for text in view.values[:SAMPLE] if text is not None]
    return round(float(tokeniser(texts).truncated.float().mean()), 4) if texts else 0.0


def _numbers(data: Pairs, index: Int[np.ndarray, " n"]) -> tuple[Int[Tensor, "n e"], dict[str, Int[Tensor, "n e"]]]:
    """What is equal among some rows: a column per view, and for each hard negative its number in every column."""
    columns = torch.from_numpy(np.stack([data.numbers[name][index] for name in data.positives], axis=1))
    own = {name: torch.from_numpy(data.numbers[name][index]) for name in data.negatives}
    return columns, {name: numbers[:, None].expand_as(columns).contiguous() for name, numbers in own.items()}
