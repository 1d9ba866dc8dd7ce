"""A server on a real socket that does to its clients whatever a test tells it to.

Also what the tests of the HTTP client share: running on both event loops with a check for leaks,
certificates, and clients that talk to this server only.
"""

import asyncio
import functools
import gc
import inspect
import socket
import ssl
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import trustme
import uvloop

from tocsin.delivery.http import (
    AllowAll,
    HttpClient,
    HttpOutcome,
    HttpRequest,
    ResumingContext,
)

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}


def on_both_loops(test: Callable[..., Awaitable[None]]) -> Any:
    """Run an async test on asyncio and on uvloop; it fails where it leaves anything behind."""
    signature = inspect.signature(test)
    loop_name = inspect.Parameter("loop_name", inspect.Parameter.KEYWORD_ONLY)

    @functools.wraps(test)
    def run(*, loop_name: str, **arguments: Any) -> None:
        complaints: list[dict[str, Any]] = []

        async def guarded() -> None:
            loop = asyncio.get_running_loop()
            loop.set_exception_handler(lambda _, context: complaints.append(context))
            async with asyncio.timeout(60):
                await test(**arguments)
            left = asyncio.all_tasks() - {asyncio.current_task()}
            if left:  # the server's loop may still be busy with a connection that is gone
                _, left = await asyncio.wait(left, timeout=30)
            assert not left, f"tasks left: {left}"

        before = _open_sockets()
        gc.freeze()
        try:
            with asyncio.Runner(loop_factory=LOOPS[loop_name]) as runner:
                runner.run(guarded())
            # What was not closed complains when it is collected. Only this test's garbage is
            # looked through: the whole heap would take 60 ms each time.
            gc.collect()
        finally:
            gc.unfreeze()
        assert not complaints, complaints
        assert _open_sockets() <= before, "sockets left"

    run.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[*signature.parameters.values(), loop_name]
    )
    del run.__wrapped__  # type: ignore[attr-defined]
    return pytest.mark.parametrize("loop_name", list(LOOPS))(run)


def _open_sockets() -> set[str]:
    """The process's sockets; on systems without /proc the other checks must do."""
    links = set()
    for entry in Path("/proc/self/fd").glob("*"):
        with suppress(OSError):  # the one that the listing itself was read from
            links.add(str(entry.readlink()))
    return {link for link in links if link.startswith("socket:")}


@dataclass
class Seen:
    """A request as it arrived."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes
    raw_head: bytes
    connection: int

    def header(self, name: str) -> str | None:
        return next((v for n, v in self.headers if n.lower() == name.lower()), None)


class Peer:
    """The server's end of one connection."""

    def __init__(
        self,
        server: "HostileServer",
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        number: int,
    ) -> None:
        self.number = number
        self.server = server
        self._reader = reader
        self._writer = writer

    async def head(self) -> bytes:
        """Read up to the empty line; nothing where the client closes."""
        try:
            return await self._reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return b""

    async def request(self) -> Seen | None:
        """Read a whole request; ``None`` where the client has closed."""
        head = await self.head()
        if not head:
            return None
        first, *lines = head.decode("latin-1").split("\r\n")[:-2]
        method, target, _ = first.split(" ")
        headers = [(name, value) for name, _, value in (line.partition(": ") for line in lines)]
        length = next((int(v) for n, v in headers if n.lower() == "content-length"), 0)
        body = await self._reader.readexactly(length)
        seen = Seen(method, target, headers, body, head, self.number)
        self.server.seen.append(seen)
        return seen

    async def some(self) -> bytes:
        """Read whatever comes first."""
        return await self._reader.read(65536)

    def pause(self) -> None:
        """Do not take anything from the socket any more."""
        self._writer.transport.pause_reading()  # type: ignore[attr-defined]

    def info(self, name: str) -> Any:
        return self._writer.get_extra_info(name)

    def send(self, data: bytes) -> None:
        self._writer.write(data)

    async def drain(self) -> None:
        await self._writer.drain()

    def half_close(self) -> None:
        """Say that nothing more comes, but keep reading."""
        self._writer.write_eof()

    def reset(self) -> None:
        """Close with a TCP reset."""
        sock = self._writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    def close(self) -> None:
        self._writer.close()

    async def gone(self) -> None:
        """Wait until the client has closed."""
        try:
            while await self._reader.read(65536):
                pass
        except (ConnectionError, ssl.SSLError):
            pass


Script = Callable[[Peer], Awaitable[None]]


async def polite(peer: Peer) -> None:
    """Answer 200 to whatever comes, for as long as it comes."""
    while await peer.request():
        peer.send(OK)


def answering(*answers: bytes, then: Callable[[Peer], Any] | None = None) -> Script:
    """Send the answers in order, one per request; then close, or what ``then`` does."""

    async def script(peer: Peer) -> None:
        for answer in answers:
            if not await peer.request():
                return
            peer.send(answer)
        if then is not None:
            then(peer)
        else:
            peer.close()

    return script


def holding(*answers: bytes) -> Script:
    """Send the answers in order, one per request; then say nothing more and keep it open."""

    async def script(peer: Peer) -> None:
        for answer in answers:
            if not await peer.request():
                return
            peer.send(answer)
        await peer.gone()

    return script


@dataclass
class HostileServer:
    """Runs a script for each connection; the n-th one for the n-th, the last for the rest."""

    scripts: Sequence[Script]
    port: int = 0
    scheme: str = "http"
    host: str = "127.0.0.1"
    seen: list[Seen] = field(default_factory=list)
    connections: int = 0
    closed: asyncio.Event = field(default_factory=asyncio.Event)
    """Set whenever a connection's script has ended."""

    def url(self, path: str = "/") -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}{path}"


async def _accepted() -> None:
    """Wait until what is being accepted is: a server that closes meanwhile forgets it, open."""
    for _ in range(5):
        await asyncio.sleep(0)
    tasks = [task for task in asyncio.all_tasks() if "_accept_connection" in str(task.get_coro())]
    if tasks:
        await asyncio.wait(tasks, timeout=1)


@asynccontextmanager
async def serving(
    *scripts: Script,
    tls: ssl.SSLContext | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
) -> AsyncIterator[HostileServer]:
    """Serve until the end of the block."""
    served = HostileServer(scripts or (polite,), host=host, scheme="https" if tls else "http")
    under_way: dict[asyncio.Task[Any], asyncio.StreamWriter] = {}

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        under_way[task] = writer
        number = served.connections
        served.connections += 1
        script = served.scripts[min(number, len(served.scripts) - 1)]
        try:
            await script(Peer(served, reader, writer, number))
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        except RuntimeError as error:  # uvloop's word for a write after the client has closed
            if "closed" not in str(error):
                raise
        finally:
            writer.close()
            served.closed.set()

    server = await asyncio.start_server(handle, host, port, ssl=tls)
    served.port = server.sockets[0].getsockname()[1]
    try:
        yield served
    finally:
        await _accepted()
        server.close()
        for task, writer in under_way.items():
            task.cancel()
            writer.transport.abort()
        if under_way:
            await asyncio.wait(under_way)
            for writer in under_way.values():
                with suppress(OSError, asyncio.CancelledError):
                    await writer.wait_closed()
        await server.wait_closed()


@asynccontextmanager
async def calling(**options: Any) -> AsyncIterator[HttpClient]:
    """A client that may call anything, closed at the end."""
    client = HttpClient(**{"guard": AllowAll(), "tls_context": trusting(), **options})
    try:
        yield client
    finally:
        await client.close()
        assert client.open_connections == 0


def request(url: str, **changes: Any) -> HttpRequest:
    return HttpRequest(**{"method": "POST", "url": url, "timeout": 30.0, "body": b"{}", **changes})


def answered(outcome: HttpOutcome, status: int = 200) -> HttpOutcome:
    """Assert that a whole answer was read."""
    assert (outcome.error_kind, outcome.error, outcome.status) == (None, None, status)
    assert outcome.request_written
    return outcome


def failed(outcome: HttpOutcome, kind: str, *words: str, written: bool) -> HttpOutcome:
    """Assert how a call failed."""
    assert outcome.error_kind == kind, outcome.error
    assert outcome.error
    for word in words:
        assert word in outcome.error
    assert outcome.request_written is written
    return outcome


async def timed_out(
    call: Callable[[float], Awaitable[HttpOutcome]], *words: str, written: bool
) -> HttpOutcome:
    """Assert that a call which may take so many seconds runs out of them in the phase that the
    words tell. Where this machine stood still before it came to that, it is given more of them."""
    for seconds in (0.1, 0.4, 1.6, 6.4):
        began = time.perf_counter()
        outcome = await call(seconds)
        took = time.perf_counter() - began
        if outcome.error is not None and all(word in outcome.error for word in words):
            break
    failed(outcome, "timeout", f" within {seconds:g}s", *words, written=written)
    # The time of uvloop may be a little behind.
    assert 800 * seconds <= outcome.timings.total_ms <= 1_000 * took + 1
    return outcome


@functools.cache
def authority() -> trustme.CA:
    return trustme.CA()


@functools.cache
def trusting() -> ResumingContext:
    """A client's context that trusts the test authority."""
    context = ResumingContext()
    authority().configure_trust(context)
    return context


@functools.cache
def certified(*names: str, expired: bool = False, ca: trustme.CA | None = None) -> ssl.SSLContext:
    """A server's context with a certificate for these names."""
    dates = (
        {
            "not_before": datetime(2020, 1, 1, tzinfo=UTC),
            "not_after": datetime(2021, 1, 1, tzinfo=UTC),
        }
        if expired
        else {}
    )
    certificate = (ca or authority()).issue_cert(*names, **dates)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context
