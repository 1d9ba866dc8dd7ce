"""Numbers that are kept up to date so that nobody has to count."""

from collections.abc import Iterable
from typing import TypeAlias

from sqlalchemy import Connection, func, select

from tocsin.domain.access import DEFAULT_NAMESPACE
from tocsin.domain.job import JobStatus
from tocsin.store.port import Usage
from tocsin.store.tables import counters

BYTES = "bytes"
_JOBS = "jobs."
KEPT: tuple[JobStatus, ...] = tuple(
    status for status in JobStatus if status is not JobStatus.DELETED
)
"""Statuses of jobs that count towards the limits."""


_BY_COUNTER = {f"{_JOBS}{status.value}": status for status in KEPT}

_TOTALS = select(counters.c.name, func.sum(counters.c.value).label("total")).group_by(
    counters.c.name
)


Counted: TypeAlias = tuple[JobStatus, int, str]
"""A job as it counts: its status, its size and its namespace."""


def jobs_counter(status: JobStatus, namespace: str = DEFAULT_NAMESPACE) -> str:
    """The counter of jobs with a status in a namespace."""
    return of_namespace(f"{_JOBS}{status.value}", namespace)


def of_namespace(name: str, namespace: str) -> str:
    """The name under which something of a namespace is counted."""
    return name if namespace == DEFAULT_NAMESPACE else f"{name}@{namespace}"


def namespace_of(name: str) -> str:
    """The namespace that something counted under this name is in."""
    return name.partition("@")[2] or DEFAULT_NAMESPACE


def changes_of(before: Iterable[Counted], after: Iterable[Counted]) -> dict[str, int]:
    """What the counters change by where jobs become others."""
    changes: dict[str, int] = {}
    for sign, jobs in ((-1, before), (1, after)):
        # Thousands of new jobs are alike in this, so their counters are named once.
        kinds: dict[tuple[JobStatus, str], int] = {}
        total = 0
        for status, size, namespace in jobs:
            if status in KEPT:
                kind = (status, namespace)
                kinds[kind] = kinds.get(kind, 0) + 1
                total += size
        for kind, count in kinds.items():
            name = jobs_counter(*kind)
            changes[name] = changes.get(name, 0) + sign * count
        if kinds:
            changes[BYTES] = changes.get(BYTES, 0) + sign * total
    return changes


def usage(conn: Connection) -> Usage:
    """What the store holds of definitions."""
    by_status: dict[JobStatus, int] = {}
    size = 0
    for row in conn.execute(_TOTALS):
        status = _BY_COUNTER.get(row.name.partition("@")[0])
        if row.name == BYTES:
            size = int(row.total)
        elif status is not None and row.total > 0:
            by_status[status] = by_status.get(status, 0) + int(row.total)
    return Usage(
        jobs=sum(by_status.values()),
        bytes=max(0, size),
        by_status={status: by_status[status] for status in KEPT if status in by_status},
    )


def jobs_by_namespace(conn: Connection) -> dict[str, dict[JobStatus, int]]:
    """How many jobs each namespace has, by status; namespaces without jobs are left out."""
    found: dict[str, dict[JobStatus, int]] = {}
    for row in conn.execute(_TOTALS):
        status = _BY_COUNTER.get(row.name.partition("@")[0])
        if status is not None and row.total > 0:
            found.setdefault(namespace_of(row.name), {})[status] = int(row.total)
    return found
