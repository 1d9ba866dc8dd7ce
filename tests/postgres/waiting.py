"""Seeing from outside that something waits."""

import asyncio

import psycopg

from tests.support.process import PATIENCE

_WAITING = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock'"""


async def until_waiting(url: str, sessions: int = 1) -> None:
    """Return once so many sessions wait for a lock."""
    async with asyncio.timeout(PATIENCE), await psycopg.AsyncConnection.connect(url) as conn:
        await conn.set_autocommit(True)
        while True:
            found = await (await conn.execute(_WAITING)).fetchone()
            if found is not None and found[0] >= sessions:
                return
            await asyncio.sleep(0.01)
