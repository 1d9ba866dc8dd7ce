"""Pages of executions."""

from collections.abc import Iterator
from heapq import merge
from itertools import islice
from operator import itemgetter
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, exists, select, text

from tocsin.domain.errors import InvalidInput
from tocsin.domain.execution import Execution, State
from tocsin.store.port import ExecutionQuery, Page
from tocsin.store.rows import Row, execution_of, storable
from tocsin.store.sql.ids import first_id, is_id
from tocsin.store.tables import CLAIMED, LIVE, NOTABLE, executions, job_tags

_WITH_ERROR = (State.PENDING, State.CLAIMED, State.FAILED, State.CANCELLED)
"""States whose last attempt may have failed; a success has none, and what was skipped neither."""


def list_executions(conn: Connection, query: ExecutionQuery) -> Page[Execution]:
    """A page of executions with their attempts."""
    if query.job_id is not None and not is_id(query.job_id):
        return Page(items=[], next=None)
    states: tuple[State | None, ...] = tuple(dict.fromkeys(query.states))
    if not states:
        states = _WITH_ERROR if query.error_kind is not None else (None,)
    # Each state has its own index, in the order of the list: a page is merged from a page of
    # each, however rare a state is among millions.
    pages = [conn.execute(_page(query, state)) for state in states]
    rows: Iterator[Row] = merge(*pages, key=itemgetter(0), reverse=not query.ascending)
    found = list(islice(rows, query.limit + 1))
    part = found[: query.limit]
    return Page(
        items=[execution_of(row) for row in part],
        next=(part[-1][0],) if len(found) > len(part) else None,
    )


def _page(query: ExecutionQuery, state: State | None) -> Select[Any]:
    table = executions.c
    wanted: list[ColumnElement[bool]] = [table.namespace == query.namespace]
    hint = None
    if state is not None:
        wanted.append(table.state == state.value)
        condition, index = _way_to(state, with_job=query.job_id is not None)
        if condition is not None:
            words: ColumnElement[bool] = text(condition)  # type: ignore[assignment]
            wanted.append(words)
            hint = f"INDEXED BY {index}"
    if query.job_id is not None:
        wanted.append(table.job_id == query.job_id)
    if query.any_tags is not None:
        tags = map(storable, query.any_tags)
        wanted.append(exists().where(job_tags.c.tag.in_(tags), job_tags.c.job_id == table.job_id))
    if query.error_kind is not None:
        wanted.append(table.error_kind == query.error_kind.value)
    if query.since is not None:
        wanted.append(table.id >= first_id(query.since))
    if query.until is not None:
        wanted.append(table.id < first_id(query.until))
    if query.cursor is not None:
        last = query.cursor[0] if len(query.cursor) == 1 else None
        if not isinstance(last, str) or not is_id(last):
            raise InvalidInput.of("cursor", "does not belong to this list; start again without it")
        wanted.append(table.id > last if query.ascending else table.id < last)
    order = table.id if query.ascending else table.id.desc()
    page = select(executions).where(*wanted).order_by(order).limit(query.limit + 1)
    # SQLite would rather read on in the order of the ids than sort the few live ones.
    return page if hint is None else page.with_hint(executions, hint, "sqlite")


def _way_to(state: State, *, with_job: bool) -> tuple[str | None, str]:
    """The condition of the partial index that holds a state, for a query to repeat, and its name.

    Those of what is live are not in the order of ids, but what is live is little.
    """
    if state is State.SUCCEEDED:
        return None, ""
    if state.final:
        return NOTABLE, "executions_notable_job" if with_job else "executions_notable"
    if state is State.CLAIMED and not with_job:
        return CLAIMED, "executions_owned"
    return LIVE, "executions_live"
