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
from tocsin.store.tables import CLAIMED, DELETED, LIVE, executions, jobs, tallies, timers


def stats(
    conn: Connection,
    cache: JobCache,
    *,
    since: Millis,
    next_fires: int,
    namespace: str | None = None,
) -> Stats:
    """The state of things.

    Costs a look at what is live and at the tallies since then, whatever lies in the tables.
    """
    if namespace is None:
        by_status = counters.usage(conn).by_status
        alone = True
    else:
        of_each = counters.jobs_by_namespace(conn)
        by_status = of_each.get(namespace, {})
        # Where there is no other, counting what is live reads indexes only.
        alone = set(of_each) <= {namespace} and not _has_others(conn, namespace)
    live = _count(conn, LIVE, None if alone else namespace)
    claimed = _count(conn, CLAIMED, None if alone else namespace)
    minutes = _minutes(conn, since, namespace)
    whole = Tally()
    for _, tally in minutes:
        whole.merge(tally)
    return Stats(
        jobs=by_status,
        pending=live - claimed,
        claimed=claimed,
        tally=whole,
        minutes=minutes,
        next_fires=_next_fires(conn, cache, next_fires, namespace),
    )


def _has_others(conn: Connection, namespace: str) -> bool:
    """Whether anybody has deleted jobs in another namespace, whose last calls may be under way."""
    others = select(jobs.c.id).where(text(DELETED), jobs.c.namespace != namespace)
    return conn.execute(others.limit(1)).first() is not None


def _count(conn: Connection, condition: str, namespace: str | None) -> int:
    counted = select(func.count()).select_from(executions).where(text(condition))
    if namespace is not None:
        counted = counted.where(executions.c.namespace == namespace)
    return conn.execute(counted).scalar_one()


def _minutes(
    conn: Connection, since: Millis, namespace: str | None
) -> Sequence[tuple[Millis, Tally]]:
    by_minute: dict[Millis, Tally] = {}
    rows = conn.execute(
        select(tallies.c.minute, tallies.c.data, tallies.c.node)
        .where(tallies.c.minute >= minute_of(since))
        .order_by(tallies.c.minute)
    )
    for minute, data, counter in rows:
        if namespace is not None and counters.namespace_of(counter) != namespace:
            continue
        tally = tally_of(data)
        if minute in by_minute:
            by_minute[minute].merge(tally)
        else:
            by_minute[minute] = tally
    return list(by_minute.items())


def _next_fires(
    conn: Connection, cache: JobCache, limit: int, namespace: str | None
) -> list[tuple[Job, Millis]]:
    rows: list[Any] = []
    inside = [] if namespace is None else [jobs.c.namespace == namespace]
    for exact in (false(), true()):
        rows += conn.execute(
            select(timers.c.due_at, *READ_JOB)
            .select_from(timers.join(jobs, jobs.c.id == timers.c.job_id))
            .where(timers.c.exact == exact, jobs.c.status == JobStatus.ACTIVE.value, *inside)
            .order_by(timers.c.due_at, timers.c.job_id)
            .limit(limit)
        ).all()
    rows.sort(key=lambda row: (row.due_at, row.id))
    found = cache.read(tuple(row)[1:] for row in rows[:limit])
    return [(found[row.id], row.due_at) for row in rows[:limit] if row.id in found]
