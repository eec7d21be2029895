"""What a server tells about itself: one JSON line per event on stderr, and numbers for Prometheus."""

import json
import logging
import time
import uuid
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, PlatformCollector, ProcessCollector
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from counterpoint.serving.problems import problem

LOG = logging.getLogger("counterpoint.serve")
HEADERS = {"x-content-type-options": "nosniff", "referrer-policy": "no-referrer", "cache-control": "no-store"}
SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
REQUESTS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Meters:
    """The numbers of one server, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        own: dict[str, Any] = {"registry": self.registry}
        self.requests = Counter("counterpoint_requests", "Requests answered", ("path", "method", "status"), **own)
        self.seconds = Histogram("counterpoint_seconds", "Time to answer", ("path",), buckets=SECONDS, **own)
        self.batch = Histogram("counterpoint_batch_requests", "Requests computed together", buckets=REQUESTS, **own)
        self.running = Gauge("counterpoint_running", "Requests being answered", **own)


class JsonLines(logging.Formatter):
    """A log record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Time, level, event, and what the record carries in `facts`; a traceback when there is one."""
        line = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **getattr(record, "facts", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line)


def log_config(level: str = "INFO") -> dict[str, Any]:
    """Logging for `logging.config.dictConfig`: this server's lines and uvicorn's, all as JSON on stderr."""
    handler = {"class": "logging.StreamHandler", "formatter": "json", "stream": "ext://sys.stderr"}
    logger = {"handlers": ["stderr"], "level": level, "propagate": False}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"json": {"()": JsonLines}},
        "handlers": {"stderr": handler},
        "loggers": {LOG.name: logger, "uvicorn": logger},
    }


class Watch:
    """Counts, times and logs each request, whatever becomes of it; never its content, its query or its token.

    An unexpected failure is logged with its traceback, and the client is told no more than the request's id. When the
    application is leaving, answers ask clients to close the connection.
    """

    def __init__(self, app: ASGIApp, meters: Meters) -> None:
        self.app, self.meters = app, meters

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, name, status = time.perf_counter(), uuid.uuid4().hex[:12], 0

        async def told(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for key, value in {**HEADERS, "x-request-id": name}.items():
                    headers.setdefault(key, value)
                if scope["app"].state.leaving:
                    headers["connection"] = "close"
            await send(message)

        with self.meters.running.track_inprogress():
            try:
                await self.app(scope, receive, told)
            except Exception:
                LOG.exception("failed", extra={"facts": {"request": name, "path": scope["path"]}})
                if not status:
                    answer = problem(500, f"something went wrong here; the log has it as request {name}")
                    await answer(scope, receive, told)
        self._note(scope, status, time.perf_counter() - started, name)

    def _note(self, scope: Scope, status: int, seconds: float, name: str) -> None:
        path = getattr(scope.get("route"), "path", "other")
        self.meters.requests.labels(path, scope["method"] if path != "other" else "any", status).inc()
        self.meters.seconds.labels(path).observe(seconds)
        facts = {
            "request": name,
            "client": (scope.get("client") or [None])[0],
            "method": scope["method"],
            "path": scope["path"],
            "status": status,
            "seconds": round(seconds, 4),
        }
        LOG.info("answered", extra={"facts": facts})
