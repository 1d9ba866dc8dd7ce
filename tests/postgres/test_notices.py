"""Messages between nodes, on a real server."""

import asyncio
import time
from collections.abc import AsyncIterator

import psycopg
import pytest

from tests.support.postgres import new_database, shared_server
from tests.support.process import PATIENCE
from tocsin.domain.errors import StoreUnavailable
from tocsin.store.postgres import notices as notices_module
from tocsin.store.postgres.notices import Notices


class Node:
    """One end, and what it heard."""

    def __init__(self, url: str) -> None:
        self.heard: list[bytes] = []
        self.missed = 0
        self.notices = Notices(url)
        self.notices.receive = self.heard.append
        self.notices.missed = self._note

    def _note(self) -> None:
        self.missed += 1

    async def hears(self, message: bytes) -> None:
        """Wait until it has heard this."""
        async with asyncio.timeout(PATIENCE):
            while message not in self.heard:
                await asyncio.sleep(0.01)


@pytest.fixture
async def two() -> AsyncIterator[tuple[Node, Node]]:
    url = new_database()
    nodes = Node(url), Node(url)
    for node in nodes:
        await node.notices.start()
    # Listening begins when a connection is there.
    async with asyncio.timeout(PATIENCE):
        while not (nodes[0].heard and nodes[1].heard):
            await nodes[0].notices.send(b"hello")
            await asyncio.sleep(0.02)
    yield nodes
    for node in nodes:
        await node.notices.stop()


def cut_all(database: str) -> None:
    """End every session on a database, as a restart of the server would; returns when all have."""
    shared_server().execute(
        "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity "
        f"WHERE datname = '{database}' AND pid <> pg_backend_pid()"
    )


async def test_all_nodes_hear_what_one_sends(two: tuple[Node, Node]) -> None:
    message = '{"größe": "☃"}'.encode() + b"x" * 7_800
    await two[0].notices.send(message)
    await two[1].hears(message)
    await two[0].hears(message)


async def test_nodes_of_other_databases_hear_nothing(two: tuple[Node, Node]) -> None:
    other = Node(new_database())
    await other.notices.start()
    while not other.heard:
        await other.notices.send(b"theirs")
        await asyncio.sleep(0.02)
    await two[0].notices.send(b"for us")
    await two[1].hears(b"for us")
    await other.notices.send(b"the end")
    await other.hears(b"the end")
    assert set(other.heard) == {b"theirs", b"the end"}
    await other.notices.stop()


async def test_cut_connections_are_made_anew_and_that_is_told(two: tuple[Node, Node]) -> None:
    one, other = two
    [(database,)] = shared_server().execute(
        "SELECT datname FROM pg_stat_activity WHERE query LIKE 'LISTEN%' ORDER BY backend_start "
        "DESC LIMIT 1"
    )
    cut_all(str(database))
    with pytest.raises(StoreUnavailable):
        await one.notices.send(b"into the void")
    async with asyncio.timeout(PATIENCE):
        while not other.missed:
            await asyncio.sleep(0.02)
    await one.notices.send(b"again")
    await other.hears(b"again")
    assert b"into the void" not in other.heard


async def test_without_a_server_sending_fails_and_stopping_works() -> None:
    node = Node("postgresql://postgres@127.0.0.1:1/nowhere")
    await node.notices.start()
    with pytest.raises(StoreUnavailable):
        await node.notices.send(b"hello")
    await node.notices.stop()


async def test_a_message_that_cannot_be_taken_does_not_end_the_listening(
    two: tuple[Node, Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notices_module, "PAUSE", 0.01)
    one, other = two
    asked: list[bytes] = []

    def take(message: bytes) -> None:
        asked.append(message)
        if message == b"poison":
            raise KeyError("a bug of a listener")
        other.heard.append(message)

    other.notices.receive = take
    await one.notices.send(b"poison")
    async with asyncio.timeout(PATIENCE):
        while other.missed == 0:
            await asyncio.sleep(0.01)
    await one.notices.send(b"after it")
    await other.hears(b"after it")
    assert b"poison" in asked


async def test_the_server_hangs_up_on_a_node_that_stands_still(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Otherwise it would keep for it, without end, what the others send."""
    monkeypatch.setattr(notices_module, "STUCK_FOR", 1_000)
    url = new_database()
    node = Node(url)
    await node.notices.start()
    try:
        while not node.heard:
            await node.notices.send(b"hello")
            await asyncio.sleep(0.02)
        listeners = (
            "SELECT count(*) FROM pg_stat_activity "
            "WHERE query LIKE 'LISTEN%' AND datname = current_database()"
        )
        # From here on nothing of the node runs: its loop is this very thread.
        with psycopg.connect(url, autocommit=True) as conn:
            assert conn.execute(listeners).fetchone() == (1,)
            give_up = time.monotonic() + PATIENCE
            while conn.execute(listeners).fetchone() == (1,):
                assert time.monotonic() < give_up, "the server still waits for it"
                for _ in range(50):
                    conn.execute("SELECT pg_notify('tocsin', repeat('x', 7900))")
                time.sleep(0.05)
    finally:
        await node.notices.stop()
