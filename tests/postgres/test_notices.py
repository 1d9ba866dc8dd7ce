"""Messages between nodes, on a real server."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.support.postgres import new_database, shared_server
from tocsin.domain.errors import StoreUnavailable
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
        async with asyncio.timeout(10):
            while message not in self.heard:
                await asyncio.sleep(0.01)


@pytest.fixture
async def two() -> AsyncIterator[tuple[Node, Node]]:
    url = new_database()
    nodes = Node(url), Node(url)
    for node in nodes:
        await node.notices.start()
    # Listening begins when a connection is there.
    for number in range(500):
        await nodes[0].notices.send(b"hello %d" % number)
        if nodes[0].heard and nodes[1].heard:
            break
        await asyncio.sleep(0.02)
    yield nodes
    for node in nodes:
        await node.notices.stop()


def cut_all(database: str) -> None:
    """End every session on a database, as a restart of the server would."""
    shared_server().execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
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
    await asyncio.sleep(0.1)
    await two[0].notices.send(b"for us")
    await two[1].hears(b"for us")
    assert other.heard == []
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
    async with asyncio.timeout(10):
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
