"""The threads of the SQLite store: what waits for what, and what a cancellation leaves behind."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import Any

import pytest
from tests.support.build import MINUTE, NO_LIMITS, NOW, claim_request, every, job, new_job, node

from tocsin.domain.planning import plan_fires
from tocsin.store.port import Claimed
from tocsin.store.sqlite import Inline, SqliteStore, Threads, migrate


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    path = tmp_path / "tocsin.db"
    migrate(str(path))
    made = SqliteStore(path, runner=Threads())
    await made.open()
    yield made
    await made.close()


class Gate:
    """A planner that waits in the middle of a claim until it is let go on."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.go_on = threading.Event()

    def __call__(self, *arguments: Any) -> Any:
        self.reached.set()
        assert self.go_on.wait(10)
        return plan_fires(*arguments)


async def ready(store: SqliteStore, count: int = 1) -> None:
    made = [job(f"job-{n}", every(MINUTE)) for n in range(count)]
    await store.create_jobs([new_job(one) for one in made], limits=NO_LIMITS)
    await store.register(node())


async def claiming_at_a_gate(store: SqliteStore) -> tuple["asyncio.Task[Claimed]", Gate]:
    """A claim that holds the store's writer until its gate is opened."""
    await ready(store)
    gate = Gate()
    claiming = asyncio.create_task(store.claim(claim_request(), gate))
    await asyncio.to_thread(gate.reached.wait, 10)
    return claiming, gate


async def test_what_reads_does_not_wait_for_what_writes(store: SqliteStore) -> None:
    claiming, gate = await claiming_at_a_gate(store)
    view = await store.get_job("default", "job-0", now=NOW)
    assert view is not None
    assert view.next_fire_at == NOW, "as it was before the claim"
    assert not claiming.done()
    gate.go_on.set()
    assert len((await claiming).claims) == 1


async def test_claims_at_their_instant_and_renewals_go_before_what_waits(
    store: SqliteStore,
) -> None:
    claiming, gate = await claiming_at_a_gate(store)
    order: list[str] = []

    async def write(name: str, work: Awaitable[object]) -> None:
        await work
        order.append(name)

    at_once = claim_request(limit=0)
    waiting = [
        asyncio.create_task(write("user", store.create_jobs([], limits=NO_LIMITS))),
        asyncio.create_task(write("ahead", store.claim(claim_request(), plan_fires))),
        asyncio.create_task(write("exact", store.claim(at_once, plan_fires))),
        asyncio.create_task(write("renewal", store.renew("inc-a", now=NOW, ttl=1))),
    ]
    await asyncio.sleep(0)
    gate.go_on.set()
    await asyncio.gather(claiming, *waiting)
    assert order == ["exact", "renewal", "user", "ahead"]


async def test_a_write_that_nobody_waits_for_any_more_holds_up_no_other(
    store: SqliteStore,
) -> None:
    claiming, gate = await claiming_at_a_gate(store)
    given_up = asyncio.create_task(store.renew("inc-a", now=NOW, ttl=1))
    renewing = asyncio.create_task(store.renew("inc-a", now=NOW, ttl=2))
    await asyncio.sleep(0)
    given_up.cancel()
    gate.go_on.set()
    assert await renewing == NOW + 2
    await claiming


async def test_what_writes_waits_its_turn(store: SqliteStore) -> None:
    claiming, gate = await claiming_at_a_gate(store)
    renewing = asyncio.create_task(store.renew("inc-a", now=NOW, ttl=1))
    renewed, _ = await asyncio.wait([renewing], timeout=0.05)
    assert not renewed
    gate.go_on.set()
    assert await renewing == NOW + 1
    assert claiming.done()


async def test_a_cancelled_caller_leaves_a_whole_transaction_behind(store: SqliteStore) -> None:
    claiming, gate = await claiming_at_a_gate(store)
    claiming.cancel()
    with pytest.raises(asyncio.CancelledError):
        await claiming
    gate.go_on.set()
    assert [one.execution.fire_time for one in await store.owned("inc-a")] in ([], [NOW])
    # Reads may overtake the thread that writes; what comes after it on that thread may not.
    await store.ping()
    assert [one.execution.fire_time for one in await store.owned("inc-a")] == [NOW]


async def test_what_a_cancelled_caller_had_not_begun_does_not_happen(store: SqliteStore) -> None:
    claiming, gate = await claiming_at_a_gate(store)
    leaving = asyncio.create_task(store.leave("inc-a"))
    await asyncio.sleep(0)
    leaving.cancel()
    gate.go_on.set()
    await claiming
    assert [one.incarnation for one in await store.nodes()] == ["inc-a"]


async def test_closing_waits_for_what_was_begun(tmp_path: Path) -> None:
    path = tmp_path / "tocsin.db"
    migrate(str(path))
    store = SqliteStore(path)
    await store.open()
    claiming, gate = await claiming_at_a_gate(store)
    closing = asyncio.create_task(store.close())
    await asyncio.sleep(0)
    assert not closing.done()
    gate.go_on.set()
    await closing
    assert len((await claiming).claims) == 1
    assert not (tmp_path / "tocsin.db-wal").exists(), "the last one out copies the log"


async def test_many_callers_at_once_are_all_served(store: SqliteStore) -> None:
    await ready(store, 5)
    views = await asyncio.gather(
        *(store.get_job("default", f"job-{n % 5}", now=NOW) for n in range(100))
    )
    assert all(view is not None for view in views)
    await asyncio.gather(*(store.renew("inc-a", now=NOW + n, ttl=1) for n in range(50)))


async def test_inline_nothing_is_suspended_and_nothing_is_left() -> None:
    store = SqliteStore(":memory:", runner=Inline())
    # (Those of other tests may end meanwhile.)
    before = set(threading.enumerate())

    async def work() -> None:
        await store.open()
        await ready(store)
        assert len((await store.claim(claim_request(), plan_fires)).claims) == 1
        assert len(await store.owned("inc-a")) == 1
        await store.close()

    steps = work().__await__()
    with pytest.raises(StopIteration):
        next(steps)
    assert set(threading.enumerate()) <= before
