"""Ten million executions in thirty days of history: what people and nodes ask for stays quick.

Takes minutes and some gigabytes, so it runs only with TOCSIN_TEST_LARGE=1; `-s` shows the figures.
"""

import os
import statistics
import time
from collections.abc import Awaitable, Callable

import pytest

from tests.postgres.test_partitions import days, drop, make, name, today
from tests.support.build import DAY, HOUR, SECOND, at, attempt, claim_request, job, triggered
from tests.support.drive import add, join, trigger
from tests.support.postgres import PostgresServer
from tocsin.domain.codec import attempts_to_json
from tocsin.domain.execution import ResponseExcerpt, State
from tocsin.domain.planning import plan_fires
from tocsin.store.port import ExecutionQuery
from tocsin.store.postgres import PostgresStore, migrate
from tocsin.store.rows import dump_json
from tocsin.store.sql.ids import first_id

pytestmark = pytest.mark.skipif(
    os.environ.get("TOCSIN_TEST_LARGE") != "1", reason="takes minutes; set TOCSIN_TEST_LARGE=1"
)

ROWS = int(os.environ.get("TOCSIN_TEST_LARGE_ROWS", "10000000"))
DAYS = 30
JOBS = 5_000

QUICK = 250
"""Milliseconds that any of it may take on a machine that does something else too."""

ATTEMPTS = dump_json(
    attempts_to_json(
        (attempt(http_status=200, response=ResponseExcerpt(excerpt="x" * 100, truncated=False)),)
    )
)

FILL = """
    INSERT INTO {table}
    SELECT (substr(t, 1, 8) || '-' || substr(t, 9, 4) || '-8000-8000-' ||
              lpad(to_hex(n), 12, '0'))::uuid,
           ('00000000-0000-7000-8000-' || lpad(to_hex(1 + n %% {jobs}), 12, '0'))::uuid,
           CASE WHEN n %% 50 = 0 THEN 'failed' ELSE 'succeeded' END, at + 40, false, 'inc-old', at,
           0, false, NULL, at, at, 'schedule', 'default', 'job', 1, NULL, NULL, NULL, 1,
           CASE WHEN n %% 50 = 0 THEN 'http_status' END, NULL,
           replace('{attempts}', '1767225600000', at::text)
    FROM (SELECT n, {day} + n * {step} AS at, lpad(to_hex({day} + n * {step}), 12, '0') AS t
          FROM generate_series(0, {rows} - 1) AS n) AS rows"""


async def timed(what: str, work: Callable[[], Awaitable[object]], *, times: int = 15) -> float:
    """The median of some runs in milliseconds."""
    taken = []
    for _ in range(times):
        started = time.perf_counter()
        await work()
        taken.append((time.perf_counter() - started) * 1_000)
    median = statistics.median(taken)
    print(f"{what:60} {median:8.1f} ms  (first {taken[0]:.1f}, worst {max(taken):.1f})")
    return median


async def test_ten_million_executions() -> None:
    server = PostgresServer(settings={"shared_buffers": "256MB", "max_wal_size": "8GB"}).start()
    try:
        await measure(server)
    finally:
        server.remove()


async def measure(server: PostgresServer) -> None:
    url = server.create()
    database = url.rpartition("/")[2]
    migrate(url)
    store = PostgresStore(url)
    await store.open()
    start = await today(store)
    of = [
        job(f"job-{n}", at(start + 20 * DAY), id=f"00000000-0000-7000-8000-{n:012x}")
        for n in range(1, JOBS + 1)
    ]
    for first in range(0, JOBS, 1_000):
        await add(store, *of[first : first + 1_000])
    await join(store)
    per_day = ROWS // DAYS
    began = time.monotonic()
    for number in range(1, DAYS + 1):
        day = start - number * DAY
        await make(store, day)
        fill = FILL.format(
            table=name(day),
            attempts=ATTEMPTS,
            day=day,
            rows=per_day,
            step=DAY // per_day,
            jobs=JOBS,
        ).replace("%%", "%")
        server.execute(fill, database)
    seconds = time.monotonic() - began
    print(f"\n{ROWS:,} rows in {len(await days(store))} days, {seconds:.0f} s to write")
    await trigger(store, triggered(of[0], start, salt="late"))
    now = await store.time()
    assert now is not None
    slow: dict[str, float] = {}
    for analyzed in (False, True):
        if analyzed:
            server.execute("ANALYZE", database)
        print("with statistics" if analyzed else "without statistics (but what autovacuum did)")
        slow = await questions(store, now, start, of[1].id)
    assert slow == {}
    oldest = (await days(store))[0]
    await store.ping()
    taken = await timed("drop a day", lambda: drop(store, oldest), times=1)
    assert taken < 1_000
    await store.close()


async def questions(store: PostgresStore, now: int, start: int, job_id: str) -> dict[str, float]:
    """Which of them are slow, with the milliseconds that they take."""

    def listing(**filters: object) -> Callable[[], Awaitable[object]]:
        return lambda: store.list_executions(ExecutionQuery(**filters))  # type: ignore[arg-type]

    slow = {}
    deep = (first_id(start - 15 * DAY),)
    lists = {
        "list: all": listing(),
        "list: all, deep cursor": listing(cursor=deep),
        "list: oldest first": listing(ascending=True),
        "list: of a job": listing(job_id=job_id),
        "list: of a job, deep cursor": listing(job_id=job_id, cursor=deep),
        "list: failed": listing(states=(State.FAILED,)),
        "list: failed, deep cursor": listing(states=(State.FAILED,), cursor=deep),
        "list: failed of a job": listing(states=(State.FAILED,), job_id=job_id),
        "list: claimed": listing(states=(State.CLAIMED,)),
        "list: an hour": listing(since=start - 9 * DAY, until=start - 9 * DAY + HOUR),
    }
    for what, work in lists.items():
        slow[what] = await timed(what, work)
    request = claim_request(now, limit=1_000)
    nothing = claim_request(now - 60 * DAY, limit=1_000)
    await store.claim(request, plan_fires)
    for what, work in {
        "claim: nothing due": lambda: store.claim(nothing, plan_fires),
        "claim: nothing due, other present": lambda: store.claim(request, plan_fires),
        "stats": lambda: store.stats(since=now - 60 * SECOND, now=now),
        "owned_versions": lambda: store.owned_versions("inc-a"),
        "job view": lambda: store.get_job("default", job_id, now=now),
        "last planned": lambda: store.last_planned(job_id),
    }.items():
        slow[what] = await timed(what, work, times=30)
    return {what: taken for what, taken in slow.items() if taken > QUICK}
