"""What much history costs: millions of executions over some days, on PostgreSQL.

Measured at the store itself, in this process; the same is measured on a copy of the table that is
not divided into days.
"""

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import count
from statistics import median

import orjson
import psycopg

from bench.context import Bench
from bench.report import Figure, Figures
from tocsin.domain.codec import attempts_to_json
from tocsin.domain.execution import Attempt, ErrorKind, ResponseExcerpt, State, Timings
from tocsin.domain.instant import DAY, Millis
from tocsin.domain.planning import plan_fires
from tocsin.store.port import ClaimRequest, ExecutionQuery, Node
from tocsin.store.postgres import PostgresStore
from tocsin.store.sql.ids import first_id

ROWS, QUICK_ROWS = 10_000_000, 200_000
DAYS = 10
JOBS = 1_000
PAGE = 50
REPEATS = 30
"""Of each question, with other jobs and other places; the median counts."""

ONE_BY_ONE = 500
"""Executions that are deleted in one transaction where they are not dropped by the day."""

_JOB = "md5('job-' || number % {jobs})::uuid"
_FILL = """
    INSERT INTO {table} (id, job_id, state, finished_at, queued, owner, lane, exact, fire_time, due,
        trigger, namespace, job_name, job_version, attempt_count, error_kind, attempts)
    SELECT (lpad(to_hex(at), 12, '0') || '8' || substr(hash, 1, 3) || '8' || substr(hash, 4, 15))
            ::uuid,
        {job}, CASE WHEN failed THEN 'failed' ELSE 'succeeded' END, at + 20, false,
        '6c0f1f9e-8d6b-4a57-9a43-111111111111', (number % 64)::smallint, false, at, at, 'schedule',
        'default', 'job-' || number % {jobs}, 1, 1, CASE WHEN failed THEN 'http_status' END,
        CASE WHEN failed THEN '{bad}' ELSE '{good}' END
    FROM (SELECT number, {start} + number * {step_us} / 1000 AS at, md5('fire-' || number) AS hash,
                 number % 100 = 7 AS failed
          FROM generate_series(0::bigint, {rows} - 1) AS number) AS made"""


def run(bench: Bench) -> list[Figure]:
    """Fill a table by the day and one that is whole, and ask both the same."""
    rows = QUICK_ROWS if bench.quick else ROWS
    figures = Figures(f"history of {rows:,} executions, {DAYS} days")
    # The days before yesterday: those from yesterday on have their tables.
    today = time.time_ns() // 1_000_000 // DAY * DAY
    days = [today - number * DAY for number in range(DAYS + 1, 1, -1)]
    by_day, whole = bench.database(), bench.database()
    for url, fill in ((by_day, _fill_by_day), (whole, _fill_whole)):
        bench.say(f"history: filling {rows:,} rows")
        began = time.perf_counter()
        with psycopg.connect(url, autocommit=True) as connection:
            fill(connection, days, rows // DAYS)
            connection.execute("VACUUM ANALYZE executions")
        bench.say(f"history: {rows / (time.perf_counter() - began):,.0f} rows/s")
    answers = [
        asyncio.run(_ask(url, days, rows // DAYS, divided=url == by_day)) for url in (by_day, whole)
    ]
    for name, value in answers[0].items():
        figures.add(name, "ms", value, baseline_name="one table", baseline=answers[1][name])
    for url in (by_day, whole):
        bench.server.drop(url)
    return figures.all()


def _fill_by_day(
    connection: "psycopg.Connection[tuple[object, ...]]", days: Sequence[Millis], rows: int
) -> None:
    """Each day is filled first and attached then, which makes its indexes at once."""
    for day in days:
        name = f"executions_p{datetime.fromtimestamp(day / 1_000, UTC):%Y%m%d}"
        connection.execute(f"CREATE TABLE {name} (LIKE executions)".encode())
        connection.execute(_filled(name, day, rows))
        connection.execute(
            f"ALTER TABLE executions ATTACH PARTITION {name} "
            f"FOR VALUES FROM ('{first_id(day)}') TO ('{first_id(day + DAY)}')".encode()
        )


def _fill_whole(
    connection: "psycopg.Connection[tuple[object, ...]]", days: Sequence[Millis], rows: int
) -> None:
    """One table in the place of the partitioned one, with the same indexes."""
    indexes = connection.execute(
        "SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = 'executions'::regclass"
    ).fetchall()
    connection.execute(
        "CREATE TABLE whole (LIKE executions); "
        "DROP TABLE executions CASCADE; ALTER TABLE whole RENAME TO executions"
    )
    for day in days:
        connection.execute(_filled("executions", day, rows))
    for (index,) in indexes:
        connection.execute(str(index).replace(" ON ONLY ", " ON ").encode())


def _filled(table: str, day: Millis, rows: int) -> bytes:
    return _FILL.format(
        table=table,
        job=_JOB.format(jobs=JOBS),
        jobs=JOBS,
        start=day,
        step_us=DAY * 1_000 // rows,
        rows=rows,
        good=_attempts(200),
        bad=_attempts(500),
    ).encode()


def _attempts(status: int) -> str:
    """The attempts of an execution with one attempt, as its row holds them."""
    attempt = Attempt(
        number=1,
        started_at=time.time_ns() // 1_000_000,
        duration_ms=1.3,
        http_status=status,
        error_kind=None if status == 200 else ErrorKind.HTTP_STATUS,
        error=None if status == 200 else "the target answered 500",
        node="node",
        timings=Timings(connect_ms=0.4, first_byte_ms=1.2, total_ms=1.3),
        response=ResponseExcerpt(excerpt="ok", truncated=False),
    )
    return orjson.dumps(attempts_to_json([attempt])).decode()


async def _ask(url: str, days: Sequence[Millis], rows: int, *, divided: bool) -> dict[str, float]:
    """Milliseconds of each question, and of dropping the oldest day, which has so many rows."""
    store = PostgresStore(url)
    await store.open()
    try:
        job_ids = _job_ids(url)
        places = _places(days)

        async def listed(query: ExecutionQuery) -> None:
            page = await store.list_executions(query)
            if len(page.items) != query.limit:
                raise RuntimeError(f"{len(page.items)} executions on a page of {query}")

        answers = {
            "newest page": await _median(lambda: listed(ExecutionQuery(limit=PAGE))),
            "newest page of a job": await _median(
                lambda: listed(ExecutionQuery(limit=PAGE, job_id=next(job_ids)))
            ),
            "newest page of the failed": await _median(
                lambda: listed(ExecutionQuery(limit=PAGE, states=(State.FAILED,)))
            ),
            "page in the middle": await _median(
                lambda: listed(ExecutionQuery(limit=PAGE, cursor=(next(places),)))
            ),
            "page in the middle of a job": await _median(
                lambda: listed(
                    # A job has few rows of a day where these are few.
                    ExecutionQuery(limit=20, job_id=next(job_ids), cursor=(next(places),))
                )
            ),
            "claim with nothing due": await _claims_of_nothing(store),
        }
        if divided:
            answers["dropping a day"] = await _drop_a_day(store, days[0])
        else:
            answers["dropping a day"] = _delete_a_day(url, days[0], rows)
        return answers
    finally:
        await store.close()


async def _claims_of_nothing(store: PostgresStore) -> float:
    now = time.time_ns() // 1_000_000
    incarnation = str(uuid.uuid4())
    await store.register(
        Node(
            incarnation=incarnation,
            name="bench",
            address="",
            version="bench",
            started_at=now,
            heartbeat_at=now,
            lease_until=now + 600_000,
        )
    )

    async def claim() -> None:
        request = ClaimRequest(
            incarnation=incarnation,
            now=now,
            ahead_until=now + 1_000,
            ahead_limit=1_000,
            exact_limit=250,
        )
        if (await store.claim(request, plan_fires)).claims:
            raise RuntimeError("something was due")

    return await _median(claim)


async def _drop_a_day(store: PostgresStore, day: Millis) -> float:
    """Milliseconds until a day is gone."""
    began = time.perf_counter()
    await store.delete_history(before=day + DAY, limit=ONE_BY_ONE)
    took = (time.perf_counter() - began) * 1_000
    left = await store.list_executions(ExecutionQuery(limit=1, ascending=True))
    if left.items[0].fire_time < day + DAY:
        raise RuntimeError("the day is still there")
    return took


def _delete_a_day(url: str, day: Millis, rows: int) -> float:
    """Milliseconds for the rows of a day, a few per transaction; a part of them is measured."""
    parts = 20
    with psycopg.connect(url, autocommit=True) as connection:
        began = time.perf_counter()
        for _ in range(parts):
            deleted = connection.execute(
                "DELETE FROM executions WHERE id = ANY (ARRAY(SELECT id FROM executions "
                "WHERE id < %s AND finished_at IS NOT NULL ORDER BY id LIMIT %s))",
                (first_id(day + DAY), ONE_BY_ONE),
            ).rowcount
            if deleted != ONE_BY_ONE:
                raise RuntimeError(f"{deleted} rows were deleted")
        took = (time.perf_counter() - began) * 1_000
    return took * rows / (parts * ONE_BY_ONE)


async def _median(question: Callable[[], Awaitable[None]]) -> float:
    """Milliseconds; the first answers, which fill caches, do not count."""
    for _ in range(3):
        await question()
    times = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        await question()
        times.append(time.perf_counter() - began)
    return median(times) * 1_000


def _job_ids(url: str) -> Iterator[str]:
    with psycopg.connect(url) as connection:
        found = connection.execute(
            f"SELECT {_JOB.format(jobs=JOBS)}::text FROM generate_series(0, {JOBS - 1}, 29) "
            "AS number".encode()
        ).fetchall()
    return (str(found[number % len(found)][0]) for number in count())


def _places(days: Sequence[Millis]) -> Iterator[str]:
    """Ids that lie spread around the middle of the days."""
    middle = days[len(days) // 2]
    return (first_id(middle + number * 1_234_567 % DAY) for number in count())
