"""Forgetting old history."""

import asyncio

import pytest
from tests.support.access import build_audit
from tests.support.build import DAY, HOUR, NOW
from tests.support.engine_lab import play
from tests.support.memory_store import MemoryStore

from tocsin.domain.audit import SYSTEM
from tocsin.engine.retention import BATCH, PAUSE, AuditRetention, Retention
from tocsin.services.ids import Uuid7
from tocsin.store.access import AuditQuery


class Full(MemoryStore):
    """A store with so many old executions."""

    def __init__(self, old: int) -> None:
        super().__init__()
        self.old = old
        self.asked: list[tuple[int, int]] = []

    async def delete_history(self, *, before: int, limit: int) -> int:
        self.asked.append((before, limit))
        deleted = min(self.old, limit)
        self.old -= deleted
        return deleted


def test_old_history_goes_in_small_batches_with_pauses_in_between() -> None:
    async def story() -> None:
        store = Full(2 * BATCH + 10)
        began = asyncio.get_running_loop().time()
        assert await Retention(store=store, keep=30 * DAY).step(NOW) == 2 * BATCH + 10
        assert store.asked == [(NOW - 30 * DAY, BATCH)] * 3
        assert asyncio.get_running_loop().time() - began == pytest.approx(2 * PAUSE)

    play(story)


def test_nothing_old_costs_one_look() -> None:
    async def story() -> None:
        store = Full(0)
        assert await Retention(store=store, keep=DAY).step(NOW) == 0
        assert len(store.asked) == 1

    play(story)


def test_old_entries_of_the_audit_log_go_by_whole_days_and_that_is_told() -> None:
    async def story() -> None:
        store = MemoryStore()
        today = NOW // DAY * DAY
        ages = [today - 10 * DAY - 1] * (BATCH + 3) + [today - 10 * DAY, NOW]
        for number, at in enumerate(ages):
            await store.add_audit([build_audit("job.create", id=f"{at:012x}-{number:06}", at=at)])
        new_id = Uuid7(lambda: today + 23 * HOUR)
        retention = AuditRetention(store=store, keep=10 * DAY, new_id=new_id)
        # Whenever it is looked on that day, the same days are too old.
        assert await retention.step(today) == BATCH + 3
        for hours in range(24):
            assert await retention.step(today + hours * HOUR) == 0
        left = await store.list_audit(AuditQuery())
        assert [one.at for one in left if one.action == "job.create"] == [NOW, today - 10 * DAY]
        told = [one for one in left if one.action == "audit.expire"]
        counts = [one.before["count"] for one in told]  # type: ignore[call-overload, index]
        assert sorted(counts) == [3, BATCH]
        assert {one.actor for one in told} == {SYSTEM}
        assert {one.namespace for one in told} == {"*"}

    play(story)
