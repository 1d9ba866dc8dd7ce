"""Forgetting old history, a little at a time."""

import asyncio

from tocsin.domain.instant import Millis
from tocsin.store.port import Store

BATCH = 500
"""Executions deleted in one transaction at most: a few milliseconds of the one writer."""

PAUSE = 0.05
"""Seconds between two batches, in which claims and results go first."""


class Retention:
    """Deletes ended executions that are older than the retention."""

    def __init__(self, *, store: Store, keep: Millis) -> None:
        self._store = store
        self._keep = keep

    async def step(self, now: Millis) -> int:
        """Delete whatever is too old; returns how many executions went."""
        count = 0
        while True:
            deleted = await self._store.delete_history(before=now - self._keep, limit=BATCH)
            count += deleted
            if deleted < BATCH:
                return count
            await asyncio.sleep(PAUSE)
