"""Forgetting old history and old entries of the audit log, a little at a time."""

import asyncio
from collections.abc import Callable

from tocsin.domain.access import EVERYWHERE
from tocsin.domain.audit import SYSTEM, AuditEntry, Subject
from tocsin.domain.instant import DAY, Millis, format_instant
from tocsin.store.port import Store

BATCH = 500
"""Rows deleted in one transaction at most: a few milliseconds of the one writer."""

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


class AuditRetention:
    """Deletes entries of the audit log that are older than its retention, and says so in it.

    By whole days (UTC), so that saying so does not itself become most of the log.
    """

    def __init__(self, *, store: Store, keep: Millis, new_id: Callable[[], str]) -> None:
        self._store = store
        self._keep = keep
        self._new_id = new_id

    async def step(self, now: Millis) -> int:
        """Delete whatever is too old; returns how many entries went."""
        before = (now - self._keep) // DAY * DAY
        count = 0
        while True:
            entry = AuditEntry(
                id=self._new_id(),
                at=now,
                actor=SYSTEM,
                action="audit.expire",
                subject=Subject(type="audit"),
                namespace=EVERYWHERE,
                before={"until": format_instant(before)},
            )
            deleted = await self._store.delete_audit(before=before, limit=BATCH, entry=entry)
            count += deleted
            if deleted < BATCH:
                return count
            await asyncio.sleep(PAUSE)
