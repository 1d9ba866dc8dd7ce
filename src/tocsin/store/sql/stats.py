"""What ``/stats`` shows."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, false, func, select, text, true

from tocsin.domain.instant import Millis
from tocsin.domain.job import Job, JobStatus
from tocsin.domain.tally import Tally, minute_of
from tocsin.store.port import Stats
from tocsin.store.rows import tally_of
from tocsin.store.sql import counters
from tocsin.store.sql.executions import READ_JOB
from tocsin.store.sql.job_cache import JobCache
from tocsin.store.tables import CLAIMED, LIVE, executions, jobs, tallies, timers


def stats(conn: Connection, cache: JobCache, *, since: Millis, next_fires: int) -> Stats:
    """The state of things.

    Costs a look at what is live and at the tallies since then, whatever lies in the tables.
    """
    live = _count(conn, LIVE)
    claimed = _count(conn, CLAIMED)
    minutes = _minutes(conn, since)
    whole = Tally()
    for _, tally in minutes:
        whole.merge(tally)
    return Stats(
        jobs=counters.usage(conn).by_status,
        pending=live - claimed,
        claimed=claimed,
        tally=whole,
        minutes=minutes,
        next_fires=_next_fires(conn, cache, next_fires),
    )


def _count(conn: Connection, condition: str) -> int:
    counted = select(func.count()).select_from(executions).where(text(condition))
    return conn.execute(counted).scalar_one()


def _minutes(conn: Connection, since: Millis) -> Sequence[tuple[Millis, Tally]]:
    by_minute: dict[Millis, Tally] = {}
    rows = conn.execute(
        select(tallies.c.minute, tallies.c.data)
        .where(tallies.c.minute >= minute_of(since))
        .order_by(tallies.c.minute)
    )
    for minute, data in rows:
        tally = tally_of(data)
        if minute in by_minute:
            by_minute[minute].merge(tally)
        else:
            by_minute[minute] = tally
    return list(by_minute.items())


def _next_fires(conn: Connection, cache: JobCache, limit: int) -> list[tuple[Job, Millis]]:
    rows: list[Any] = []
    for exact in (false(), true()):
        rows += conn.execute(
            select(timers.c.due_at, *READ_JOB)
            .select_from(timers.join(jobs, jobs.c.id == timers.c.job_id))
            .where(timers.c.exact == exact, jobs.c.status == JobStatus.ACTIVE.value)
            .order_by(timers.c.due_at, timers.c.job_id)
            .limit(limit)
        ).all()
    rows.sort(key=lambda row: (row.due_at, row.id))
    found = cache.read(tuple(row)[1:] for row in rows[:limit])
    return [(found[row.id], row.due_at) for row in rows[:limit] if row.id in found]
