"""The statements of SQLite that run per fire or in bulk, written for its own driver.

SQLAlchemy Core would cost more than SQLite itself here (it takes parameters apart per row), so
these go to the ``sqlite3`` connection below it, within the same transaction.
"""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any

import orjson
import structlog
from sqlalchemy import Connection

from tocsin.domain.execution import Execution, State
from tocsin.domain.instant import Millis
from tocsin.domain.planning import Live, Timer
from tocsin.store.rows import (
    Row,
    claimed_row,
    execution_row,
    is_first_claim,
)
from tocsin.store.sql.ids import repeated
from tocsin.store.sql.statements import Busy, DueTimer, NextDue, Result, Stored, next_due_of
from tocsin.store.sqlite.batches import LARGE, Batch
from tocsin.store.sqlite.queries import (
    ADD_TO_COUNTER,
    END_TIMERS,
    INSERT_AUDIT,
    INSERT_CLAIMED,
    INSERT_EXECUTION,
    INSERT_JOB,
    INSERT_TAG,
    INSERT_TIMER,
    LIVE_COUNTS,
    MOVE_TIMERS,
    NEWEST_EXECUTION,
    NEXT_DUE,
    NEXT_DUE_PAST_BUSY,
    NODE_EXISTS,
    OLDER_EXECUTIONS,
    READ_JOBS,
    READ_TALLY,
    REPLACE_JOB,
    SET_HEALTH,
    STORE_RESULT,
    STORE_RESULTS,
    STORE_SUCCESSES,
    TAKE,
    WRITE_TALLY,
    due_executions_sql,
    due_queued_sql,
    due_timers_sql,
)

log = structlog.stdlib.get_logger("tocsin.store")

_BAD_ROW = (
    # Too large, or of a type that SQLite does not know.
    sqlite3.DataError,
    sqlite3.InterfaceError,
    sqlite3.ProgrammingError,
    sqlite3.IntegrityError,
    # Before SQLite sees it: text that is not Unicode, integers beyond 64 bits, and whatever
    # cannot be written as JSON.
    ValueError,
    OverflowError,
    TypeError,
    AttributeError,
    RecursionError,
)


_FIRE_AT = itemgetter(1)

_INSERT_CLAIMED = Batch(INSERT_CLAIMED)
_INSERT_EXECUTIONS = Batch(INSERT_EXECUTION)
_INSERT_JOBS = Batch(INSERT_JOB, LARGE)
_INSERT_TAGS = Batch(INSERT_TAG, LARGE)
_INSERT_TIMERS = Batch(INSERT_TIMER, LARGE)
_MOVE_TIMERS = Batch(MOVE_TIMERS)
_END_TIMERS = Batch(END_TIMERS)
_STORE_RESULTS = Batch(STORE_RESULTS)
_STORE_SUCCESSES = Batch(STORE_SUCCESSES)
_SET_HEALTH = Batch(SET_HEALTH)


class SqliteStatements:
    """``Statements`` on SQLite, where a transaction that writes is alone with the database."""

    def add_to_counters(self, conn: Connection, changes: Mapping[str, int]) -> None:
        """Add to counters, new or not."""
        # There is one writer at a time, so one shard is enough.
        raw(conn).executemany(
            ADD_TO_COUNTER, [(0, name, change) for name, change in changes.items() if change]
        )

    def take_turns(self, conn: Connection) -> bool:  # noqa: ARG002
        """Nobody else writes."""
        return False

    # --- nodes

    def time(self, conn: Connection) -> None:
        """Nothing: the file's nodes are on one machine."""

    # --- claim

    def node_exists(self, conn: Connection, incarnation: str) -> bool:
        """Whether a node has its row."""
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
        """Timers of active jobs, earliest due first, or ``newest`` first."""
        passed_over, flags = _passed_over(busy)
        statement = due_timers_sql(**flags, newest=newest)
        return raw(conn).execute(statement, (exact, until, *passed_over, limit)).fetchall()

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
        """Pending executions that are not queued, earliest first, or ``newest`` first."""
        passed_over, flags = _passed_over(busy)
        statement = due_executions_sql(**flags, newest=newest)
        return raw(conn).execute(statement, (exact, until, *passed_over, limit)).fetchall()

    def due_queued(self, conn: Connection, *, now: Millis, busy: Busy, limit: int) -> Sequence[Row]:
        """The oldest queued execution of each job, where nothing else of the job is live."""
        passed_over, flags = _passed_over(busy)
        statement = due_queued_sql(**flags)
        return raw(conn).execute(statement, (now, *passed_over, limit)).fetchall()

    def next_due(
        self, conn: Connection, *, after: Millis, busy: frozenset[int], kinds: Sequence[bool]
    ) -> NextDue:
        """The earliest due instant of a timer or of a waiting execution that is later."""
        driver = raw(conn)
        if not busy:
            found = driver.execute(NEXT_DUE, (after,)).fetchone()
            return next_due_of(found, kinds, lambda at: (at,))
        parameters = (after, _json(sorted(busy)))
        return next_due_of(
            NEXT_DUE_PAST_BUSY,
            kinds,
            lambda statement: driver.execute(statement, parameters).fetchone(),
        )

    def lock_live(self, conn: Connection, job_ids: Sequence[str]) -> None:
        """Nothing: nobody else writes."""

    def live_counts(self, conn: Connection, job_ids: Sequence[str]) -> dict[str, Live]:
        """What is live of jobs."""
        rows = raw(conn).execute(LIVE_COUNTS, (_json(job_ids),))
        return {job_id: Live(running=running, queued=queued) for job_id, running, queued in rows}

    def insert_executions(self, conn: Connection, executions: Sequence[Execution]) -> set[str]:
        """Add executions; the ids of those that existed.

        All at once, and only where some existed is it asked which: those whose row is not younger
        than the statement.
        """
        driver = raw(conn)
        ((newest,),) = driver.execute(NEWEST_EXECUTION)
        claimed: list[tuple[Any, ...]] = []
        others: list[tuple[Any, ...]] = []
        for execution in executions:
            if is_first_claim(execution):
                claimed.append(claimed_row(execution))
            else:
                others.append(execution_row(execution))
        added = _INSERT_CLAIMED.run(driver, claimed) + _INSERT_EXECUTIONS.run(driver, others)
        if added == len(executions):
            return set()
        ids = [execution.id for execution in executions]
        existed = {one for (one,) in driver.execute(OLDER_EXECUTIONS, (_json(ids), newest))}
        return existed | repeated(ids)

    def move_timers(self, conn: Connection, moves: Iterable[tuple[Timer, Millis]]) -> None:
        """Replace timers."""
        _MOVE_TIMERS.run(
            raw(conn),
            [
                (timer.fire_at, timer.due_at, timer.lane, timer.exact, timer.job_id, fire_at)
                for timer, fire_at in moves
            ],
        )

    def end_timers(self, conn: Connection, ids: Sequence[str]) -> None:
        """Delete timers that this transaction has read."""
        _END_TIMERS.run(raw(conn), list(zip(ids, strict=True)))

    def take(self, conn: Connection, incarnation: str, ids: Sequence[str]) -> None:
        """Make pending executions claimed."""
        raw(conn).execute(TAKE, (incarnation, _json(ids)))

    # --- record

    def store_results(self, conn: Connection, results: Sequence[Result]) -> list[Stored]:
        """Write executions, each where its conditions hold.

        All at once, and where that does not come to one row for each, that is undone and each is
        tried by itself.
        """
        driver = raw(conn)
        driver.execute("SAVEPOINT results")
        try:
            good: list[tuple[Any, ...]] = []
            others: list[tuple[Any, ...]] = []
            for result in results:
                if result.is_plain_success:
                    good.append(result.success_row())
                else:
                    others.append(result.row())
            stored = _STORE_SUCCESSES.run(driver, good) + _STORE_RESULTS.run(driver, others)
        except _BAD_ROW:
            stored = -1
        if stored == len(results):
            driver.execute("RELEASE results")
            return [Stored.YES] * stored
        driver.execute("ROLLBACK TO results")
        driver.execute("RELEASE results")
        return _store_each(driver, results)

    def read_tally(self, conn: Connection, minute: Millis, node: str) -> str | None:
        """The stored tally."""
        row = raw(conn).execute(READ_TALLY, (minute, node)).fetchone()
        return None if row is None else str(row[0])

    def write_tally(self, conn: Connection, minute: Millis, node: str, data: str) -> None:
        """Store a tally, new or not."""
        raw(conn).execute(WRITE_TALLY, (minute, node, data))

    def set_health(self, conn: Connection, rows: Sequence[tuple[str, State, Millis]]) -> None:
        """Note the last states of jobs."""
        _SET_HEALTH.run(
            raw(conn), [(job_id, state._value_, since) for job_id, state, since in rows]
        )

    # --- jobs

    def jobs(self, conn: Connection, ids: Sequence[str]) -> Sequence[Row]:
        """Jobs by id, deleted ones too."""
        return raw(conn).execute(READ_JOBS, (_json(ids),)).fetchall()

    def insert_jobs(self, conn: Connection, rows: Sequence[Row]) -> bool:
        """Add rows of ``jobs``; ``False``, and none is added, where an id or a name is taken."""
        driver = raw(conn)
        driver.execute("SAVEPOINT new_jobs")
        try:
            _INSERT_JOBS.run(driver, rows)
        except sqlite3.IntegrityError:
            driver.execute("ROLLBACK TO new_jobs")
            return False
        finally:
            if driver.in_transaction:
                driver.execute("RELEASE new_jobs")
        return True

    def replace_job(self, conn: Connection, row: Row) -> bool:
        """Replace a row of ``jobs``; ``False`` and nothing is changed where its name is taken."""
        try:
            raw(conn).execute(REPLACE_JOB, (*row, row[0]))
        except sqlite3.IntegrityError:
            return False
        return True

    def insert_tags(self, conn: Connection, rows: Sequence[tuple[str, str]]) -> None:
        """Add rows of ``job_tags``."""
        _INSERT_TAGS.run(raw(conn), rows)

    def insert_timers(self, conn: Connection, rows: Sequence[Row]) -> None:
        """Add rows of ``timers``.

        In the order of their instants, so that the indexes are walked through once.
        """
        _INSERT_TIMERS.run(raw(conn), sorted(rows, key=_FIRE_AT))

    # --- audit

    def insert_audit(self, conn: Connection, rows: Sequence[Row]) -> None:
        """Add rows of ``audit``."""
        raw(conn).executemany(INSERT_AUDIT, rows)


def raw(conn: Connection) -> sqlite3.Connection:
    """The driver's connection below one of SQLAlchemy."""
    driver: Any = conn.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)  # noqa: S101  # tells the type
    return driver


def _store_each(driver: sqlite3.Connection, results: Sequence[Result]) -> list[Stored]:
    """Write results row by row.

    A statement that fails leaves the transaction as it was before, so a bad row needs no
    savepoint.
    """
    execute = driver.cursor().execute
    outcomes: list[Stored] = []
    for result in results:
        try:
            found = execute(STORE_RESULT, result.row()).rowcount
        except _BAD_ROW:
            log.exception(
                "result.rejected", execution_id=result.after.id, job=result.after.job_name
            )
            outcomes.append(Stored.BAD)
        else:
            outcomes.append(Stored.YES if found else Stored.NOT_OURS)
    return outcomes


def _passed_over(busy: Busy) -> tuple[list[str], dict[str, bool]]:
    """The parameters for what is busy, and which of them there are."""
    lists = [_json(sorted(busy.lanes))] if busy.lanes else []
    if busy.jobs:
        lists.append(_json(sorted(busy.jobs)))
    return lists, {"lanes": bool(busy.lanes), "jobs": bool(busy.jobs)}


def _json(values: Sequence[str] | Sequence[int]) -> str:
    return orjson.dumps(values).decode()
