"""The statements of PostgreSQL that run per fire or in bulk, on psycopg's connection."""

from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any

import psycopg
import structlog
from psycopg.errors import UniqueViolation
from sqlalchemy import Connection

from tocsin.domain.execution import Execution, State
from tocsin.domain.instant import Millis
from tocsin.domain.planning import Live, Timer
from tocsin.store.postgres.arrays import array, columns
from tocsin.store.postgres.copying import ENOUGH, copied
from tocsin.store.postgres.queries import (
    ADD_TO_COUNTERS,
    COPY_JOBS,
    COPY_TAGS,
    COPY_TIMERS,
    DUE_QUEUED,
    END_TIMERS,
    INSERT_AUDIT,
    INSERT_CLAIMED,
    INSERT_EXECUTIONS,
    INSERT_JOBS,
    INSERT_NEW,
    INSERT_TAGS,
    INSERT_TIMERS,
    LIVE_COUNTS,
    LOCK_JOBS,
    LOCK_LIVE,
    MOVE_TIMERS,
    NEXT_DUE,
    NEXT_DUE_PAST_BUSY,
    NODE_EXISTS,
    READ_JOBS,
    READ_TALLY,
    REPLACE_JOB,
    SET_HEALTH,
    STORE_RESULTS,
    STORE_SUCCESSES,
    TAKE,
    TAKE_TURNS,
    TIME,
    WRITE_TALLY,
    due_executions_sql,
    due_timers_sql,
    queueing_jobs_sql,
)
from tocsin.store.rows import JOB_COLUMNS, Row, claimed_row, execution_row, is_first_claim
from tocsin.store.sql.ids import is_id, repeated
from tocsin.store.sql.statements import Busy, DueTimer, NextDue, Result, Stored, next_due_of

log = structlog.stdlib.get_logger("tocsin.store")

SHARDS = 16
"""Of the counters: processes that write at once should seldom wait for each other's row."""

TRUSTING = 200
"""From so many new executions on it is tried first whether none of them exists: to look for each
before it is added, and to confirm it after, takes a fifth of an insertion's time and one in six of
its log records. The savepoint takes two round trips."""

_TURNS = 5_498_171_003_927_180
"""Held by who adds jobs near a limit."""

_NAME = itemgetter(JOB_COLUMNS.index("namespace"), JOB_COLUMNS.index("name"))

_BAD_ROW = (ValueError, OverflowError, TypeError, AttributeError, RecursionError)


class PostgresStatements:
    """``Statements`` on PostgreSQL, where many nodes write at once."""

    def add_to_counters(self, conn: Connection, changes: Mapping[str, int]) -> None:
        """Add to counters, new or not, in the shard of this connection.

        Two transactions that add to one row wait for each other's commit.
        """
        rows = [(name, change) for name, change in sorted(changes.items()) if change]
        if rows:
            driver = raw(conn)
            shard = driver.info.backend_pid % SHARDS
            driver.execute(ADD_TO_COUNTERS, (shard, *columns(rows)))

    def take_turns(self, conn: Connection) -> bool:
        """Wait for others that called this until they commit."""
        raw(conn).execute(TAKE_TURNS, (_TURNS,))
        return True

    # --- nodes

    def time(self, conn: Connection) -> Millis | None:
        """The database's own clock."""
        return database_time(conn)

    # --- claim

    def node_exists(self, conn: Connection, incarnation: str) -> bool:
        """Whether a node has its row; nobody can delete it until the end of the transaction."""
        return raw(conn).execute(NODE_EXISTS, (incarnation,)).fetchone() is not None

    def due_timers(
        self,
        conn: Connection,
        *,
        exact: bool,
        until: Millis,
        busy: Busy,
        limit: int,
        newest: bool = False,
    ) -> Sequence[DueTimer]:
        """Timers of active jobs, earliest due first, or ``newest`` first, locked."""
        passed_over, flags = _passed_over(busy)
        statement = due_timers_sql(exact=exact, **flags, newest=newest)
        return raw(conn).execute(statement, (until, *passed_over, limit)).fetchall()

    def due_executions(
        self,
        conn: Connection,
        *,
        exact: bool,
        until: Millis,
        busy: Busy,
        limit: int,
        newest: bool = False,
    ) -> Sequence[Row]:
        """Pending executions that are not queued, earliest first or ``newest`` first, locked.

        Those are passed over whose job is being changed, or they might be claimed by its old
        definition after the change was acknowledged. A timer needs no such look: whoever changes
        a job takes its timer away.
        """
        driver = raw(conn)
        passed_over, flags = _passed_over(busy)
        statement = due_executions_sql(exact=exact, **flags, newest=newest)
        found = driver.execute(statement, (until, *passed_over, limit)).fetchall()
        of_jobs = {row[1] for row in found if row[-1] is not None}
        if not of_jobs:
            return found
        versions = dict(driver.execute(LOCK_JOBS, (array(of_jobs),)).fetchall())
        return [
            (*row[:-1], versions.get(row[1]))
            for row in found
            if row[-1] is None or row[1] in versions
        ]

    def due_queued(self, conn: Connection, *, now: Millis, busy: Busy, limit: int) -> Sequence[Row]:
        """The oldest queued execution of each job, where nothing else of the job is live."""
        driver = raw(conn)
        passed_over, flags = _passed_over(busy)
        statement = queueing_jobs_sql(**flags)
        found = driver.execute(statement, (now, *passed_over, limit)).fetchall()
        if not found:
            return []
        # With these jobs locked nothing of theirs can begin, and what has begun is seen.
        return driver.execute(DUE_QUEUED, (array(row[0] for row in found), now)).fetchall()

    def next_due(
        self, conn: Connection, *, after: Millis, busy: frozenset[int], kinds: Sequence[bool]
    ) -> NextDue:
        """The earliest due instant of a timer or of a waiting execution that is later."""
        driver = raw(conn)
        if not busy:
            found = _row(driver.execute(NEXT_DUE, {"after": after}))
            return next_due_of(found, kinds, lambda at: (at,))
        parameters = {"after": after, "busy": array(sorted(busy))}
        return next_due_of(
            NEXT_DUE_PAST_BUSY, kinds, lambda statement: _row(driver.execute(statement, parameters))
        )

    def lock_live(self, conn: Connection, job_ids: Sequence[str]) -> None:
        """Lock what is live of jobs, by id."""
        raw(conn).execute(LOCK_LIVE, (array(job_ids),))

    def live_counts(self, conn: Connection, job_ids: Sequence[str]) -> dict[str, Live]:
        """What is live of jobs."""
        rows = raw(conn).execute(LIVE_COUNTS, (array(job_ids),))
        return {job_id: Live(running=running, queued=queued) for job_id, running, queued in rows}

    def insert_executions(self, conn: Connection, executions: Sequence[Execution]) -> set[str]:
        """Add executions; the ids of those that existed."""
        if not executions:
            return set()
        # In one order, so that two writers of the same ones cannot lock each other out.
        if all(map(is_first_claim, executions)):
            rows = sorted(map(claimed_row, executions))
            batch = columns(rows)
            if len(rows) >= TRUSTING and _insert_new(raw(conn), batch):
                return set()
            (added,) = _row(raw(conn).execute(INSERT_CLAIMED, (*batch, len(rows))))
            if added is None:
                return set()
        else:
            rows = sorted(map(execution_row, executions))
            added = [row[0] for row in raw(conn).execute(INSERT_EXECUTIONS, columns(rows))]
        ids = [execution.id for execution in executions]
        return set(ids).difference(added) | repeated(ids)

    def move_timers(self, conn: Connection, moves: Iterable[tuple[Timer, Millis]]) -> None:
        """Replace timers."""
        rows = [
            (timer.fire_at, timer.due_at, timer.lane, timer.exact, timer.job_id, fire_at)
            for timer, fire_at in moves
        ]
        ids = array(row[4] for row in rows)
        raw(conn).execute(MOVE_TIMERS, (*columns(rows), ids))

    def end_timers(self, conn: Connection, ids: Sequence[str]) -> None:
        """Delete timers that this transaction has locked."""
        raw(conn).execute(END_TIMERS, (array(ids),))

    def take(self, conn: Connection, incarnation: str, ids: Sequence[str]) -> None:
        """Make pending executions claimed."""
        raw(conn).execute(TAKE, (incarnation, array(ids)))

    # --- record

    def store_results(self, conn: Connection, results: Sequence[Result]) -> list[Stored]:
        """Write executions, each where its conditions hold.

        A row that PostgreSQL could not hold must be found before: its refusal would be that of
        the whole statement.
        """
        outcomes = [Stored.NOT_OURS] * len(results)
        places: dict[str, int] = {}
        for place, result in enumerate(results):
            execution_id = result.after.id
            if execution_id not in places and is_id(execution_id):
                places[execution_id] = place  # The same one twice: the second is found stored.
        # All by one statement, and in one order, so that two writers cannot lock each other out.
        ids = sorted(places)
        plain = all(result.is_plain_success for result in results)
        row_of = Result.success_row if plain else Result.row
        try:
            batch = columns([row_of(results[places[one]]) for one in ids]) if ids else []
        except _BAD_ROW:
            for one in ids:
                result = results[places[one]]
                try:
                    columns([row_of(result)])
                except _BAD_ROW:
                    log.exception("result.rejected", execution_id=one, job=result.after.job_name)
                    outcomes[places.pop(one)] = Stored.BAD
            ids = sorted(places)
            batch = columns([row_of(results[places[one]]) for one in ids]) if ids else []
        if ids:
            statement = STORE_SUCCESSES if plain else STORE_RESULTS
            (stored,) = _row(raw(conn).execute(statement, (*batch, array(ids), len(ids))))
            for one in ids if stored is None else stored:
                outcomes[places[one]] = Stored.YES
        return outcomes

    def read_tally(self, conn: Connection, minute: Millis, node: str) -> str | None:
        """The stored tally, locked until the end of the transaction."""
        data = _row(raw(conn).execute(READ_TALLY, (minute, node)))[0]
        return str(data) or None

    def write_tally(self, conn: Connection, minute: Millis, node: str, data: str) -> None:
        """Store a tally that was read before."""
        raw(conn).execute(WRITE_TALLY, (data, minute, node))

    def set_health(self, conn: Connection, rows: Sequence[tuple[str, State, Millis]]) -> None:
        """Note the last states of jobs."""
        states = [(job_id, state._value_, since) for job_id, state, since in rows]
        raw(conn).execute(SET_HEALTH, columns(states))

    # --- jobs

    def jobs(self, conn: Connection, ids: Sequence[str]) -> Sequence[Row]:
        """Jobs by id, deleted ones too."""
        return raw(conn).execute(READ_JOBS, (array(ids),)).fetchall()

    def insert_jobs(self, conn: Connection, rows: Sequence[Row]) -> bool:
        """Add rows of ``jobs``; ``False``, and none is added, where an id or a name is taken."""
        if not rows:
            return True
        driver = raw(conn)
        # In one order, so that two that add the same names do not wait for each other in a circle.
        in_order = sorted(rows, key=_NAME)
        try:
            with driver.transaction():
                _add(driver, INSERT_JOBS, COPY_JOBS, in_order)
        except UniqueViolation:
            return False
        return True

    def replace_job(self, conn: Connection, row: Row) -> bool:
        """Replace a row of ``jobs``; ``False`` and nothing is changed where its name is taken."""
        driver = raw(conn)
        try:
            with driver.transaction():
                driver.execute(REPLACE_JOB, (*row, row[0]))
        except UniqueViolation:
            return False
        return True

    def insert_tags(self, conn: Connection, rows: Sequence[tuple[str, str]]) -> None:
        """Add rows of ``job_tags``."""
        # Only new jobs have so many that they are copied, and none of these tags exists.
        _add(raw(conn), INSERT_TAGS, COPY_TAGS, rows)

    def insert_timers(self, conn: Connection, rows: Sequence[Row]) -> None:
        """Add rows of ``timers``."""
        _add(raw(conn), INSERT_TIMERS, COPY_TIMERS, rows)

    # --- audit

    def insert_audit(self, conn: Connection, rows: Sequence[Row]) -> None:
        """Add rows of ``audit``."""
        raw(conn).execute(INSERT_AUDIT, columns(rows))


def _insert_new(driver: psycopg.Connection[Any], batch: Sequence[str]) -> bool:
    """Add first claims; ``False``, and none is added, where one of them exists."""
    try:
        with driver.transaction():
            driver.execute(INSERT_NEW, batch)
    except UniqueViolation:
        return False
    return True


def _add(
    driver: psycopg.Connection[tuple[Any, ...]], insert: str, copy: str, rows: Sequence[Row]
) -> None:
    """Add rows in the way that takes less."""
    if len(rows) < ENOUGH:
        driver.execute(insert, columns(rows))
        return
    with driver.cursor() as cursor, cursor.copy(copy) as copying:
        copying.write(copied(rows))


def database_time(conn: Connection) -> Millis:
    """The present instant by the clock of the server."""
    return int(_row(raw(conn).execute(TIME))[0])


def raw(conn: Connection) -> psycopg.Connection[tuple[Any, ...]]:
    """The driver's connection below one of SQLAlchemy."""
    driver: Any = conn.connection.driver_connection
    assert isinstance(driver, psycopg.Connection)  # noqa: S101  # tells the type
    return driver


def _row(cursor: psycopg.Cursor[tuple[Any, ...]]) -> tuple[Any, ...]:
    """The only row of an answer that always has one."""
    row = cursor.fetchone()
    assert row is not None  # noqa: S101  # tells the type
    return row


def _passed_over(busy: Busy) -> tuple[list[str], dict[str, bool]]:
    """The parameters for what is busy, and which of them there are."""
    lists = [array(sorted(busy.lanes))] if busy.lanes else []
    if busy.jobs:
        lists.append(array(sorted(busy.jobs)))
    return lists, {"lanes": bool(busy.lanes), "jobs": bool(busy.jobs)}
