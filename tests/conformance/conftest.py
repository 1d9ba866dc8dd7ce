"""Each test of the port runs on each store."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.stores import STORES, make_store
from tocsin.store.port import Store


@pytest.fixture(params=STORES)
def store_kind(request: pytest.FixtureRequest) -> str:
    """The name of the store under test."""
    return str(request.param)


@pytest.fixture
async def store(store_kind: str, tmp_path: Path) -> AsyncIterator[Store]:
    """An empty store."""
    made = make_store(store_kind, tmp_path)
    await made.open()
    yield made
    await made.close()
