"""An OpenAI-compatible endpoint on loopback that fails as it is told to."""

import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


def said(text: str | None, logprobs: Sequence[float] | None = (-0.5, -0.25)) -> dict[str, Any]:
    """A whole answer."""
    content = None if logprobs is None else [{"token": "t", "logprob": p, "top_logprobs": []} for p in logprobs]
    choice = {
        "index": 0,
        "finish_reason": "stop",
        "message": {"role": "assistant", "content": text},
        "logprobs": None if content is None else {"content": content},
    }
    usage = {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}
    return {"id": "x", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice], "usage": usage}


@dataclass
class Script:
    """What is answered: `faults` first, one a request, then an echo of the last message.

    A fault is a status, "cut" (truncated JSON), "slow" (a second late), or a JSON object.
    """

    faults: list[Any] = field(default_factory=list)
    delay: float = 0.0
    bodies: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    busy: int = 0
    busiest: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


@contextmanager
def endpoint(script: Script) -> Iterator[str]:
    """Serve; yields the address."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with script.lock:
                script.bodies.append(body)
                script.keys.append(self.headers.get("Authorization", ""))
                script.busy += 1
                script.busiest = max(script.busiest, script.busy)
                fault = script.faults.pop(0) if script.faults else None
            try:
                time.sleep(1.0 if fault == "slow" else script.delay)
                self._answer(fault, body)
            except (BrokenPipeError, ConnectionResetError):
                pass
            finally:
                with script.lock:
                    script.busy -= 1

        def _answer(self, fault: Any, body: dict[str, Any]) -> None:
            status, answer = 200, json.dumps(said(body["messages"][-1]["content"].upper())).encode()
            if isinstance(fault, int):
                status, answer = fault, json.dumps({"error": {"message": f"fault {fault}"}}).encode()
            elif fault == "cut":
                answer = answer[:40]
            elif isinstance(fault, dict):
                answer = json.dumps(fault).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            if status == 429:
                self.send_header("Retry-After", "3")
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
