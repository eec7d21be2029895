"""Recommenders against RecBole 1.2.1 and a plain PyTorch loop: an epoch, a step, full ranking and its memory.

`--quality` trains both sides for as many epochs on the same split instead and writes recommend_quality.json: an epoch
is only worth what it teaches. All sizes and learning rates are equal, and LightGCN's batches (2,048 pairs, RecBole's
own): a step costs the graph, however many pairs it serves. RecBole's SASRec makes a row of every prefix, 2,048 a batch;
ours learns from the same targets, a history at once, 128 a batch.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from harness import interleave, write
from recbole_peer import Peer
from torch import nn
from torch.nn.functional import cross_entropy

from counterpoint.recommend.assemble import k_core
from counterpoint.recommend.beauty import beauty
from counterpoint.recommend.encoders import CausalTransformer, small_normal
from counterpoint.recommend.histories import instances
from counterpoint.recommend.interactions import Interactions, Protocol
from counterpoint.recommend.judge import next_item
from counterpoint.recommend.lightgcn import LightGCN
from counterpoint.recommend.sasrec import SASRec
from counterpoint.training import Trainer

USERS = {"SASRec": 3000, "LightGCN": 22_363}
"""Of Amazon Beauty, which has so many; an epoch of RecBole's SASRec on all of them takes minutes."""
EPOCHS = {"SASRec": 10, "LightGCN": 25}
"""For `--quality`."""
RATE = 1e-3
SAME = {"hidden_size": 64, "inner_size": 64, "n_layers": 2, "n_heads": 2, "hidden_dropout_prob": 0.2}
SEQUENCES = {
    **SAME,
    "learning_rate": RATE,
    "train_batch_size": 2048,
    "attn_dropout_prob": 0.2,
    "MAX_ITEM_LIST_LENGTH": 50,
    "train_neg_sample_args": None,
}
GRAPH = {"embedding_size": 64, "n_layers": 2, "learning_rate": RATE, "train_batch_size": 2048}
OURS: dict[str, Callable[..., Any]] = {
    "SASRec": lambda **more: SASRec(optim={"lr": RATE}, **more),
    "LightGCN": lambda **more: LightGCN(layers=2, batch_size=2048, optim={"lr": RATE, "weight_decay": 0.0}, **more),
}
THEIRS = {"SASRec": SEQUENCES, "LightGCN": GRAPH}
SEEN: dict[str, Any] = {"SASRec": "kept", "LightGCN": "removed"}
"""What RecBole's full ranking does with the items of a history: kept for models of sequences, removed for others."""


def part(users: int, seen: Any) -> Interactions:
    """Some users of Amazon Beauty, drawn by seed 0, and the items that they took."""
    whole = beauty()
    rows = np.sort(np.random.default_rng(0).permutation(len(whole))[:users])
    return replace(k_core(whole.rows(rows), 1), protocol=Protocol(seen=seen))


def logs(users: int, items: int, mean: float) -> Interactions:
    """Events at random, popular items more often; lengths as a geometric distribution, from 3 to 50."""
    draw = np.random.default_rng(0)
    lengths = np.clip(draw.geometric(1 / mean, users), 3, 50)
    owners = np.repeat(np.arange(users), lengths)
    taken = (items * draw.random(len(owners)) ** 2).astype(np.int64)
    return Interactions.of(owners, np.append(taken[:-1], items - 1), times=np.arange(len(owners)))


def rows_of(data: Interactions) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Users, items and places in the history, as RecBole's file has them."""
    return data.users, data.items, np.arange(len(data.items)) - data.starts[:-1][data.users]


def our_epoch(name: str, train: Interactions) -> Callable[[], None]:
    """An epoch of ours, the network made before."""
    method = OURS[name](epochs=1)
    method.prepare(method.measure(train))

    def run() -> None:
        Trainer(progress=False).fit(method, method.phases(train))

    return run


def epochs(name: str, users: int, repeats: int) -> dict[str, Any]:
    """RecBole's epoch over ours."""
    data = part(users, SEEN[name])
    with tempfile.TemporaryDirectory() as folder:
        peer = Peer(name, rows_of(data), Path(folder), **THEIRS[name])
        train = data.divide("leave-one-out")["train"]
        seconds = interleave({"theirs": peer.epoch, "ours": our_epoch(name, train)}, repeats)
    return compared(f"{name}, an epoch of {users} users of Amazon Beauty: RecBole / ours", seconds, 3.0)


def compared(what: str, seconds: dict[str, float], goal: float) -> dict[str, Any]:
    """A row of two times."""
    ratio = seconds["theirs"] / seconds["ours"]
    return {"what": what, "ratio": ratio, "seconds": seconds, "goal": f">= {goal:g}", "met": ratio >= goal}


def quality(name: str, users: int, epochs: int) -> dict[str, Any]:
    """nDCG@10 over all items after so many epochs, each by its own evaluation."""
    data = part(users, SEEN[name])
    parts = data.divide("leave-one-out")
    method = OURS[name](epochs=epochs)
    start = time.perf_counter()
    method.fit(parts["train"], trainer=Trainer(progress=False))
    spent = {"ours": time.perf_counter() - start}
    ours = next_item(method, parts["test"]).value("ndcg10")
    with tempfile.TemporaryDirectory() as folder:
        peer = Peer(name, rows_of(data), Path(folder), **THEIRS[name], metric_decimal_place=9)
        start = time.perf_counter()
        for _ in range(epochs):
            peer.epoch()
        spent["theirs"] = time.perf_counter() - start
        theirs = float(peer.judge()["ndcg@10"])
    return {
        "what": f"{name}, nDCG@10 after {epochs} epochs on {users} users of Amazon Beauty, seen items {SEEN[name]}: "
        "ours / RecBole",
        "ratio": ours / theirs,
        "ndcg10": {"ours": ours, "theirs": theirs},
        "seconds under load": spent,
        "goal": ">= 1",
        "met": ours >= theirs,
    }


# --- full ranking


def judged(side: str, users: int, items: int) -> tuple[Callable[[], Any], Any]:
    """The full ranking of an untrained SASRec for so many users, and what has to stay open meanwhile."""
    data = replace(logs(users, items, 9.0), protocol=Protocol(seen="kept"))
    if side == "ours":
        parts = data.divide("leave-one-out")
        method = SASRec()
        method.prepare(method.measure(parts["train"]))
        method.eval()
        return lambda: next_item(method, parts["test"]), None
    folder = tempfile.TemporaryDirectory()
    peer = Peer("SASRec", rows_of(data), Path(folder.name), **SEQUENCES)
    return peer.judge, folder


def evaluation(users: int, items: int, repeats: int) -> list[dict[str, Any]]:
    """RecBole's time and memory over ours."""
    (ours, _), (theirs, folder) = (judged(side, users, items) for side in ("ours", "theirs"))
    seconds = interleave({"theirs": theirs, "ours": ours}, repeats)
    del folder
    what = f"full ranking of {users} users x {items} items, SASRec"
    mib = {side: peak_of(side, users, items) for side in ("theirs", "ours")}
    ratio = mib["theirs"] / max(mib["ours"], 1.0)
    return [
        compared(f"{what}: RecBole / ours", seconds, 5.0),
        {"what": f"{what}: memory, RecBole / ours", "ratio": ratio, "mib": mib, "goal": ">= 10", "met": ratio >= 10},
    ]


def peak_of(side: str, users: int, items: int) -> float:
    """MiB that ranking adds to the peak of a fresh process in which everything is made already."""
    command = [sys.executable, __file__, "--peak", side, str(users), str(items)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def print_peak(side: str, users: int, items: int) -> None:
    """What `peak_of` asks for; a first small ranking has made what is made once."""
    small, _ = judged(side, 64, items)
    small()
    run, _ = judged(side, users, items)
    before = resident_mib()
    reset_peak()
    run()
    print(peak_mib_now() - before)


def resident_mib() -> float:
    """Memory that this process holds now."""
    return _status("VmRSS")


def peak_mib_now() -> float:
    """The most it has held since `reset_peak`."""
    return _status("VmHWM")


def reset_peak() -> None:
    """Let the peak begin anew (Linux)."""
    Path("/proc/self/clear_refs").write_text("5")


def _status(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024


# --- a step


def naive_step(data: Interactions, items: int) -> Callable[[], None]:
    """The same network as SASRec's: padded to 50, logits of every position with every item, AdamW."""
    torch.manual_seed(0)
    table, encoder = nn.Embedding(items + 1, 64), CausalTransformer(64, 50, 2, 2, 0.2)
    small_normal(table)
    small_normal(encoder)
    optimizer = torch.optim.AdamW([*table.parameters(), *encoder.parameters()], lr=1e-3)
    found = instances(data, True, 50)
    draw = torch.Generator().manual_seed(0)

    def run() -> None:
        chosen = found.rows(torch.randperm(len(found), generator=draw)[:128])
        given = chosen.inputs(data)
        padded, _, there = given.padded(items)
        inputs = torch.full((128, 50), items)
        inputs[:, : padded.shape[1]] = padded
        wanted = torch.full((128, 50), -100)
        wanted[:, : padded.shape[1]][there] = chosen.targets(data)
        logits = encoder(table(inputs)) @ table.weight[:-1].T
        loss = cross_entropy(logits.flatten(0, 1), wanted.flatten(), ignore_index=-100)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return run


def steps(items: int, number: int, repeats: int) -> dict[str, Any]:
    """So many steps of a plain loop over as many of ours."""
    data = logs(128 * number, items, 14.0)
    method = SASRec(epochs=1)
    method.prepare(method.measure(data))
    naive = naive_step(data, items)
    seconds = interleave(
        {
            "theirs": lambda: [naive() for _ in range(number)],
            "ours": lambda: Trainer(progress=False).fit(method, method.phases(data)),
        },
        repeats,
    )
    share = float(instances(data, True, 50).lengths.float().mean() / 50)
    what = f"SASRec, {number} steps of 128, {items} items, {share:.0%} of 50 positions used: naive full softmax / ours"
    return compared(what, seconds, 3.5)


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--quality", action="store_true")
    parser.add_argument("--only", choices=["sasrec", "lightgcn", "evaluation", "steps"])
    parser.add_argument("--peak", nargs=3)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(2)
    if given.peak:
        print_peak(given.peak[0], *map(int, given.peak[1:]))
        return
    if given.quality:
        rows = [quality(name, *((500, 1) if given.tiny else (USERS[name], EPOCHS[name]))) for name in OURS]
        name = "recommend_quality"
    else:
        tiny = given.tiny
        measured: dict[str, Callable[[], Any]] = {
            "sasrec": lambda: [epochs("SASRec", *((200, 1) if tiny else (USERS["SASRec"], 1)))],
            "lightgcn": lambda: [epochs("LightGCN", *((500, 1) if tiny else (USERS["LightGCN"], 3)))],
            "evaluation": lambda: evaluation(*((200, 300, 1) if tiny else (20_000, 12_000, 3))),
            "steps": lambda: [steps(*((300, 1, 1) if tiny else (12_101, 5, 3)))],
        }
        if given.only or tiny:
            rows = [row for key, run in measured.items() if given.only in (None, key) for row in run()]
        else:
            rows = [row for key in measured for row in in_own_process(key)]
        name = "recommend"
    if given.tiny or given.only:
        print(*map(json.dumps, rows), sep="\n")
    else:
        about = "two threads; equal sizes and rates, LightGCN's batches too; each side's own loaders and evaluation"
        write(name, rows, about, "recbole", "pandas")


def in_own_process(key: str) -> list[dict[str, Any]]:
    """Rows measured in a fresh process, and full ranking also where the allocator keeps the pages it was given.

    RecBole's ranking makes matrices of hundreds of megabytes; what the system charges for fresh pages decides its time.
    """
    rows = _measured(key)
    if key == "evaluation":
        row = _measured(key, MALLOC_MMAP_THRESHOLD_=str(2**31), MALLOC_TRIM_THRESHOLD_=str(2**32))[0]
        rows.append({"what": f"{row['what']}, pages kept", "ratio": row["ratio"], "seconds": row["seconds"]})
    return rows


def _measured(key: str, **environment: str) -> list[dict[str, Any]]:
    command = [sys.executable, __file__, "--only", key]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ | environment)
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


if __name__ == "__main__":
    main()
