"""What a judgement rests on, and what it says beyond accuracy: coverage, popularity, some users and items to see."""

from typing import Any

import numpy as np
import torch
from jaxtyping import Int

from counterpoint.evaluation.ranking import gini
from counterpoint.recommend.interactions import Interactions
from counterpoint.recommend.judge import BLOCK, HEAD, SHORT, TIES, Ranked, for_method, rank

SHOWN = 5
"""Users whose lists are shown beside what they took, and events of each."""
KNOWN, BESIDE = 8, 5
"""Items with most training events whose neighbours are shown, and how many of those."""
AMONG = 5000
"""Items, those with most training events, among which neighbours are sought."""


def assess(method: Any, train: Interactions, test: Interactions, label: str | None = None) -> dict[str, Any]:
    """The protocol with everything that moves a number, coverage and popularity of what is listed, some users.

    `coverage` is the share of items that are in any list, `gini` how unequally the places go to items (0: evenly).
    `popularity` compares the mean number of training events of what is listed with that of what was asked for.
    """
    data = for_method(method, test)
    k = data.protocol.cutoffs[len(data.protocol.cutoffs) // 2]
    ranked = rank(method, data, k)
    counts = method.items.counts.cpu().numpy()
    places = np.bincount(ranked.lists[ranked.lists >= 0], minlength=len(counts))
    targets = data.items[np.concatenate(ranked.questions.targets)]
    known = targets >= 0
    protocol = {
        "ranking": "all items" if data.candidates is None else f"{data.candidates.shape[1]} given candidates",
        "candidates": len(counts) if data.candidates is None else int(data.candidates.shape[1]),
        "seen": data.protocol.seen,
        "ties": TIES,
        "target": data.protocol.target,
        "questions": "together" if data.protocol.together else "each",
        "cutoffs": list(data.protocol.cutoffs),
        "head": f"the {HEAD:.0%} of items with most training events",
        "short": f"at most {SHORT} events",
    }
    asked = {
        "questions": len(ranked.questions),
        "users": len(np.unique(ranked.questions.user)),
        "unknown items": int((~known).sum()),
        "items without training events": int((counts[targets[known]] == 0).sum()),
        "asked for again": _repeated(ranked, data),
    }
    return {
        "protocol": protocol,
        "asked": asked,
        "lists": {
            "length": k,
            "coverage": float((places > 0).mean()),
            "gini": gini(places),
            "popularity": float(counts[ranked.lists[ranked.lists >= 0]].mean()),
            "popularity asked for": float(counts[targets[known]].mean()) if known.any() else 0.0,
        },
        "users": [_user(method, ranked, data, int(place)) for place in _spread(len(ranked.questions), SHOWN)],
        "neighbours": neighbours(method),
    }


def neighbours(method: Any, known: int = KNOWN, beside: int = BESIDE) -> list[dict[str, Any]]:
    """For the items with most training events those most like them, nearest first, among the `AMONG` with most.

    Items that are not alike at all are no neighbours, so there may be fewer, or none.
    """
    counts = method.items.counts
    among = counts.argsort(descending=True, stable=True)[:AMONG]
    among = among[counts[among] > 0]
    well = among[:known]
    size = max(16, BLOCK // max(1, len(counts)))
    with torch.no_grad():
        blocks = [method.similarity(well, part).cpu() for part in among.split(size)]
    if not blocks:
        return []
    alike = torch.cat(blocks, dim=1).masked_fill(well.cpu()[:, None] == among.cpu(), -torch.inf)
    near = alike.topk(min(beside, alike.shape[1]))
    found = []
    for item, values, places in zip(well.tolist(), near.values.tolist(), near.indices, strict=True):
        pairs = zip(among[places.to(among.device)].tolist(), values, strict=True)
        close = [{"item": name_of(method, other), "similarity": value} for other, value in pairs if value > 0]
        found.append({"item": name_of(method, item), "events": int(counts[item]), "near": close})
    return found


def _spread(n: int, most: int) -> Int[np.ndarray, " k"]:
    """Some of n places, evenly apart, so that the order of the data does not choose."""
    return np.unique(np.linspace(0, n - 1, min(n, most)).round().astype(np.int64))


def _repeated(ranked: Ranked, data: Interactions) -> int:
    """Questions whose answer is in the history; where seen items are removed, nobody can answer those."""
    questions = ranked.questions
    return sum(
        bool(np.isin(data.items[events], data.items[first:last]).any())
        for first, last, events in zip(questions.first, questions.last, questions.targets, strict=True)
    )


def _user(method: Any, ranked: Ranked, data: Interactions, place: int) -> dict[str, Any]:
    """One user's latest events, the list, what came next, and the place in the list of the first right item."""
    questions = ranked.questions
    first, last = int(questions.first[place]), int(questions.last[place])
    right = np.flatnonzero(ranked.hits[place])

    def told(numbers: Any) -> list[str]:
        return [name_of(method, int(number)) for number in numbers]

    return {
        "user": str(data.user_ids[questions.user[place]]),
        "history": told(data.items[max(first, last - SHOWN) : last]),
        "listed": told(number for number in ranked.lists[place] if number >= 0),
        "taken": told(data.items[questions.targets[place]]),
        "place": int(right[0]) + 1 if len(right) else None,
    }


def name_of(method: Any, number: int) -> str:
    """An item's title, or its id where it has none."""
    table = method.items.table
    if number < 0:
        return "(unknown)"
    title = table["title"][number].as_py() if "title" in table.column_names else None
    return str(title) if title else str(table["id"][number].as_py())
