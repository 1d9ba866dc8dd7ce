"""The server of the API: it looks seldom, and ends when it is told to."""

import asyncio
from typing import Any

import pytest
import uvicorn

from tocsin.api import server as server_module
from tocsin.api.server import Server


async def nothing(*_: Any) -> None:
    """An application that nobody asks."""


async def test_the_server_ends_at_once_however_seldom_it_looks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server_module, "TICK", 3_600.0)
    server = Server(uvicorn.Config(nothing), most=10)
    ticking = asyncio.create_task(server.main_loop())
    await asyncio.sleep(0)
    assert not ticking.done()
    server.end()
    async with asyncio.timeout(10):
        await ticking


async def test_the_date_of_answers_is_kept_right(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "TICK", 0.0)
    server = Server(uvicorn.Config(nothing), most=10)
    ticking = asyncio.create_task(server.main_loop())
    for _ in range(2):
        server.server_state.default_headers = []
        async with asyncio.timeout(10):
            while [name for name, _ in server.server_state.default_headers] != [b"date"]:
                await asyncio.sleep(0)
    server.end()
    await ticking
