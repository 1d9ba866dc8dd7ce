"""A load generator that costs little: requests as bytes, over raw asyncio protocols."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import httptools
from tests.support.process import KEY

T = TypeVar("T")


def run(main: Callable[[], Awaitable[T]]) -> T:
    """Run a coroutine function on uvloop where there is one."""

    async def call() -> T:
        return await main()

    try:
        import uvloop
    except ImportError:
        return asyncio.run(call())
    return uvloop.run(call())


def request(method: str, path: str, port: int, body: bytes, headers: Iterable[str] = ()) -> bytes:
    """A request as it goes over the wire."""
    head = [
        f"{method} {path} HTTP/1.1",
        f"Host: 127.0.0.1:{port}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        f"Authorization: Bearer {KEY}",
        *headers,
    ]
    return ("\r\n".join(head) + "\r\n\r\n").encode() + body


@dataclass(kw_only=True, slots=True)
class Load:
    """What came of a series of requests."""

    seconds: float = 0.0
    statuses: Counter[int] = field(default_factory=Counter)
    bodies: list[bytes] = field(default_factory=list)
    """The answers that were not 2xx, a few of them."""

    @property
    def rate(self) -> float:
        """Requests per second."""
        return sum(self.statuses.values()) / self.seconds

    def check(self, status: int) -> None:
        """Fail unless every answer had this status."""
        if set(self.statuses) != {status}:
            raise RuntimeError(f"answers {dict(self.statuses)}: {self.bodies[:2]!r}")


class _Connection(asyncio.Protocol):
    """Sends one request after the other."""

    def __init__(self, todo: Iterator[bytes], load: Load, ended: "asyncio.Future[None]") -> None:
        self._todo = todo
        self._load = load
        self._ended = ended
        self._body = b""
        self._parser = httptools.HttpResponseParser(self)
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._ended.done():
            self._ended.set_exception(exc or ConnectionError("the server hung up"))

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        self._body = body

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        self._load.statuses[status] += 1
        if status >= 300 and len(self._load.bodies) < 5:
            self._load.bodies.append(self._body)
        # The parser is reused: a new one would cost more than the request.
        self._next()

    def _next(self) -> None:
        data = next(self._todo, None)
        if data is not None:
            self._transport.write(data)
        elif not self._ended.done():
            self._ended.set_result(None)
            self._transport.close()


async def send(port: int, requests: Iterable[bytes], *, concurrency: int) -> Load:
    """Send all requests over so many connections, each with one request at a time."""
    loop = asyncio.get_running_loop()
    load = Load()
    todo = iter(requests)
    ends = [loop.create_future() for _ in range(concurrency)]
    began = time.perf_counter()
    for end in ends:
        await loop.create_connection(
            lambda end=end: _Connection(todo, load, end),  # type: ignore[misc]
            "127.0.0.1",
            port,
        )
    await asyncio.gather(*ends)
    load.seconds = time.perf_counter() - began
    return load


async def stream(port: int, path: str, lines: bytes) -> bytes:
    """Send lines as one request and read the answer meanwhile; the answer with its head."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=_PIECE)
    head = request("POST", path, port, b"", ["Expect: 100-continue"])
    head = head.replace(b"application/json", b"application/x-ndjson")
    writer.write(head.replace(b"Content-Length: 0", b"Content-Length: %d" % len(lines)))
    begin = await reader.readuntil(b"\r\n\r\n")
    if not begin.startswith(b"HTTP/1.1 100"):
        raise RuntimeError(f"the stream was refused: {begin!r}")

    async def write() -> None:
        for start in range(0, len(lines), _PIECE):
            writer.write(lines[start : start + _PIECE])
            await writer.drain()

    _, answer = await asyncio.gather(write(), reader.read())
    writer.close()
    return answer


_PIECE = 262_144
"""Bytes that are written and read at once."""


class _Caller(asyncio.Protocol):
    """A pooled connection for calls at given instants."""

    def __init__(self, free: "list[_Caller]") -> None:
        self._free = free
        self.transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self._free.append(self)

    def data_received(self, data: bytes) -> None:
        # The receiver's answers are small: each comes as one piece.
        self._free.append(self)


async def send_at(port: int, calls: Sequence[tuple[float, bytes]], *, connections: int) -> None:
    """Send each request at its instant (seconds since the epoch), with nothing else around it.

    This is what timers, sockets and the receiver cost on this machine; a scheduler comes on top.
    """
    loop = asyncio.get_running_loop()
    free: list[_Caller] = []
    for _ in range(connections):
        await loop.create_connection(lambda: _Caller(free), "127.0.0.1", port)
    callers = list(free)
    offset = loop.time() - time.time()
    by_instant: dict[float, list[bytes]] = {}
    for instant, data in calls:
        by_instant.setdefault(instant, []).append(data)

    def fire(batch: list[bytes]) -> None:
        while batch and free:
            free.pop().transport.write(batch.pop())
        if batch:
            loop.call_soon(fire, batch)

    for instant, batch in by_instant.items():
        loop.call_at(instant + offset, fire, batch)
    await asyncio.sleep(max(by_instant) - time.time() + 0.5)
    for caller in callers:
        caller.transport.close()
