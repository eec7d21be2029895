"""Simulated logs of up to 1M users x 1M items and 50M events: seconds and memory of every stage, event by event.

Each size is a process of its own: events are written to Parquet in pieces, read, made into the item graph, trained on
for one epoch by SASRec with a sampled softmax (`negatives`, so only the vectors that a step touches are updated), and
ranked for 10,000 users over all items. Users have 50 events each; a user's taste moves on a ring of items, popular
items come more often. The catalogue of every size is that of the largest, an item for each of its users, so that an
event costs as much in each unless something grows with the log. Needs Linux for the peak of memory.

    python benchmarks/recommend_scale.py                1M and 5M events, and what is flat
    python benchmarks/recommend_scale.py --events 50    50M events and 1M items as well
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from harness import peak_mib, write

from counterpoint.recommend.histories import histories
from counterpoint.recommend.interactions import Interactions
from counterpoint.recommend.item_graph import item_graph
from counterpoint.recommend.sasrec import SASRec
from counterpoint.recommend.use import ranked
from counterpoint.training import Trainer

LENGTH, PIECE = 50, 1_000_000
OPTIONS: dict[str, Any] = {"dim": 32, "layers": 1, "heads": 1, "batch_size": 256, "negatives": 256, "epochs": 1}
LISTED, USERS, AT_ONCE = 20, 10_000, 16
SHARE = 20
"""Lists are made for one of so many users, at most for `USERS`."""
MEMORY = 16 * 1024
"""MiB that must be enough."""
FLAT = 1.5
"""How much more an event may cost at the largest size than at the smallest."""


def write_log(path: Path, events: int, items: int) -> None:
    """Events in order of time, as a log has them: all users' first events, then their second ones, piece by piece."""
    users = events // LENGTH
    draw = np.random.default_rng(0)
    taste = draw.integers(0, items, users)
    schema = pa.schema([("user", pa.int64()), ("item", pa.int64()), ("time", pa.int64())])
    with pq.ParquetWriter(path, schema) as writer:
        for step in range(LENGTH):
            for start in range(0, users, PIECE):
                who = np.arange(start, min(users, start + PIECE))
                near = (taste[who] + draw.geometric(0.2, len(who))) % items
                popular = (items * draw.random(len(who)) ** 4).astype(np.int64)
                what = np.where(draw.random(len(who)) < 0.7, near, popular)
                taste[who] = near
                writer.write_table(pa.table([who, what, np.full(len(who), step)], schema=schema))


def with_all(data: Interactions, items: int) -> Interactions:
    """The same with a catalogue of all items, taken or not."""
    numbers = data.item_ids[data.items].astype(np.int32)
    return replace(data, items=numbers, catalogue=pa.table({"id": np.arange(items)}))


def measured(events: int, items: int) -> dict[str, Any]:
    """Seconds and the peak of memory so far, in MiB, after each stage."""
    found: dict[str, Any] = {}

    def stage(name: str, run: Callable[[], Any]) -> Any:
        start = time.perf_counter()
        value = run()
        found[name] = {"seconds": time.perf_counter() - start, "peak_mib": peak_mib()}
        return value

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log.parquet"
        write_log(path, 300 * LENGTH, 300)
        SASRec(**OPTIONS).fit(Interactions.read(path), trainer=Trainer(progress=False))  # what is made or imported once
        write_log(path, events, items)
        data = with_all(stage("reading", lambda: Interactions.read(path, seen="removed")), items)
    graph = stage("item graph", lambda: item_graph(data, 1))
    found["entries"] = len(graph.col)
    del graph
    method = SASRec(**OPTIONS)
    stage("epoch", lambda: method.fit(data, trainer=Trainer(progress=False)))
    users = np.arange(min(USERS, len(data) // SHARE))

    def lists() -> None:
        for some in np.array_split(users, -(-len(users) // AT_ONCE)):
            ranked(method, histories(data, data.starts[some], data.starts[some + 1]), LISTED)

    stage("lists", lists)
    return found | {"events": events, "users": len(data), "items": data.catalogue.num_rows, "listed": len(users)}


def apart(events: int, items: int) -> dict[str, Any]:
    """`measured` in a process of its own."""
    command = [sys.executable, __file__, "--one", str(events), str(items)]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return dict(json.loads(out.splitlines()[-1]))


def per_event(one: dict[str, Any], stage: str) -> float:
    """Microseconds an event; of lists, nanoseconds for each user and item."""
    seconds = one[stage]["seconds"]
    return 1e9 * seconds / (one["listed"] * one["items"]) if stage == "lists" else 1e6 * seconds / one["events"]


def rows_of(sizes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row for each size, and one for each stage that says whether its cost is flat."""
    rows: list[dict[str, Any]] = []
    for one in sizes:
        peak = max(one[stage]["peak_mib"] for stage in ("reading", "item graph", "epoch", "lists"))
        what = f"{one['events']:,} events of {one['users']:,} users and {one['items']:,} items"
        rows.append({"what": what, "peak_mib": peak, **one, "goal": f"<= {MEMORY} MiB", "met": peak <= MEMORY})
    for stage in ("reading", "item graph", "epoch", "lists"):
        costs = [per_event(one, stage) for one in sizes]
        unit = "ns a user and item" if stage == "lists" else "us an event"
        what = f"{stage}, {unit}: at {sizes[-1]['events']:,} over {sizes[0]['events']:,} events"
        ratio = costs[-1] / costs[0]
        rows.append({"what": what, "ratio": ratio, unit: costs, "goal": f"<= {FLAT}", "met": ratio <= FLAT})
    return rows


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=5, help="millions of events of the largest log")
    parser.add_argument("--one", type=int, nargs=2)
    parser.add_argument("--tiny", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(2)
    if given.one:
        print(json.dumps(measured(*given.one)))
        return
    sizes = [20_000, 40_000] if given.tiny else sorted({1_000_000, 5_000_000, given.events * 1_000_000})
    rows = rows_of([apart(size, sizes[-1] // LENGTH) for size in sizes])
    if given.tiny:
        print(*rows, sep="\n")
    else:
        about = f"SASRec {OPTIONS}, {LENGTH} events a user, top {LISTED} of {USERS:,} users; two threads"
        write("recommend_scale", rows, about, "pyarrow")


if __name__ == "__main__":
    main()
