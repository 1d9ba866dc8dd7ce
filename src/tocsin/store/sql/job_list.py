"""Pages of jobs."""

from dataclasses import dataclass
from typing import Any, assert_never

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    and_,
    exists,
    func,
    literal_column,
    or_,
    select,
    text,
)

from tocsin.domain.errors import InvalidInput
from tocsin.domain.execution import State
from tocsin.domain.job import JobStatus
from tocsin.store.port import Cursor, JobQuery, JobSort, JobView, Page
from tocsin.store.rows import Row, folded, storable
from tocsin.store.sql import counters
from tocsin.store.sql.executions import READ_JOB, STATUS
from tocsin.store.sql.ids import is_id
from tocsin.store.sql.job_cache import JobCache
from tocsin.store.sql.jobs import views
from tocsin.store.tables import FAILING, NOT_DELETED, SET_ASIDE, health, job_tags, jobs, timers

FEW = 2_000
"""Up to so many jobs that a filter leaves are looked up and sorted. Where it leaves more, reading
in the order of the list and picking fills a page sooner."""

_SET_ASIDE = frozenset({JobStatus.PAUSED, JobStatus.CANCELLED})

# SQLite has no statistics to choose by, so it is told which way in is the short one.
_BY_ID = "INDEXED BY sqlite_autoindex_jobs_1"
_BY_STATUS = "INDEXED BY jobs_set_aside"
_BY_FIRE = "INDEXED BY timers_fire"
_BY_FAILURE = "INDEXED BY health_failing"

_RANKS = (FAILING, "last_state <> 'failed'")
"""What jobs are ranked by that have a last result; both are read in the order of ids."""


@dataclass(frozen=True, kw_only=True)
class _Filter:
    """The conditions of a list."""

    conditions: list[ColumnElement[bool]]
    hint: str | None = None
    """The index of ``jobs`` that leads to the few that fulfil them."""
    none: bool = False
    """Whether it is clear already that nothing does."""


def list_jobs(conn: Connection, cache: JobCache, query: JobQuery) -> Page[JobView]:
    """A page of jobs."""
    wanted = _filter_of(conn, query)
    rows = [] if wanted.none else _page(conn, query, wanted)
    part = rows[: query.limit]
    if not part:
        return Page(items=[], next=None)
    last = part[-1]
    # The sort key stands after the columns of the job.
    found = cache.read(row[:-1] for row in part)
    return Page(
        items=views(conn, list(found.values()), query.now),
        next=(last[-1], last[0]) if len(rows) > len(part) else None,
    )


def _page(conn: Connection, query: JobQuery, wanted: _Filter) -> list[Row]:
    """The rows of a page and, where the list goes on, one more."""
    match query.sort:
        case JobSort.NAME:
            return _sorted(conn, query, wanted, jobs.c.name)
        case JobSort.CREATED:
            return _sorted(conn, query, wanted, jobs.c.created_at)
        case JobSort.UPDATED:
            return _sorted(conn, query, wanted, jobs.c.updated_at)
        case JobSort.NEXT_FIRE:
            return _by_next_fire(conn, query, wanted)
        case JobSort.LAST_RESULT:
            return _by_last_result(conn, query, wanted)
    assert_never(query.sort)


def _sorted(
    conn: Connection, query: JobQuery, wanted: _Filter, key: ColumnElement[Any]
) -> list[Row]:
    """Jobs in the order of one of their columns."""
    page = select(*READ_JOB, key.label("sort_key")).where(*wanted.conditions)
    if wanted.hint is not None:
        page = page.with_hint(jobs, wanted.hint, "sqlite")
    if query.cursor is not None:
        page = page.where(*_after(query, key, jobs.c.id))
    order = [key, jobs.c.id]
    if key is jobs.c.name and JobStatus.DELETED not in query.statuses:
        # Names of living jobs are unique, and their index goes no further.
        del order[1:]
    if query.descending:
        order = [column.desc() for column in order]
    return [tuple(row) for row in conn.execute(page.order_by(*order).limit(query.limit + 1))]


def _by_next_fire(conn: Connection, query: JobQuery, wanted: _Filter) -> list[Row]:
    """Jobs with a timer in the order of these, then the others."""
    size = query.limit + 1
    found: list[Row] = []
    cursor = query.cursor
    if cursor is None or cursor[0] is not None:
        key, tie = timers.c.fire_at, timers.c.job_id
        page = (
            select(*READ_JOB, key.label("sort_key"))
            .select_from(timers.join(jobs, jobs.c.id == tie))
            .where(*wanted.conditions)
        )
        if wanted.hint is None:
            page = page.with_hint(timers, _BY_FIRE, "sqlite")
        else:
            page = page.with_hint(jobs, wanted.hint, "sqlite")
        if cursor is not None:
            page = page.where(*_after(query, key, tie))
        order = (key.desc(), tie.desc()) if query.descending else (key, tie)
        found = [tuple(row) for row in conn.execute(page.order_by(*order).limit(size))]
        cursor = None
    if len(found) < size:
        idle = ~exists().where(timers.c.job_id == jobs.c.id)
        rest = _rest(query, wanted, idle, cursor).limit(size - len(found))
        found += [(*row, None) for row in conn.execute(rest)]
    return found


def _by_last_result(conn: Connection, query: JobQuery, wanted: _Filter) -> list[Row]:
    """Jobs that failed last, then the others that have run, then those that never did.

    Descending, the first two change places. Each of the three is read in the order of its index,
    so a page costs its rows, however many there are of the others.
    """
    size = query.limit + 1
    found: list[Row] = []
    cursor = query.cursor
    ranks = list(enumerate(_RANKS))
    for rank, condition in ranks[::-1] if query.descending else ranks:
        if len(found) == size:
            return found
        if cursor is not None and cursor[0] != rank:
            continue
        of_health: ColumnElement[Any] = health.c.job_id
        if wanted.hint is None and conn.dialect.name == "sqlite":
            # The sign keeps SQLite from starting with all jobs: it leaves no other way than to
            # go through `health`.
            of_health = literal_column("+health.job_id")
        page = (
            select(*READ_JOB)
            .select_from(health.join(jobs, jobs.c.id == of_health))
            .where(_condition(condition), *wanted.conditions)
        )
        if wanted.hint is not None:
            page = page.with_hint(jobs, wanted.hint, "sqlite")
        elif condition is FAILING:
            page = page.with_hint(health, _BY_FAILURE, "sqlite")
        page = _in_order_of(page, query, health.c.job_id, cursor)
        found += [(*row, rank) for row in conn.execute(page.limit(size - len(found)))]
        cursor = None
    if len(found) < size:
        if cursor is not None and cursor[0] is not None:
            raise _unusable()
        unknown = ~exists().where(health.c.job_id == jobs.c.id)
        rest = _rest(query, wanted, unknown, cursor).limit(size - len(found))
        found += [(*row, None) for row in conn.execute(rest)]
    return found


def _rest(
    query: JobQuery, wanted: _Filter, without: ColumnElement[bool], cursor: Cursor | None
) -> Select[Any]:
    """Jobs that have no place in an order, by their ids."""
    page = select(*READ_JOB).where(without, *wanted.conditions)
    page = page.with_hint(jobs, wanted.hint or _BY_ID, "sqlite")
    return _in_order_of(page, query, jobs.c.id, cursor)


def _in_order_of(
    page: Select[Any], query: JobQuery, key: ColumnElement[str], cursor: Cursor | None
) -> Select[Any]:
    """A page in the order of ids, after the cursor."""
    if cursor is not None:
        after = _text_of(cursor, 1)
        page = page.where(key < after if query.descending else key > after)
    return page.order_by(key.desc() if query.descending else key)


def _after(
    query: JobQuery, key: ColumnElement[Any], tie: ColumnElement[str]
) -> list[ColumnElement[bool]]:
    """What comes after the cursor."""
    assert query.cursor is not None  # noqa: S101  # tells the type
    value, last_id = _key_of(query.cursor, key), _text_of(query.cursor, 1)
    # The first condition says nothing new, but it is what an index is entered by.
    if query.descending:
        return [key <= value, or_(key < value, and_(key == value, tie < last_id))]
    return [key >= value, or_(key > value, and_(key == value, tie > last_id))]


def _key_of(cursor: Cursor, key: ColumnElement[Any]) -> str | int:
    if key is jobs.c.name:
        return _text_of(cursor, 0, plain=True)
    value = cursor[0] if cursor else None
    if not isinstance(value, int):
        raise _unusable()
    return value


def _text_of(cursor: Cursor, position: int, *, plain: bool = False) -> str:
    value = cursor[position] if len(cursor) == 2 else None
    if not isinstance(value, str) or not (plain or is_id(value)):
        raise _unusable()
    return value


def _unusable() -> InvalidInput:
    return InvalidInput.of("cursor", "does not belong to this list; start again without it")


# --- filters ------------------------------------------------------------------------------------


def _filter_of(conn: Connection, query: JobQuery) -> _Filter:
    statuses = query.statuses
    conditions = [jobs.c.namespace == query.namespace]
    hints: list[str] = []
    if JobStatus.DELETED in statuses:
        conditions.append(STATUS.in_([status.value for status in statuses]))
    else:
        conditions.append(_condition(NOT_DELETED))
        if statuses:
            counts = counters.usage(conn).by_status
            if not any(counts.get(status) for status in statuses):
                return _Filter(conditions=[], none=True)
            conditions.append(STATUS.in_([status.value for status in statuses]))
            if (
                _SET_ASIDE.issuperset(statuses)
                and sum(counts.get(status, 0) for status in statuses) <= FEW
            ):
                conditions.append(_condition(SET_ASIDE))
                hints.append(_BY_STATUS)
    for tag in map(storable, query.tags):
        tagged = select(job_tags.c.job_id).where(job_tags.c.tag == tag)
        if _are_few(conn, tagged):
            conditions.append(jobs.c.id.in_(tagged))
            hints.append(_BY_ID)
        else:
            conditions.append(exists().where(job_tags.c.tag == tag, job_tags.c.job_id == jobs.c.id))
    if query.any_tags is not None:
        tagged = select(job_tags.c.job_id).where(job_tags.c.tag.in_(map(storable, query.any_tags)))
        conditions.append(jobs.c.id.in_(tagged))
        if _are_few(conn, tagged):
            hints.append(_BY_ID)
    if query.kind is not None:
        conditions.append(jobs.c.kind == query.kind)
    if query.last_state is not None:
        conditions += _last_state_is(conn, query.last_state, hints)
    if query.text:
        # Not LIKE, in which `%` and `_` mean something and patterns have a largest size.
        position = func.instr if conn.dialect.name == "sqlite" else func.strpos
        conditions.append(position(jobs.c.search, folded(query.text)) > 0)
    return _Filter(conditions=conditions, hint=hints[-1] if hints else None)


def _last_state_is(conn: Connection, state: State, hints: list[str]) -> list[ColumnElement[bool]]:
    # By another name: a list by the last result has `health` in its own statement.
    own = health.alias("own_health")
    failing = select(own.c.job_id).where(_condition(FAILING))
    if state is State.FAILED and _are_few(conn, failing):
        hints.append(_BY_ID)
        return [jobs.c.id.in_(failing)]
    return [exists().where(own.c.job_id == jobs.c.id, own.c.last_state == state.value)]


def _are_few(conn: Connection, found: Select[Any]) -> bool:
    return len(conn.execute(found.limit(FEW + 1)).all()) <= FEW


def _condition(words: str) -> ColumnElement[bool]:
    condition: ColumnElement[bool] = text(words)  # type: ignore[assignment]
    return condition
