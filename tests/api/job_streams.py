"""A client of streams of jobs that sends and reads when it likes."""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from tests.api.harness import JOB, JOBS, Api

BATCH = f"{JOBS}:batch"
NDJSON = "application/x-ndjson"


def line(**fields: Any) -> bytes:
    """A definition as a line."""
    return orjson.dumps({**JOB, **fields}) + b"\n"


@dataclass
class Caller:
    """One request, piece by piece, as a server hands it to the application."""

    api: Api
    headers: Mapping[str, str] = field(default_factory=dict)
    reads: bool = True
    """Whether answers are taken; a connection whose buffers are full takes none."""
    pieces: "asyncio.Queue[dict[str, Any]]" = field(default_factory=asyncio.Queue)
    head: dict[str, Any] = field(default_factory=dict)
    told: bytearray = field(default_factory=bytearray)
    ended: bool = False
    taken: int = 0
    """Pieces that the application has asked for."""
    _heard: asyncio.Event = field(default_factory=asyncio.Event)
    _reading: asyncio.Event = field(default_factory=asyncio.Event)
    _task: "asyncio.Task[None] | None" = None

    def begin(self) -> "Caller":
        """Send the head of the request."""
        if self.reads:
            self._reading.set()
        transport: Any = self.api.client._transport
        given = {"content-type": NDJSON, **self.api.client.headers, **self.headers}
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "POST",
            "path": BATCH,
            "raw_path": BATCH.encode(),
            "root_path": "",
            "scheme": "http",
            "query_string": b"",
            "headers": [(name.lower().encode(), value.encode()) for name, value in given.items()],
            "client": ("127.0.0.1", 123),
            "server": ("tocsin.test", 80),
        }
        self._task = asyncio.create_task(transport.app(scope, self._receive, self._send))
        return self

    def write(self, *lines: bytes) -> None:
        """Send a piece of the body."""
        self.pieces.put_nowait({"type": "http.request", "body": b"".join(lines), "more_body": True})

    def close(self) -> None:
        """End the body."""
        self.pieces.put_nowait({"type": "http.request", "body": b"", "more_body": False})

    def hang_up(self) -> None:
        """Cut the connection."""
        self.pieces.put_nowait({"type": "http.disconnect"})

    def read_on(self) -> None:
        """Take answers from now on."""
        self._reading.set()

    async def heard(self, count: int) -> list[dict[str, Any]]:
        """The answers, once there are so many."""
        async with asyncio.timeout(30):
            while self.told.count(b"\n") < count:
                self._heard.clear()
                await self._heard.wait()
        return self.answers

    async def end(self) -> list[dict[str, Any]]:
        """All answers, once the application is done."""
        assert self._task is not None
        async with asyncio.timeout(60):
            await self._task
        return self.answers

    @property
    def answers(self) -> list[dict[str, Any]]:
        """What was said so far."""
        return [orjson.loads(one) for one in bytes(self.told).split(b"\n") if one]

    @property
    def status(self) -> int:
        """The status of the answer."""
        return int(self.head["status"])

    async def _receive(self) -> dict[str, Any]:
        piece = await self.pieces.get()
        self.taken += 1
        return piece

    async def _send(self, message: dict[str, Any]) -> None:
        await self._reading.wait()
        if message["type"] == "http.response.start":
            self.head = message
        else:
            self.told += message.get("body", b"")
            self.ended = not message.get("more_body", False)
        self._heard.set()


async def stream(api: Api, lines: Iterable[bytes], **headers: str) -> list[dict[str, Any]]:
    """What is said of a whole stream: an answer for each line, and the summary."""
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    caller = Caller(api, given).begin()
    caller.write(*lines)
    caller.close()
    answers = await caller.end()
    assert caller.status == 200
    assert caller.ended
    return answers
