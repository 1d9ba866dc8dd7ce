"""Pages of jobs."""

from collections.abc import Sequence
from itertools import islice
from typing import Any, assert_never

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Select,
    and_,
    exists,
    func,
    or_,
    select,
    text,
)

from tocsin.domain.errors import InvalidInput
from tocsin.domain.execution import State
from tocsin.domain.job import JobStatus
from tocsin.store.port import Cursor, JobQuery, JobSort, JobView, Page
from tocsin.store.rows import Row, folded, storable
from tocsin.store.sql.executions import is_id
from tocsin.store.sql.job_cache import JobCache
from tocsin.store.sql.jobs import READ_JOB, views
from tocsin.store.tables import FAILING, NOT_DELETED, SET_ASIDE, health, job_tags, jobs, timers

FEW = 2_000
"""Up to so many jobs with a tag are looked up and sorted. Where there are more, reading in the
order of the list and picking fills a page sooner."""

_SET_ASIDE = frozenset({JobStatus.PAUSED, JobStatus.CANCELLED})


def list_jobs(conn: Connection, cache: JobCache, query: JobQuery) -> Page[JobView]:
    """A page of jobs."""
    rows = _page(conn, query)
    part = rows[: query.limit]
    if not part:
        return Page(items=[], next=None)
    last = part[-1]
    return Page(
        # The sort key stands after the columns of the job.
        items=views(conn, cache, [row[:-1] for row in part], query.now),
        next=(last[-1], last[0]) if len(rows) > len(part) else None,
    )


def _page(conn: Connection, query: JobQuery) -> list[Row]:
    """The rows of a page and, where the list goes on, one more."""
    size = query.limit + 1
    wanted = _wanted(conn, query)
    match query.sort:
        case JobSort.NAME:
            return _sorted(conn, query, jobs.c.name, wanted, size)
        case JobSort.CREATED:
            return _sorted(conn, query, jobs.c.created_at, wanted, size)
        case JobSort.UPDATED:
            return _sorted(conn, query, jobs.c.updated_at, wanted, size)
        case JobSort.NEXT_FIRE:
            return _by_next_fire(conn, query, wanted, size)
    assert_never(query.sort)


def _by_next_fire(
    conn: Connection, query: JobQuery, wanted: list[ColumnElement[bool]], size: int
) -> list[Row]:
    """Jobs with a timer in the order of these, then the others."""
    found: list[Row] = []
    cursor = query.cursor
    if cursor is None or cursor[0] is not None:
        joined = timers.join(jobs, jobs.c.id == timers.c.job_id)
        found = _sorted(
            conn, query, timers.c.fire_at, wanted, size, source=joined, tie=timers.c.job_id
        )
        cursor = None
    if len(found) < size:
        idle = ~exists().where(timers.c.job_id == jobs.c.id)
        page = select(*READ_JOB).where(idle, *wanted)
        if cursor is not None:
            after = _text_of(cursor, 1)
            page = page.where(jobs.c.id < after if query.descending else jobs.c.id > after)
        order = jobs.c.id.desc() if query.descending else jobs.c.id
        rows = conn.execute(page.order_by(order).limit(size - len(found)))
        found += [(*row, None) for row in rows]
    return found


def _sorted(
    conn: Connection,
    query: JobQuery,
    key: ColumnElement[Any],
    wanted: Sequence[ColumnElement[bool]],
    size: int,
    *,
    source: FromClause = jobs,
    tie: ColumnElement[str] = jobs.c.id,
) -> list[Row]:
    page: Select[Any] = select(*READ_JOB, key.label("sort_key")).select_from(source).where(*wanted)
    if query.cursor is not None:
        value, last_id = _key_of(query.cursor, key), _text_of(query.cursor, 1)
        # The first condition says nothing new, but it is what an index is entered by.
        if query.descending:
            page = page.where(key <= value, or_(key < value, and_(key == value, tie < last_id)))
        else:
            page = page.where(key >= value, or_(key > value, and_(key == value, tie > last_id)))
    order = [key.desc(), tie.desc()] if query.descending else [key, tie]
    if key is jobs.c.name and JobStatus.DELETED not in query.statuses:
        # Names of living jobs are unique, and their index goes no further.
        del order[1:]
    return [tuple(row) for row in conn.execute(page.order_by(*order).limit(size))]


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


def _wanted(conn: Connection, query: JobQuery) -> list[ColumnElement[bool]]:
    wanted: list[ColumnElement[bool]] = [jobs.c.namespace == query.namespace]
    wanted += _status_is(query.statuses)
    for tag in map(storable, query.tags):
        wanted.append(_has_tag(conn, tag))
    if query.kind is not None:
        wanted.append(jobs.c.kind == query.kind)
    if query.last_state is State.FAILED:
        wanted.append(jobs.c.id.in_(select(health.c.job_id).where(text(FAILING))))
    elif query.last_state is not None:
        wanted.append(
            exists().where(
                health.c.job_id == jobs.c.id, health.c.last_state == query.last_state.value
            )
        )
    if query.text:
        # Not LIKE, in which `%` and `_` mean something and patterns have a largest size.
        position = func.instr if conn.dialect.name == "sqlite" else func.strpos
        wanted.append(position(jobs.c.search, folded(query.text)) > 0)
    return wanted


def _status_is(statuses: tuple[JobStatus, ...]) -> list[ColumnElement[bool]]:
    """The conditions on the status, in the words of the partial indexes where one applies."""
    if JobStatus.DELETED in statuses:
        return [jobs.c.status.in_([status.value for status in statuses])]
    wanted: list[ColumnElement[bool]] = [_condition(NOT_DELETED)]
    if statuses:
        wanted.append(jobs.c.status.in_([status.value for status in statuses]))
        if _SET_ASIDE.issuperset(statuses):
            wanted.append(_condition(SET_ASIDE))
    return wanted


def _has_tag(conn: Connection, tag: str) -> ColumnElement[bool]:
    tagged = select(job_tags.c.job_id).where(job_tags.c.tag == tag)
    if len(list(islice(conn.execute(tagged.limit(FEW + 1)), FEW + 1))) <= FEW:
        return jobs.c.id.in_(tagged)
    return exists().where(job_tags.c.tag == tag, job_tags.c.job_id == jobs.c.id)


def _condition(words: str) -> ColumnElement[bool]:
    condition: ColumnElement[bool] = text(words)  # type: ignore[assignment]
    return condition
