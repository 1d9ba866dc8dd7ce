"""Callers share a commit, and nothing else."""

import asyncio
from collections.abc import Sequence

import pytest
from tests.support.build import NO_LIMITS, job, new_job
from tests.support.memory_store import MemoryStore

from tocsin.domain.errors import InvalidInput, StoreUnavailable
from tocsin.services.group_commit import MOST_JOBS, GroupCommit
from tocsin.store.port import Created, Limits, NewJobs


class Gate(MemoryStore):
    """A store whose commits wait to be let through."""

    def __init__(self) -> None:
        super().__init__()
        self.groups: list[int] = []
        self.arrived = asyncio.Event()
        self.open_ = asyncio.Event()
        self.error: Exception | None = None

    async def create_sets(self, sets: Sequence[NewJobs], *, limits: Limits) -> Sequence[Created]:
        self.groups.append(len(sets))
        self.arrived.set()
        await self.open_.wait()
        if self.error is not None:
            raise self.error
        return await super().create_sets(sets, limits=limits)


def one(name: str) -> NewJobs:
    return NewJobs(jobs=[new_job(job(name, id=job().id))])


async def settled(*tasks: "asyncio.Task[object]") -> list[object]:
    return await asyncio.gather(*tasks, return_exceptions=True)


async def begun(commit: GroupCommit, *sets: NewJobs) -> list["asyncio.Task[object]"]:
    """Callers that have come as far as they can."""
    tasks: list[asyncio.Task[object]] = [asyncio.create_task(commit.store(new)) for new in sets]
    for _ in range(5):
        await asyncio.sleep(0)
    return tasks


async def test_who_comes_during_a_commit_shares_the_next() -> None:
    store = Gate()
    commit = GroupCommit(store, NO_LIMITS)
    tasks = await begun(commit, one("a"))
    tasks += await begun(commit, one("b"), one("c"))
    tasks += await begun(commit, one("d"))
    assert store.groups == [1]
    store.open_.set()
    assert await settled(*tasks) == [None] * 4
    assert store.groups == [1, 3]


async def test_nobody_is_answered_before_the_commit() -> None:
    store = Gate()
    tasks = await begun(GroupCommit(store, NO_LIMITS), one("a"), one("b"))
    await store.arrived.wait()
    assert not any(task.done() for task in tasks)
    store.open_.set()
    assert await settled(*tasks) == [None, None]


async def test_what_is_wrong_with_one_is_not_told_to_the_others() -> None:
    store = Gate()
    store.open_.set()
    tasks = await begun(GroupCommit(store, NO_LIMITS), one("a"), one("a"), one("b"))
    first, second, third = await settled(*tasks)
    assert (first, third) == (None, None)
    assert isinstance(second, InvalidInput)


async def test_a_store_that_fails_fails_all_of_a_group_and_no_later_one() -> None:
    store = Gate()
    commit = GroupCommit(store, NO_LIMITS)
    store.error = StoreUnavailable("gone")
    tasks = await begun(commit, one("a"), one("b"))
    store.open_.set()
    assert [type(outcome) for outcome in await settled(*tasks)] == [StoreUnavailable] * 2
    store.error = None
    assert await settled(*await begun(commit, one("a"))) == [None]


async def test_a_caller_that_leaves_takes_nothing_from_the_others() -> None:
    store = Gate()
    commit = GroupCommit(store, NO_LIMITS)
    first, second = await begun(commit, one("a"), one("b"))
    first.cancel()
    store.open_.set()
    outcome, stored = await settled(first, second)
    assert isinstance(outcome, asyncio.CancelledError)
    assert stored is None
    assert sorted(found.name for found in store.state.jobs.values()) == ["a", "b"]


async def test_a_group_is_bounded() -> None:
    store = Gate()
    commit = GroupCommit(store, NO_LIMITS)
    tasks = await begun(commit, one("first"))
    many = [
        NewJobs(jobs=[new_job(job(f"{number}-{n}", id=job().id)) for n in range(MOST_JOBS // 2)])
        for number in range(3)
    ]
    tasks += await begun(commit, *many)
    store.open_.set()
    assert await settled(*tasks) == [None] * 4
    assert store.groups == [1, 2, 1]


@pytest.mark.parametrize("size", [MOST_JOBS, MOST_JOBS + 1])
async def test_a_caller_that_brings_more_goes_alone(size: int) -> None:
    store = Gate()
    store.open_.set()
    big = NewJobs(jobs=[new_job(job(f"big-{n}", id=job().id)) for n in range(size)])
    tasks = await begun(GroupCommit(store, NO_LIMITS), big, one("a"))
    assert await settled(*tasks) == [None, None]
    assert store.groups == [1, 1]
