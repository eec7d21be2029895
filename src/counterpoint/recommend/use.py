"""Lists for people: known users, new histories and anonymous sessions, with filters, controls and reasons."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from counterpoint.errors import UserError, nearest
from counterpoint.evaluation.ranking import top_k
from counterpoint.recommend.histories import Histories
from counterpoint.recommend.interactions import HISTORIES
from counterpoint.recommend.items import chosen
from counterpoint.recommend.judge import score, tie_order
from counterpoint.training.batch import to_device

DEEP = 10
"""Diversity chooses among so many times k candidates."""
Event = Any
"""An item's id, or {"item": id, "behaviour": label}."""


@torch.no_grad()
def recommend(
    self: Any,
    histories: Sequence[Sequence[Event]] | None = None,
    *,
    users: Sequence[Any] | None = None,
    k: int = 10,
    exclude_seen: bool = True,
    where: Mapping[str, Any] | None = None,
    allow: Sequence[Any] | None = None,
    diversity: float = 0.0,
    popularity: float = 0.0,
    reasons: int = 0,
) -> list[list[dict[str, Any]]]:
    """Up to k items for each history, best first: {"id", "score", perhaps "title" and "reasons"}.

    A history is a list of item ids, oldest first, or of {"item": id, "behaviour": label}; an empty one (nothing is
    known of the person) gets what is popular. `users` are ids of the data that the run was fitted on, whose events are
    in the run folder. `where` are conditions on attributes ({"category": "shoes"}), `allow` the only ids to be listed.
    `diversity` from 0 to 1 trades score for being unlike what is already in the list (maximal marginal relevance,
    doi 10.1145/290941.291025); `popularity` takes off so many standard deviations of log popularity (below 0: adds).
    Then scores are in standard deviations, too. `reasons` are the items of the history most like the one listed. Raises
    `UserError` for an unknown user, item, behaviour or attribute.
    """
    self.require_fitted()
    if (histories is None) == (users is None):
        raise UserError("give either histories or users")
    if k < 1 or not 0 <= diversity <= 1 or reasons < 0:
        raise UserError(f"k={k} is at least 1, diversity={diversity} from 0 to 1, reasons={reasons} at least 0")
    given = known(self, users) if users is not None else numbered(self, histories or [])
    if not len(given):
        return []
    return listed(
        self,
        given,
        k,
        exclude_seen,
        allowed(self, where or {}, allow),
        diversity,
        popularity,
        reasons,
    )


def allowed(method: Any, where: Mapping[str, Any], allow: Sequence[Any] | None) -> Bool[np.ndarray, " v"] | None:
    """Which items may be listed; None: all."""
    if not where and allow is None:
        return None
    kept = chosen(method.items.table, where)
    if allow is not None:
        numbers = _known_items(method, allow)
        kept &= np.isin(np.arange(len(kept)), numbers)
    return kept


def numbered(method: Any, given: Sequence[Sequence[Event]]) -> Histories:
    """Histories in ids as numbers; raises `UserError` for an unknown item or behaviour."""
    labels = method.items.labels
    items, behaviours = [], []
    for events in given:
        if isinstance(events, str) or not isinstance(events, Sequence):
            raise UserError(f"a history is a list of items, not {events!r}")
        said = [event if isinstance(event, Mapping) else {"item": event} for event in events]
        for event in said:
            if "item" not in event or set(event) - {"item", "behaviour"}:
                raise UserError(f'{dict(event)} is not an event: give an item id, or {{"item": .., "behaviour": ..}}')
            if event.get("behaviour", labels[-1]) not in labels:
                raise UserError(f'unknown behaviour "{event["behaviour"]}"; {nearest(str(event["behaviour"]), labels)}')
        items.append(_known_items(method, [event["item"] for event in said]).tolist())
        behaviours.append([labels.index(event.get("behaviour", labels[-1])) for event in said])
    return Histories.of(items, behaviours)


def known(method: Any, users: Sequence[Any]) -> Histories:
    """What the run folder holds of some users; raises `UserError` for one it does not."""
    table = _kept(method.folder)
    names = table["user"].combine_chunks().cast(pa.string())
    places = pa.compute.index_in(pa.array([str(user) for user in users]), value_set=names)
    for user, place in zip(users, places.to_pylist(), strict=True):
        if place is None:
            close = nearest(str(user), names.to_pylist()).partition(" (")[0] if len(names) <= 100_000 else ""
            raise UserError(f'unknown user "{user}"{"; " + close if close.startswith("did") else ""}; for someone new '
                            "give a history")  # fmt: skip
    return of_table(method, table.take(places))


def of_table(method: Any, table: pa.Table) -> Histories:
    """Histories from columns `items` and `behaviours` of lists; items that the method does not know are left out."""
    items, behaviours = table["items"].combine_chunks(), table["behaviours"].combine_chunks()
    numbers = torch.from_numpy(method.items.numbers(items.flatten().to_pylist()))
    labels = pa.array(list(method.items.labels), pa.string())
    kinds = pa.compute.index_in(behaviours.flatten().cast(pa.string()), value_set=labels)
    lengths = pa.compute.list_value_length(items).to_numpy().astype(np.int64)
    starts = torch.from_numpy(np.concatenate([[0], lengths.cumsum()]))
    given = Histories(starts, numbers, torch.from_numpy(pa.compute.fill_null(kinds, 0).to_numpy().astype(np.int64)))
    return given.where(numbers >= 0)


def _kept(folder: Path | None) -> pa.Table:
    path = None if folder is None else folder / HISTORIES
    if path is None or not path.is_file():
        raise UserError(
            "no histories of known users here (counterpoint fit keeps them in the run folder); give histories"
        )
    try:
        return pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path}: damaged ({str(error).splitlines()[0]}); fit again, or give histories") from None


def _known_items(method: Any, ids: Sequence[Any]) -> Int[np.ndarray, " n"]:
    numbers: Int[np.ndarray, " n"] = method.items.numbers(ids)
    if (numbers < 0).any():
        lacking = str(ids[int(np.flatnonzero(numbers < 0)[0])])
        names = method.items.ids.to_pylist() if len(method.items) <= 100_000 else []
        close = nearest(lacking, names).partition(" (")[0]
        raise UserError(f'unknown item "{lacking}"' + (f"; {close}" if close.startswith("did") else ""))
    return numbers


# --- lists


def listed(
    method: Any,
    given: Histories,
    k: int,
    exclude_seen: bool,
    kept: Bool[np.ndarray, " v"] | None,
    diversity: float,
    popularity: float,
    reasons: int,
) -> list[list[dict[str, Any]]]:
    """The lists with what is told of each item."""
    numbers, values = ranked(method, given, k, exclude_seen, kept, diversity, popularity)
    return [
        _told(method, given.items[given.starts[row] : given.starts[row + 1]], numbers[row], values[row], reasons)
        for row in range(len(given))
    ]


@torch.no_grad()
def ranked(
    method: Any,
    given: Histories,
    k: int,
    exclude_seen: bool = True,
    kept: Bool[np.ndarray, " v"] | None = None,
    diversity: float = 0.0,
    popularity: float = 0.0,
) -> tuple[Int[Tensor, "n k2"], Float[Tensor, "n k2"]]:
    """Item numbers and scores, best first; -1 where there is nothing more to list."""
    given = to_device(given, method.items.counts.device)
    scores = score(method, given)
    if exclude_seen:
        scores[given.owners, given.items] = -torch.inf
    if kept is not None:
        scores[:, torch.from_numpy(~kept).to(scores.device)] = -torch.inf
    if popularity:
        scores = _standard(scores) - popularity * _standard(method.items.counts.to(scores.dtype).log1p()[None])
    elif diversity:
        scores = _standard(scores)
    order = tie_order(scores.shape[1]).to(scores.device)
    if not diversity:
        return top_k(scores, k, order)
    numbers, values = top_k(scores, DEEP * k, order)
    chosen_rows = [_diverse(method, *pair, k, diversity) for pair in zip(numbers, values, strict=True)]
    return torch.stack([row for row, _ in chosen_rows]), torch.stack([value for _, value in chosen_rows])


def _diverse(
    method: Any, numbers: Int[Tensor, " c"], values: Float[Tensor, " c"], k: int, diversity: float
) -> tuple[Int[Tensor, " k"], Float[Tensor, " k"]]:
    """Greedily the candidate with most (1 - diversity) score - diversity * similarity to the nearest one chosen."""
    there = int((numbers >= 0).sum())
    chosen_places: list[int] = []
    if there:
        alike = method.similarity(numbers[:there], numbers[:there])
        nearest_chosen = torch.full_like(values[:there], -1.0)
        gain = values[:there].clone()
        for _ in range(min(k, there)):
            worth = (1 - diversity) * gain - diversity * nearest_chosen
            worth[chosen_places] = -torch.inf
            best = int(worth.argmax())
            chosen_places.append(best)
            nearest_chosen = torch.maximum(nearest_chosen, alike[best])
    room = k - len(chosen_places)
    rest = numbers.new_full((room,), -1), values.new_full((room,), -torch.inf)
    return torch.cat([numbers[chosen_places], rest[0]]), torch.cat([values[chosen_places], rest[1]])


def _standard(scores: Float[Tensor, "n v"]) -> Float[Tensor, "n v"]:
    """In standard deviations from the mean of what may be listed."""
    open_ = scores > -torch.inf
    count = open_.sum(1, keepdim=True).clamp(min=1)
    centred = (scores - scores.masked_fill(~open_, 0).sum(1, keepdim=True) / count).masked_fill(~open_, 0)
    spread = (centred.square().sum(1, keepdim=True) / count).sqrt()
    return (centred / spread.clamp(min=1e-12)).masked_fill(~open_, -torch.inf)


def _told(
    method: Any, history: Int[Tensor, " l"], numbers: Int[Tensor, " k"], values: Float[Tensor, " k"], reasons: int
) -> list[dict[str, Any]]:
    """What is said of one list."""
    numbers, values = numbers[numbers >= 0], values[numbers >= 0]
    seen = history.unique()
    alike = method.similarity(numbers, seen) if reasons and len(seen) and len(numbers) else None
    hits = []
    for place, (number, value) in enumerate(zip(numbers.tolist(), values.tolist(), strict=True)):
        hit = _named(method, number) | {"score": value}
        if reasons:
            hit["reasons"] = [] if alike is None else _reasons(method, number, alike[place], seen, reasons)
        hits.append(hit)
    return hits


def _reasons(
    method: Any, number: int, alike: Float[Tensor, " s"], seen: Int[Tensor, " s"], most: int
) -> list[dict[str, Any]]:
    """The items that were seen and are most alike, without the item itself and what is not alike at all."""
    near = alike.masked_fill(seen == number, 0.0).topk(min(most, len(seen)))
    pairs = zip(near.values.tolist(), seen[near.indices].tolist(), strict=True)
    return [_named(method, other) | {"similarity": cosine} for cosine, other in pairs if cosine > 0]


def _named(method: Any, number: int) -> dict[str, Any]:
    table = method.items.table
    title = table["title"][number].as_py() if "title" in table.column_names else None
    return {"id": table["id"][number].as_py()} | ({"title": title} if title is not None else {})
