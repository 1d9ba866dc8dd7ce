"""Streams of jobs on a real node: long ones take no memory, and what was answered is there."""

import contextlib
import http.client
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import orjson

from tests.chaos.conftest import NodeFactory
from tests.support.process import KEY, PATIENCE, Tocsin

LINES = 100_000
MOST_GROWTH = 120
"""MiB. All lines at once would be some 300: definitions, objects, rows and answers."""


def lines(start: int, count: int) -> bytes:
    """Definitions, whose fires are far away."""
    return b"".join(
        orjson.dumps(
            {
                "name": f"line-{number}",
                "schedule": {"at": f"2099-06-15T{number % 24:02}:{number // 24 % 60:02}:00Z"},
                "target": {"url": "http://127.0.0.1:9/hook", "body": {"customer": number}},
                "tags": ["stream"],
            }
        )
        + b"\n"
        for number in range(start, start + count)
    )


class Stream:
    """A request whose body goes on, while its answer is read."""

    def __init__(self, node: Tocsin) -> None:
        self._socket = socket.create_connection(("127.0.0.1", node.port), timeout=PATIENCE)
        self._socket.sendall(
            b"POST /api/v1/jobs:batch HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            b"Authorization: Bearer %b\r\nContent-Type: application/x-ndjson\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n" % KEY.encode()
        )

    def write(self, data: bytes) -> None:
        """Send a piece of the body."""
        self._socket.sendall(b"%x\r\n%b\r\n" % (len(data), data))

    def end(self) -> None:
        """End the body."""
        self._socket.sendall(b"0\r\n\r\n")

    def answers(self) -> Iterator[dict[str, object]]:
        """What is said of each line, as it comes, until the end or until the node is gone."""
        with http.client.HTTPResponse(self._socket) as response:
            response.begin()
            assert response.status == 200
            try:
                for one in response:
                    yield orjson.loads(one)
            except (http.client.IncompleteRead, ConnectionError):
                return

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Hang up."""
        self._socket.close()


def summary(created: int) -> dict[str, object]:
    """The last line of a stream that went well."""
    return {"complete": True, "created": created, "replayed": 0, "refused": 0}


def memory(node: Tocsin, what: str) -> float:
    """MiB of a process: ``VmRSS`` now, ``VmHWM`` at most."""
    found = re.search(rf"{what}:\s+(\d+) kB", Path(f"/proc/{node.pid}/status").read_text())
    assert found is not None
    return int(found[1]) / 1_024


def test_a_long_stream_takes_the_memory_of_a_short_one(node: NodeFactory) -> None:
    started = node().start()
    with Stream(started) as short:
        short.write(lines(LINES, 5_000))
        short.end()
        assert list(short.answers())[-1] == summary(5_000)
    before = memory(started, "VmRSS")
    with Stream(started) as stream:

        def send() -> None:
            for start in range(0, LINES, 1_000):
                stream.write(lines(start, 1_000))
            stream.end()

        sending = threading.Thread(target=send)
        sending.start()
        last: dict[str, object] = {}
        for number, last in enumerate(stream.answers(), 1):
            assert last.get("line", LINES + 1) == number
        sending.join()
    assert last == summary(LINES)
    assert memory(started, "VmHWM") - before < MOST_GROWTH


def test_what_was_answered_is_there_after_a_crash(node: NodeFactory) -> None:
    started = node().start()
    answered: dict[str, str] = {}
    with Stream(started) as stream:

        def send() -> None:
            with contextlib.suppress(OSError):
                for start in range(0, LINES, 500):
                    stream.write(lines(start, 500))

        sending = threading.Thread(target=send)
        sending.start()
        for answer in stream.answers():
            answered[str(answer["name"])] = str(answer["id"])
            if len(answered) == 3_000:
                started.kill()
        sending.join()
    assert 3_000 <= len(answered) < LINES
    stored = dict(started.rows().query("SELECT name, id FROM jobs"))
    assert {name: stored.get(name) for name in answered} == answered
    # Nothing torn, and nothing that was not sent.
    assert all(re.fullmatch(r"line-\d+", name) for name in stored)
