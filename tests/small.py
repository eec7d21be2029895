"""A small table of three related views, as a file."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

VIEWS = ("view.labs=lab_*", "view.vitals=vit_*", "view.ecg=ecg_*")
QUICK = ("id=who", *VIEWS, "dim=4", "hidden=8", "epochs=2", "batch_size=16")


def write_rows(path: Path, rows: int = 60, seed: int = 0, without: Sequence[str] = ()) -> Path:
    """Write a CSV of patients with labs (4), vitals (3) and ecg (2); every seventh row lacks its vitals."""
    random = np.random.default_rng(seed)
    hidden = random.normal(size=(rows, 3))
    columns: dict[str, list[object]] = {"who": [f"p{seed}_{row}" for row in range(rows)]}
    columns["visit"] = [row // 2 for row in range(rows)]
    columns["sick"] = (hidden[:, 0] > 0).astype(int).tolist()
    for view, width in (("lab", 4), ("vit", 3), ("ecg", 2)):
        mixing = np.random.default_rng(len(view) + width).normal(size=(3, width))
        values = np.round(hidden @ mixing + 0.1 * random.normal(size=(rows, width)), 4)
        for column in range(width):
            columns[f"{view}_{column}"] = values[:, column].tolist()
    for column in (name for name in columns if name.startswith("vit_")):
        columns[column] = ["" if row % 7 == 3 else value for row, value in enumerate(columns[column])]
    kept = [name for name in columns if not name.startswith(tuple(without) or ("\0",))]
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(kept)
        writer.writerows(zip(*(columns[name] for name in kept), strict=True))
    return path
