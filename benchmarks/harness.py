"""Timings in one run, interleaved, written with versions to benchmarks/results/<name>.json."""

import json
import os
import platform
import resource
import statistics
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


def interleave(runs: dict[str, Callable[[], Any]], repeats: int = 7) -> dict[str, float]:
    """Median seconds of each run, after one warm-up each; the runs take turns so that a busy moment hits all alike."""
    for run in runs.values():
        run()
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def peak_mib() -> float:
    """Peak resident memory of this process in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def write(name: str, rows: list[dict[str, Any]], about: str, *packages: str) -> None:
    """Save rows of numbers; `goal` and `met` in a row say what was asked and whether it was reached."""
    versions = {"python": platform.python_version()}
    for package in ("torch", "numpy", "counterpoint", *packages):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "absent"
    record = {
        "name": name,
        "about": about,
        "rows": rows,
        "versions": versions,
        "machine": {"cores": os.cpu_count(), "processor": platform.machine(), "load_before": os.getloadavg()[0]},
        "date": time.strftime("%Y-%m-%d"),
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(record, indent=2) + "\n")
    for row in rows:
        print(json.dumps(row))
