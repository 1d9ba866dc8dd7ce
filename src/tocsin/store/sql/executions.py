"""Executions, one at a time or those of one job."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from sqlalchemy import (
    ColumnElement,
    Connection,
    bindparam,
    func,
    literal_column,
    select,
    text,
    update,
)

from tocsin.domain.audit import AuditEntry
from tocsin.domain.codec import attempts_to_json
from tocsin.domain.errors import Conflict, NotFound
from tocsin.domain.execution import Execution, Reason, State, TriggerKind, closed
from tocsin.domain.instant import Millis
from tocsin.domain.job import JobStatus
from tocsin.domain.planning import Live
from tocsin.store.port import Admitter, Request
from tocsin.store.rows import READ_JOB_COLUMNS, dump_json, execution_of, last_error_kind
from tocsin.store.sql.audit import note
from tocsin.store.sql.ids import is_id
from tocsin.store.sql.job_cache import JobCache
from tocsin.store.sql.outcomes import note_ended
from tocsin.store.sql.requests import store_request, stored_request
from tocsin.store.sql.statements import Statements
from tocsin.store.tables import LIVE, PRESENT_STATUS, executions, jobs, timers

STATUS: ColumnElement[str] = literal_column(PRESENT_STATUS).label("status")
READ_JOB = tuple(STATUS if name == "status" else jobs.c[name] for name in READ_JOB_COLUMNS)

# Built once, because that takes longer than to run them.
_BY_ID = select(executions).where(executions.c.id == bindparam("key"))
_LIVE_BY_ID = _BY_ID.where(text(LIVE)).with_for_update()
_LIVE_OF_JOB = (
    select(executions)
    .where(executions.c.job_id == bindparam("job_id"), text(LIVE))
    .order_by(executions.c.id)
    .with_for_update()
)
_LAST_PLANNED = (
    select(func.coalesce(executions.c.skipped_until, executions.c.fire_time))
    .where(
        executions.c.job_id == bindparam("job_id"),
        executions.c.trigger == TriggerKind.SCHEDULE.value,
    )
    .order_by(executions.c.id.desc())
    .limit(1)
)
_LOCK_JOB = select(*READ_JOB).where(jobs.c.id == bindparam("job_id")).with_for_update()


def get_execution(conn: Connection, execution_id: str) -> Execution | None:
    """One execution with its attempts."""
    if not is_id(execution_id):
        return None
    row = conn.execute(_BY_ID, {"key": execution_id}).first()
    return None if row is None else execution_of(row)


def existing_ids(conn: Connection, ids: Sequence[str]) -> set[str]:
    """Those of ``ids`` (1,000 at most) that exist."""
    return set(conn.scalars(select(executions.c.id).where(executions.c.id.in_(ids))))


def live_executions(conn: Connection, job_id: str) -> list[Execution]:
    """What is live of a job, oldest first."""
    return [execution_of(row) for row in conn.execute(_LIVE_OF_JOB, {"job_id": job_id})]


def last_planned(conn: Connection, job_id: str) -> Millis | None:
    """The latest fire time that was planned, ends of skipped ranges included.

    Plans go forward in time, so the newest row tells; ids sort by fire time.
    """
    if not is_id(job_id):
        return None
    return conn.execute(_LAST_PLANNED, {"job_id": job_id}).scalar()


# --- ending -------------------------------------------------------------------------------------


_WRITE_STATE = (
    update(executions)
    .where(executions.c.id == bindparam("key"))
    .values(
        {
            column: bindparam(column.name)
            for column in (
                executions.c.state,
                executions.c.reason,
                executions.c.queued,
                executions.c.available_at,
                executions.c.owner,
                executions.c.finished_at,
            )
        }
    )
)


def write_ended(conn: Connection, ended: Sequence[Execution]) -> None:
    """Write executions that ended without another attempt; their rows were read before."""
    if ended:
        conn.execute(
            _WRITE_STATE,
            [
                {
                    "key": execution.id,
                    "state": execution.state.value,
                    "reason": None if execution.reason is None else execution.reason.value,
                    "queued": execution.queued,
                    "available_at": execution.available_at,
                    "owner": execution.owner,
                    "finished_at": execution.finished_at,
                }
                for execution in ended
            ],
        )


def write_attempts(conn: Connection, execution: Execution) -> None:
    """Keep the attempts of an execution and leave everything else as it is."""
    conn.execute(
        update(executions)
        .where(executions.c.id == execution.id)
        .values(
            attempts=dump_json(attempts_to_json(execution.attempts)),
            attempt_count=len(execution.attempts),
            error_kind=last_error_kind(execution),
        )
    )


def cancel(
    conn: Connection,
    statements: Statements,
    live: Iterable[Execution],
    *,
    reason: Reason,
    now: Millis,
) -> list[Execution]:
    """End live executions as cancelled."""
    ended = [closed(execution, State.CANCELLED, reason, now) for execution in live]
    write_ended(conn, ended)
    note_ended(conn, statements, ended)
    return ended


def cancel_executions(
    conn: Connection,
    statements: Statements,
    *,
    reason: Reason,
    now: Millis,
    execution_id: str | None = None,
    job_id: str | None = None,
) -> list[Execution]:
    """End one execution, or all live ones of a job, as cancelled."""
    live: list[Execution] = []
    if execution_id is not None:
        if is_id(execution_id):
            rows = conn.execute(_LIVE_BY_ID, {"key": execution_id})
            live = [execution_of(row) for row in rows]
    elif job_id is not None and is_id(job_id):
        live = live_executions(conn, job_id)
    return cancel(conn, statements, live, reason=reason, now=now)


def postpone(
    conn: Connection, job_ids: Sequence[str], execution_ids: Sequence[str], until: Millis
) -> None:
    """Put off timers and pending executions that cannot be handled."""
    if job_ids:
        conn.execute(update(timers).where(timers.c.job_id.in_(job_ids)).values(due_at=until))
    if execution_ids:
        conn.execute(
            update(executions)
            .where(executions.c.id.in_(execution_ids), executions.c.state == State.PENDING.value)
            .values(available_at=until)
        )


# --- adding -------------------------------------------------------------------------------------


def add_execution(
    conn: Connection,
    statements: Statements,
    cache: JobCache,
    execution: Execution,
    *,
    admit: Admitter,
    now: Millis,
    request: Request | None = None,
    audit: Sequence[AuditEntry] = (),
) -> tuple[Execution, Sequence[Execution]] | Request:
    """Store an execution that a person asked for, as ``admit`` decides."""
    job_id = execution.job_id
    # Before anything is read: with the job locked, nobody else adds to it meanwhile.
    row = conn.execute(_LOCK_JOB, {"job_id": job_id}).first() if is_id(job_id) else None
    taken = stored_request(conn, request)
    if taken is not None:
        return taken
    known = get_execution(conn, execution.id)
    if known is not None:
        return known, ()
    if row is None or row.status == JobStatus.DELETED.value:
        raise NotFound(f"the job {execution.job_name!r} ({job_id}) does not exist any more")
    if row.status == JobStatus.CANCELLED.value:
        raise Conflict(f"the job {execution.job_name!r} is cancelled and fires no more")
    job = cache.of(row)
    live = statements.live_counts(conn, [job_id]).get(job_id, Live())
    admission = admit(job, live)
    replaced: Sequence[Execution] = ()
    if admission.replaces:
        replaced = cancel(
            conn,
            statements,
            live_executions(conn, job_id),
            reason=Reason.REPLACED,
            now=now,
        )
    if admission.state.final:
        stored = closed(execution, admission.state, admission.reason, now)
    else:
        stored = replace(
            execution,
            state=admission.state,
            reason=admission.reason,
            queued=admission.queued,
        )
    statements.insert_executions(conn, [stored])
    if stored.state.final:
        note_ended(conn, statements, [stored])
    store_request(conn, request)
    note(conn, statements, audit)
    return stored, replaced
