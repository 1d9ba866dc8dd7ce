"""The days of `executions`: made ahead, dropped as a whole, in nobody's way."""

import asyncio
import time

import psycopg
import pytest
from sqlalchemy import Connection

from tests.postgres.conftest import Sql
from tests.postgres.waiting import until_waiting
from tests.support.build import (
    DAY,
    HOUR,
    NO_LIMITS,
    NOW,
    at,
    changed,
    execution,
    job,
    succeed,
    triggered,
)
from tests.support.drive import add, claim, claim_all, executions, join, record, trigger
from tocsin.domain.errors import StoreUnavailable
from tocsin.domain.execution import Execution, Reason, State, closed
from tocsin.domain.job import Job, JobStatus
from tocsin.store.postgres import PostgresStore, partitions
from tocsin.store.postgres.partitions import AHEAD, DEFAULT

OLD = NOW - 40 * DAY
"""A day that no migration makes."""

AS_LONG_AS_OTHERS = 5.0
"""Seconds that a transaction waits for a lock that is not of a whole day: fifty times as long, so
that even a machine that is very busy tells the two apart."""


async def days(store: PostgresStore) -> list[int]:
    return await store._database.read(partitions.days)


async def make(store: PostgresStore, day: int) -> bool:
    return await store._database.write(lambda conn: partitions.make(conn, day))


async def drop(store: PostgresStore, day: int) -> bool:
    return await store._database.write(lambda conn: partitions.drop(conn, day))


async def today(store: PostgresStore) -> int:
    now = await store.time()
    assert now is not None
    return now - now % DAY


async def write(store: PostgresStore, of: Job, *rows: Execution) -> None:
    """Add rows as they are."""

    def work(conn: Connection) -> None:
        assert store._statements.insert_executions(conn, rows) == set()

    await store._database.write(work)


def ended(of: Job, fire_time: int, salt: str = "") -> Execution:
    return closed(execution(of, fire_time, salt=salt), State.FAILED, None, fire_time + 1)


def name(day: int) -> str:
    return time.strftime("executions_p%Y%m%d", time.gmtime(day / 1_000))


async def test_days_are_made_ahead_and_made_again(store: PostgresStore, sql: Sql) -> None:
    start = await today(store)
    wanted = [start + number * DAY for number in range(-1, AHEAD + 1)]
    assert await days(store) == wanted
    for day in (wanted[0], wanted[-1], wanted[-2]):
        sql(f"DROP TABLE {name(day)}")
    await store.delete_history(before=start - 30 * DAY, limit=10)
    assert await days(store) == wanted
    await store.delete_history(before=start - 30 * DAY, limit=10)
    assert await days(store) == wanted


async def test_a_day_is_made_by_one_of_many(stores: list[PostgresStore]) -> None:
    start = await today(stores[0])
    for number in range(10, 14):
        made = await asyncio.gather(*(make(one, start + number * DAY) for one in stores))
        assert made.count(True) == 1
        assert not await make(stores[0], start + number * DAY)


async def test_many_that_forget_at_once_drop_once(stores: list[PostgresStore], sql: Sql) -> None:
    """Who comes second finds the day gone, and takes no offence."""
    of = job("one")
    await add(stores[0], of)
    for turn in range(5):
        for number in range(3):
            await make(stores[0], OLD + number * DAY)
            await write(stores[0], of, ended(of, OLD + number * DAY + turn))
        await asyncio.gather(*(one.delete_history(before=NOW, limit=10) for one in stores))
        while any(day < NOW for day in await days(stores[0])):
            await stores[0].delete_history(before=NOW, limit=10)
        assert await executions(stores[0]) == []


async def test_what_has_no_day_is_found_by_everybody(store: PostgresStore, sql: Sql) -> None:
    of = job("one", at(OLD))
    await add(store, of, after=OLD - 1)
    await join(store)
    await trigger(store, triggered(of, OLD))
    claims = await claim_all(store, OLD)
    assert len(claims) == 2
    assert sql(f"SELECT count(*) FROM {DEFAULT}") == [(2,)]
    assert {one.id for one in await executions(store)} == {one.execution.id for one in claims}
    assert len(await executions(store, job_id=of.id, since=OLD, until=OLD + 1)) == 2
    assert len(await executions(store, states=(State.CLAIMED,), ascending=True)) == 2
    assert len(await store.owned("inc-a")) == 2
    assert set(await store.owned_versions("inc-a")) == {one.execution.id for one in claims}
    assert await store.last_planned(of.id) == OLD
    done = await record(store, succeed(claims[0], OLD + 1), now=OLD + 1)
    assert len(done.stored) == 1
    cancelled = await store.cancel_executions(reason=Reason.REQUESTED, now=OLD, job_id=of.id)
    assert [one.id for one in cancelled] == [claims[1].execution.id]
    view = await store.get_job("default", of.id, now=NOW)
    assert view is not None
    assert view.last_execution is not None
    assert await store.delete_history(before=OLD + DAY, limit=10) == 2
    assert await executions(store) == []


async def test_a_day_whose_fires_lie_elsewhere_is_not_made(store: PostgresStore, sql: Sql) -> None:
    of = job("one")
    await add(store, of)
    start = await today(store)
    sql(f"DROP TABLE {name(start)}")
    await write(store, of, ended(of, start + HOUR))
    for _ in range(2):
        await store.delete_history(before=start - 30 * DAY, limit=10)
        assert start not in await days(store)
    await write(store, of, ended(of, start + 2 * HOUR))
    await join(store)
    assert len(await executions(store)) == 2
    # It is made once they are gone.
    assert await store.delete_history(before=start + 3 * HOUR, limit=10) == 2
    await store.delete_history(before=start - 30 * DAY, limit=10)
    assert start in await days(store)


async def test_a_day_goes_once_all_of_it_is_old_enough(store: PostgresStore) -> None:
    of = job("one")
    await add(store, of)
    await make(store, OLD)
    rows = [ended(of, OLD + hour * HOUR) for hour in range(24)]
    await write(store, of, *rows)
    # In the middle of it nothing is deleted row by row, only to be dropped soon.
    assert await store.delete_history(before=OLD + 12 * HOUR, limit=100) == 0
    assert await store.delete_history(before=OLD + DAY - 1, limit=100) == 0
    assert len(await executions(store)) == 24
    assert OLD in await days(store)
    await store.delete_history(before=OLD + DAY, limit=100)
    assert OLD not in await days(store)
    assert await executions(store) == []


async def test_a_short_retention_does_not_make_what_it_drops(store: PostgresStore) -> None:
    start = await today(store)
    for _ in range(3):
        await store.delete_history(before=start + HOUR, limit=100)
        assert (await days(store))[0] == start


async def test_a_day_with_something_unfinished_stays(store: PostgresStore) -> None:
    of = job("one")
    await add(store, of)
    await make(store, OLD)
    waiting = execution(of, OLD + 1, salt="waits")
    await write(store, of, ended(of, OLD), waiting)
    # What has ended goes all the same.
    assert await store.delete_history(before=NOW, limit=100) == 1
    assert [one.id for one in await executions(store)] == [waiting.id]
    assert OLD in await days(store)
    await store.cancel_executions(reason=Reason.REQUESTED, now=NOW, job_id=of.id)
    await store.delete_history(before=NOW, limit=100)
    assert await executions(store) == []
    assert OLD not in await days(store)


async def test_a_day_stays_where_something_comes_between_the_look_and_the_lock(
    store: PostgresStore, url: str, sql: Sql
) -> None:
    of = job("one")
    await add(store, of)
    await make(store, OLD)
    await write(store, of, ended(of, OLD, "template"))
    with psycopg.connect(url) as conn:
        # Not committed yet, so nobody sees it.
        conn.execute(
            "INSERT INTO executions SELECT overlay(id::text placing '0' from 36)::uuid, "
            "job_id, 'pending', NULL, queued, owner, 1, lane, exact, reason, fire_time, due, "
            "trigger, namespace, job_name, job_version, retry_of, skipped_until, skipped_count, "
            "attempt_count, error_kind, input, attempts FROM executions"
        )
        dropping = asyncio.create_task(drop(store, OLD))
        await until_waiting(url)
        conn.commit()
    with pytest.raises(Exception) as caught:
        await dropping
    assert partitions.is_passing(caught.value.__cause__ or caught.value)
    assert OLD in await days(store)
    assert len(await executions(store)) == 2


@pytest.mark.parametrize("lock", ["ACCESS SHARE", "ROW EXCLUSIVE"])
async def test_a_long_transaction_keeps_a_day_and_holds_up_nobody(
    store: PostgresStore, url: str, lock: str
) -> None:
    of = job("one")
    await add(store, of)
    await make(store, OLD)
    await join(store)
    with psycopg.connect(url) as conn:
        conn.execute(f"LOCK TABLE executions IN {lock} MODE".encode())
        with pytest.raises(StoreUnavailable) as caught:
            await drop(store, OLD)
        assert partitions.is_passing(caught.value.__cause__)  # type: ignore[arg-type]
        forgetting = asyncio.create_task(store.delete_history(before=OLD + 10 * DAY, limit=10))
        await until_waiting(url)
        slowest = 0.0
        while not forgetting.done():
            started = time.monotonic()
            await claim(store)
            slowest = max(slowest, time.monotonic() - started)
        # A claim waits behind it only as long as it waits itself.
        assert slowest < AS_LONG_AS_OTHERS
        await forgetting
        assert OLD in await days(store)
        started = time.monotonic()
        with pytest.raises(StoreUnavailable):
            await make(store, OLD + 2 * DAY)
        assert time.monotonic() - started < AS_LONG_AS_OTHERS
    await store.delete_history(before=OLD + 10 * DAY, limit=10)
    assert OLD not in await days(store)
    assert await make(store, OLD + 2 * DAY)


async def test_days_come_and_go_while_nodes_work(stores: list[PostgresStore]) -> None:
    of = [job(f"job-{number}") for number in range(20)]
    await add(stores[0], *of)
    await join(stores[0], "inc-0", "inc-1", "inc-2")
    over = False
    fires = 0

    async def work_on(one: PostgresStore, incarnation: str) -> None:
        nonlocal fires
        for minute in range(100_000):
            if over:
                return
            now = NOW + minute * 60_000
            claims = (await claim(one, now, incarnation=incarnation)).claims
            fires += len(claims)
            results = [succeed(each, now) for each in claims]
            if results:
                await record(one, *results, incarnation=incarnation, now=now)

    workers = [asyncio.create_task(work_on(stores[n], f"inc-{n}")) for n in range(3)]
    changes, troubles = 0, list[BaseException]()
    rounds = 0
    while changes <= 2 or fires <= 100 or rounds < 15:
        rounds += 1
        for number in range(3):
            try:
                changes += await make(stores[4], OLD + number * DAY)
                changes += await drop(stores[5], OLD + number * DAY)
            except StoreUnavailable as error:
                troubles.append(error.__cause__ or error)
    over = True
    await asyncio.gather(*workers)
    assert all(map(partitions.is_passing, troubles))


async def test_a_tombstone_whose_days_are_gone_is_forgotten(store: PostgresStore) -> None:
    of = job("one")
    await add(store, of)
    await make(store, OLD)
    await write(store, of, ended(of, OLD))
    gone = changed(of, now=OLD, status=JobStatus.DELETED)
    await store.change_job(gone, if_version=1, timer=None, limits=NO_LIMITS, now=OLD)
    await store.delete_history(before=NOW, limit=10)
    assert await store.get_jobs([of.id]) == {}
