"""Clients that hold a server up by being slow, or by never coming to an end: on real sockets."""

import asyncio
import contextlib
import gc
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
import uvicorn

from tocsin.api import protocol
from tocsin.api.protocol import BoundedHttp

BIG = 40_000_000
"""Bytes of an answer that no buffer of a socket holds."""

PATIENCE = 30.0
"""Seconds after which a test takes it that what it waits for does not come."""


HOUR = 3_600.0


class Server:
    """The API's HTTP in front of a little application, which says what it was asked."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.headers: list[list[tuple[bytes, bytes]]] = []
        self.bodies: list[bytes] = []
        self.gone = asyncio.Event()
        self.go_on = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", True
        if scope["path"] == "/echo":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            while more:
                message = await receive()
                more = message.get("more_body", False)
                await send(
                    {
                        "type": "http.response.body",
                        "body": message.get("body", b""),
                        "more_body": more,
                    }
                )
            return
        if scope["path"] == "/until-they-leave":
            while (await receive())["type"] != "http.disconnect":
                pass
            self.gone.set()
            return
        if scope["path"] == "/too-large":
            head = [(b"content-length", b"2"), (b"connection", b"close")]
            await send({"type": "http.response.start", "status": 413, "headers": head})
            await send({"type": "http.response.body", "body": b"no"})
            return
        if scope["path"] == "/held":
            await self.go_on.wait()
        if scope["path"] != "/unread":
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    self.gone.set()
                    return
                body, more = body + message.get("body", b""), message.get("more_body", False)
        await asyncio.sleep(0)
        self.headers.append(list(scope["headers"]))
        self.bodies.append(body)
        answer = b"x" * (BIG if scope["path"] == "/big" else 2)
        length = str(len(answer)).encode()
        await send(
            {"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]}
        )
        await send({"type": "http.response.body", "body": answer})

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Server]:
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.3)
    monkeypatch.setattr(protocol, "BODY_SECONDS", 0.3)
    monkeypatch.setattr(protocol, "READ_SECONDS", 0.3)
    monkeypatch.setattr(protocol, "LINGER_SECONDS", 0.3)
    listener = socket.create_server(("127.0.0.1", 0))
    app = Server(listener.getsockname()[1])
    running = uvicorn.Server(
        uvicorn.Config(
            app,
            http=BoundedHttp,
            ws="none",
            lifespan="off",
            log_config=None,
            timeout_keep_alive=10 * int(HOUR),
        )
    )
    with contextlib.closing(listener):
        serving = asyncio.create_task(running.serve(sockets=[listener]))
        while not running.started:
            await asyncio.sleep(0)
        yield app
        running.should_exit = running.force_exit = True
        await serving


async def rest(reader: asyncio.StreamReader) -> bytes:
    """What comes until the server hangs up."""
    async with asyncio.timeout(PATIENCE):
        return await reader.read()


async def test_a_connection_on_which_nothing_is_asked_is_closed(server: Server) -> None:
    reader, writer = await server.connect()
    assert await rest(reader) == b""
    writer.close()


@pytest.mark.parametrize("sent", [b"G", b"GET / HTTP/1.1\r\nHost: x\r\nX-A: b"])
async def test_a_head_that_does_not_end_is_refused(server: Server, sent: bytes) -> None:
    reader, writer = await server.connect()
    writer.write(sent)
    answer = await rest(reader)
    assert answer.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert b"application/problem+json" in answer
    assert server.headers == []
    writer.close()


async def drip(writer: asyncio.StreamWriter, piece: bytes) -> None:
    with contextlib.suppress(ConnectionError):
        while not writer.is_closing():
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("head", "piece"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n", b"A: b\r\n"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n", b"a"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n"),
    ],
    ids=["headers", "body", "chunks"],
)
async def test_what_trickles_in_is_refused_however_steadily(
    server: Server, head: bytes, piece: bytes
) -> None:
    reader, writer = await server.connect()
    writer.write(head)
    dripping = asyncio.create_task(drip(writer, piece))
    assert (await rest(reader)).startswith(b"HTTP/1.1 408 ")
    dripping.cancel()
    writer.close()
    if b"POST" in head:
        async with asyncio.timeout(PATIENCE):
            await server.gone.wait()  # the application is not left waiting


async def test_who_is_refused_while_sending_can_read_why(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that is closed while data comes in is reset, and the answer would be lost."""
    monkeypatch.setattr(protocol, "LINGER_SECONDS", PATIENCE)

    def flood() -> bytes:
        with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 3_000_000)
            return b"".join(iter(lambda: client.recv(65_536), b""))

    answer = await asyncio.to_thread(flood)
    assert answer.startswith(b"HTTP/1.1 431 ")
    assert answer.count(b"HTTP/1.1") == 1
    assert server.headers == []


async def test_who_is_answered_while_sending_can_send_on_and_read_why(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with a body that is too large, or a stream of jobs whose key was revoked."""
    monkeypatch.setattr(protocol, "LINGER_SECONDS", PATIENCE)

    def flood() -> bytes:
        with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as client:
            client.sendall(
                b"POST /too-large HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % BIG
            )
            client.sendall(b"a" * BIG)
            return b"".join(iter(lambda: client.recv(65_536), b""))

    answer = await asyncio.to_thread(flood)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert answer.endswith(b"\r\n\r\nno")
    assert answer.count(b"HTTP/1.1") == 1


async def test_who_goes_on_sending_after_their_answer_is_hung_up_on(server: Server) -> None:
    reader, writer = await server.connect()
    writer.write(b"POST /too-large HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n")
    dripping = asyncio.create_task(drip(writer, b"a"))
    assert (await rest(reader)).startswith(b"HTTP/1.1 413 ")
    async with asyncio.timeout(PATIENCE):
        while _connections():
            await asyncio.sleep(0.01)
    dripping.cancel()
    writer.close()


async def test_garbage_behind_requests_under_way_ends_the_connection_without_an_error(
    server: Server,
) -> None:
    raised: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: raised.append(context))
    reader, writer = await server.connect()
    get = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    writer.write(get + get + b"\x00garbage\r\n\r\n")
    with contextlib.suppress(ConnectionError):
        assert b" 400 " not in await rest(reader), "that would look like the answer to the first"
    writer.close()
    reader, writer = await server.connect()
    writer.write(get)
    async with asyncio.timeout(PATIENCE):
        await reader.readuntil(b"\r\n\r\nxx")
    writer.close()
    assert raised == []


async def test_a_body_that_nobody_wants_any_more_does_not_keep_the_connection(
    server: Server,
) -> None:
    """As that of a request without a key, which was refused for its head."""
    reader, writer = await server.connect()
    writer.write(b"POST /unread HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n")
    dripping = asyncio.create_task(drip(writer, b"a"))
    answer = b""
    async with asyncio.timeout(PATIENCE):
        # Whoever goes on sending when the server has hung up is reset.
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(1_000):
                answer += data
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b" 408 " not in answer, "an answer was sent already, and is not followed by another one"
    dripping.cancel()
    writer.close()


async def test_a_large_body_may_take_longer(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "BODY_RATE", 1)
    reader, writer = await server.connect()
    writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n")
    for _ in range(50):
        writer.write(b"a")
        await writer.drain()
        await asyncio.sleep(0.02)
    async with asyncio.timeout(PATIENCE):
        assert (await reader.readline()) == b"HTTP/1.1 200 OK\r\n"
    assert server.bodies == [b"a" * 50]
    writer.close()


async def test_the_second_request_of_a_connection_has_its_own_time(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "HEAD_SECONDS", HOUR)
    loop = asyncio.get_running_loop()
    real, passed = loop.time, 0.0
    monkeypatch.setattr(loop, "time", lambda: real() + passed)
    reader, writer = await server.connect()
    for _ in range(4):
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        async with asyncio.timeout(PATIENCE):
            assert (await reader.readuntil(b"\r\n\r\nxx")).startswith(b"HTTP/1.1 200 ")
        passed += HOUR / 2
    writer.write(b"GET / HTTP/1.1\r\nHost")
    async with asyncio.timeout(PATIENCE):
        while not any(one._head for one in _connections()):
            await asyncio.sleep(0.01)
    passed += HOUR
    assert (await rest(reader)).startswith(b"HTTP/1.1 408 ")
    writer.close()


async def test_who_does_not_read_the_answer_is_dropped(server: Server) -> None:
    reader, writer = await server.connect()
    writer.transport.pause_reading()
    writer.write(b"GET /big HTTP/1.1\r\nHost: x\r\n\r\n")
    async with asyncio.timeout(PATIENCE):
        while not server.headers:
            await asyncio.sleep(0.01)
        transport = await _only_connection(server)
        while not transport.is_closing():
            await asyncio.sleep(0.01)
    writer.transport.resume_reading()
    with contextlib.suppress(ConnectionError):
        assert len(await rest(reader)) < BIG
    writer.close()


async def test_who_reads_slowly_gets_all_of_it(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "READ_BYTES", 1)
    reader, writer = await server.connect()
    writer.write(b"GET /big HTTP/1.1\r\nHost: x\r\n\r\n")
    await reader.readuntil(b"\r\n\r\n")
    size = 0
    async with asyncio.timeout(PATIENCE):
        while size < BIG:
            size += len(await reader.read(1_000_000))
            await asyncio.sleep(0.01)
    writer.close()


async def _only_connection(server: Server) -> asyncio.Transport:
    """The server's side of it."""
    (found,) = _connections()
    return found.transport


def _connections() -> list[BoundedHttp]:
    """Those that are open, at the server's side."""
    return [
        one
        for one in gc.get_objects()
        if isinstance(one, BoundedHttp) and one.transport and not one.transport.is_closing()
    ]


@pytest.mark.parametrize(
    ("sent", "piece", "status"),
    [
        (b"GET / HTTP/1.1\r\n", b"X-Long: " + b"a" * 8_000 + b"\r\n", b"431"),
        (
            b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n",
            b"X-Trailer: " + b"a" * 8_000 + b"\r\n",
            b"400",
        ),
        (
            b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1;ext=",
            b"a" * 8_000,
            b"400",
        ),
    ],
    ids=["headers", "trailers", "the extension of a chunk"],
)
async def test_what_does_not_end_is_not_kept(
    server: Server, monkeypatch: pytest.MonkeyPatch, sent: bytes, piece: bytes, status: bytes
) -> None:
    monkeypatch.setattr(protocol, "HEAD_SECONDS", PATIENCE)
    monkeypatch.setattr(protocol, "BODY_SECONDS", PATIENCE)
    reader, writer = await server.connect()
    writer.write(sent)
    answer = asyncio.create_task(rest(reader))
    while not answer.done():
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0)
    assert (await answer).startswith(b"HTTP/1.1 " + status)
    writer.close()


async def test_a_trailer_is_no_header(server: Server) -> None:
    """Or it could say who asks, behind the back of a proxy that only looks at heads."""
    reader, writer = await server.connect()
    writer.write(
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTrailer: X-API-Key\r\n\r\n"
        b"1\r\na\r\n0\r\nX-API-Key: smuggled\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n"
    )
    async with asyncio.timeout(PATIENCE):
        await reader.readuntil(b"\r\n\r\nxx")
    (headers,) = server.headers
    assert {name for name, _ in headers} == {b"host", b"transfer-encoding", b"trailer"}
    assert server.bodies == [b"a"]
    writer.close()


async def test_a_body_that_is_answered_as_it_comes_may_take_its_time(server: Server) -> None:
    reader, writer = await server.connect()
    writer.write(b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
    await reader.readuntil(b"\r\n\r\n")
    loop = asyncio.get_running_loop()
    began = loop.time()
    while loop.time() - began < 3 * protocol.BODY_SECONDS:
        writer.write(b"2\r\nhi\r\n")
        async with asyncio.timeout(PATIENCE):
            assert await reader.readuntil(b"hi\r\n")
        await asyncio.sleep(protocol.BODY_SECONDS / 10)
    writer.write(b"0\r\n\r\n")
    async with asyncio.timeout(PATIENCE):
        assert (await reader.readuntil(b"0\r\n\r\n")).endswith(b"0\r\n\r\n")
    writer.close()


async def test_requests_that_are_sent_ahead_wait_as_bytes_and_are_all_answered(
    server: Server,
) -> None:
    """One that is begun takes a hundred times the memory of its bytes, and nobody needs a key to
    send it: 16 MB of them filled more than a gigabyte."""
    reader, writer = await server.connect()
    get = b"GET / HTTP/1.1\r\n\r\n"
    count, most = 4_000, 0
    writer.write(b"GET /held HTTP/1.1\r\n\r\n" + get * count)
    async with asyncio.timeout(PATIENCE):
        while not (held := _connections()) or not held[0].pipeline:
            await asyncio.sleep(0)
        server.go_on.set()
        for _ in range(count + 1):
            assert (await reader.readuntil(b"\r\n\r\nxx")).startswith(b"HTTP/1.1 200 ")
            most = max(most, len(held[0].pipeline))
    assert 0 < most <= 1 + protocol.PIECE // len(get)
    writer.close()


async def test_who_leaves_is_missed_though_they_sent_another_request_ahead(server: Server) -> None:
    """A stream of events would be held for them for ever."""
    _, writer = await server.connect()
    writer.write(
        b"GET /until-they-leave HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n"
    )
    async with asyncio.timeout(PATIENCE):
        while not (found := _connections()) or not found[0].pipeline:
            await asyncio.sleep(0)
        writer.transport.abort()
        await server.gone.wait()


@pytest.mark.parametrize("apart", [False, True])
async def test_who_would_like_another_protocol_is_answered_by_http(
    server: Server, *, apart: bool
) -> None:
    """As Java's client asks for HTTP/2: the body comes all the same, and must be the body."""
    reader, writer = await server.connect()
    head = (
        b"POST / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
        b"HTTP2-Settings: AAMAAABkAAQAAP__\r\nContent-Length: 5\r\n\r\n"
    )
    for piece in (head, b"hello", b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nbye"):
        writer.write(piece)
        if apart:
            await writer.drain()
            await asyncio.sleep(0.01)
    async with asyncio.timeout(PATIENCE):
        for _ in range(2):
            assert (await reader.readuntil(b"\r\n\r\nxx")).startswith(b"HTTP/1.1 200 ")
    assert server.bodies == [b"hello", b"bye"]
    assert (b"http2-settings", b"AAMAAABkAAQAAP__") in server.headers[0]
    writer.close()
