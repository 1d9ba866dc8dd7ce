"""Forgetting what is old, a bounded part at a time."""

from collections.abc import Sequence

from sqlalchemy import Connection, delete, exists, select, text

from tocsin.domain.instant import Millis
from tocsin.store.rows import load_json, storable
from tocsin.store.sql.ids import CHUNK, first_id
from tocsin.store.sql.requests import forget_requests
from tocsin.store.tables import DELETED, executions, health, job_tags, jobs, tallies, timers


def delete_history(
    conn: Connection, *, before: Millis, limit: int, rows_before: Millis | None = None
) -> int:
    """Delete ended executions with a fire time before an instant, oldest first.

    With ``rows_before`` executions before that only, where the others go in another way.

    Ids sort by fire time, so the oldest are at one end of the primary key: a batch costs the
    same however much history there is.
    """
    old = conn.execute(
        select(executions.c.id, executions.c.job_id)
        .where(
            executions.c.id < first_id(rows_before or before), executions.c.finished_at.is_not(None)
        )
        .order_by(executions.c.id)
        .limit(limit)
    ).all()
    for start in range(0, len(old), CHUNK):
        ids = [row.id for row in old[start : start + CHUNK]]
        conn.execute(delete(executions).where(executions.c.id.in_(ids)))
    conn.execute(delete(tallies).where(tallies.c.minute < before))
    forget_requests(conn, before)
    _delete_tombstones(conn, list(dict.fromkeys(row.job_id for row in old)), limit)
    return len(old)


def _delete_tombstones(conn: Connection, touched: Sequence[str], limit: int) -> None:
    """Delete deleted jobs without executions: some of those just touched, and the oldest.

    The oldest are looked at because a job may never have fired.
    """
    gone = (jobs.c.id, jobs.c.spec)
    without_history = ~exists().where(executions.c.job_id == jobs.c.id)
    oldest = select(jobs.c.id).where(text(DELETED)).order_by(jobs.c.updated_at, jobs.c.id)
    candidates = list(dict.fromkeys([*conn.scalars(oldest.limit(limit)), *touched]))
    for start in range(0, len(candidates), CHUNK):
        ids = candidates[start : start + CHUNK]
        found = conn.execute(
            select(*gone).where(jobs.c.id.in_(ids), text(DELETED), without_history)
        ).all()
        if found:
            _forget(conn, [row.id for row in found], [_tags(row.spec) for row in found])


def _forget(conn: Connection, ids: Sequence[str], tags: Sequence[set[str]]) -> None:
    conn.execute(delete(jobs).where(jobs.c.id.in_(ids)))
    conn.execute(delete(health).where(health.c.job_id.in_(ids)))
    conn.execute(delete(timers).where(timers.c.job_id.in_(ids)))
    by_tag: dict[str, list[str]] = {}
    for job_id, of_job in zip(ids, tags, strict=True):
        for tag in of_job:
            by_tag.setdefault(tag, []).append(job_id)
    for tag, of_tag in by_tag.items():
        conn.execute(delete(job_tags).where(job_tags.c.tag == tag, job_tags.c.job_id.in_(of_tag)))


def _tags(spec: str) -> set[str]:
    try:
        return {storable(tag) for tag in load_json(spec)["tags"]}
    except (ValueError, KeyError, TypeError):
        return set()
