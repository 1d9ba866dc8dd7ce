"""A server that answers the command line as it is told, and remembers what it was asked."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tocsin.cli.main import run


@dataclass
class Asked:
    """One request."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: Any


@dataclass
class Answer:
    """What it is answered."""

    body: Any = None
    status: int = 200
    kind: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)


Route = Answer | Callable[[Asked], Answer]


@dataclass
class FakeApi:
    """Routes by method and path below ``/api/v1`` (or whole, where it starts with ``//``)."""

    url: str
    routes: dict[tuple[str, str], Route | list[Route]] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)

    def on(self, method: str, path: str, *answers: Route | Any, status: int = 200) -> None:
        """Answer so; of several, each once, and the last one from then on."""
        made = [
            one if isinstance(one, Answer) or callable(one) else Answer(one, status)
            for one in answers
        ]
        self.routes[method, path] = made

    def calls(self) -> list[str]:
        """The requests as ``METHOD path``."""
        return [f"{one.method} {one.path}" for one in self.asked]

    def tocsin(self, *args: str) -> int:
        """Run a command against this server."""
        return run([*args, "--server", self.url])


def problem(status: int, title: str, *errors: tuple[str, str], **more: Any) -> Answer:
    """Problem details."""
    named = [{"field": name, "message": text, "code": "invalid"} for name, text in errors]
    body = {"type": "about:blank", "title": title, "status": status, "errors": named, **more}
    return Answer(body, status, "application/problem+json")


def stream(*events: str) -> Answer:
    """Server-sent events, after which the connection ends."""
    return Answer("".join(events), 200, "text/event-stream")


@contextmanager
def serving_fake() -> Iterator[FakeApi]:
    """The server, while the context lasts."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one(self) -> None:
            split = urlsplit(self.path)
            size = int(self.headers.get("Content-Length") or 0)
            sent = self.rfile.read(size)
            path = split.path.removeprefix("/api/v1")
            asked = Asked(
                method=self.command,
                path=path,
                query=parse_qs(split.query),
                headers={name.lower(): value for name, value in self.headers.items()},
                body=json.loads(sent) if sent else None,
            )
            api.asked.append(asked)
            routes = api.routes.get((self.command, path))
            if routes is None:
                answer: Any = problem(404, "Not found", detail=f"there is nothing at {path}")
            else:
                assert isinstance(routes, list)
                answer = routes.pop(0) if len(routes) > 1 else routes[0]
            if not isinstance(answer, Answer):
                answer = answer(asked)
            body = answer.body
            text = body if isinstance(body, str) else "" if body is None else json.dumps(body)
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.kind)
            self.send_header("Content-Length", str(len(text.encode())))
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(text.encode())

        do_GET = do_POST = do_PUT = do_DELETE = handle_one  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    api = FakeApi(f"http://127.0.0.1:{server.server_address[1]}")
    try:
        yield api
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def api_fixture(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeApi]:
    """A server, in an environment that says nothing about terminals and servers.

    For ``api = api_fixture`` in a module of tests.
    """
    for name in ("COLUMNS", "FORCE_COLOR", "NO_COLOR", "TOCSIN_SERVER", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    with serving_fake() as fake:
        yield fake


JOB_ID = "019a0d6e-c2c0-7abc-9def-0123456789ab"
EXECUTION_ID = "019a0d6e-c2c0-8abc-9def-0123456789ab"


def a_job(name: str = "nightly-report", **more: Any) -> dict[str, Any]:
    """A job as the API shows it."""
    return {
        "id": JOB_ID,
        "name": name,
        "description": "Sends the report",
        "schedule": {
            "cron": "0 2 * * *",
            "timezone": "Europe/Berlin",
            "starts_at": None,
            "ends_at": None,
            "jitter": "0s",
            "description": "At 02:00 every day, Europe/Berlin",
        },
        "target": {
            "url": "https://example.com/hook",
            "method": "POST",
            "headers": {"X-Team": "ops"},
            "timeout": "30s",
            "redirects": 0,
            "body": {"any": "json"},
        },
        "retry": {
            "max_attempts": 3,
            "initial": "1s",
            "factor": 2.0,
            "max": "5m",
            "jitter": 0.1,
            "on": ["connection", "dns", "timeout", "408", "425", "429", "5xx"],
        },
        "misfire": {"policy": "latest", "grace": None, "max": 100},
        "overlap": "allow",
        "delivery": "at_least_once",
        "success": ["2xx"],
        "tags": ["reports"],
        "metadata": {},
        "status": "active",
        "version": 3,
        "created_at": "2026-01-01T00:00:00Z",
        "updated_at": "2026-02-01T00:00:00Z",
        "next_fire_at": "2099-01-01T01:00:00Z",
        "last_execution": an_execution(),
    } | more


def an_execution(state: str = "succeeded", **more: Any) -> dict[str, Any]:
    """An execution as the API shows it."""
    return {
        "id": EXECUTION_ID,
        "job_id": JOB_ID,
        "job_name": "nightly-report",
        "job_version": 3,
        "fire_time": "2026-03-01T01:00:00Z",
        "due": "2026-03-01T01:00:00Z",
        "trigger": "schedule",
        "state": state,
        "reason": None,
        "queued": False,
        "available_at": None,
        "skipped_until": None,
        "skipped_count": None,
        "retry_of": None,
        "attempt_count": 1,
        "started_at": "2026-03-01T01:00:00.002Z",
        "finished_at": "2026-03-01T01:00:00.014Z",
        "duration_ms": 12.3,
        "lateness_ms": 2,
        "http_status": 200,
        "error_kind": None,
        "error": None,
        "node": "alpha",
        "attempts": [an_attempt()],
    } | more


def an_attempt(number: int = 1, **more: Any) -> dict[str, Any]:
    """An attempt as the API shows it."""
    return {
        "number": number,
        "started_at": "2026-03-01T01:00:00.002Z",
        "duration_ms": 12.3,
        "http_status": 200,
        "error_kind": None,
        "error": None,
        "node": "alpha",
        "timings": {
            "dns_ms": None,
            "connect_ms": 0.4,
            "tls_ms": None,
            "first_byte_ms": 11.9,
            "total_ms": 12.3,
        },
        "response": {"excerpt": '{"ok": true}', "truncated": False},
    } | more
