"""Textual rules in two banks, what to do and what to avoid, found again by cosine and pruned when there are many."""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from itertools import chain, zip_longest
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

Bank = Literal["do", "avoid"]
Policy = Literal["none", "fifo", "random", "merge", "merge-fifo"]
Way = Literal["cosine", "latest", "random"]
BANKS: tuple[Bank, Bank] = ("do", "avoid")
Embed = Callable[[str], Float[Tensor, " d"]]


@dataclass
class Rule:
    """A rule and where it comes from: the question, who gave the answer, that answer's perplexity, when.

    `step` counts questions from 0, -1 for a rule that was put in; `frequency` counts the rules that were merged into
    it, itself included; `used` how often it was given to a question.
    """

    id: int
    bank: Bank
    text: str
    question: str
    role: str
    perplexity: float | None
    step: int
    frequency: int = 1
    used: int = 0


@dataclass
class RuleStore:
    """Two banks of rules.

    `prune` says what happens to a bank of more than `cap` rules: nothing, the oldest or a random one leaves; "merge"
    counts a rule of cosine `merge_at` or more to an older one as that one's and lets the least frequent leave,
    "merge-fifo" merges too and lets the oldest leave. Merged rules are ranked by cosine * log(1 + frequency).
    Source: arXiv 2604.13552, released code; which one leaves under "merge" is ours.

    >>> letters = lambda text: torch.tensor([float(text.count(one)) for one in "abc"])
    >>> store = RuleStore(letters)
    >>> for text in ("aa", "b", "ab"):
    ...     _ = store.add("do", text, "?", "teacher", 1.0, 0)
    >>> [rule.text for rule in store.nearest("a", 2)["do"]]
    ['aa', 'ab']
    """

    embed: Embed
    prune: Policy = "none"
    cap: int = 100
    merge_at: float = 0.95
    banks: dict[Bank, list[Rule]] = field(default_factory=lambda: {"do": [], "avoid": []})
    made: int = 0
    left: int = 0
    """Rules that were pruned."""

    def __len__(self) -> int:
        return sum(map(len, self.banks.values()))

    @property
    def merges(self) -> bool:
        """Whether like rules become one."""
        return self.prune.startswith("merge")

    def add(
        self,
        bank: Bank,
        text: str,
        question: str,
        role: str,
        perplexity: float,
        step: int,
        generator: torch.Generator | None = None,
    ) -> Rule:
        """Put a rule into its bank, or count it to one like it; returns the rule that stands for it."""
        held = self.banks[bank]
        if self.merges and held:
            cosines = self._cosines(text, held)
            best = max(range(len(held)), key=cosines.__getitem__)
            if cosines[best] >= self.merge_at:
                held[best].frequency += 1
                return held[best]
        rule = Rule(self.made, bank, text, question, role, finite(perplexity), step)
        self.made += 1
        held.append(rule)
        if self.prune != "none" and len(held) > self.cap:
            held.pop(self._leaver(held, generator))
            self.left += 1
        return rule

    def _leaver(self, held: Sequence[Rule], generator: torch.Generator | None) -> int:
        """The place of the rule that leaves; a rule never leaves at once under "merge", where all are new."""
        if self.prune == "random":
            return int(torch.randint(len(held), (), generator=generator))
        if self.prune == "merge":
            return min(range(len(held) - 1), key=lambda place: held[place].frequency) if len(held) > 1 else 0
        return 0

    def nearest(
        self, question: str, k: int, way: Way = "cosine", generator: torch.Generator | None = None
    ) -> dict[Bank, list[Rule]]:
        """Up to k rules of each bank: those nearest to the question, the latest, or any."""
        found: dict[Bank, list[Rule]] = {}
        for bank, held in self.banks.items():
            if way == "latest":
                found[bank] = held[::-1][:k]
            elif way == "random":
                order = torch.randperm(len(held), generator=generator)[:k].tolist()
                found[bank] = [held[place] for place in order]
            else:
                cosines = self._cosines(question, held)
                if self.merges:
                    cosines = [c * math.log1p(r.frequency) for c, r in zip(cosines, held, strict=True)]
                order = sorted(range(len(held)), key=lambda place: -cosines[place])[:k]
                found[bank] = [held[place] for place in order]
        return found

    def rows(self) -> list[dict[str, Any]]:
        """All rules as JSON has them, and how many there were."""
        return [asdict(rule) for bank in BANKS for rule in self.banks[bank]]

    def load(self, rows: Sequence[dict[str, Any]], made: int, left: int) -> None:
        """Take back what `rows` gave."""
        self.banks = {bank: [Rule(**row) for row in rows if row["bank"] == bank] for bank in BANKS}
        self.made, self.left = made, left

    def _cosines(self, text: str, held: Sequence[Rule]) -> list[float]:
        if not held:
            return []
        asked, known = self.embed(text), torch.stack([self.embed(rule.text) for rule in held])
        return torch.cosine_similarity(known, asked[None], dim=1).tolist()


def interleaved(found: dict[Bank, list[Rule]], tokens: int) -> list[Rule]:
    """Do, avoid, do, ... as long as they fit into so many tokens, of which a text has a third of its characters.

    >>> rules = [Rule(n, "do", "x" * 30, "", "", None, 0) for n in range(3)]
    >>> len(interleaved({"do": rules, "avoid": []}, tokens=20))
    2
    """
    chosen, left = [], float(tokens)
    for rule in chain.from_iterable(zip_longest(found["do"], found["avoid"])):
        if rule is None:
            continue
        left -= len(rule.text) / 3
        if left < 0:
            break
        chosen.append(rule)
    return chosen


def finite(value: float) -> float | None:
    """A number as JSON has it: None for an infinite perplexity, of an answer without log-probabilities."""
    return value if math.isfinite(value) else None
