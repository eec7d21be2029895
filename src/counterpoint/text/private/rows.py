"""The labelled spans that an encoder of private spans learns from: gold spans, and chunks beside them."""

from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from counterpoint.errors import UserError
from counterpoint.rows import split_rows
from counterpoint.text.private.chunks import chunks
from counterpoint.text.private.span_judge import HIT
from counterpoint.text.private.spans import SpannedTexts, iou, overlap

FEWEST = 10
"""Texts with private spans below which none is kept aside to choose gamma on."""


@dataclass(frozen=True)
class PrivateRows:
    """n different spans by domain: their words, the number of their domain, and whether they are private."""

    words: list[str]
    domain: Int[Tensor, " n"]
    private: Int[Tensor, " n"]

    def __len__(self) -> int:
        return len(self.words)

    @property
    def kind(self) -> Int[Tensor, " n"]:
        """One number for each domain and privacy: the types that a batch has equally many of."""
        return 2 * self.domain + self.private

    def private_of(self, domain: int) -> list[str]:
        """The private spans of a domain."""
        return [self.words[row] for row in ((self.domain == domain) & (self.private == 1)).nonzero()[:, 0].tolist()]


def rows_of(data: SpannedTexts) -> PrivateRows:
    """The different spans of texts.

    Private are the gold spans and the chunks that are nearly one (half or more of the characters of either shared),
    not private the chunks that share nothing with any; words that are both in a domain count as private. Raises
    `UserError` when a domain lacks private spans, or chunks that are not.
    """
    kept: dict[tuple[int, str], int] = {}
    for row, (text, gold) in enumerate(zip(data.texts, data.spans, strict=True)):
        if text is None:
            continue
        domain = data.names.index(str(data.domains[row]))
        for span in gold:
            kept[domain, text[span.start : span.end]] = 1
        for start, end in chunks(text):
            near = max((iou((start, end), span) for span in gold), default=0.0)
            words = text[start:end]
            if near >= HIT:
                kept[domain, words] = 1
            elif not any(overlap((start, end), span) for span in gold):
                kept.setdefault((domain, words), 0)
    for number, name in enumerate(data.names):
        for private, what in ((1, "private spans"), (0, "chunks that are not private")):
            if not any(key[0] == number and value == private for key, value in kept.items()):
                raise UserError(f'{data.source}: domain "{name}" has no {what}; both kinds are needed to learn from')
    order = sorted(kept)
    return PrivateRows(
        [words for _, words in order],
        torch.tensor([domain for domain, _ in order], dtype=torch.int64),
        torch.tensor([kept[key] for key in order], dtype=torch.int64),
    )


def parted(data: SpannedTexts, held: float) -> tuple[SpannedTexts, SpannedTexts]:
    """Texts to learn from and texts to choose gamma on; the same whatever the seed.

    With fewer than 10 texts that have private spans, all are both. Raises `UserError` when no text has a private span.
    """
    full = data.rows(data.present)
    private = sum(bool(spans) for spans in full.spans)
    if not private:
        raise UserError(f"{data.source}: no text has a private span; span columns or BIO tags say where they are")
    if private < FEWEST:
        return full, full
    groups = full.texts if full.group is None else full.columns[full.group]
    parts = split_rows(len(full), {"train": 1 - held, "held": held}, 0, groups, full.source, by="texts")
    learned, kept = full.rows(parts["train"]), full.rows(parts["held"])
    return (learned, kept) if learned.names == full.names and any(kept.spans) else (full, full)
