"""The statements of SQLite that run per fire or in bulk, written for its own driver.

SQLAlchemy Core would cost more than SQLite itself here (it takes parameters apart per row), so
these go to the ``sqlite3`` connection below it, within the same transaction. Lists are passed as
one JSON parameter: the text of a statement stays the same, so it is prepared once.

Where a partial index or the order of a join matters it is spelled out, because without statistics
SQLite may choose otherwise; ``tests/unit/test_sqlite_plans.py`` asserts the plans.
"""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson
import structlog
from sqlalchemy import Connection

from tocsin.domain.codec import attempts_to_json
from tocsin.domain.execution import Execution, State
from tocsin.domain.instant import Millis
from tocsin.domain.job import JobStatus
from tocsin.domain.planning import Live, Timer
from tocsin.store.rows import (
    EXECUTION_COLUMNS,
    JOB_COLUMNS,
    READ_JOB_COLUMNS,
    Row,
    dump_json,
    execution_row,
    last_error_kind,
)
from tocsin.store.sql.statements import DueTimer, Stored
from tocsin.store.tables import CLAIMED, LIVE, QUEUED, WAITING, timers

log = structlog.stdlib.get_logger("tocsin.store")

LOOK_AHEAD = 1_000
"""How many timers in busy lanes are read past in search of the next one that is not."""

_COLUMNS = ", ".join(f'"{name}"' for name in EXECUTION_COLUMNS)
_E_COLUMNS = ", ".join(f'e."{name}"' for name in EXECUTION_COLUMNS)
_JOB_COLUMNS = ", ".join(READ_JOB_COLUMNS)
_LIST = "(SELECT value FROM json_each(?))"


def _marks(count: int) -> str:
    return ", ".join("?" * count)


NODE_EXISTS = "SELECT 1 FROM nodes WHERE incarnation = ?"


def due_timers_sql(*, busy: bool) -> str:
    """Parameters: exact, until, busy lanes if any, limit."""
    return f"""
        SELECT t.job_id, t.fire_at, t.due_at, t.lane, j.version
        FROM timers t CROSS JOIN jobs j ON j.id = t.job_id
        WHERE t.exact = ? AND t.due_at <= ? {f"AND t.lane NOT IN {_LIST}" if busy else ""}
          AND j.status = 'active'
        ORDER BY t.due_at, t.job_id LIMIT ?"""  # noqa: S608  # put together from constants


def due_executions_sql(*, busy: bool) -> str:
    """Parameters: exact, until, busy lanes if any, limit."""
    return f"""
        SELECT {_E_COLUMNS}, j.version
        FROM executions e INDEXED BY executions_waiting
        LEFT JOIN jobs j ON j.id = e.job_id
        WHERE e.{WAITING.replace("queued", "e.queued")} AND e.exact = ? AND e.available_at <= ?
          {f"AND e.lane NOT IN {_LIST}" if busy else ""}
        ORDER BY e.available_at, e.id LIMIT ?"""  # noqa: S608  # put together from constants


def due_queued_sql(*, busy: bool) -> str:
    """Parameters: now, busy lanes if any, limit.

    Goes from job to job through the index of what is queued, then to the oldest live execution
    of each: what waits behind that costs nothing, however long the queues are.
    """
    return f"""
        WITH RECURSIVE waiting(job_id) AS (
            SELECT min(job_id) FROM executions INDEXED BY executions_queued WHERE {QUEUED}
            UNION ALL
            SELECT (SELECT min(q.job_id) FROM executions q INDEXED BY executions_queued
                    WHERE q.{QUEUED.replace("queued", "q.queued")} AND q.job_id > waiting.job_id)
            FROM waiting WHERE waiting.job_id IS NOT NULL
        )
        SELECT {_E_COLUMNS}, j.version
        FROM waiting
        CROSS JOIN executions e ON e.id = (
            SELECT o.id FROM executions o INDEXED BY executions_live
            WHERE o.job_id = waiting.job_id AND o.{LIVE} ORDER BY o.id LIMIT 1)
        LEFT JOIN jobs j ON j.id = e.job_id
        WHERE e.{QUEUED.replace("queued", "e.queued")} AND e.available_at <= ?
          {f"AND e.lane NOT IN {_LIST}" if busy else ""}
        ORDER BY e.available_at, e.id LIMIT ?"""  # noqa: S608  # put together from constants


_NEXT_TIMER = """
    SELECT t.due_at FROM timers t CROSS JOIN jobs j ON j.id = t.job_id
    WHERE t.exact = {exact} AND t.due_at > ?1 AND j.status = 'active' ORDER BY t.due_at LIMIT 1"""
_NEXT_WAITING = f"""
    SELECT available_at FROM executions INDEXED BY executions_waiting
    WHERE {WAITING} AND exact = {{exact}} AND available_at > ?1 ORDER BY available_at LIMIT 1"""  # noqa: S608
NEXT_DUE = "SELECT " + ", ".join(
    f"({part.format(exact=exact)})" for part in (_NEXT_TIMER, _NEXT_WAITING) for exact in (0, 1)
)
"""Parameter: after."""

_PAST_BUSY = """
    SELECT (SELECT {at} FROM {source} AND exact = {exact} AND {at} > ?1
                AND {at} < coalesce(horizon, 9e18)
                AND lane NOT IN (SELECT value FROM json_each(?2)) AND {counts}
            ORDER BY {at} LIMIT 1), horizon
    FROM (SELECT (SELECT {at} FROM {source} AND exact = {exact} AND {at} > ?1
                  ORDER BY {at} LIMIT 1 OFFSET {offset}) AS horizon)"""
NEXT_DUE_PAST_BUSY = tuple(
    _PAST_BUSY.format(at=at, source=source, exact=exact, counts=counts, offset=LOOK_AHEAD)
    for at, source, counts in (
        (
            "due_at",
            "timers WHERE true",
            "(SELECT status FROM jobs WHERE id = timers.job_id) = 'active'",
        ),
        ("available_at", f"executions INDEXED BY executions_waiting WHERE {WAITING}", "true"),
    )
    for exact in (0, 1)
)
"""Parameters: after, busy lanes. Answers the instant sought, then where the search ended."""

LIVE_COUNTS = f"""
    SELECT job_id, sum(NOT queued), sum(queued) FROM executions INDEXED BY executions_live
    WHERE job_id IN {_LIST} AND {LIVE} GROUP BY job_id"""  # noqa: S608  # put together from constants

INSERT_EXECUTION = (
    f"INSERT INTO executions ({_COLUMNS}) VALUES ({_marks(len(EXECUTION_COLUMNS))})"  # noqa: S608
    " ON CONFLICT (id) DO NOTHING"
)
MOVE_TIMER = """
    UPDATE timers SET fire_at = ?, due_at = ?, lane = ?, exact = ?
    WHERE job_id = ? AND fire_at = ?"""
END_TIMER = "DELETE FROM timers WHERE job_id = ? AND fire_at = ?"
COMPLETE_JOB = f"""
    UPDATE jobs SET status = '{JobStatus.COMPLETED.value}', version = version + 1, updated_at = ?
    WHERE id = ? AND status = '{JobStatus.ACTIVE.value}'"""  # noqa: S608
TAKE = f"""
    UPDATE executions SET state = '{State.CLAIMED.value}', owner = ?, queued = 0
    WHERE id = ? AND state = '{State.PENDING.value}'"""  # noqa: S608
STORE_RESULT = f"""
    UPDATE executions SET state = ?, finished_at = ?, queued = ?, owner = ?, available_at = ?,
        reason = ?, attempt_count = ?, error_kind = ?, attempts = ?
    WHERE id = ? AND {CLAIMED} AND owner = ?"""  # noqa: S608  # put together from constants

ADD_TO_COUNTER = """
    INSERT INTO counters (shard, name, value) VALUES (?, ?, ?)
    ON CONFLICT (shard, name) DO UPDATE SET value = value + excluded.value"""
READ_TALLY = "SELECT data FROM tallies WHERE minute = ? AND node = ?"
WRITE_TALLY = """
    INSERT INTO tallies (minute, node, data) VALUES (?, ?, ?)
    ON CONFLICT (minute, node) DO UPDATE SET data = excluded.data"""
SET_HEALTH = """
    INSERT INTO health (job_id, last_state, since) VALUES (?, ?, ?)
    ON CONFLICT (job_id) DO UPDATE SET last_state = excluded.last_state, since = excluded.since
    WHERE last_state <> excluded.last_state"""

READ_JOBS = f"SELECT {_JOB_COLUMNS} FROM jobs WHERE id IN {_LIST}"  # noqa: S608
INSERT_JOB = f"INSERT INTO jobs ({', '.join(JOB_COLUMNS)}) VALUES ({_marks(len(JOB_COLUMNS))})"  # noqa: S608
REPLACE_JOB = f"UPDATE jobs SET {', '.join(f'{name} = ?' for name in JOB_COLUMNS)} WHERE id = ?"  # noqa: S608
INSERT_TAG = "INSERT INTO job_tags (tag, job_id) VALUES (?, ?) ON CONFLICT DO NOTHING"
INSERT_TIMER = (
    f"INSERT INTO timers ({', '.join(timers.columns.keys())})"  # noqa: S608
    f" VALUES ({_marks(len(timers.columns))})"
)

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


class SqliteStatements:
    """``Statements`` on SQLite, where a transaction that writes is alone with the database."""

    def add_to_counters(self, conn: Connection, changes: Mapping[str, int]) -> None:
        """Add to counters, new or not."""
        # There is one writer at a time, so one shard is enough.
        raw(conn).executemany(
            ADD_TO_COUNTER, [(0, name, change) for name, change in changes.items() if change]
        )

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
        busy: frozenset[int],
        limit: int,
    ) -> Sequence[DueTimer]:
        """Timers of active jobs, earliest due first."""
        lanes = _lanes(busy)
        parameters = (exact, until, *lanes, limit)
        return raw(conn).execute(due_timers_sql(busy=bool(lanes)), parameters).fetchall()

    def due_executions(
        self,
        conn: Connection,
        *,
        exact: bool,
        until: Millis,
        busy: frozenset[int],
        limit: int,
    ) -> Sequence[Row]:
        """Pending executions that are not queued, earliest first."""
        lanes = _lanes(busy)
        parameters = (exact, until, *lanes, limit)
        return raw(conn).execute(due_executions_sql(busy=bool(lanes)), parameters).fetchall()

    def due_queued(
        self, conn: Connection, *, now: Millis, busy: frozenset[int], limit: int
    ) -> Sequence[Row]:
        """Queued executions with nothing older of their job live."""
        lanes = _lanes(busy)
        parameters = (now, *lanes, limit)
        return raw(conn).execute(due_queued_sql(busy=bool(lanes)), parameters).fetchall()

    def next_due(self, conn: Connection, *, after: Millis, busy: frozenset[int]) -> Millis | None:
        """The earliest due instant of a timer or of a waiting execution that is later."""
        found: list[Millis | None] = []
        if not busy:
            found += raw(conn).execute(NEXT_DUE, (after,)).fetchone()
        else:
            lanes = _lanes(busy)
            for statement in NEXT_DUE_PAST_BUSY:
                found += raw(conn).execute(statement, (after, *lanes)).fetchone()
        return min((at for at in found if at is not None), default=None)

    def live_counts(self, conn: Connection, job_ids: Sequence[str]) -> dict[str, Live]:
        """What is live of jobs."""
        rows = raw(conn).execute(LIVE_COUNTS, (_json(job_ids),))
        return {job_id: Live(running=running, queued=queued) for job_id, running, queued in rows}

    def insert_executions(self, conn: Connection, executions: Sequence[Execution]) -> set[str]:
        """Add executions; the ids of those that existed."""
        execute = raw(conn).cursor().execute
        return {
            execution.id
            for execution in executions
            if not execute(INSERT_EXECUTION, execution_row(execution)).rowcount
        }

    def move_timers(self, conn: Connection, moves: Iterable[tuple[Timer, Millis]]) -> None:
        """Replace timers."""
        raw(conn).executemany(
            MOVE_TIMER,
            [
                (timer.fire_at, timer.due_at, timer.lane, timer.exact, timer.job_id, fire_at)
                for timer, fire_at in moves
            ],
        )

    def end_timers(self, conn: Connection, ends: Iterable[tuple[str, Millis]]) -> None:
        """Delete timers."""
        raw(conn).executemany(END_TIMER, ends)

    def complete_jobs(self, conn: Connection, ids: Sequence[str], now: Millis) -> int:
        """Complete those jobs that are active; how many they were."""
        return raw(conn).executemany(COMPLETE_JOB, [(now, job_id) for job_id in ids]).rowcount

    def take(self, conn: Connection, incarnation: str, ids: Sequence[str]) -> None:
        """Make pending executions claimed."""
        raw(conn).executemany(TAKE, [(incarnation, one) for one in ids])

    # --- record

    def store_results(
        self, conn: Connection, results: Sequence[tuple[str, Execution]]
    ) -> list[Stored]:
        """Write executions, each on condition that the given incarnation has it claimed.

        A statement that fails leaves the transaction as it was before, so a bad row needs no
        savepoint.
        """
        execute = raw(conn).cursor().execute
        outcomes: list[Stored] = []
        for incarnation, result in results:
            try:
                found = execute(STORE_RESULT, _result_row(incarnation, result)).rowcount
            except _BAD_ROW:
                log.exception("result.rejected", execution_id=result.id, job=result.job_name)
                outcomes.append(Stored.BAD)
            else:
                outcomes.append(Stored.YES if found else Stored.NOT_OURS)
        return outcomes

    def read_tally(self, conn: Connection, minute: Millis, node: str) -> str | None:
        """The stored tally."""
        row = raw(conn).execute(READ_TALLY, (minute, node)).fetchone()
        return None if row is None else str(row[0])

    def write_tally(self, conn: Connection, minute: Millis, node: str, data: str) -> None:
        """Store a tally, new or not."""
        raw(conn).execute(WRITE_TALLY, (minute, node, data))

    def set_health(self, conn: Connection, rows: Sequence[tuple[str, State, Millis]]) -> None:
        """Note the last states of jobs."""
        raw(conn).executemany(
            SET_HEALTH, [(job_id, state.value, since) for job_id, state, since in rows]
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
            driver.executemany(INSERT_JOB, rows)
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
        raw(conn).executemany(INSERT_TAG, rows)

    def insert_timers(self, conn: Connection, rows: Sequence[Row]) -> None:
        """Add rows of ``timers``."""
        raw(conn).executemany(INSERT_TIMER, rows)


def raw(conn: Connection) -> sqlite3.Connection:
    """The driver's connection below one of SQLAlchemy."""
    driver: Any = conn.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)  # noqa: S101  # tells the type
    return driver


def _lanes(busy: frozenset[int]) -> tuple[str, ...]:
    return (_json(sorted(busy)),) if busy else ()


def _json(values: Sequence[str] | Sequence[int]) -> str:
    return orjson.dumps(values).decode()


def _result_row(incarnation: str, result: Execution) -> tuple[Any, ...]:
    attempts = result.attempts
    return (
        result.state.value,
        result.finished_at,
        result.queued,
        result.owner,
        result.available_at,
        None if result.reason is None else result.reason.value,
        len(attempts),
        last_error_kind(result),
        dump_json(attempts_to_json(attempts)) if attempts else None,
        result.id,
        incarnation,
    )
