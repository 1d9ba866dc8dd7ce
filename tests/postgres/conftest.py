"""Databases of a real server, and nodes on them."""

from collections.abc import AsyncIterator, Callable

import pytest

from tests.support.postgres import new_database, shared_server
from tocsin.store.postgres import PostgresStore

Sql = Callable[[str], list[tuple[object, ...]]]


@pytest.fixture
def url() -> str:
    """A database with empty tables."""
    return new_database()


@pytest.fixture
async def store(url: str) -> AsyncIterator[PostgresStore]:
    """A store as a node has it."""
    made = PostgresStore(url)
    await made.open()
    yield made
    await made.close()


@pytest.fixture
async def stores(url: str) -> AsyncIterator[list[PostgresStore]]:
    """Eight nodes' stores on one database, each with connections and threads of its own."""
    made = [PostgresStore(url) for _ in range(8)]
    for one in made:
        await one.open()
    yield made
    for one in made:
        await one.close()


@pytest.fixture
def sql(url: str) -> Sql:
    """Runs a statement beside the stores."""
    name = url.rpartition("/")[2]
    return lambda statement: shared_server().execute(statement, name)
