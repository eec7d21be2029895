"""A server as a process of its own: real clients, real signals."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import counterpoint as cp
from serving.served_run import RECORD

BODY = json.dumps({"input": RECORD})
JSON = {"content-type": "application/json"}


@dataclass
class Process:
    """A running `counterpoint serve`."""

    process: "subprocess.Popen[str]"
    log: Path
    port: int = 0

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The log so far."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def get(self, path: str, **headers: str) -> tuple[int, str]:
        """The status and text of an answer."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        return answer.status, text

    def stop(self) -> int:
        """Ask it to stop, and wait."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(40)


def start(folder: Path, *arguments: str, **environment: str) -> Process:
    """Start a server on a free port and wait until it listens."""
    log = folder / f"log-{time.monotonic_ns()}"
    command = [sys.executable, "-m", "counterpoint", "serve", *arguments, "--port", "0", "--rate", "0"]
    quiet = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    with log.open("w") as errors:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, text=True, env={**os.environ, **quiet, **environment}
        )
    assert process.stdout is not None
    with process.stdout as said:
        address = said.readline().strip()
    assert address.startswith("http://127.0.0.1:"), log.read_text()
    server = Process(process, log, int(address.rpartition(":")[2]))
    assert server.get("/health")[0] == 200, "it answers once it has said where"
    return server


@pytest.fixture(scope="module")
def server(run: Path, index: Path) -> Iterator[Process]:
    started = start(run.parent, str(run), "--index", str(index), COUNTERPOINT_TOKEN="t0ken")
    yield started
    started.process.kill()
    started.process.wait()


def test_the_openai_client_gets_the_vectors_of_the_run(server: Process, run: Path) -> None:
    openai = pytest.importorskip("openai")
    method = cp.load(run)
    wanted = method.embed(cp.Table.of_records([RECORD], method.facts)).numpy()
    with openai.OpenAI(base_url=f"http://127.0.0.1:{server.port}/v1", api_key="t0ken", max_retries=0) as client:
        assert [model.id for model in client.models.list()] == ["run"]
        for form in ({}, {"encoding_format": "float"}):
            answer = client.embeddings.create(model="run", input=[RECORD], **form)
            np.testing.assert_allclose([answer.data[0].embedding], wanted, atol=1e-6)
        with pytest.raises(openai.BadRequestError, match="not an object of views"):
            client.embeddings.create(model="run", input="a text")
        with pytest.raises(openai.NotFoundError, match='only "run"'):
            client.embeddings.create(model="another", input=[RECORD])
    with (
        openai.OpenAI(base_url=f"http://127.0.0.1:{server.port}/v1", api_key="wrong", max_retries=0) as client,
        pytest.raises(openai.AuthenticationError),
    ):
        client.embeddings.create(model="run", input=[RECORD])


def test_the_log_is_json_and_keeps_secrets(server: Process) -> None:
    server.get("/map?column=sick", authorization="Bearer t0ken")
    server.get("/map?column=secretvalue", authorization="Bearer wr0ng")
    end = time.monotonic() + 10
    while len(lines := [line for line in server.lines if line.get("path") == "/map"]) < 2 and time.monotonic() < end:
        time.sleep(0.02)  # a line is written after its answer
    assert [line["status"] for line in lines[-2:]] == [200, 401]
    assert {"time", "level", "event", "request", "client", "method", "seconds"} <= lines[-1].keys()
    text = server.log.read_text()
    assert not any(secret in text for secret in ("t0ken", "wr0ng", "secretvalue"))


def test_a_taken_port_is_said_and_nothing_starts(run: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        command = [sys.executable, "-m", "counterpoint", "serve", str(run), "--port", port]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert done.stderr == f"counterpoint: cannot listen on 127.0.0.1 port {port}: address already in use; " + (
        "choose with --host and --port\n"
    )


def test_it_listens_on_this_machine_alone(server: Process) -> None:
    listening = Path("/proc/net/tcp").read_text().splitlines()[1:]
    places = [line.split()[1].split(":") for line in listening if line.split()[3] == "0A"]
    hosts = {host for host, port in places if int(port, 16) == server.port}
    assert hosts == {"0100007F"}, "127.0.0.1 and nothing else"


@dataclass
class Client:
    """Asks again and again over one connection, and counts whole answers."""

    port: int
    answered: int = 0
    broken: list[str] = field(default_factory=list)

    def __call__(self) -> None:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=40)
        while True:
            try:
                connection.request("POST", "/v1/embeddings", BODY, JSON)
                answer = connection.getresponse()
                whole = json.loads(answer.read())
            except ConnectionRefusedError:
                return
            except (OSError, HTTPException) as lost:
                self.broken.append(repr(lost))
                return
            assert answer.status == 200
            assert len(whole["data"]) == 1
            self.answered += 1


def test_no_accepted_request_is_lost_when_it_is_told_to_stop(run: Path) -> None:
    server = start(run.parent, str(run))
    clients = [Client(server.port) for _ in range(12)]
    threads = [threading.Thread(target=client) for client in clients]
    for thread in threads:
        thread.start()
    time.sleep(1.0)
    assert server.stop() == 0
    for thread in threads:
        thread.join(40)
    accepted = [line for line in server.lines if line.get("path") == "/v1/embeddings"]
    assert {line["status"] for line in accepted} == {200}
    assert sum(client.answered for client in clients) == len(accepted) > 12
    assert [client.broken for client in clients if client.broken] == []
    events = [line["event"] for line in server.lines if line["event"] != "answered"]
    assert events == ["listening", "stopping", "stopped"]


def test_a_request_half_sent_is_finished(run: Path) -> None:
    server = start(run.parent, str(run))
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as slow:
        head = ("POST /v1/embeddings HTTP/1.1", "Host: localhost", "Content-Type: application/json")
        slow.sendall("\r\n".join([*head, f"Content-Length: {len(BODY)}", "", BODY[:10]]).encode())
        time.sleep(0.3)
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        with pytest.raises(ConnectionRefusedError):
            server.get("/health")
        slow.sendall(BODY[10:].encode())
        answer = b""
        while part := slow.recv(65536):
            answer += part
    assert answer.startswith(b"HTTP/1.1 200")
    assert b"connection: close" in answer.lower()
    assert server.process.wait(40) == 0
