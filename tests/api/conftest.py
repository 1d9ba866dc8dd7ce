"""The API over every store there is."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.api.harness import Api, serving
from tests.support.stores import STORES, make_store
from tocsin.store.port import Store


@pytest.fixture(params=STORES)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    made = make_store(request.param, tmp_path)
    await made.open()
    yield made
    await made.close()


@pytest.fixture
async def api(store: Store) -> AsyncIterator[Api]:
    async with serving(store) as made:
        yield made
