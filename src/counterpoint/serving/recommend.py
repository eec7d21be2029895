"""What `recommend` does, callable from Python: lists for some people, or for everybody into a file."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from counterpoint.errors import UserError
from counterpoint.files import atomic_path
from counterpoint.jobs import Say, read_for, silent
from counterpoint.recommend.histories import Histories, histories
from counterpoint.recommend.interactions import HISTORIES
from counterpoint.recommend.judge import for_method
from counterpoint.recommend.use import allowed, of_table, ranked
from counterpoint.serving.search import require
from counterpoint.training import Run, load

USERS = 1024
"""Users whose lists are made at a time."""


def recommend(
    run: Path,
    users: Sequence[str] = (),
    history: Sequence[Any] | None = None,
    k: int = 10,
    **wishes: Any,
) -> list[dict[str, Any]]:
    """What each user, or somebody with a history, may want next, best first: `user`, `found`.

    `wishes` are the further arguments of the method's `recommend`. Raises `UserError` when the run's method does not
    recommend, for nobody or for both, and as the method does.
    """
    method: Any = require(load(run), "recommend")
    if bool(users) == (history is not None):
        raise UserError("say for whom: --user, or --history (empty: somebody of whom nothing is known), or --all")
    if history is not None:
        return [{"user": None, "found": method.recommend([list(history)], k=k, **wishes)[0]}]
    found = method.recommend(users=list(users), k=k, **wishes)
    return [{"user": user, "found": hits} for user, hits in zip(users, found, strict=True)]


def everybody(
    run: Path,
    output: Path,
    data: Path | None = None,
    k: int = 10,
    exclude_seen: bool = True,
    where: Mapping[str, Any] | None = None,
    allow: Sequence[Any] | None = None,
    diversity: float = 0.0,
    popularity: float = 0.0,
    say: Say = silent,
) -> dict[str, Any]:
    """Write a list for each user of the run, or of a file of events, to Parquet: `user`, `items`, `scores`.

    Memory is bounded: users come a block at a time. Raises `UserError` as `recommend` does; nothing is half-written.
    """
    method: Any = require(load(run), "recommend")
    kept = allowed(method, where or {}, allow)
    ids, rows = method.items.table["id"].combine_chunks(), 0
    blocks = _of_file(run, method, data, say) if data is not None else _of_run(run, method)
    with atomic_path(output) as temporary:
        writer: Any = None
        try:
            for users, given in blocks:
                numbers, values = ranked(method, given, k, exclude_seen, kept, diversity, popularity)
                there = numbers >= 0
                offsets = pa.array([0, *there.sum(1).cumsum(0).tolist()], pa.int64())
                listed = ids.take(pa.array(numbers[there].numpy()))
                table = pa.table(
                    {
                        "user": users,
                        "items": pa.LargeListArray.from_arrays(offsets, listed),
                        "scores": pa.LargeListArray.from_arrays(offsets, pa.array(values[there].float().numpy())),
                    }
                )
                writer = writer or pq.ParquetWriter(temporary, table.schema)
                writer.write_table(table)
                rows += len(table)
        finally:
            if writer is not None:
                writer.close()
    return {"file": str(output), "users": rows, "k": k}


def _of_run(run: Path, method: Any) -> Iterator[tuple[pa.Array, Histories]]:
    """Everybody whose events the run folder keeps."""
    path = Run(run).folder / HISTORIES
    try:
        file = pq.ParquetFile(path)
    except (FileNotFoundError, pa.ArrowException):
        raise UserError(f"{path} is missing or damaged; give --data FILE, or fit again") from None
    for batch in file.iter_batches(batch_size=USERS):
        table = pa.table(batch)
        yield table["user"].combine_chunks(), of_table(method, table)


def _of_file(run: Path, method: Any, path: Path, say: Say) -> Iterator[tuple[pa.Array, Histories]]:
    """The users of a file of events, with all they did."""
    given = read_for(Run(run), path)
    for text in given.warnings():
        say(text)
    data = for_method(method, given.asking(given.known & False))
    if unknown := int((data.items < 0).sum()):
        say(f"{unknown} of {len(data.items)} events are of items that the run does not know; they are passed over")
    for start in range(0, len(data), USERS):
        part = data.rows(slice(start, start + USERS))
        users = pa.array(part.user_ids)
        yield users, histories(part, part.starts[:-1], part.starts[1:], known=True)
