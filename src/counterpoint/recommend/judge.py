"""The wing's protocol: which item comes next, ranked among all items, in blocks of histories."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from counterpoint.errors import UserError, nearest
from counterpoint.evaluation.outcome import Mean, Outcome
from counterpoint.evaluation.ranking import MEASURES, ranking_columns, top_k
from counterpoint.recommend.histories import Histories, histories
from counterpoint.recommend.interactions import Interactions
from counterpoint.recommend.splits import renumbered
from counterpoint.training import rng
from counterpoint.training.batch import to_device

BLOCK = 2**22
"""Scores that exist at a time: 16 MB in fp32."""
HEAD = 0.2
"""Share of the items, those with most training events, that are the head; all others are the tail."""
SHORT = 5
"""Events of a history up to which it is short."""
TIES = "in one fixed random order of the items"


@dataclass(frozen=True)
class Questions:
    """q questions: the history from `first` up to `last` of `user`, and the asked events `targets[i]`, at least one."""

    user: Int[np.ndarray, " q"]
    first: Int[np.ndarray, " q"]
    last: Int[np.ndarray, " q"]
    targets: list[Int[np.ndarray, " _"]]

    def __len__(self) -> int:
        return len(self.user)

    def __getitem__(self, rows: Int[np.ndarray, " k"]) -> "Questions":
        return Questions(self.user[rows], self.first[rows], self.last[rows], [self.targets[row] for row in rows])


@dataclass(frozen=True)
class Ranked:
    """What a method listed for each question: item numbers (-1: nothing more), which are right, how many could be."""

    questions: Questions
    lists: Int[np.ndarray, "q k"]
    hits: Bool[np.ndarray, "q k"]
    relevant: Int[np.ndarray, " q"]


def next_item(method: Any, data: Interactions) -> Outcome:
    """What is asked in the data is ranked among all items; one value per question and measure.

    Data without questions are asked for the last (target) event of each user. Candidates are all items that the method
    knows, without those of the history where the protocol removes what was seen; only what was asked for counts, and an
    item that the method does not know cannot be found. Of equal scores, the item that is lower in one fixed random
    order comes first, so equal scores earn chance. `hr`, `ndcg` at the cut-offs, `mrr` at the middle one; `recall`,
    `precision` and `map` too where a question may have several right items. `popularity` is the mean number of training
    events of what is listed. nDCG is also given for questions whose target is in the head or tail of items, is new to
    the method (`cold`), or whose history is short. Questions of one user are drawn together. Raises `UserError` when
    nothing can be asked.
    """
    data = for_method(method, data)
    ranked = rank(method, data)
    protocol, questions = data.protocol, ranked.questions
    middle = protocol.cutoffs[len(protocol.cutoffs) // 2]
    which = MEASURES if protocol.together else ("hr", "ndcg")
    columns: dict[str, Any] = ranking_columns(ranked.hits, ranked.relevant, (middle,), ("ndcg", "hr", "mrr"))
    columns |= ranking_columns(ranked.hits, ranked.relevant, protocol.cutoffs, which)
    counts = method.items.counts.cpu().numpy()
    listed = ranked.lists[:, :middle]
    columns[f"popularity{middle}"] = np.where(listed >= 0, counts[listed], 0).sum(1) / np.maximum(
        (listed >= 0).sum(1), 1
    )
    measures: dict[str, Any] = {name: Mean(name) for name in columns}
    for segment, chosen in segments(questions, data, counts).items():
        if not chosen.any():
            continue
        columns[segment] = chosen
        measures[f"ndcg{middle} {segment}"] = Mean(f"ndcg{middle}", where=(segment, True))
    names = np.array([f"{user}" for user in data.user_ids[questions.user]])
    if len(np.unique(questions.user)) == len(questions):
        return Outcome(names, columns, measures)
    ids = np.array([f"{name} {event}" for name, event in zip(names, questions.last - questions.first, strict=True)])
    return Outcome(ids, columns, measures, unit=questions.user)


def rank(method: Any, data: Interactions, k: int | None = None) -> Ranked:
    """The first items for every question; never more than `BLOCK` scores at a time."""
    questions = ask(data)
    if not len(questions):
        raise UserError(f"{data.source}: nothing can be asked; a user needs an event and another before it")
    k = k or max(data.protocol.cutoffs)
    lists, hits = [], []
    order = np.argsort(questions.last - questions.first, kind="stable")
    for part in _blocks(questions, order, len(method.items)):
        given = to_device(histories(data, part.first, part.last, known=True), method.items.counts.device)
        scores = score(method, given)
        if data.protocol.seen == "removed":
            scores[given.owners, given.items] = -torch.inf
        if data.candidates is not None:
            scores = _among(scores, data.candidates[part.user])
        found = top_k(scores, k, tie_order(scores.shape[1]).to(scores.device))[0].cpu().numpy()
        lists.append(np.pad(found, ((0, 0), (0, k - found.shape[1])), constant_values=-1))
        hits.append(_hits(lists[-1], [data.items[events] for events in part.targets]))
    relevant = np.array([1 if len(events) == 1 else len(np.unique(data.items[events])) for events in questions.targets])
    back = np.argsort(order, kind="stable")
    return Ranked(questions, np.concatenate(lists)[back], np.concatenate(hits)[back], relevant)


def score(method: Any, given: Histories) -> Float[Tensor, "n v"]:
    """A method's scores, fresh to be changed; an empty history gets what is popular."""
    empty = given.lengths == 0
    with torch.no_grad():
        if not bool(empty.any()):
            whole: Tensor = method.scores(given)
            return whole if whole._base is None else whole.clone()  # a view may be of the method's own counts
        scores: Tensor = method.items.counts.to(torch.float32).log1p().repeat(len(given), 1)
        if not bool(empty.all()):
            scores[~empty] = method.scores(given.rows((~empty).nonzero()[:, 0])).to(scores.dtype)
        return scores


def ask(data: Interactions) -> Questions:
    """The questions of data: one for each asked event, or one for all of a user."""
    asked = np.flatnonzero(data.asked) if data.asked is not None else np.zeros(0, dtype=np.int64)
    user = data.users[asked]
    begin = data.starts[:-1].astype(np.int64)
    if not data.protocol.together:
        return Questions(user, begin[user], asked, list(asked[:, None]))
    users, first = np.unique(user, return_index=True)
    return Questions(users, begin[users], asked[first], np.split(asked, first[1:]))


def for_method(method: Any, data: Interactions) -> Interactions:
    """The data in the method's numbers of items and behaviours, with questions; -1 is an item it does not know.

    Raises `UserError` for a behaviour that the method does not know.
    """
    data = data if data.asked is not None else data.asking_last()
    for label in data.labels:
        if label not in method.items.labels:
            raise UserError(f'{data.source}: unknown behaviour "{label}"; {nearest(label, method.items.labels)}')
    table = method.items.table
    if data.labels == method.items.labels and data.catalogue["id"].equals(table["id"]):
        return data
    return renumbered(data, table, method.items.labels)


def segments(
    questions: Questions, data: Interactions, counts: Int[np.ndarray, " v"]
) -> dict[str, Bool[np.ndarray, " q"]]:
    """Kinds of questions: by how often the (first) target was trained on, and by how much is known of the user."""
    target = data.items[np.array([events[0] for events in questions.targets], dtype=np.int64)]
    order = np.lexsort((np.arange(len(counts)), -counts))
    head = np.zeros(len(counts) + 1, dtype=bool)
    head[order[: max(1, round(HEAD * len(counts)))]] = True
    known = np.append(counts, 0)[target] > 0
    return {
        "head": head[target] & known,
        "tail": ~head[target] & known,
        "cold": ~known,
        "short": questions.last - questions.first <= SHORT,
    }


@lru_cache(maxsize=4)
def tie_order(m: int) -> Int[Tensor, " m"]:
    """The order of items of equal score."""
    return torch.randperm(m, generator=rng("ties", m))


def _blocks(questions: Questions, order: Int[np.ndarray, " q"], items: int) -> Iterator[Questions]:
    """Histories of like length together, so that little is padded."""
    size = max(16, BLOCK // max(1, items))
    for start in range(0, len(questions), size):
        yield questions[order[start : start + size]]


def _among(scores: Float[Tensor, "n v"], candidates: Int[np.ndarray, "n c"]) -> Float[Tensor, "n v"]:
    """Scores of the candidates, -inf elsewhere; -1 is a candidate that the method does not know."""
    wide = torch.cat([scores, scores.new_full((len(scores), 1), -torch.inf)], dim=1)
    index = torch.from_numpy(np.where(candidates < 0, scores.shape[1], candidates)).to(scores.device)
    return torch.full_like(wide, -torch.inf).scatter(1, index, wide.gather(1, index))[:, :-1]


def _hits(lists: Int[np.ndarray, "n k"], targets: list[np.ndarray]) -> Bool[np.ndarray, "n k"]:
    """Which listed items are right."""
    if all(len(one) == 1 for one in targets):
        right: Bool[np.ndarray, "n k"] = (lists == np.concatenate(targets)[:, None]) & (lists >= 0)
        return right
    return np.stack([np.isin(row, items) & (row >= 0) for row, items in zip(lists, targets, strict=True)])
