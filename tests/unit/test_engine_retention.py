"""Forgetting old history."""

import asyncio

import pytest
from tests.support.build import DAY, NOW
from tests.support.engine_lab import play
from tests.support.memory_store import MemoryStore

from tocsin.engine.retention import BATCH, PAUSE, Retention


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
