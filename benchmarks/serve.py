"""A server under load on loopback: many clients for a minute, answer times, memory, and what batching brings."""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import numpy as np
from harness import write

from counterpoint.jobs import about
from counterpoint.multimodal.clip import CLIP
from counterpoint.multimodal.table import Table
from counterpoint.serving.search import build
from counterpoint.text.contrast import Contrast
from counterpoint.text.pairs import Pairs
from counterpoint.training import Run, Trainer
from counterpoint.vectors import write_vectors

HEADERS = {"content-type": "application/json"}
WIDTHS = {"labs": 40, "vitals": 20, "ecg": 256}


def words(random: np.random.Generator, rows: int) -> list[str]:
    """Texts of a dozen made-up words."""
    return [" ".join(f"w{number}" for number in random.integers(0, 5000, size=12)) for _ in range(rows)]


def made(folder: Path, rows: int, dim: int, hidden: int, text: str) -> tuple[Path, Path]:
    """A run on random views, or on random texts with an encoder, and an index of its vectors."""
    random = np.random.default_rng(0)
    run = Run(folder / "run")
    data: Any
    method: Any
    if text:
        data = Pairs.of({"query": words(random, rows), "document": words(random, rows)})
        method = Contrast(base=text, epochs=1, batch_size=16)
    else:
        data = Table.of({name: random.normal(size=(rows, width)) for name, width in WIDTHS.items()})
        method = CLIP(dim=dim, hidden=hidden, epochs=1, batch_size=min(256, rows))
    method.fit(data, trainer=Trainer(run=run, progress=False))
    write_vectors(run.folder / "embeddings.parquet", method, [("train", data)], about(run))
    build(run.folder / "embeddings.parquet", str(folder / "index"))
    return run.folder, folder / "index"


class Server:
    """A server in a process of its own, on a free port, without a limit on the rate."""

    def __init__(self, run: Path, index: Path) -> None:
        command = [sys.executable, "-m", "counterpoint", "serve", str(run), "--index", str(index), "--port", "0"]
        quiet = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
        self.process = subprocess.Popen([*command, "--rate", "0"], **quiet)  # type: ignore[call-overload]
        self.port = int(self.process.stdout.readline().rpartition(":")[2])

    def memory(self) -> float:
        """Resident memory in MiB."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

    def stop(self) -> int:
        """Stop it; its exit code."""
        self.process.terminate()
        return self.process.wait()


def load(port: int, clients: int, seconds: float, path: str, bodies: list[str]) -> tuple[list[float], int]:
    """Answer times of clients that ask again as soon as they are answered, and how many answers were not 200."""
    times: list[list[float]] = [[] for _ in range(clients)]
    errors = [0] * clients
    end = time.monotonic() + seconds

    def ask(client: int) -> None:
        connection = HTTPConnection("127.0.0.1", port, timeout=60)
        turn = client
        while time.monotonic() < end:
            start = time.perf_counter()
            try:
                connection.request("POST", path, bodies[turn % len(bodies)], HEADERS)
                answer = connection.getresponse()
                answer.read()
                errors[client] += answer.status != 200
            except OSError:
                errors[client] += 1
                connection.close()
            times[client].append(time.perf_counter() - start)
            turn += clients

    threads = [threading.Thread(target=ask, args=(client,)) for client in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [time for one in times for time in one], sum(errors)


def row(what: str, times: list[float], errors: int, seconds: float) -> dict[str, Any]:
    """A line of the result."""
    cuts = statistics.quantiles(times, n=100)
    return {
        "what": what,
        "requests_per_second": len(times) / seconds,
        "p50_ms": 1000 * cuts[49],
        "p99_ms": 1000 * cuts[98],
        "errors": errors,
    }


def main(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Load a server with each kind of request; the last rows say what was asked of it."""
    random = np.random.default_rng(1)
    records: list[Any] = words(random, 64)
    if not arguments.text:
        records = [{n: random.normal(size=width).round(4).tolist() for n, width in WIDTHS.items()} for _ in range(64)]
    embedding = [json.dumps({"input": record}) for record in records]
    searching = [json.dumps({"input": record, "k": 10}) for record in records]
    with tempfile.TemporaryDirectory() as place:
        run, index = made(Path(place), arguments.rows, arguments.dim, arguments.hidden, arguments.text)
        server = Server(run, index)
        try:
            alone = load(server.port, 1, arguments.seconds / 4, "/v1/embeddings", embedding)
            early = server.memory()
            together = load(server.port, arguments.clients, arguments.seconds, "/v1/embeddings", embedding)
            search = load(server.port, arguments.clients, arguments.seconds, "/search", searching)
            late = server.memory()
        finally:
            code = server.stop()
    rows = [
        row("embed, one client", *alone, arguments.seconds / 4),
        row(f"embed, {arguments.clients} clients", *together, arguments.seconds),
        row(f"search {arguments.rows:,} rows, {arguments.clients} clients", *search, arguments.seconds),
    ]
    ratio = rows[1]["requests_per_second"] / rows[0]["requests_per_second"]
    errors = sum(line["errors"] for line in rows)
    return [
        *rows,
        {"what": "embed, many clients / one at a time", "ratio": ratio, "goal": ">= 3", "met": ratio >= 3},
        {"what": "errors under load", "count": errors, "goal": "= 0", "met": errors == 0 and code == 0},
        {"what": "memory gained under load", "MiB": late - early, "goal": "<= 200", "met": late - early <= 200},
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    for name, default in (("clients", 200), ("rows", 20_000), ("dim", 256), ("hidden", 1024)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--text", default="", metavar="BASE", help="serve this text encoder, such as minilm")
    parser.add_argument("--dry", action="store_true", help="print, write nothing")
    chosen = parser.parse_args()
    found = main(chosen)
    if chosen.dry:
        print(json.dumps(found, indent=1))
    else:
        how = "clients over loopback that ask again when answered, one server process"
        write(f"serve-{chosen.text}" if chosen.text else "serve", found, how, "fastapi", "uvicorn")
