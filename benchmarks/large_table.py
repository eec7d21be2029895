"""One million rows of 100 numbers in three views: memory of reading, and an epoch against a plain PyTorch loop."""

import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from harness import peak_mib, write
from torch import nn
from torch.nn.functional import cross_entropy, normalize

import counterpoint as cp
from counterpoint.multimodal.clip import CLIP
from counterpoint.training import Trainer

ROWS, BATCH, STEPS = 1_000_000, 1024, 300
VIEWS = {"a": 30, "b": 30, "c": 40}


def write_file(path: Path) -> None:
    """Three views that share ten factors, written in pieces so that this process stays small."""
    rng = np.random.Generator(np.random.PCG64(0))
    mixing = {name: rng.normal(size=(10, width)).astype(np.float32) for name, width in VIEWS.items()}
    writer = None
    for _ in range(20):
        factors = rng.normal(size=(ROWS // 20, 10)).astype(np.float32)
        columns = {}
        for name, weights in mixing.items():
            values = factors @ weights + rng.normal(size=(len(factors), VIEWS[name])).astype(np.float32)
            columns |= {f"{name}_{i}": values[:, i] for i in range(VIEWS[name])}
        table = pa.table(columns)
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
    writer.close()


def plain_epoch(table: "cp.Table", steps: int) -> float:
    """The same model and loss as CLIP's, as a researcher would write them; seconds per step."""
    torch.manual_seed(0)
    values = {name: torch.from_numpy(view.values) for name, view in table.views.items()}
    moments = {name: (v.mean(0), v.std(0)) for name, v in values.items()}
    towers = nn.ModuleDict({
        name: nn.Sequential(nn.Linear(width, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 64))
        for name, width in VIEWS.items()
    })  # fmt: skip
    log_scale = nn.Parameter(torch.tensor(2.659))
    optimizer = torch.optim.AdamW([*towers.parameters(), log_scale], lr=1e-3)
    order = torch.randperm(len(table))
    start = time.perf_counter()
    for rows in order.split(BATCH)[:steps]:
        vectors = [
            normalize(towers[name]((values[name][rows] - moments[name][0]) / moments[name][1]), dim=1) for name in VIEWS
        ]
        target = torch.arange(len(rows))
        loss = torch.zeros(())
        for i, x in enumerate(vectors):
            for y in vectors[i + 1 :]:
                logits = log_scale.exp() * x @ y.T
                loss = loss + (cross_entropy(logits, target) + cross_entropy(logits.T, target)) / 6
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return (time.perf_counter() - start) / steps


def our_epoch(table: "cp.Table", steps: int) -> float:
    """Seconds per step of our trainer: a fit on so many rows that one epoch has `steps` steps."""
    part = table.rows(slice(0, steps * BATCH))
    method = CLIP(dim=64, epochs=1, batch_size=BATCH)
    method.prepare(method.measure(part))
    phase = method.phases(part)[:1]
    start = time.perf_counter()
    Trainer(progress=False).fit(method, phase)
    return (time.perf_counter() - start) / steps


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.parquet"
        write_file(path)
        before = peak_mib()
        start = time.perf_counter()
        table = cp.read_table(path, views={name: f"{name}_*" for name in VIEWS})
        reading, read_peak = time.perf_counter() - start, peak_mib() - before
        values = sum(view.values.nbytes for view in table.views.values()) / 2**20
        plain_epoch(table, 5), our_epoch(table, 5)
        pairs = [(plain_epoch(table, STEPS // 5), our_epoch(table, STEPS // 5)) for _ in range(5)]
        plain, ours = (sorted(column)[2] for column in zip(*pairs, strict=True))
        start = time.perf_counter()
        method = CLIP(dim=64, epochs=1, batch_size=BATCH)
        method.prepare(method.measure(table))
        measured = time.perf_counter() - start
        start = time.perf_counter()
        Trainer(progress=False).fit(method, method.phases(table))
        epoch = time.perf_counter() - start
    rows = [
        {"what": "reading 1M x 100 from Parquet", "seconds": reading, "values_mib": values,
         "peak_above_start_mib": read_peak, "goal": "bounded", "met": read_peak < 2 * values},
        {"what": "one epoch of 1M rows", "seconds": epoch, "scaling_facts_seconds": measured, "peak_mib": peak_mib(),
         "goal": "bounded", "met": True},
        {"what": "step: ours / plain loop", "ratio": ours / plain, "goal": "<= 1.2", "met": ours / plain <= 1.2,
         "ms": {"ours": 1e3 * ours, "plain": 1e3 * plain}},
    ]  # fmt: skip
    write("large_table", rows, f"CLIP, three views of 30, 30, 40 numbers, batch {BATCH}, two threads", "pyarrow")
