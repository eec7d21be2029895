"""A small fitted run with an index of its vectors, and a client of its server."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn
from starlette.testclient import TestClient

from counterpoint import jobs
from counterpoint.multimodal.clip import CLIP
from counterpoint.multimodal.table import Table
from counterpoint.serving.app import create_app
from counterpoint.serving.search import build
from counterpoint.serving.served import Served
from counterpoint.serving.settings import Settings
from counterpoint.training import Run, Trainer
from counterpoint.vectors import write_vectors
from small import write_rows

HOME = "http://127.0.0.1"
RECORD = {"labs": [0.1, -0.4, 0.9, 0.3], "ecg": [0.5, 1.0]}


def fit_run(folder: Path) -> Path:
    """Fit a run of three views on 60 rows."""
    reader: dict[str, Any] = {"id": "who", "view": {"labs": "lab_*", "vitals": "vit_*", "ecg": "ecg_*"}}
    parts = Table.read(write_rows(folder / "rows.csv"), **reader).split({"train": 0.6, "validation": 0.2, "test": 0.2})
    run = Run(folder / "run", data={"reader": reader})
    method = CLIP(dim=4, hidden=8, epochs=2, batch_size=16).fit(parts["train"], trainer=Trainer(run=run))
    write_vectors(run.folder / "embeddings.parquet", method, parts.items(), jobs.about(run))
    return run.folder


def index_run(run: Path, folder: Path) -> Path:
    """An index of the run's joint vectors."""
    build(run / "embeddings.parquet", str(folder))
    return folder


def client_of(served: Served, **settings: Any) -> TestClient:
    """A client of an application with some settings."""
    return TestClient(create_app(served, settings=Settings(**settings)), base_url=HOME)


@contextmanager
def running(served: Served, **settings: Any) -> Iterator[str]:
    """The address of a server in a thread of this process."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        app = create_app(served, settings=Settings(**settings))
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        end = time.monotonic() + 30
        while not server.started and time.monotonic() < end:
            time.sleep(0.02)
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()
