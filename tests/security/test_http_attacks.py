"""What a hostile client can try with HTTP itself: on real sockets, against the whole API."""

import asyncio
import contextlib
import json
import re
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import uvicorn

from tests.api.access import ADMIN, Guarded, make_guarded
from tests.support.memory_store import MemoryStore
from tocsin.api import protocol
from tocsin.api.app import create_api
from tocsin.api.protocol import BoundedHttp

PATIENCE = 30.0
KEY = f"X-API-Key: {ADMIN}\r\n"
JOB = b'{"schedule": {"every": "1h"}, "target": {"log": "x"}}'


@dataclass
class Door:
    """The API on a socket."""

    gate: Guarded
    port: int

    async def send(self, raw: bytes) -> bytes:
        """All that comes back for some bytes, until the server hangs up."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(raw)
        answer = b""
        async with asyncio.timeout(PATIENCE):
            # Who hangs up on bytes that it has not read resets the connection.
            with contextlib.suppress(ConnectionError):
                while piece := await reader.read(65_536):
                    answer += piece
        writer.close()
        return answer

    async def ask(self, method: str, target: str, *headers: str, body: str = "") -> bytes:
        """One request, as it is written here."""
        length = f"Content-Length: {len(body)}\r\n" if body else ""
        lines = "".join(f"{line}\r\n" for line in headers)
        head = f"{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{length}{lines}\r\n"
        return await self.send(head.encode("latin-1") + body.encode())

    @property
    def jobs(self) -> int:
        return len(self.gate.api.store.state.jobs)  # type: ignore[attr-defined]


@pytest.fixture
async def door(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Door]:
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.5)
    monkeypatch.setattr(protocol, "BODY_SECONDS", 0.5)
    gate = make_guarded(MemoryStore())
    await gate.begin()
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(
        uvicorn.Config(
            create_api(gate.api.context),
            http=BoundedHttp,
            ws="none",
            lifespan="off",
            log_config=None,
            proxy_headers=False,
            timeout_keep_alive=1,
        )
    )
    with contextlib.closing(listener):
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        while not server.started:
            await asyncio.sleep(0)
        yield Door(gate, listener.getsockname()[1])
        server.should_exit = server.force_exit = True
        await serving
    await gate.sign_in.settle()


def statuses(answer: bytes) -> list[int]:
    # The second one stands right behind the body of the first.
    return [int(found) for found in re.findall(rb"HTTP/1\.1 (\d{3}) ", answer)]


def smuggle(lines: str, body: bytes) -> bytes:
    """A request that creates a job, and another one that somebody may see behind it."""
    behind = f"GET /api/v1/keys HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{KEY}\r\n".encode()
    head = f"POST /api/v1/jobs HTTP/1.1\r\nHost: x\r\n{KEY}{lines}\r\n"
    return head.encode("latin-1") + body + behind


CHUNKED = b"%x\r\n%b\r\n0\r\n\r\n" % (len(JOB), JOB)
LENGTH = f"Content-Length: {len(JOB)}\r\n"


@pytest.mark.parametrize(
    ("lines", "body"),
    [
        (f"{LENGTH}Transfer-Encoding: chunked\r\n", CHUNKED),
        (f"Transfer-Encoding: chunked\r\n{LENGTH}", CHUNKED),
        (f"{LENGTH}Content-Length: 0\r\n", JOB),
        (f"Content-Length: {len(JOB)}, 0\r\n", JOB),
        (f"Content-Length: +{len(JOB)}\r\n", JOB),
        (f"Content-Length: 0x{len(JOB):x}\r\n", JOB),
        (f"Content-Length: -{len(JOB)}\r\n", JOB),
        (f"Content-Length: {2**64 + len(JOB)}\r\n", JOB),
        (f"Content-Length : {len(JOB)}\r\n", JOB),
        ("Transfer-Encoding : chunked\r\n", CHUNKED),
        ("Transfer-Encoding: xchunked\r\n", CHUNKED),
        ("Transfer-Encoding: chunked, identity\r\n", CHUNKED),
        ("Transfer-Encoding:\x0bchunked\r\n", CHUNKED),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", CHUNKED),
        ("X: y\r\n Transfer-Encoding: chunked\r\n", CHUNKED),
        ("X: y\nTransfer-Encoding: chunked\r\n", CHUNKED),
        ("X: a\0b\r\n" + LENGTH, JOB),
        ("Transfer-Encoding: chunked\r\n", b"-1\r\n" + CHUNKED),
        ("Transfer-Encoding: chunked\r\n", b"0x5\r\nhello\r\n0\r\n\r\n"),
        ("Transfer-Encoding: chunked\r\n", b"1\n{\n0\n\n"),
        ("Transfer-Encoding: chunked\r\n", b"1" + b"0" * 20 + b"\r\n" + CHUNKED),
    ],
    ids=lambda one: one.replace("\r\n", "|")[:40] if isinstance(one, str) else "",
)
async def test_where_a_request_ends_is_never_a_matter_of_opinion(
    door: Door, lines: str, body: bytes
) -> None:
    """Whatever servers could take in two ways is refused, and nothing behind it is answered."""
    answer = await door.send(smuggle(lines, body))
    assert ADMIN[4:12].encode() not in answer, "nobody sees the list of keys"
    assert b'"prefix"' not in answer
    found = statuses(answer)
    assert 200 not in found, answer
    # What is refused after a head that was good may have been answered by the API before.
    assert set(found) <= {400, 415, 422}, answer
    assert len(found) <= 1
    assert door.jobs == 0


async def test_two_good_requests_are_two(door: Door) -> None:
    """The same, as it should be: so the tests above do not pass because nothing works."""
    for lines, body in ((LENGTH, JOB), ("Transfer-Encoding: chunked\r\n", CHUNKED)):
        found = await door.send(smuggle(lines, body))
        assert statuses(found) == [201, 200]
        assert b'"prefix"' in found


SPELLINGS = [
    "//api/v1/keys",
    "/api//v1/keys",
    "/./api/v1/keys",
    "/healthz/../api/v1/keys",
    "/api/v1/session/../keys",
    "/api/v1/demo/../keys",
    "/healthz/%2e%2e/api/v1/keys",
    "/healthz%2f..%2fapi/v1/keys",
    "/api/v1/%6beys",
    "/api/v1/keys/",
    "/api/v1/keys;/healthz",
    "/api/v1/keys%00",
    "/api/v1/keys%0a",
    "/API/V1/KEYS",
    "/api\\v1\\keys",
    "http://x/api/v1/keys",
    "http://evil.test/api/v1/keys",
    "/api/v1/keys#/healthz",
    "/api/v1/keys?/healthz",
    "/healthz?/../api/v1/keys",
    "/api/docs/../../v1/keys",
    "/api/docs/%2e%2e%2f%2e%2e%2f%2e%2e%2fsettings.py",
    "/assets/../../../api/app.py",
    "/%2e%2e/%2e%2e/app.py",
    "/\xe9",
    "*",
]


@pytest.mark.parametrize("target", SPELLINGS)
async def test_no_spelling_of_a_path_gets_around_the_gate(door: Door, target: str) -> None:
    await door.gate.make(name="hunted-name")
    answer = await door.ask("GET", target)
    assert b"hunted-name" not in answer
    assert b"import " not in answer, "no file of the program is served"
    (status,) = statuses(answer)
    assert status < 500
    if status == 200:
        assert target.startswith(("/healthz?", "/api/v1/keys#")) or b"text/html" in answer, answer


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "TRACE", "PROPFIND", "get", "PUT", "X"])
@pytest.mark.parametrize("target", ["/api/v1/jobs", "/api/v1/keys", "/metrics", "/api/v1/events"])
async def test_no_other_method_tells_anything(door: Door, method: str, target: str) -> None:
    answer = await door.ask(method, target, "X-Echo: hunted", "Origin: https://evil.test")
    (status,) = statuses(answer)
    assert status in {400, 401, 404, 405}, answer
    assert b"hunted" not in answer
    assert b"access-control-" not in answer.lower()


async def test_connect_and_upgrades_lead_nowhere(door: Door) -> None:
    for raw in (
        b"CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: 127.0.0.1:22\r\n\r\nSSH-2.0-x\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0" * 50,
        b"GET /api/v1/keys HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\n"
        b"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
        b"GET /api/v1/events HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET /healthz HTTP/9.9\r\n\r\n",
        b"\0" * 100,
    ):
        answer = await door.send(raw)
        assert set(statuses(answer)) <= {400, 401, 404, 405}, (raw, answer)
        assert b"101 Switching" not in answer


OVERRIDES = [
    "X-HTTP-Method-Override: DELETE",
    "X-HTTP-Method: DELETE",
    "X-Method-Override: DELETE",
    "X-Original-URL: /api/v1/keys",
    "X-Rewrite-URL: /api/v1/keys",
    "X-Forwarded-Prefix: /api/v1/keys",
    "X-Forwarded-Host: evil.test",
    "X-Forwarded-Scheme: https",
    "Forwarded: for=192.0.2.1;proto=https;host=evil.test",
]


@pytest.mark.parametrize("line", OVERRIDES)
async def test_headers_of_other_programs_change_nothing(door: Door, line: str) -> None:
    created = await door.ask(
        "POST", "/api/v1/jobs", KEY.strip(), line, body='{"name": "stays", ' + JOB.decode()[1:]
    )
    assert statuses(created) == [201]
    assert b"evil.test" not in created
    read = await door.ask("GET", "/api/v1/jobs/stays", KEY.strip(), line)
    assert statuses(read) == [200]
    assert b'"status":"active"' in read
    assert b"strict-transport-security" not in read
    assert statuses(await door.ask("GET", "/healthz", line)) == [200]


async def test_where_a_request_comes_from_is_not_what_it_says(door: Door) -> None:
    for line in (
        "X-Forwarded-For: 192.0.2.1",
        "X-Real-IP: 192.0.2.1",
        "Forwarded: for=192.0.2.1",
        "CF-Connecting-IP: 192.0.2.1",
        "True-Client-IP: 192.0.2.1",
    ):
        await door.ask("POST", "/api/v1/jobs", KEY.strip(), line, body=JOB.decode())
    entries = (await door.gate.api.get("/api/v1/audit", action="job.create"))["items"]
    assert [one["address"] for one in entries] == ["127.0.0.1"] * 5


async def test_headers_that_come_twice_are_not_chosen_from(door: Door) -> None:
    """A proxy may have looked at the one, and the API at the other."""
    viewer = (await door.gate.make(role="viewer"))["key"]
    for lines in (
        (f"Authorization: Bearer {viewer}", f"X-API-Key: {ADMIN}"),
        (f"X-API-Key: {ADMIN}", f"Authorization: Bearer {viewer}"),
        (f"Authorization: Basic {ADMIN}",),
        (f"Authorization: {ADMIN}",),
        (f"Authorization: Bearer {viewer}, Bearer {ADMIN}",),
        ("X-API-Key: ",),
        ("X-API-Key: \xff\xfe",),
        ("Authorization: Bearer",),
    ):
        answer = await door.ask("GET", "/api/v1/keys", *lines)
        assert statuses(answer) == [401], (lines, answer)


BODIES = {
    "deep lists": "[" * 100_000 + "]" * 100_000,
    "deep objects": '{"a":' * 50_000 + "1" + "}" * 50_000,
    "deep metadata": json.dumps({"metadata": 1}).replace("1", "[" * 500 + "]" * 500),
    "a long number": '{"metadata": {"n": ' + "9" * 50_000 + "}}",
    "a large number": '{"metadata": {"n": 1e999}}',
    "no number": '{"metadata": {"n": NaN}}',
    "many members": "{" + ",".join(f'"k{n}":1' for n in range(50_000)) + "}",
    "half a character": '{"description": "\\ud800"}',
    "nothing": "",
    "only spaces": " " * 1_000,
    "a mark": "\ufeff{}",
}


@pytest.mark.parametrize("name", BODIES)
async def test_bombs_are_refused_and_answered_in_words(door: Door, name: str) -> None:
    body = BODIES[name]
    if body.startswith("{") and '"metadata"' in body:
        body = '{"schedule": {"every": "1h"}, "target": {"log": "x"}, ' + body[1:]
    for method, path in (
        ("POST", "/api/v1/jobs"),
        ("POST", "/api/v1/jobs:batch"),
        ("PUT", "/api/v1/jobs/x"),
        ("POST", "/api/v1/jobs:try"),
        ("POST", "/api/v1/keys"),
        ("POST", "/api/v1/session"),
        ("PUT", "/api/v1/secrets/X"),
        ("POST", "/api/v1/schedules:preview"),
    ):
        raw = body.encode("utf-8", "surrogatepass")
        head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{KEY}"
        answer = await door.send(f"{head}Content-Length: {len(raw)}\r\n\r\n".encode() + raw)
        (status,) = statuses(answer)
        assert status in {400, 413, 422}, (method, path, answer[:500])
        assert b"application/problem+json" in answer
        assert b"Traceback" not in answer
        assert len(answer) < 40_000
    assert door.jobs == 0
