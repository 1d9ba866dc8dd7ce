"""Jobs, one at a time or a batch of new ones."""

from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, delete, select, text, update
from sqlalchemy.exc import IntegrityError

from tocsin.domain.errors import CapacityExceeded, Conflict, FieldProblem, InvalidInput
from tocsin.domain.execution import Execution, Reason, State, closed
from tocsin.domain.instant import Millis
from tocsin.domain.job import Job, JobStatus
from tocsin.domain.planning import Timer
from tocsin.store.port import JobView, Limits, NewJob, Request
from tocsin.store.rows import (
    JOB_COLUMNS,
    READ_JOB_COLUMNS,
    Row,
    execution_of,
    job_row,
    load_json,
    name_taken,
    storable,
    tags_of,
    timer_row,
)
from tocsin.store.sql import counters
from tocsin.store.sql.executions import is_id, write_ended
from tocsin.store.sql.job_cache import JobCache, unreadable
from tocsin.store.sql.outcomes import note_ended
from tocsin.store.sql.requests import store_request, stored_request
from tocsin.store.sql.statements import Statements
from tocsin.store.tables import LIVE, NOT_DELETED, executions, job_tags, jobs, timers

READ_JOB = tuple(jobs.c[name] for name in READ_JOB_COLUMNS)
_SIZE = JOB_COLUMNS.index("size")
CHUNK = 500
"""Values in one IN list."""

MAX_UUID = "ffffffff-ffff-ffff-ffff-ffffffffffff"


# --- reading ------------------------------------------------------------------------------------


def get_job(
    conn: Connection, cache: JobCache, namespace: str, ref: str, *, now: Millis
) -> JobView | None:
    """The job with this id or name."""
    by_name = jobs.c.name == ref, text(NOT_DELETED)
    row = conn.execute(
        select(*READ_JOB).where(
            jobs.c.namespace == namespace, *((jobs.c.id == ref,) if is_id(ref) else by_name)
        )
    ).first()
    if row is None:
        return None
    found = views(conn, cache, [row], now)
    if not found:
        raise unreadable(row.id)
    return found[0]


def get_jobs(
    conn: Connection, statements: Statements, cache: JobCache, ids: Sequence[str]
) -> dict[str, Job]:
    """The jobs with these ids, deleted ones too."""
    wanted = [one for one in dict.fromkeys(ids) if is_id(one)]
    found: dict[str, Job] = {}
    for start in range(0, len(wanted), CHUNK):
        found.update(cache.read(statements.jobs(conn, wanted[start : start + CHUNK])))
    return found


def views(conn: Connection, cache: JobCache, rows: Sequence[Row], now: Millis) -> list[JobView]:
    """Jobs of rows of ``READ_JOB_COLUMNS``, with what is known of their fires."""
    found = cache.read(rows)
    if not found:
        return []
    ids = list(found)
    fires = select(timers.c.job_id, timers.c.fire_at).where(timers.c.job_id.in_(ids))
    next_fires = {row.job_id: row.fire_at for row in conn.execute(fires)}
    newest = executions.alias("newest")
    last_id = (
        select(newest.c.id)
        .where(newest.c.job_id == jobs.c.id, newest.c.id < first_id(now + 1))
        .order_by(newest.c.id.desc())
        .limit(1)
        .scalar_subquery()
    )
    last = {
        row.job_id: execution_of(row)
        for row in conn.execute(
            select(executions)
            .select_from(jobs.join(executions, executions.c.id == last_id))
            .where(jobs.c.id.in_(ids))
        )
    }
    return [
        JobView(job=job, next_fire_at=next_fires.get(job.id), last_execution=last.get(job.id))
        for job in found.values()
    ]


def first_id(instant: Millis) -> str:
    """The smallest id of an execution with this fire time or a later one."""
    if instant <= 0:
        return "00000000-0000-0000-0000-000000000000"
    if instant >= 1 << 48:
        return MAX_UUID
    time = format(instant, "012x")
    return f"{time[:8]}-{time[8:]}-0000-0000-000000000000"


# --- creating -----------------------------------------------------------------------------------


def create_jobs(
    conn: Connection,
    statements: Statements,
    new: Sequence[NewJob],
    *,
    limits: Limits,
    request: Request | None = None,
) -> Request | None:
    """Store new jobs, all or none."""
    taken = stored_request(conn, request)
    if taken is not None:
        return taken
    rows = [job_row(one.job) for one in new]
    growth = sum(row[_SIZE] for row in rows)
    over = _over_capacity(conn, limits, jobs=len(rows), growth=growth)
    if over is not None:
        _refuse_taken_names(conn, new)
        raise over
    try:
        # What fails here is undone alone, so that the names that are taken can be looked up.
        with conn.begin_nested():
            statements.insert_jobs(conn, rows)
    except IntegrityError as error:
        _refuse_taken_names(conn, new)
        raise Conflict("a job with one of these ids exists already") from error
    tags = [(tag, one.job.id) for one in new for tag in tags_of(one.job.spec)]
    if tags:
        statements.insert_tags(conn, tags)
    first = [timer_row(one.timer) for one in new if one.timer is not None]
    if first:
        statements.insert_timers(conn, first)
    counters.add(
        conn,
        statements,
        counters.changes_of(
            (), ((one.job.status, row[_SIZE]) for one, row in zip(new, rows, strict=True))
        ),
    )
    store_request(conn, request)
    return None


def _refuse_taken_names(conn: Connection, new: Sequence[NewJob]) -> None:
    """Raise ``InvalidInput`` where names belong to stored jobs or to earlier ones of ``new``."""
    names = [(one.job.namespace, one.job.name) for one in new]
    taken: set[tuple[str, str]] = set()
    for start in range(0, len(names), CHUNK):
        found = conn.execute(
            select(jobs.c.namespace, jobs.c.name).where(
                jobs.c.namespace.in_({namespace for namespace, _ in names}),
                jobs.c.name.in_([name for _, name in names[start : start + CHUNK]]),
                text(NOT_DELETED),
            )
        )
        taken.update((namespace, name) for namespace, name in found)
    problems: list[FieldProblem] = []
    for index, (one, name) in enumerate(zip(new, names, strict=True)):
        if name in taken:
            problems.append(name_taken(one.job, f"jobs.{index}.name"))
        taken.add(name)
    if problems:
        raise InvalidInput(problems)


def _over_capacity(
    conn: Connection, limits: Limits, *, jobs: int, growth: int
) -> CapacityExceeded | None:
    """The limit that is exceeded where so many jobs and bytes are added."""
    used = counters.usage(conn)
    if jobs and used.jobs + jobs > limits.max_jobs:
        return CapacityExceeded(
            f"the store holds {used.jobs:,} jobs, {jobs:,} more would exceed the limit of "
            f"{limits.max_jobs:,}; delete jobs, or raise TOCSIN_MAX_JOBS",
            limit="jobs",
        )
    if growth > 0 and used.bytes + growth > limits.max_bytes:
        return CapacityExceeded(
            f"the definitions take {used.bytes:,} bytes, {growth:,} more would exceed the limit "
            f"of {limits.max_bytes:,}; delete jobs, or raise TOCSIN_MAX_DEFINITION_BYTES",
            limit="bytes",
        )
    return None


# --- changing -----------------------------------------------------------------------------------


def change_job(
    conn: Connection,
    statements: Statements,
    job: Job,
    *,
    if_version: int,
    timer: Timer | None,
    limits: Limits,
    cancel_waiting: Reason | None = None,
    closing: Sequence[Execution] = (),
    now: Millis,
) -> list[Execution] | None:
    """Replace a job and its timer, on condition that its version is still ``if_version``."""
    old = (
        conn.execute(
            select(jobs.c.version, jobs.c.status, jobs.c.size, jobs.c.spec)
            .where(jobs.c.id == job.id)
            .with_for_update()
        ).first()
        if is_id(job.id)
        else None
    )
    if old is None or old.version != if_version:
        return None
    row = job_row(job)
    try:
        with conn.begin_nested():
            conn.execute(
                update(jobs)
                .where(jobs.c.id == job.id)
                .values(dict(zip(JOB_COLUMNS, row, strict=True)))
            )
    except IntegrityError:
        raise InvalidInput([name_taken(job, "name")]) from None
    size = row[_SIZE]
    changes = counters.changes_of([(JobStatus(old.status), old.size)], [(job.status, size)])
    over = _over_capacity(conn, limits, jobs=0, growth=changes.get(counters.BYTES, 0))
    if over is not None:
        raise over
    counters.add(conn, statements, changes)
    _change_tags(conn, statements, job, old.spec)
    conn.execute(delete(timers).where(timers.c.job_id == job.id))
    if timer is not None:
        statements.insert_timers(conn, [timer_row(timer)])
    ended: list[Execution] = []
    if cancel_waiting is not None:
        ended += _cancel_waiting(conn, job.id, cancel_waiting, now)
    if closing:
        existed = statements.insert_executions(conn, closing)
        ended += [execution for execution in closing if execution.id not in existed]
    note_ended(conn, statements, ended)
    return ended


def _change_tags(conn: Connection, statements: Statements, job: Job, old_spec: str) -> None:
    try:
        old = {storable(tag) for tag in load_json(old_spec)["tags"]}
    except (ValueError, KeyError, TypeError):
        # A damaged definition does not tell what it was tagged with.
        old = set(conn.scalars(select(job_tags.c.tag).where(job_tags.c.job_id == job.id)))
    new = tags_of(job.spec)
    for tag in sorted(old - new):
        conn.execute(delete(job_tags).where(job_tags.c.tag == tag, job_tags.c.job_id == job.id))
    if new - old:
        statements.insert_tags(conn, [(tag, job.id) for tag in sorted(new - old)])


def _cancel_waiting(
    conn: Connection, job_id: str, reason: Reason, now: Millis
) -> Iterable[Execution]:
    rows = conn.execute(
        select(executions)
        .where(
            executions.c.job_id == job_id,
            text(LIVE),
            executions.c.state == State.PENDING.value,
        )
        .order_by(executions.c.id)
        .with_for_update()
    )
    ended = [closed(execution_of(row), State.CANCELLED, reason, now) for row in rows]
    write_ended(conn, ended)
    return ended
