"""Numbers that are kept up to date so that nobody has to count."""

from collections.abc import Iterable

from sqlalchemy import Connection, func, select

from tocsin.domain.job import JobStatus
from tocsin.store.port import Usage
from tocsin.store.tables import counters

BYTES = "bytes"
_JOBS = "jobs."
KEPT: tuple[JobStatus, ...] = tuple(
    status for status in JobStatus if status is not JobStatus.DELETED
)
"""Statuses of jobs that count towards the limits."""


_TOTALS = select(counters.c.name, func.sum(counters.c.value).label("total")).group_by(
    counters.c.name
)


def jobs_counter(status: JobStatus) -> str:
    """The counter of jobs with a status."""
    return f"{_JOBS}{status.value}"


def changes_of(
    before: Iterable[tuple[JobStatus, int]], after: Iterable[tuple[JobStatus, int]]
) -> dict[str, int]:
    """What the counters change by where jobs, as status and size, become others."""
    changes: dict[str, int] = {}
    for sign, jobs in ((-1, before), (1, after)):
        for status, size in jobs:
            if status in KEPT:
                name = jobs_counter(status)
                changes[name] = changes.get(name, 0) + sign
                changes[BYTES] = changes.get(BYTES, 0) + sign * size
    return changes


def usage(conn: Connection) -> Usage:
    """What the store holds of definitions."""
    values = {row.name: int(row.total) for row in conn.execute(_TOTALS)}
    by_status = {
        status: count for status in KEPT if (count := values.get(jobs_counter(status), 0)) > 0
    }
    return Usage(
        jobs=sum(by_status.values()), bytes=max(0, values.get(BYTES, 0)), by_status=by_status
    )
