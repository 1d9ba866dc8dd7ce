"""Jobs, one at a time or a batch of new ones."""

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from typing import Literal

from sqlalchemy import Connection, bindparam, delete, select, text, update

from tocsin.domain.errors import CapacityExceeded, Conflict, FieldProblem, InvalidInput
from tocsin.domain.execution import Execution, Reason, State, closed
from tocsin.domain.instant import Millis
from tocsin.domain.job import Job, JobStatus, Overlap
from tocsin.domain.planning import Timer
from tocsin.store.port import JobView, Limits, NewJob, Request
from tocsin.store.rows import (
    JOB_COLUMNS,
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
from tocsin.store.sql.executions import READ_JOB, write_ended
from tocsin.store.sql.ids import CHUNK, first_id, is_id
from tocsin.store.sql.job_cache import JobCache
from tocsin.store.sql.outcomes import note_ended
from tocsin.store.sql.requests import store_request, stored_request
from tocsin.store.sql.statements import Statements
from tocsin.store.tables import LIVE, NOT_DELETED, QUEUED, executions, job_tags, jobs, timers

SIZE = JOB_COLUMNS.index("size")
"""Where a row has the bytes of its definition."""

# --- reading ------------------------------------------------------------------------------------

# Built once, because that takes longer than to run them.
_BY_ID = select(*READ_JOB).where(
    jobs.c.namespace == bindparam("namespace"), jobs.c.id == bindparam("ref")
)
_BY_NAME = select(*READ_JOB).where(
    jobs.c.namespace == bindparam("namespace"), jobs.c.name == bindparam("ref"), text(NOT_DELETED)
)
_FIRES = select(timers.c.job_id, timers.c.fire_at).where(
    timers.c.job_id.in_(bindparam("ids", expanding=True))
)
_newest = executions.alias("newest")
_NEWEST = select(
    select(_newest.c.id)
    .where(_newest.c.job_id == jobs.c.id, _newest.c.id < bindparam("before"))
    .order_by(_newest.c.id.desc())
    .limit(1)
    .scalar_subquery()
).where(jobs.c.id.in_(bindparam("ids", expanding=True)))
# A statement of its own: joined to the other, PostgreSQL may read all executions for it.
_BY_IDS = select(executions).where(executions.c.id.in_(bindparam("ids", expanding=True)))


def get_job(
    conn: Connection, cache: JobCache, namespace: str, ref: str, *, now: Millis
) -> JobView | None:
    """The job with this id or name."""
    row = conn.execute(
        _BY_ID if is_id(ref) else _BY_NAME, {"namespace": namespace, "ref": ref}
    ).first()
    if row is None:
        return None
    return views(conn, [cache.of(row)], now)[0]


def get_jobs(
    conn: Connection, statements: Statements, cache: JobCache, ids: Sequence[str]
) -> dict[str, Job]:
    """The jobs with these ids, deleted ones too."""
    wanted = [one for one in dict.fromkeys(ids) if is_id(one)]
    found: dict[str, Job] = {}
    for start in range(0, len(wanted), CHUNK):
        found.update(cache.read(statements.jobs(conn, wanted[start : start + CHUNK])))
    return found


def views(conn: Connection, found: Sequence[Job], now: Millis) -> list[JobView]:
    """Jobs with what is known of their fires."""
    if not found:
        return []
    ids = [job.id for job in found]
    fires = {row.job_id: row.fire_at for row in conn.execute(_FIRES, {"ids": ids})}
    newest = conn.scalars(_NEWEST, {"ids": ids, "before": first_id(now + 1)})
    rows = conn.execute(_BY_IDS, {"ids": [one for one in newest if one is not None]})
    last = {row.job_id: execution_of(row) for row in rows}
    return [
        JobView(job=job, next_fire_at=fires.get(job.id), last_execution=last.get(job.id))
        for job in found
    ]


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
    # Before the rest: who comes with the same key at the same time waits here, and finds it.
    store_request(conn, request)
    rows = [job_row(one.job, one.written) for one in new]
    growth = sum(row[SIZE] for row in rows)
    over = over_capacity(conn, statements, limits, jobs=len(rows), growth=growth)
    if over is not None:
        _refuse_taken_names(conn, new)
        raise over
    if not statements.insert_jobs(conn, rows):
        _refuse_taken_names(conn, new)
        raise Conflict("a job with one of these ids exists already")
    add_around(conn, statements, new, rows)
    return None


def add_around(
    conn: Connection, statements: Statements, new: Sequence[NewJob], rows: Sequence[Row]
) -> None:
    """Store what belongs to new jobs, whose rows are stored already."""
    tags = [(tag, one.job.id) for one in new for tag in tags_of(one.job.spec)]
    if tags:
        statements.insert_tags(conn, tags)
    first = [timer_row(one.timer) for one in new if one.timer is not None]
    if first:
        statements.insert_timers(conn, first)
    added = (
        (one.job.status, row[SIZE], one.job.namespace) for one, row in zip(new, rows, strict=True)
    )
    statements.add_to_counters(conn, counters.changes_of((), added))


def _refuse_taken_names(conn: Connection, new: Sequence[NewJob]) -> None:
    """Raise ``InvalidInput`` where names belong to stored jobs or to earlier ones of ``new``."""
    problems = name_problems(new, taken_names(conn, new))
    if problems:
        raise InvalidInput(problems)


def taken_names(conn: Connection, new: Sequence[NewJob]) -> set[tuple[str, str]]:
    """The namespaces and names of new jobs that belong to stored ones."""
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
    return taken


def name_problems(new: Sequence[NewJob], taken: AbstractSet[tuple[str, str]]) -> list[FieldProblem]:
    """A problem for each new job whose name is taken, or that of an earlier one."""
    problems: list[FieldProblem] = []
    seen: set[tuple[str, str]] = set()
    for index, one in enumerate(new):
        name = (one.job.namespace, one.job.name)
        if name in taken or name in seen:
            problems.append(name_taken(one.job, f"jobs.{index}.name"))
        seen.add(name)
    return problems


NEAR_JOBS = 100_000
NEAR_BYTES = 400_000_000
"""How near to a limit those who add take turns. What others add meanwhile is not seen before they
commit; further away there is room for all that can be under way at once."""


def over_capacity(
    conn: Connection,
    statements: Statements,
    limits: Limits,
    *,
    jobs: int,
    growth: int,
    beside: tuple[int, int] = (0, 0),
) -> CapacityExceeded | None:
    """The limit that is exceeded where so many jobs and bytes are added.

    ``beside`` are jobs and bytes that this transaction adds too, before these.
    """
    if not jobs and growth <= 0:
        return None

    def used() -> tuple[int, int]:
        usage = counters.usage(conn)
        return usage.jobs + beside[0], usage.bytes + beside[1]

    held_jobs, held_bytes = used()
    if (
        held_jobs + jobs > limits.max_jobs - NEAR_JOBS
        or held_bytes + growth > limits.max_bytes - NEAR_BYTES
    ) and statements.take_turns(conn):
        held_jobs, held_bytes = used()
    if jobs and held_jobs + jobs > limits.max_jobs:
        return CapacityExceeded(
            f"the store holds {held_jobs:,} jobs, {jobs:,} more would exceed the limit of "
            f"{limits.max_jobs:,}; delete jobs, or raise TOCSIN_MAX_JOBS",
            limit="jobs",
        )
    if growth > 0 and held_bytes + growth > limits.max_bytes:
        return CapacityExceeded(
            f"the definitions take {held_bytes:,} bytes, {growth:,} more would exceed the limit "
            f"of {limits.max_bytes:,}; delete jobs, or raise TOCSIN_MAX_DEFINITION_BYTES",
            limit="bytes",
        )
    return None


# --- changing -----------------------------------------------------------------------------------


_OLD = (
    select(jobs.c.version, jobs.c.status, jobs.c.size, jobs.c.spec)
    .where(jobs.c.id == bindparam("job_id"))
    .with_for_update()
)
_FIRE_AT = select(timers.c.fire_at).where(timers.c.job_id == bindparam("job_id")).with_for_update()
_DELETE_TIMER = delete(timers).where(timers.c.job_id == bindparam("job_id"))


_WAIT_NO_LONGER = (
    update(executions)
    .where(executions.c.job_id == bindparam("of_job"), text(QUEUED))
    .values(queued=False)
)


def change_job(
    conn: Connection,
    statements: Statements,
    job: Job,
    *,
    if_version: int,
    if_fire_at: Millis | Literal["any"] | None = "any",
    timer: Timer | None,
    limits: Limits,
    cancel_waiting: Reason | None = None,
    closing: Sequence[Execution] = (),
    now: Millis,
) -> list[Execution] | None:
    """Replace a job and its timer, on condition that its version is still ``if_version``."""
    if not is_id(job.id):
        return None
    # The timer before the job, as a claim locks them: from here on none moves it.
    fire_at = conn.execute(_FIRE_AT, {"job_id": job.id}).scalar()
    old = conn.execute(_OLD, {"job_id": job.id}).first()
    if old is None or old.version != if_version or if_fire_at not in {"any", fire_at}:
        return None
    row = job_row(job)
    was_active = old.status == JobStatus.ACTIVE
    status = JobStatus.COMPLETED if was_active and fire_at is None else JobStatus(old.status)
    changes = counters.changes_of(
        [(status, old.size, job.namespace)],
        [(job.status, row[SIZE], job.namespace)],
    )
    growth = changes.get(counters.BYTES, 0)
    over = over_capacity(conn, statements, limits, jobs=0, growth=growth)
    if not statements.replace_job(conn, row):
        raise InvalidInput([name_taken(job, "name")])
    if over is not None:
        raise over
    _change_tags(conn, statements, job, old.spec)
    conn.execute(_DELETE_TIMER, {"job_id": job.id})
    if timer is not None:
        statements.insert_timers(conn, [timer_row(timer)])
    ended: list[Execution] = []
    if job.spec.overlap is Overlap.ALLOW:
        # Nothing is behind anything any more, and might never be alone.
        conn.execute(_WAIT_NO_LONGER, {"of_job": job.id})
    if cancel_waiting is not None:
        ended += _cancel_waiting(conn, job.id, cancel_waiting, now)
    if closing:
        existed = statements.insert_executions(conn, closing)
        ended += [execution for execution in closing if execution.id not in existed]
    note_ended(conn, statements, ended)
    # Last: everybody waits for these, and who holds them must wait for nobody.
    statements.add_to_counters(conn, changes)
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
