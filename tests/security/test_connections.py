"""Who opens connections without end, or asks without end what everybody may ask: real sockets."""

import asyncio
import contextlib
import datetime
import resource
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest
import trustme
import uvicorn

from tests.chaos.conftest import NodeFactory
from tests.support.process import AUTHORIZED, Receiver, wait_until
from tocsin.api import server as module
from tocsin.api.server import Server
from tocsin.services.pulse import KEPT

PATIENCE = 30.0
"""Seconds after which a test takes it that what it waits for does not come."""

MOST = 4
ASK = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
Serve = Callable[..., Awaitable["Door"]]


class Door:
    """A server that takes few connections, and whom they can be made to."""

    def __init__(self, running: Server, port: int) -> None:
        self.running = running
        self.port = port
        self.refused = 0
        self._clients: list[asyncio.StreamWriter] = []

    async def come(self, source: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self.port, local_addr=(source, 0)
        )
        self._clients.append(writer)
        return reader, writer

    async def is_answered(self, source: str) -> bool:
        """Whether one more connection from there is answered; it stays open then."""
        reader, writer = await self.come(source)
        writer.write(ASK)
        async with asyncio.timeout(PATIENCE):
            try:
                return (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200 ")
            except (asyncio.IncompleteReadError, ConnectionError):
                return False

    async def leave(self) -> None:
        for client in self._clients:
            client.transport.abort()
        self._clients.clear()
        async with asyncio.timeout(PATIENCE):
            while self.running._open:
                await asyncio.sleep(0.01)


async def app(scope: Any, receive: Any, send: Any) -> None:
    del scope, receive
    head = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]}
    await send(head)
    await send({"type": "http.response.body", "body": b"ok"})


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    doors: list[tuple[Door, asyncio.Task[None]]] = []

    async def make(*, trusted: tuple[str, ...] = (), **settings: Any) -> Door:
        listener = socket.create_server(("127.0.0.1", 0))
        door: Door

        def refused() -> None:
            door.refused += 1

        config = uvicorn.Config(app, ws="none", lifespan="off", log_config=None, **settings)
        running = Server(config, most=MOST, trusted=trusted, refused=refused)
        door = Door(running, listener.getsockname()[1])
        doors.append((door, asyncio.create_task(running.serve(sockets=[listener]))))
        while not running.started:
            await asyncio.sleep(0)
        return door

    yield make
    for door, serving in doors:
        await door.leave()
        door.running.should_exit = True
        await serving


async def test_one_address_gets_half_of_the_connections(serve: Serve) -> None:
    door = await serve()
    assert await door.is_answered("127.0.0.1")
    assert await door.is_answered("127.0.0.1")
    assert not await door.is_answered("127.0.0.1")
    assert await door.is_answered("127.0.0.2"), "others are not kept out by it"
    assert door.refused == 1
    await door.leave()
    assert await door.is_answered("127.0.0.1"), "whose connections ended have room again"


async def test_no_more_are_taken_than_may_be_open(serve: Serve) -> None:
    door = await serve(trusted=("127.0.0.3", "10.0.0.0/8"))
    for _ in range(MOST):
        assert await door.is_answered("127.0.0.3"), "a proxy comes on behalf of many"
    assert not await door.is_answered("127.0.0.3")
    assert not await door.is_answered("127.0.0.2")


async def test_who_does_not_go_on_with_a_handshake_is_dropped_and_counts_until_then(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "HANDSHAKE_SECONDS", PATIENCE)
    authority = trustme.CA()
    made = authority.issue_cert("127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.configure_cert(context)
    door = await serve(ssl_context_factory=lambda _config, _default: context)
    for _ in range(MOST):
        await door.come("127.0.0.1")
    async with asyncio.timeout(PATIENCE):
        while door.refused < MOST // 2:
            await asyncio.sleep(0.01)
    await door.leave()
    monkeypatch.setattr(module, "HANDSHAKE_SECONDS", 0.3)
    silent = [await door.come("127.0.0.1") for _ in range(MOST // 2)]
    async with asyncio.timeout(PATIENCE):
        for reader, _ in silent:
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
        while door.running._open:
            await asyncio.sleep(0.01)
    monkeypatch.setattr(module, "HANDSHAKE_SECONDS", PATIENCE)
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    reader, writer = await asyncio.open_connection("127.0.0.1", door.port, ssl=trust)
    writer.write(ASK)
    async with asyncio.timeout(PATIENCE):
        assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200 ")
    writer.transport.abort()


def test_calls_leave_while_a_stranger_takes_all_connections_that_there_are(
    node: NodeFactory, receiver: Receiver
) -> None:
    files = 150
    made = node(prefix=["prlimit", f"--nofile={files}:{files}"]).start()
    with contextlib.ExitStack() as held:
        for _ in range(2 * files):
            held.enter_context(socket.create_connection(("127.0.0.1", made.port)))
        elsewhere = httpx.HTTPTransport(local_address="127.0.0.2")
        other = httpx.Client(
            base_url=made.client.base_url, transport=elsewhere, headers=AUTHORIZED, timeout=60
        )
        at = datetime.datetime.now(datetime.UTC).isoformat()
        held.enter_context(other)
        for _ in range(20):
            job = {"schedule": {"at": at}, "target": {"url": receiver.url()}}
            assert other.post("/api/v1/jobs", json=job).status_code == 201
        receiver.wait_for(20)
        wait_until(lambda: any(made.events("connections.full")), "the log tells it")


def test_whoever_asks_whether_a_node_is_ready_makes_it_write_seldom(node: NodeFactory) -> None:
    made = node().start()

    def writes() -> int:
        return int(made.rows().query("SELECT value FROM counters WHERE name = 'ping'")[0][0])

    asked, before, began = 300, writes(), time.monotonic()
    with httpx.Client(
        base_url=f"http://127.0.0.1:{made.port}", trust_env=False, timeout=60
    ) as stranger:
        for _ in range(asked):
            assert stranger.get("/readyz").status_code == 200
    took = time.monotonic() - began
    assert writes() - before <= took / KEPT + 1


def test_a_process_may_open_as_many_files_as_its_user_lets_it() -> None:
    asked = (
        "import resource; from tocsin.open_files import raise_limit;"
        "print(raise_limit(), *resource.getrlimit(resource.RLIMIT_NOFILE))"
    )
    hard = min(resource.getrlimit(resource.RLIMIT_NOFILE)[1], 5_000)
    told = subprocess.run(
        [sys.executable, "-c", asked],
        check=True,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (100, hard)),
    ).stdout
    assert told.split() == [str(hard)] * 3
